//! What is written from the table of commands for people and shells: `docs/cli.md`, manual pages and completions.

use crate::Tool;
use crate::arguments::GLOBAL;
use crate::catalogue::{self, COMMANDS, Command, Group, State};

/// The tables of `docs/cli.md`: each command with its state.
pub fn table() -> String {
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
            "\n### {}\n\n| command | tools | does | state |\n|---|---|---|---|\n",
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
                "| `{}` | {tools} | {} | {} |\n",
                usage.trim_end(),
                command.summary,
                state(command)
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

/// The manual page of a tool, for section 8.
pub fn manual(tool: Tool) -> String {
    let name = tool.name();
    let mut text = format!(
        ".TH {} 8\n.SH NAME\n{name} \\- command line tool of WarrenMQ\n.SH SYNOPSIS\n.B {name}\n[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR]\n.SH OPTIONS\n",
        name.to_uppercase()
    );
    for option in GLOBAL {
        let short = option
            .short
            .map_or_else(String::new, |short| format!(", \\-{short}"));
        text.push_str(&format!(
            ".TP\n.B \\-\\-{}{short}\n{}\n",
            option.name.replace('-', "\\-"),
            option.help
        ));
    }
    text.push_str(".SH COMMANDS\n");
    for command in catalogue::of(tool) {
        text.push_str(&format!(
            ".TP\n.B {} {}\n{}\n",
            command.name,
            command.usage.replace('-', "\\-"),
            command.summary
        ));
        for option in command.options {
            text.push_str(&format!(
                ".RS\n\\-\\-{}: {}\n.RE\n",
                option.name.replace('-', "\\-"),
                option.help
            ));
        }
    }
    text
}

/// A shell that can complete commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// What a shell reads to complete the commands of all tools; they are asked for by `autocomplete`.
pub fn completion(shell: Shell) -> String {
    let mut text = String::new();
    for tool in Tool::ALL {
        let name = tool.name();
        let function = name.replace('-', "_");
        text.push_str(&match shell {
            Shell::Bash => format!(
                "_{function}() {{\n    COMPREPLY=($({name} --silent autocomplete \"${{COMP_WORDS[COMP_CWORD]}}\" 2>/dev/null))\n}}\ncomplete -o default -F _{function} {name}\n"
            ),
            Shell::Zsh => format!(
                "_{function}() {{\n    compadd -- $({name} --silent autocomplete \"${{words[CURRENT]}}\" 2>/dev/null)\n}}\ncompdef _{function} {name}\n"
            ),
            Shell::Fish => format!(
                "complete -c {name} -f -n __fish_use_subcommand -a '({name} --silent autocomplete (commandline -ct) 2>/dev/null)'\n"
            ),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manuals_and_completions_name_every_tool_and_command() {
        for tool in Tool::ALL {
            let manual = manual(tool);
            for command in catalogue::of(tool) {
                assert!(manual.contains(command.name), "{}", command.name);
            }
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                assert!(completion(shell).contains(tool.name()));
            }
        }
    }
}
