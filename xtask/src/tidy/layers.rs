//! Which crate of the workspace may know which.
//!
//! The table is the architecture. A new edge is a design change: its own commit, with ARCHITECTURE.md.

use super::Complaint;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Each crate and the crates of ours that it may depend on.
const EDGES: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("codec-amqp091", &[]),
    ("broker", &["base"]),
    ("transport", &["base"]),
    ("http-client", &["transport"]),
    ("auth-ldap", &["transport"]),
    ("auth-oauth2", &["http-client", "transport"]),
    ("frontend-amqp091", &["base", "broker", "codec-amqp091"]),
    (
        "auth",
        &[
            "auth-ldap",
            "auth-oauth2",
            "base",
            "broker",
            "http-client",
            "transport",
        ],
    ),
    (
        "config",
        &[
            "auth",
            "auth-ldap",
            "auth-oauth2",
            "broker",
            "frontend-amqp091",
            "http-client",
            "transport",
        ],
    ),
    ("store", &["base"]),
    ("web", &[]),
    ("definitions", &["base", "broker"]),
    (
        "node",
        &[
            "auth",
            "base",
            "broker",
            "config",
            "definitions",
            "frontend-amqp091",
            "http-client",
            "store",
            "transport",
        ],
    ),
    (
        "management",
        &[
            "auth-oauth2",
            "base",
            "broker",
            "codec-amqp091",
            "definitions",
            "frontend-amqp091",
            "http-client",
            "node",
            "transport",
            "web",
        ],
    ),
    ("client-amqp091", &["base", "codec-amqp091"]),
    ("perf", &["base", "client-amqp091"]),
    ("cli", &["broker", "config"]),
    (
        "import",
        &[
            "client-amqp091",
            "codec-amqp091",
            "http-client",
            "transport",
        ],
    ),
    ("doctor", &["config", "store"]),
    (
        "server",
        &[
            "base",
            "cli",
            "config",
            "doctor",
            "import",
            "management",
            "node",
            "perf",
            "transport",
        ],
    ),
    ("testkit", &["base", "client-amqp091", "codec-amqp091"]),
    ("xtask", &[]),
];

/// Crates that only tests may use, from wherever they are.
const DEVELOPMENT: &[&str] = &["testkit", "client-amqp091"];

/// Crates that decide and do no I/O, and what would let them.
const PURE: &[&str] = &[
    "base",
    "broker",
    "codec-amqp091",
    "definitions",
    "frontend-amqp091",
];
const IMPURE_DEPENDENCIES: &[&str] = &[
    "tokio",
    "mio",
    "async-std",
    "smol",
    "socket2",
    "rustix",
    "libc",
    "rand",
    "getrandom",
    "tempfile",
];

/// The part of `cargo metadata` that matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// A crate of the workspace.
#[derive(Deserialize)]
pub(super) struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
    /// Set for crates of ours.
    path: Option<PathBuf>,
}

impl Package {
    /// Its Cargo.toml, from the root.
    pub(super) fn manifest(&self, root: &Path) -> String {
        self.manifest_path
            .strip_prefix(root)
            .unwrap_or(&self.manifest_path)
            .to_string_lossy()
            .into_owned()
    }
}

/// The crates in the output of `cargo metadata --no-deps`.
pub(super) fn packages(metadata: &str) -> Result<Vec<Package>> {
    let metadata: Metadata =
        serde_json::from_str(metadata).context("read the output of cargo metadata")?;
    Ok(metadata.packages)
}

pub(super) fn check(packages: &[Package]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for package in packages {
        let place = format!("crate {}", package.name);
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
            complaints.push(Complaint::file(&place, "is not in the table of layers"));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let is_development = dependency.kind.as_deref() == Some("dev");
            if dependency.path.is_some()
                && !allowed.contains(&name)
                && !(is_development && DEVELOPMENT.contains(&name))
            {
                complaints.push(Complaint::file(
                    &place,
                    format!("must not depend on {name}"),
                ));
            }
            if PURE.contains(&package.name.as_str())
                && !is_development
                && IMPURE_DEPENDENCIES.contains(&name)
            {
                complaints.push(Complaint::file(
                    &place,
                    format!("decides and does no I/O: it must not depend on {name}"),
                ));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `dependencies` are name, kind and whether the crate is ours.
    fn complaints(package: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Vec<String> {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind, ours)| Dependency {
                name: (*name).to_owned(),
                kind: kind.map(str::to_owned),
                path: ours.then(PathBuf::new),
            })
            .collect();
        let package = Package {
            name: package.to_owned(),
            manifest_path: PathBuf::new(),
            dependencies,
        };
        check(&[package])
            .into_iter()
            .map(|complaint| complaint.text)
            .collect()
    }

    #[test]
    fn edges_of_the_table_pass() {
        assert_eq!(
            complaints("node", &[("store", None, true), ("tokio", None, false)]),
            [""; 0]
        );
        assert_eq!(
            complaints(
                "broker",
                &[("base", None, true), ("tokio", Some("dev"), false)]
            ),
            [""; 0]
        );
    }

    #[test]
    fn other_edges_do_not() {
        assert_eq!(
            complaints("broker", &[("codec-amqp091", None, true)]),
            ["must not depend on codec-amqp091"]
        );
        assert_eq!(
            complaints("store", &[("broker", Some("dev"), true)]),
            ["must not depend on broker"]
        );
        assert_eq!(
            complaints("surprise", &[]),
            ["is not in the table of layers"]
        );
    }

    #[test]
    fn development_crates_are_for_tests_only() {
        assert_eq!(
            complaints("node", &[("testkit", Some("dev"), true)]),
            [""; 0]
        );
        assert_eq!(
            complaints("node", &[("testkit", None, true)]),
            ["must not depend on testkit"]
        );
    }

    #[test]
    fn pure_crates_stay_pure() {
        assert_eq!(
            complaints("frontend-amqp091", &[("tokio", None, false)]),
            ["decides and does no I/O: it must not depend on tokio"]
        );
    }

    #[test]
    fn metadata_is_understood() {
        let json = r#"{"packages":[{"name":"base","manifest_path":"/r/crates/base/Cargo.toml","dependencies":[
            {"name":"bytes","kind":null,"req":"^1"},{"name":"x","kind":"dev","path":"/r/crates/x"}]}],"version":1}"#;
        let packages = packages(json).unwrap();
        assert_eq!(
            packages[0].manifest(Path::new("/r")),
            "crates/base/Cargo.toml"
        );
        assert_eq!(
            check(&packages),
            [Complaint::file("crate base", "must not depend on x")]
        );
    }
}
