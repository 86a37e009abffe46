//! What each verb runs.

use crate::package::Purpose;
use crate::shell::{self, cargo, check};
use crate::steps::{self, Step};
use crate::{
    codegen as amqp, interop, package as debian, package_test, performance, tidy, ui as pages,
};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Whether generated code is written or compared with what is there.
pub(crate) enum Generated {
    Write,
    Compare,
}

/// Builds for release and becomes the broker.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if pages::has_npm() {
        // Without its pages the broker is as good; the start page says what is missing.
        if let Err(error) = pages::install() {
            eprintln!("the web UI is not in this build: {error:#}");
        }
    }
    shell::build_warren(shell::RELEASE)?;
    become_program(
        Command::new(shell::warren(shell::RELEASE))
            .arg("server")
            .args(args),
    )
}

/// Types and pages of the web UI.
pub(crate) fn ui(screenshots: bool) -> Result<()> {
    pages::install()?;
    shell::build_warren(shell::CHECKED)?;
    pages::test(screenshots)
}

/// Makes the Debian package of a binary, or of a release build.
pub(crate) fn package(binary: Option<&str>) -> Result<()> {
    let archive = match binary {
        Some(binary) => debian::build(Path::new(binary), Purpose::Shipping)?,
        None => {
            shell::build_warren(shell::RELEASE)?;
            debian::build(&shell::warren(shell::RELEASE), Purpose::Shipping)?
        }
    };
    eprintln!("{}", archive.display());
    Ok(())
}

/// Installs the package of a binary, or of a release build, on a clean Debian and tries everything that can be done to it.
pub(crate) fn package_test(binary: Option<&str>) -> Result<()> {
    let binary = match binary {
        Some(binary) => Path::new(binary).to_owned(),
        None => {
            shell::build_warren(shell::RELEASE)?;
            shell::warren(shell::RELEASE)
        }
    };
    match package_test::run(&binary)? {
        None => Ok(()),
        Some(reason) => bail!("the package cannot be tested here: {reason}"),
    }
}

/// The same in CI, whose machines may not allow it; then it says so.
fn test_package() -> Result<()> {
    if let Some(reason) = package_test::run(&shell::warren(shell::CHECKED))? {
        eprintln!("NOT TESTED: the package cannot be installed here: {reason}");
    }
    Ok(())
}

/// A debug node whose data, configuration and log stay below `target/dev`.
pub(crate) fn dev(args: &[String]) -> Result<()> {
    check(&mut cargo(&["build", "--package", "server"]))?;
    let folder = shell::target().join("dev");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let conf = folder.join("rabbitmq.conf");
    fs::write(&conf, "log.level = debug\nlog.console = true\n")
        .with_context(|| format!("write {}", conf.display()))?;
    let port = std::env::var("RABBITMQ_NODE_PORT").unwrap_or_else(|_| "5672".to_owned());
    eprintln!(
        "amqp://guest:guest@127.0.0.1:{port}/  (data in {})",
        folder.display()
    );
    become_program(
        Command::new(shell::warren("debug"))
            .arg("server")
            .args(args)
            .env("RABBITMQ_MNESIA_BASE", &folder)
            .env("RABBITMQ_CONFIG_FILE", &conf),
    )
}

/// Everything that CI runs.
pub(crate) fn test() -> Result<()> {
    steps::run(
        "xtask test",
        vec![
            // First, as a build embeds the pages that are there.
            Step::new("web UI modules", pages::install),
            Step::new("tidy", || tidy::run(&shell::root())),
            Step::new("codegen", || codegen(Generated::Compare)),
            Step::new("format", check_format),
            Step::new("lints", check_lints),
            Step::new("broker", || shell::build_warren(shell::CHECKED)),
            Step::new("tests", test_all).needs(&["broker"]),
            Step::new("web UI", || pages::test(false)).needs(&["web UI modules", "broker"]),
            Step::new("interop", || run_interop(None)).needs(&["broker"]),
            Step::new("package", test_package).needs(&["broker"]),
            Step::new("documentation", check_documentation),
        ],
    )
}

/// Checks that need no broker and no network; nothing is written outside `target/`.
pub(crate) fn verify() -> Result<()> {
    let mut steps = vec![
        Step::new("tidy", || tidy::run(&shell::root())),
        Step::new("codegen", || codegen(Generated::Compare)),
        Step::new("format", check_format),
        Step::new("lints", check_lints),
        Step::new("tests", test_crates),
        Step::new("documentation", check_documentation),
    ];
    if shell::has_cargo_subcommand("deny") {
        steps.push(Step::new("dependencies", || {
            check(&mut cargo(&[
                "deny", "check", "bans", "licenses", "sources",
            ]))
        }));
    }
    steps::run("xtask verify", steps)
}

