//! `warren completion` and `warren manual`: what shells and `man` read, made from the definitions that the program itself uses.
//!
//! The tools' commands are the crate `cli`'s to describe; here are the subcommands of `warren`.

use crate::Arguments;
use anyhow::bail;
use clap::{CommandFactory as _, ValueEnum};
use cli::completion::{self, Shell};
use cli::{Tool, document};
use std::io::Write as _;

/// A shell, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShellName {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Writes what a shell reads.
pub(crate) fn completion(shell: ShellName) {
    let shell = match shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    let commands = Arguments::command();
    let names: Vec<String> = commands
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    print(&completion::script(shell, &names));
}

/// Writes the manual page of `warren` or a tool.
///
/// # Errors
/// There is no such program.
pub(crate) fn manual(program: &str) -> anyhow::Result<()> {
    if program == "warren" {
        print(&own_manual());
        return Ok(());
    }
    let Some(tool) = Tool::find(program) else {
        let tools: Vec<_> = Tool::ALL.iter().map(|tool| tool.name()).collect();
        bail!(
            "no manual page for '{program}': there are warren and {}",
            tools.join(", ")
        );
    };
    print(&document::manual(tool));
    Ok(())
}

fn own_manual() -> String {
    let commands = Arguments::command();
    let mut text = ".TH WARREN 1\n.SH NAME\nwarren \\- a message broker for RabbitMQ's clients\n.SH SYNOPSIS\n.B warren\n\\fIcommand\\fR [\\fIarguments\\fR]\n.SH COMMANDS\n".to_owned();
    for command in commands.get_subcommands() {
        let about = command.get_about().map(ToString::to_string);
        text.push_str(&format!(
            ".TP\n.B {}\n{}\n",
            command.get_name(),
            about.unwrap_or_default().replace('-', "\\-")
        ));
        for inner in command.get_subcommands() {
            let about = inner.get_about().map(ToString::to_string);
            text.push_str(&format!(
                ".RS\n.TP\n.B {}\n{}\n.RE\n",
                inner.get_name(),
                about.unwrap_or_default().replace('-', "\\-")
            ));
        }
    }
    text.push_str(&format!(
        ".SH FIRST STEPS\n.nf\n{}\n.fi\n.SH SEE ALSO\n",
        crate::FIRST_STEPS.replace('-', "\\-")
    ));
    let tools: Vec<_> = Tool::ALL
        .iter()
        .map(|tool| format!(".BR {} (8)", tool.name()))
        .collect();
    text + &tools.join(",\n") + "\n"
}

fn print(text: &str) {
    // Whoever closed it does not want to read any more.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_every_subcommand() {
        let manual = own_manual();
        for command in Arguments::command().get_subcommands() {
            let name = format!("\n.B {}\n", command.get_name());
            assert!(manual.contains(&name), "{name}");
        }
    }

    #[test]
    fn arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }
}
