//! What is written from the table of commands for people: `docs/cli.md` and the manual pages.

use crate::Tool;
use crate::arguments::{GLOBAL, Opt, Value};
use crate::catalogue::{self, COMMANDS, Command, Group, State};
use crate::commands::listing;

/// The tables of `docs/cli.md`: each command with its state and the scripts of `tests/cli` that run it, which `recorded` names for a
/// command.
pub fn table(recorded: &dyn Fn(&str) -> Vec<String>) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let own: Vec<&Command> = COMMANDS
            .iter()
            .filter(|command| command.group == group)
            .collect();
        if own.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "\n### {}\n\n| command | tools | does | state | compared with RabbitMQ in |\n|---|---|---|---|---|\n",
            group.title()
        ));
        for command in own {
            let tools: Vec<_> = command.tools.iter().map(|tool| tool.word()).collect();
            let tools = if tools.len() == Tool::ALL.len() {
                "all".to_owned()
            } else {
                tools.join(", ")
            };
            let usage = format!("{} {}", command.name, command.usage).replace('|', "\\|");
            text.push_str(&format!(
                "| `{}` | {tools} | {} | {} | {} |\n",
                usage.trim_end(),
                command.summary,
                state(command),
                recorded(command.name).join(", ")
            ));
        }
    }
    text
}

fn state(command: &Command) -> String {
    match command.state {
        State::Done => "done".to_owned(),
        State::OneNode => "for the one node that there is".to_owned(),
        State::NoEffect(why) => format!("without effect: {why}"),
        State::Missing(why) => format!("refused: {why}"),
    }
}

/// What the exit codes of the tools mean.
const EXIT_CODES: [(&str, &str); 8] = [
    ("0", "done"),
    (
        "64",
        "wrong command line, or the broker has to be started or stopped before",
    ),
    (
        "65",
        "an argument makes no sense, or its object does not exist",
    ),
    ("67", "no such user"),
    (
        "69",
        "the node cannot be reached or refuses, or a check failed",
    ),
    ("70", "it exists already"),
    ("74", "a file cannot be read or written"),
    ("75", "it took too long"),
];

/// The manual page of a tool, for section 8.
pub fn manual(tool: Tool) -> String {
    let name = tool.name();
    let mut text = format!(
        ".TH {} 8\n.SH NAME\n{} \\- command line tool of WarrenMQ\n.SH SYNOPSIS\n.B {}\n[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR]\n",
        roff(&name.to_uppercase()),
        roff(name),
        roff(name)
    );
    text.push_str(&format!(
        ".SH DESCRIPTION\nThe same program as \\fBwarren {}\\fR.\nIt speaks with a node of this host over the socket in its data directory, which only the node's user and root can open.\n",
        tool.word()
    ));
    text.push_str(".SH OPTIONS\n");
    for option in GLOBAL {
        described(&mut text, option);
    }
    text.push_str(".SH COMMANDS\n");
    for group in Group::ALL {
        let own: Vec<_> = catalogue::of(tool)
            .filter(|command| command.group == group)
            .collect();
        if own.is_empty() {
            continue;
        }
        text.push_str(&format!(".SS {}\n", roff(group.title())));
        for command in own {
            text.push_str(&format!(
                ".TP\n.B {}\n{}.\n",
                roff(format!("{} {}", command.name, command.usage).trim_end()),
                roff(command.summary)
            ));
            if let Some(details) = command.details {
                text.push_str(&format!(".br\n{}\n", roff(details)));
            }
            let columns = listing::columns_of(command.name);
            if !columns.is_empty() {
                text.push_str(&format!(".br\nColumns: {}.\n", columns.join(", ")));
            }
            if !command.options.is_empty() {
                text.push_str(".RS\n");
                for option in command.options {
                    described(&mut text, option);
                }
                text.push_str(".RE\n");
            }
        }
    }
    text.push_str(".SH EXIT STATUS\n");
    for (code, meaning) in EXIT_CODES {
        text.push_str(&format!(".TP\n.B {code}\n{meaning}\n"));
    }
    text.push_str(".SH ENVIRONMENT\n");
    for (name, meaning) in [
        (
            "RABBITMQ_NODENAME",
            "the node to ask when \\fB\\-n\\fR names none",
        ),
        (
            "RABBITMQ_MNESIA_BASE",
            "the directory below which nodes have their data directories",
        ),
        ("RABBITMQ_MNESIA_DIR", "the data directory of the node"),
        (
            "RABBITMQ_ERLANG_COOKIE",
            "the secret of the node, if not that in its data directory",
        ),
    ] {
        text.push_str(&format!(".TP\n.B {name}\n{meaning}\n"));
    }
    text.push_str(".SH SEE ALSO\n.BR warren (1)\n");
    text
}

fn described(text: &mut String, option: &Opt) {
    let short = option
        .short
        .map_or_else(String::new, |short| format!(", \\-{short}"));
    let value = match option.value {
        Value::None => "",
        Value::Text => " \\fItext\\fR",
        Value::Number => " \\fInumber\\fR",
    };
    text.push_str(&format!(
        ".TP\n.B \\-\\-{}{short}{value}\n{}\n",
        roff(option.name),
        roff(option.help)
    ));
}

/// Text without what a manual page takes for requests.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    /// Which scripts of `tests/cli` run each command.
    fn recordings(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in std::fs::read_dir(root.join("tests/cli")).unwrap() {
            let path = entry.unwrap().path();
            let script = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines().filter(|line| line.starts_with('$')) {
                for word in line.split(' ').skip(2) {
                    found
                        .entry(word.to_owned())
                        .or_default()
                        .insert(script.clone());
                }
            }
        }
        found
    }

    /// `UPDATE_EXPECT=1 cargo test -p cli` rewrites the tables.
    #[test]
    fn the_document_lists_every_command() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let found = recordings(&root);
        let recorded = |name: &str| {
            let scripts = found.get(name).into_iter().flatten();
            scripts.cloned().collect()
        };
        let path = root.join("docs/cli.md");
        let document = std::fs::read_to_string(&path).unwrap();
        let begin = "<!-- commands: begin (written by a test from the table of commands) -->\n";
        let end = "<!-- commands: end -->";
        let (head, rest) = document.split_once(begin).unwrap();
        let (_, tail) = rest.split_once(end).unwrap();
        let expected = format!("{head}{begin}{}\n{end}{tail}", table(&recorded));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, expected).unwrap();
        } else {
            assert!(
                document == expected,
                "UPDATE_EXPECT=1 cargo test -p cli writes docs/cli.md"
            );
        }
    }

    #[test]
    fn manuals_name_every_command() {
        for tool in Tool::ALL {
            let manual = manual(tool);
            for command in catalogue::of(tool) {
                let name = format!("\n.B {}", roff(command.name));
                assert!(manual.contains(&name), "{}", command.name);
            }
        }
    }

    #[test]
    fn text_of_a_manual_is_no_request() {
        assert_eq!(roff(".so --x"), "\\&.so \\-\\-x");
    }
}