/// The writing form of [`verify`].
pub(crate) fn fix() -> Result<()> {
    let clippy_fix = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
    ];
    steps::run(
        "xtask fix",
        vec![
            Step::new("codegen", || codegen(Generated::Write)),
            Step::new("lints", || check(&mut cargo(&clippy_fix))),
            Step::new("format", || check(&mut cargo(&["fmt", "--all"]))),
            Step::new("tidy", || tidy::run(&shell::root())),
        ],
    )
}

/// Tests that compare the tables of `docs/configuration.md` and `docs/cli.md` with those that the program uses, or write them.
const TABLES: &[&str] = &[
    "test",
    "--package",
    "config",
    "--package",
    "cli",
    "--lib",
    "the_document_lists",
];

/// Writes the generated AMQP methods and the tables of the documentation, or fails if the methods are not what the specification
/// gives; the tables are compared by tests.
pub(crate) fn codegen(generated: Generated) -> Result<()> {
    let codec = shell::root().join("crates/codec-amqp091");
    let spec_path = codec.join("spec/amqp0-9-1.txt");
    let path = codec.join("src/method/generated.rs");
    let spec =
        fs::read_to_string(&spec_path).with_context(|| format!("read {}", spec_path.display()))?;
    let code = amqp::generate(&spec);
    match generated {
        Generated::Write => {
            fs::write(&path, code).with_context(|| format!("write {}", path.display()))?;
            check(cargo(TABLES).env("UPDATE_EXPECT", "1"))
        }
        Generated::Compare => {
            let present =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            if present != code {
                bail!(
                    "{} is not what its specification gives: run cargo xtask codegen",
                    path.display()
                );
            }
            Ok(())
        }
    }
}

/// Builds for release, measures, and writes docs/performance.md.
pub(crate) fn perf(args: &[String]) -> Result<()> {
    shell::build_warren(shell::RELEASE)?;
    performance::run(args)
}

/// Other people's clients against the checked build: all suites, or the one called `client`.
pub(crate) fn interop(client: Option<&str>) -> Result<()> {
    shell::build_warren(shell::CHECKED)?;
    run_interop(client)
}

fn run_interop(client: Option<&str>) -> Result<()> {
    let summary = interop::run(&shell::root(), &shell::warren(shell::CHECKED), client)?;
    if summary.failed > 0 {
        bail!(
            "{} of {} suites failed",
            summary.failed,
            summary.failed + summary.passed
        );
    }
    Ok(())
}

/// One fuzz target, until it finds something or is stopped.
pub(crate) fn fuzz(target: &str, args: &[String]) -> Result<()> {
    if !shell::has_cargo_subcommand("fuzz") {
        bail!("cargo-fuzz is not installed: run cargo install cargo-fuzz");
    }
    check(
        Command::new("cargo")
            .args(["+nightly", "fuzz", "run", target])
            .args(args)
            .current_dir(shell::root().join("fuzz"))
            .env_remove("RUSTUP_TOOLCHAIN"),
    )
}

fn check_format() -> Result<()> {
    check(&mut cargo(&["fmt", "--all", "--check"]))
}

fn check_lints() -> Result<()> {
    check(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

/// All tests but testkit's, which need a broker.
fn test_crates() -> Result<()> {
    check(&mut cargo(&[
        "test",
        "--workspace",
        "--exclude",
        "testkit",
        "--locked",
        "--no-fail-fast",
    ]))
}

/// How many tests of a file run at a time: testkit's wait for brokers and timers three quarters of their time.
const TESTS_AT_A_TIME: &str = "4";

/// All tests, testkit's against the checked build.
///
/// One command, as cargo builds what they depend on once more for each other choice of packages.
fn test_all() -> Result<()> {
    check(
        cargo(&["test", "--workspace", "--locked", "--no-fail-fast"])
            .env("WARREN_BIN", shell::warren(shell::CHECKED))
            .env("RUST_TEST_THREADS", TESTS_AT_A_TIME),
    )
}

fn check_documentation() -> Result<()> {
    check(
        cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Replaces this process, so that signals and the exit status are the program's own.
fn become_program(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("start {}", command.get_program().to_string_lossy()))
}
