//! What each crate's Cargo.toml must say.

use super::Complaint;

pub(super) fn check(path: &str, text: &str) -> Vec<Complaint> {
    let mut lines = text.lines().map(str::trim);
    let has_lints = lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true");
    if has_lints {
        Vec::new()
    } else {
        vec![Complaint::file(path, "lacks [lints] workspace = true")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_come_from_the_workspace() {
        assert_eq!(check("c", "[package]\n\n[lints]\nworkspace = true\n"), []);
        for text in ["[package]\n", "[lints]\n", "[lints]\n\n[lints.rust]\n"] {
            assert_eq!(check("c", text).len(), 1, "{text}");
        }
    }
}
