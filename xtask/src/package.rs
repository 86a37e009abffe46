//! The Debian package: `cargo xtask package`.
//!
//! It puts the files of `packaging/` and one binary below `target/package` and lets `dpkg-deb` make an archive of them. Debian's own
//! tools for sources are not needed: there is nothing to build but the binary.

use crate::shell::{self, check};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// RabbitMQ's names for the program.
const NAMES: &[&str] = &[
    "rabbitmq-server",
    "rabbitmqctl",
    "rabbitmq-plugins",
    "rabbitmq-diagnostics",
    "rabbitmq-queues",
    "rabbitmq-streams",
    "rabbitmq-upgrade",
];

/// Files of `packaging/` and where they go.
const FILES: &[(&str, &str)] = &[
    ("rabbitmq.conf", "etc/rabbitmq/rabbitmq.conf"),
    ("rabbitmq-env.conf", "etc/rabbitmq/rabbitmq-env.conf"),
    ("logrotate", "etc/logrotate.d/rabbitmq-server"),
    (
        "samples/rabbitmq.conf",
        "usr/share/doc/warrenmq/examples/rabbitmq.conf",
    ),
    (
        "samples/tls.conf",
        "usr/share/doc/warrenmq/examples/tls.conf",
    ),
    (
        "samples/logging.conf",
        "usr/share/doc/warrenmq/examples/logging.conf",
    ),
    (
        "samples/definitions.conf",
        "usr/share/doc/warrenmq/examples/definitions.conf",
    ),
    (
        "samples/advanced.config",
        "usr/share/doc/warrenmq/examples/advanced.config",
    ),
    (
        "rabbitmq-server.service",
        "usr/lib/systemd/system/rabbitmq-server.service",
    ),
];

/// Scripts that run when the package is installed or removed.
const SCRIPTS: &[&str] = &["postinst", "prerm", "postrm"];

/// What an archive is for.
pub(crate) enum Purpose {
    Shipping,
    /// To be installed and thrown away: compressed in a tenth of the time.
    Trial {
        /// What stands behind the version.
        suffix: &'static str,
    },
}

/// Packs this binary; returns the archive.
pub(crate) fn build(binary: &Path, purpose: Purpose) -> Result<PathBuf> {
    if !binary.is_file() {
        bail!("no binary {}", binary.display());
    }
    let (suffix, compression): (_, &[&str]) = match purpose {
        Purpose::Shipping => ("", &[]),
        Purpose::Trial { suffix } => (suffix, &["-Zxz", "-z0"]),
    };
    let packaging = shell::root().join("packaging");
    let folder = shell::target().join("package");
    let tree = folder.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    }
    copy(binary, &tree.join("usr/bin/warren"), 0o755)?;
    for (from, to) in FILES {
        copy(&packaging.join(from), &tree.join(to), 0o644)?;
    }
    for directory in ["usr/sbin", "etc/rabbitmq/conf.d"] {
        make_directory(&tree.join(directory))?;
    }
    for name in NAMES {
        let link = tree.join("usr/sbin").join(name);
        symlink("../bin/warren", &link).with_context(|| format!("link {}", link.display()))?;
    }
    write_documents(binary, &tree)?;
    let root = shell::root();
    let documents = tree.join("usr/share/doc/warrenmq");
    copy(&root.join("LICENSE"), &documents.join("copyright"), 0o644)?;
    copy(
        &root.join("docs/configuration.md"),
        &documents.join("configuration.md"),
        0o644,
    )?;

    let architecture = architecture()?;
    let version = format!("{}{suffix}", env!("CARGO_PKG_VERSION"));
    let control = tree.join("DEBIAN");
    let debian = packaging.join("debian");
    let size_kib = fs::metadata(binary)?.len().div_ceil(1024) + 64;
    let text = fs::read_to_string(debian.join("control")).context("read the control file")?;
    let text = text
        .replace("@VERSION@", &version)
        .replace("@ARCHITECTURE@", architecture)
        .replace("@SIZE@", &size_kib.to_string());
    make_directory(&control)?;
    fs::write(control.join("control"), text).context("write the control file")?;
    copy(&debian.join("conffiles"), &control.join("conffiles"), 0o644)?;
    for script in SCRIPTS {
        copy(&debian.join(script), &control.join(script), 0o755)?;
    }

    let archive = folder.join(format!("warrenmq_{version}_{architecture}.deb"));
    check(
        Command::new("dpkg-deb")
            .args(compression)
            .args(["--root-owner-group", "--build"])
            .arg(&tree)
            .arg(&archive),
    )?;
    Ok(archive)
}

/// Where shells look for what completes the command lines of a program, `*`.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/*"),
    ("fish", "usr/share/fish/vendor_completions.d/*.fish"),
];

