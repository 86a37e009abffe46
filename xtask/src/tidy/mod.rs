//! The rules of the repository that no compiler knows.
//!
//! Each rule is a pure function from text to complaints; this module finds the files and runs them.
//! Suggested reading order: [`layers`], [`manifest`], [`source`], [`links`], [`features`].

mod features;
mod layers;
mod links;
mod manifest;
mod source;

use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const SKIPPED_FOLDERS: &[&str] = &[
    "target",
    ".git",
    "node_modules",
    "__pycache__",
    "artifacts",
    "vendor",
];
/// Deeper folders are not ours either; the limit bounds the walk.
const FOLDER_DEPTH_MAX: usize = 16;

/// Something against a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complaint {
    /// The file, from the root, with the line behind it where there is one.
    place: String,
    /// What is wrong.
    text: String,
}

impl Complaint {
    fn file(path: &str, text: impl Into<String>) -> Self {
        Self {
            place: path.to_owned(),
            text: text.into(),
        }
    }

    /// `index` counts lines from 0.
    fn line(path: &str, index: usize, text: impl Into<String>) -> Self {
        Self {
            place: format!("{path}:{}", index + 1),
            text: text.into(),
        }
    }
}

/// A text file of the repository.
struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
}

/// Checks everything below `root`.
///
/// # Errors
/// If a rule is broken; the complaints are on the standard error stream.
pub(crate) fn run(root: &Path) -> Result<()> {
    let metadata = shell::output(&mut shell::cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
    ]))?;
    let packages = layers::packages(&metadata)?;
    let files = files(root)?;
    let exists = |path: &str| root.join(path).exists();
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();

    let mut complaints = layers::check(&packages);
    for package in &packages {
        let path = package.manifest(root);
        complaints.extend(manifest::check(&path, &read(&path).unwrap_or_default()));
    }
    for file in &files {
        complaints.extend(source::check(&file.path, &file.text));
        if file.path.ends_with(".md") {
            complaints.extend(links::check(&file.path, &file.text, &exists));
        }
    }
    match files.iter().find(|file| file.path == features::PATH) {
        Some(file) => complaints.extend(features::check(&file.text, &read)),
        None => complaints.push(Complaint::file(features::PATH, "is missing")),
    }

    complaints.sort();
    for complaint in &complaints {
        eprintln!("{}: {}", complaint.place, complaint.text);
    }
    if !complaints.is_empty() {
        bail!("tidy: {} complaints", complaints.len());
    }
    Ok(())
}

/// All text files below the root, in order of their paths.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut paths = Vec::new();
    walk(root, 0, &mut paths)?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        // What is not text has no lines to check.
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        let relative = path.strip_prefix(root).expect("the walk began at the root");
        files.push(File {
            path: relative.to_string_lossy().into_owned(),
            text,
        });
    }
    Ok(files)
}

fn walk(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let kind = entry
            .file_type()
            .with_context(|| format!("look at {}", entry.path().display()))?;
        let name = entry.file_name();
        if kind.is_file() {
            paths.push(entry.path());
        } else if kind.is_dir()
            && depth < FOLDER_DEPTH_MAX
            && !SKIPPED_FOLDERS.iter().any(|skipped| name == *skipped)
        {
            walk(&entry.path(), depth + 1, paths)?;
        }
    }
    Ok(())
}
