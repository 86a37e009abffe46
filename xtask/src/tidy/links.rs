//! Links between the documents: what they point at exists.

use super::Complaint;

/// `exists` is asked for paths from the root.
pub(super) fn check(path: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in targets(line).filter(|target| is_local(target)) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !exists(&resolve(path, file)) {
                complaints.push(Complaint::line(
                    path,
                    index,
                    format!("links to {target}, which does not exist"),
                ));
            }
        }
    }
    complaints
}

/// The targets of `[text](target)` in a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

fn is_local(target: &str) -> bool {
    !target.contains("://") && !target.starts_with("mailto:")
}

/// A target as a path from the root; `from` is the document.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> usize {
        let exists = |path: &str| ["README.md", "docs/a.md", "crates/x/src"].contains(&path);
        check(path, text, &exists).len()
    }

    #[test]
    fn local_links_are_relative_to_the_document() {
        assert_eq!(
            broken(
                "docs/a.md",
                "[r](../README.md) [a](a.md#part) [x](../crates/x/src/) [h](#here)"
            ),
            0
        );
        assert_eq!(
            broken("README.md", "[a](docs/a.md), [b](docs/b.md) and [c](a.md)"),
            2
        );
    }

    #[test]
    fn foreign_links_and_code_are_left_alone() {
        assert_eq!(
            broken(
                "README.md",
                "[w](https://example.org/x) [m](mailto:a@b)\n```\n[x](nowhere)\n```\n"
            ),
            0
        );
    }
}