/// Puts what the binary itself writes where shells and `man` look for it.
fn write_documents(binary: &Path, tree: &Path) -> Result<()> {
    let tools = NAMES.iter().filter(|name| **name != "rabbitmq-server");
    for (shell, place) in COMPLETIONS {
        let text = said(binary, &["completion", shell])?;
        write(&tree.join(place.replace('*', "warren")), &text)?;
        let own = place.replace('*', "warren");
        let own = Path::new(&own).file_name().context("it has a name")?;
        for name in tools.clone() {
            let link = tree.join(place.replace('*', name));
            symlink(own, &link).with_context(|| format!("link {}", link.display()))?;
        }
    }
    let text = said(binary, &["completion", "zsh"])?;
    write(
        &tree.join("usr/share/zsh/vendor-completions/_warren"),
        &text,
    )?;
    let manuals = tree.join("usr/share/man");
    write(&manuals.join("man1/warren.1"), &said(binary, &["manual"])?)?;
    for name in tools {
        let page = said(binary, &["manual", name])?;
        write(&manuals.join(format!("man8/{name}.8")), &page)?;
    }
    // The broker itself is explained where the program is.
    write(
        &manuals.join("man8/rabbitmq-server.8"),
        b".so man1/warren.1\n",
    )?;
    for page in NAMES.iter().map(|name| format!("man8/{name}.8")) {
        check(Command::new("gzip").arg("-9n").arg(manuals.join(page)))?;
    }
    check(
        Command::new("gzip")
            .arg("-9n")
            .arg(manuals.join("man1/warren.1")),
    )
}

/// What the binary writes when it is asked for it.
fn said(binary: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(binary)
        .args(arguments)
        .output()
        .with_context(|| format!("run {}", binary.display()))?;
    if !output.status.success() {
        bail!("{} {arguments:?}: {}", binary.display(), output.status);
    }
    Ok(output.stdout)
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Debian's name of the machine's architecture.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no name for the architecture {other}"),
    }
}

fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if let Some(directory) = to.parent() {
        make_directory(directory)?;
    }
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> String {
        fs::read_to_string(shell::root().join(path)).unwrap()
    }

    /// The rows of a table in a document: the cells of each, without quotes.
    fn rows(document: &str) -> Vec<Vec<String>> {
        let lines = document.lines().filter(|line| line.starts_with("| "));
        let cells = |line: &str| {
            let cells = line.trim_matches(['|', ' ']).split(" | ");
            cells.map(|cell| cell.replace('`', "")).collect()
        };
        lines.map(cells).collect()
    }

    #[test]
    fn the_image_agrees_with_the_package() {
        let image = read("packaging/Dockerfile").replace("\\\n", " ");
        let line = |start: &str| {
            let found = image.lines().find(|line| line.starts_with(start));
            found.map_or_else(|| panic!("no {start} in the Dockerfile"), str::to_owned)
        };
        // Programs.
        let links = line("RUN for name in ");
        let names = links.trim_start_matches("RUN for name in ").split(';');
        let names: Vec<_> = names.take(1).flat_map(str::split_whitespace).collect();
        assert_eq!(names, NAMES);
        assert!(
            NAMES
                .iter()
                .any(|name| line("CMD ") == format!("CMD [\"{name}\"]"))
        );
        assert!(line("COPY --from=build ").ends_with("release/warren /usr/local/bin/warren"));
        assert!(line("FROM rust:").contains(env!("CARGO_PKG_RUST_VERSION")));
        // Who runs it, and where its things are.
        let (service, script) = (
            read("packaging/rabbitmq-server.service"),
            read("packaging/debian/postinst"),
        );
        let user = line("USER ").replace("USER ", "");
        assert!(service.lines().any(|line| line == format!("User={user}")));
        assert!(image.contains(&format!(
            "--home-dir {}",
            line("VOLUME ").replace("VOLUME ", "")
        )));
        for directory in [
            "/var/lib/rabbitmq",
            "/var/lib/rabbitmq/mnesia",
            "/etc/rabbitmq",
        ] {
            assert!(image.contains(&format!(" {directory} ")), "{directory}");
            assert!(script.contains(directory), "{directory}");
        }
        // Variables are ones that the program honours.
        let configuration = rows(&read("docs/configuration.md"));
        for pair in line("ENV ").replace("ENV ", "").split_whitespace() {
            let (name, _) = pair.split_once('=').unwrap();
            let row = configuration.iter().find(|row| row[0] == name);
            assert_eq!(row.unwrap_or_else(|| panic!("{name}"))[2], "yes", "{name}");
        }
        // Ports are those that are open by themselves.
        let packages = rows(&read("docs/packages.md"));
        let open = packages.iter().filter(|row| row.last().unwrap() == "open");
        let mut open: Vec<_> = open.map(|row| row[0].as_str()).collect();
        open.sort_by_key(|port| port.parse::<u16>().unwrap());
        let exposed = line("EXPOSE ").replace("EXPOSE ", "");
        assert_eq!(exposed.split_whitespace().collect::<Vec<_>>(), open);
    }

    #[test]
    fn ports_that_are_open_by_themselves_are_the_defaults_of_their_keys() {
        let configuration = rows(&read("docs/configuration.md"));
        for row in rows(&read("docs/packages.md")) {
            if row.last().unwrap() != "open" {
                continue;
            }
            let (_, key) = row[1].rsplit_once('(').unwrap();
            let key = key.trim_end_matches(')');
            let names = [format!("{key}.$name"), format!("{key}.port")];
            let mut own = configuration
                .iter()
                .filter(|row| names.contains(&row[0].split(',').next().unwrap().to_owned()));
            assert!(own.any(|own| own[2] == row[0]), "{key} {}", row[0]);
        }
    }
}
