//! `docs/features.md`: a feature is there when a test proves it.
//!
//! A row is `| id | feature | state | test |`. The state is `no`, `partial` or `yes`; the tests of the last two are named as
//! `` `path/from/root::name` ``, or `` `path/from/root` `` for a whole file. In a script of raw AMQP the name is that of a case.
//! Where a client sees the feature ([`SEEN_BY_CLIENTS`]), `yes` needs a test that talks to a running broker.

use super::Complaint;
use std::collections::BTreeSet;

/// Where the table is.
pub(super) const PATH: &str = "docs/features.md";

/// Areas whose features a client or an operator sees.
const SEEN_BY_CLIENTS: &[&str] = &["conn", "chan", "xch", "qarg", "cons", "pol", "vh", "flow"];

/// Where the tests are that talk to a running broker.
const WITH_A_BROKER: &[&str] = &["tests/", "crates/testkit/"];

/// `read` gives the text of a file, by its path from the root.
pub(super) fn check(text: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let Some([id, _, state, tests]) = row(line) else {
            continue;
        };
        let mut complain = |text: String| complaints.push(Complaint::line(PATH, index, text));
        if !seen.insert(id) {
            complain(format!("names {id} twice"));
        }
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        match (state, tests.is_empty()) {
            ("no", true) | ("partial" | "yes", false) => {}
            ("no", false) => complain(format!("{id} is not there but names a test")),
            ("partial" | "yes", true) => complain(format!("{id} names no test")),
            _ => complain(format!(
                "{id} has state {state}: expected no, partial or yes"
            )),
        }
        let talks = |test: &&str| WITH_A_BROKER.iter().any(|place| test.starts_with(place));
        if state == "yes" && is_seen(id) && !tests.is_empty() && !tests.iter().any(talks) {
            complain(format!("{id} names no test of a running broker"));
        }
        for test in tests.iter().filter(|test| !is_test(test, read)) {
            complain(format!("{id} names {test}, which does not exist"));
        }
    }
    complaints
}

/// The cells of a row whose first cell is an id such as `conn-01`.
fn row(line: &str) -> Option<[&str; 4]> {
    let cells: Vec<&str> = line
        .strip_prefix('|')?
        .strip_suffix('|')?
        .split('|')
        .map(str::trim)
        .collect();
    let cells: [&str; 4] = cells.try_into().ok()?;
    let (area, number) = cells[0].split_once('-')?;
    let is_id =
        !area.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then_some(cells)
}

fn is_seen(id: &str) -> bool {
    let area = id.split_once('-').map(|(area, _)| area);
    area.is_some_and(|area| SEEN_BY_CLIENTS.contains(&area))
}

fn is_test(test: &str, read: &dyn Fn(&str) -> Option<String>) -> bool {
    match test.split_once("::") {
        Some((path, name)) if path.ends_with(".script") => read(path).is_some_and(|text| {
            text.lines()
                .any(|line| line.strip_prefix("# case: ") == Some(name))
        }),
        Some((path, name)) => read(path).is_some_and(|text| defines(&text, name)),
        None => read(test).is_some(),
    }
}

/// Whether a line defines `name`: `fn name(` in Rust, `def name(` in Python, `func name(` in Go and the like, or a quoted name.
fn defines(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let behind = text[start + name.len()..].chars().next();
        matches!(before, None | Some(' ' | '\n' | '"' | '\''))
            && matches!(behind, Some('(' | '<' | '"' | '\'' | ':' | ','))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(row: &str) -> Vec<String> {
        let read = |path: &str| {
            (path == "crates/a/tests/b.rs").then(|| "#[test]\nfn it_works() {}\n".to_owned())
        };
        check(row, &read)
            .into_iter()
            .map(|complaint| complaint.text)
            .collect()
    }

    #[test]
    fn good_rows_pass() {
        let rows = "| id | feature | state | test |\n|---|---|---|---|\n| conn-01 | a | no | |\n\
                    | clu-02 | b | yes | `crates/a/tests/b.rs::it_works` |\n| conn-03 | c | partial | `crates/a/tests/b.rs` |";
        assert_eq!(texts(rows), [""; 0]);
    }

    #[test]
    fn a_state_and_its_tests_agree() {
        assert_eq!(texts("| a-1 | a | yes | |"), ["a-1 names no test"]);
        assert_eq!(
            texts("| a-1 | a | no | `crates/a/tests/b.rs` |"),
            ["a-1 is not there but names a test"]
        );
        assert_eq!(
            texts("| a-1 | a | maybe | |"),
            ["a-1 has state maybe: expected no, partial or yes"]
        );
    }

    #[test]
    fn what_clients_see_is_tested_with_a_broker() {
        let row = "| vh-1 | a | yes | `crates/a/tests/b.rs::it_works` |";
        assert_eq!(texts(row), ["vh-1 names no test of a running broker"]);
        assert_eq!(texts(&row.replace("yes", "partial")), [""; 0]);
        assert_eq!(texts(&row.replace("vh-1", "own-1")), [""; 0]);
    }

    #[test]
    fn named_tests_exist() {
        for test in [
            "crates/a/tests/b.rs::it",
            "crates/a/tests/b.rs::works",
            "crates/a/tests/c.rs",
            "c.rs::it_works",
        ] {
            assert_eq!(
                texts(&format!("| a-1 | a | yes | `{test}` |")),
                [format!("a-1 names {test}, which does not exist")]
            );
        }
    }

    #[test]
    fn a_script_has_cases() {
        let read =
            |path: &str| (path == "a.script").then(|| "# case: get-missing\nconn c1\n".to_owned());
        let row = |test: &str| format!("| a-1 | a | yes | `{test}` |");
        assert!(check(&row("a.script::get-missing"), &read).is_empty());
        assert_eq!(check(&row("a.script::get"), &read).len(), 1);
    }

    #[test]
    fn ids_are_unique() {
        assert_eq!(
            texts("| a-1 | a | no | |\n| a-1 | a | no | |"),
            ["names a-1 twice"]
        );
    }
}
