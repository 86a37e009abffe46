//! The web UI: its modules from npm, its types, and its pages in a browser.
//!
//! What is checked is in `crates/web/ui/test`; it runs in Debian's Chromium against fresh brokers.

use crate::shell::{self, check};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CHROMIUM: &str = "/usr/bin/chromium";

fn folder() -> PathBuf {
    shell::root().join("crates/web/ui")
}

/// Whether the modules can be had on this machine.
pub(crate) fn has_npm() -> bool {
    Command::new("npm")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Puts the modules that the lockfile names into `node_modules`, unless they are there.
///
/// # Errors
/// npm failed.
pub(crate) fn install() -> Result<()> {
    let folder = folder();
    let lock = fs::read_to_string(folder.join("package-lock.json")).context("read the lockfile")?;
    let stamp = folder.join("node_modules/.installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    check(
        Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
            .current_dir(&folder),
    )?;
    fs::write(&stamp, lock).with_context(|| format!("write {}", stamp.display()))
}

/// Checks types and pages. Needs the checked build; with `screenshots`, writes the pictures in docs/ui.
///
/// # Errors
/// Something is not installed, or not as it should be.
pub(crate) fn test(screenshots: bool) -> Result<()> {
    let folder = folder();
    install()?;
    check(
        Command::new("npx")
            .args(["tsc", "--noEmit"])
            .current_dir(&folder),
    )?;
    install_browser()?;
    let mut node = Command::new("node");
    node.arg("test/run.mjs")
        .current_dir(&folder)
        .env("WARREN", shell::warren(shell::CHECKED))
        .env("CHROMIUM", CHROMIUM);
    if screenshots {
        node.env("SCREENSHOTS", shell::root().join("docs/ui"));
    }
    check(&mut node)
}

fn install_browser() -> Result<()> {
    if Path::new(CHROMIUM).exists() {
        return Ok(());
    }
    for arguments in [&["update"][..], &["install", "--yes", "chromium"]] {
        check(
            Command::new("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
        .context("install the Debian package chromium, or run this as root")?;
    }
    Ok(())
}
