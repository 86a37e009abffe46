//! Starting programs from the root of the workspace.

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("xtask is a folder of the workspace")
        .to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |target| root().join(target))
}

/// The profile of what is shipped and measured.
pub(crate) const RELEASE: &str = "release";
/// The profile of what is tested: release code with assertions, linked in less than half the time.
pub(crate) const CHECKED: &str = "release-checked";

/// The broker of a cargo profile's folder.
pub(crate) fn warren(profile: &str) -> PathBuf {
    target().join(profile).join("warren")
}

/// Builds the broker with a profile.
///
/// # Errors
/// cargo failed.
pub(crate) fn build_warren(profile: &str) -> Result<()> {
    check(&mut cargo(&[
        "build",
        "--profile",
        profile,
        "--package",
        "server",
        "--locked",
    ]))
}

/// The cargo that runs this program, at the root.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Runs a program to its end; its output goes where ours goes.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {}", show(command)))?;
    if !status.success() {
        bail!("{}: {status}", show(command));
    }
    Ok(())
}

/// Runs a program to its end and returns what it writes to its standard output.
///
/// # Errors
/// If it cannot be started, does not succeed or does not write UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {}", show(command)))?;
    if !output.status.success() {
        bail!("{}: {}", show(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("read the output of {}", show(command)))
}

/// Whether a cargo subcommand is installed.
pub(crate) fn has_cargo_subcommand(name: &str) -> bool {
    let probe = cargo(&[name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    probe.is_ok_and(|status| status.success())
}

/// The command line, without the folders of the program.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
