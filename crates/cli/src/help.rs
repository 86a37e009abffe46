//! What the tools say about themselves.

use crate::Tool;
use crate::arguments::{Arguments, GLOBAL, Opt, Value};
use crate::catalogue::{self, Command, Group, State};
use crate::commands::listing;
use crate::failure::USAGE;
use std::io::Write as _;
use std::process::ExitCode;

/// Width of the column of command names.
const NAME_WIDTH: usize = 45;

/// How like a command a word has to be (1 is the same) so that it is meant.
const LIKENESS_MIN: f64 = 0.77;

/// Letters of a word that are looked at.
const WORD_LENGTH_MAX: usize = 64;

/// How a command is used, on one line.
pub(crate) fn usage(tool: Tool, command: &Command) -> String {
    let usage = format!(
        "{} [--node <node>] [--longnames] [--quiet] {} {}",
        tool.name(),
        command.name,
        command.usage
    );
    usage.trim_end().to_owned()
}

/// All about a command.
pub(crate) fn of_command(tool: Tool, command: &Command) -> String {
    let mut text = format!(
        "\nUsage\n\n{}\n\n{}\n",
        usage(tool, command),
        command.summary
    );
    if let Some(details) = command.details {
        text.push_str(&format!("\n{details}\n"));
    }
    let columns = listing::columns_of(command.name);
    if !columns.is_empty() {
        text.push_str(&format!("\nColumns\n\n   {}\n", columns.join(", ")));
    }
    if !command.options.is_empty() {
        text.push_str("\nOptions\n\n");
        command
            .options
            .iter()
            .for_each(|own| option(&mut text, own));
    }
    text.push_str("\nGeneral options\n\n");
    GLOBAL.iter().for_each(|own| option(&mut text, own));
    match command.state {
        State::Done => {}
        State::OneNode => text.push_str("\nA cluster of WarrenMQ has one node so far.\n"),
        State::NoEffect(why) | State::Missing(why) => text.push_str(&format!("\n{why}\n")),
    }
    text
}

fn option(text: &mut String, option: &Opt) {
    let value = match option.value {
        Value::None => "",
        Value::Text => " <text>",
        Value::Number => " <number>",
    };
    let short = option
        .short
        .map_or_else(String::new, |short| format!(", -{short}"));
    let name = format!("--{}{value}{short}", option.name);
    text.push_str(&format!("   {name:<32}  {}\n", option.help));
}

/// All commands of a tool.
pub(crate) fn overview(tool: Tool) -> String {
    let mut text = format!(
        "\nUsage\n\n{} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]\n\nAvailable commands:\n",
        tool.name()
    );
    for group in Group::ALL {
        let mut own: Vec<_> = catalogue::of(tool)
            .filter(|command| command.group == group)
            .collect();
        if own.is_empty() {
            continue;
        }
        own.sort_unstable_by_key(|command| command.name);
        text.push_str(&format!("\n{}:\n\n", group.title()));
        for command in own {
            text.push_str(&format!(
                "   {:<NAME_WIDTH$} {}\n",
                command.name, command.summary
            ));
        }
    }
    text.push_str(&format!(
        "\nUse '{} help <command>' to learn more about a specific command\n",
        tool.name()
    ));
    text
}

pub(crate) fn print(text: &str) -> ExitCode {
    // Whoever closed it does not want to read any more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// There is no command on the command line.
pub(crate) fn without_command(tool: Tool, arguments: &Arguments) -> ExitCode {
    if arguments.has("help") {
        return print(&overview(tool));
    }
    complain(&overview(tool))
}

/// There is no command of that name: the one that was meant, or all there are.
pub(crate) fn unknown_command(tool: Tool, name: &str) -> ExitCode {
    let text = match suggestion(tool, name) {
        Some(meant) => {
            format!("\nCommand '{name}' not found. \nDid you mean '{meant}'? \n\n")
        }
        None => match elsewhere(name) {
            Some(other) => format!(
                "\nCommand '{name}' not found. \nDid you mean '{} {name}'? \n\n",
                other.name()
            ),
            None => format!("\nCommand '{name}' not found. \n{}", overview(tool)),
        },
    };
    complain(&text)
}

/// There is no tool of that name (`--script-name`).
pub(crate) fn unknown_tool(name: &str) -> ExitCode {
    let tools = Tool::ALL.map(Tool::name).join(", ");
    complain(&format!("\nThere is no tool '{name}'; there are {tools}\n"))
}

fn complain(text: &str) -> ExitCode {
    // There is nobody else to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(USAGE)
}

/// The command whose name is most like a word, if it is like it.
fn suggestion(tool: Tool, word: &str) -> Option<&'static str> {
    let mut best = None;
    let mut highest = LIKENESS_MIN;
    for name in beginning_with(tool, "") {
        let own = likeness(name, word);
        if own > highest {
            highest = own;
            best = Some(name);
        }
    }
    best
}

/// Another tool that has the command.
fn elsewhere(name: &str) -> Option<Tool> {
    Tool::ALL
        .into_iter()
        .find(|tool| catalogue::find(*tool, name).is_some())
}

/// Jaro's likeness of two words, from 0 to 1: how many letters they share at about the same place, and how many of these are in
/// another order.
fn likeness(a: &str, b: &str) -> f64 {
    let a: Vec<char> = a.chars().take(WORD_LENGTH_MAX).collect();
    let b: Vec<char> = b.chars().take(WORD_LENGTH_MAX).collect();
    let reach = (a.len().max(b.len()) / 2).saturating_sub(1);
    let mut taken = vec![false; b.len()];
    let mut shared = Vec::new();
    for (place, letter) in a.iter().enumerate() {
        let near = place.saturating_sub(reach)..(place + reach + 1).min(b.len());
        let found = near
            .into_iter()
            .find(|other| !taken[*other] && b[*other] == *letter);
        if let Some(other) = found {
            taken[other] = true;
            shared.push(*letter);
        }
    }
    if shared.is_empty() {
        return 0.0;
    }
    let in_order = b.iter().zip(&taken).filter(|(_, taken)| **taken);
    let moved = in_order.zip(&shared).filter(|((b, _), a)| b != a).count();
    let count = shared.len() as f64;
    (count / a.len() as f64 + count / b.len() as f64 + (count - moved as f64 / 2.0) / count) / 3.0
}

/// The names that begin with a prefix.
pub(crate) fn beginning_with(tool: Tool, prefix: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = catalogue::of(tool)
        .map(|command| command.name)
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_suggested() {
        assert_eq!(suggestion(Tool::Ctl, "list_queuez"), Some("list_queues"));
        assert_eq!(suggestion(Tool::Ctl, "lst_users"), Some("list_users"));
        assert_eq!(suggestion(Tool::Ctl, "enable"), Some("enable_feature_flag"));
        assert_eq!(suggestion(Tool::Ctl, "nosuchcommand"), None);
    }

    #[test]
    fn likeness_counts_shared_letters_and_their_order() {
        assert!((likeness("status", "status") - 1.0).abs() < 1e-9);
        assert!((likeness("martha", "marhta") - 0.944).abs() < 1e-3);
        assert!(likeness("", "abc") < 1e-9);
    }
}
