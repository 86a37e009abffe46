//! Completion in shells: what could stand in the place of the last word, and the scripts that make a shell ask for it.
//!
//! A script knows the names of the tools only. What they understand is asked of the tool itself (`rabbitmqctl --complete WORDS`), so
//! that a shell never knows other commands than the program. No node is asked: a key press must not wait for one.

use crate::arguments::{Arguments, GLOBAL};
use crate::catalogue::Command;
use crate::commands::{listing, plugins};
use crate::output::FORMATTERS;
use crate::{Tool, help};

/// The word in front of what is to be completed.
pub(crate) const COMPLETE: &str = "--complete";

/// What could stand in the place of the last of these words behind a tool's name.
pub(crate) fn candidates(tool: Tool, words: &[String]) -> Vec<String> {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", words),
    };
    let arguments = Arguments::read(tool, before.to_vec());
    let mut all = possible(tool, &arguments, last, before);
    all.retain(|candidate| candidate.starts_with(last));
    all.sort_unstable();
    all.dedup();
    all
}

fn possible(tool: Tool, arguments: &Arguments, last: &str, before: &[String]) -> Vec<String> {
    if let Some(option) = before.last().and_then(|word| arguments.unfinished(word)) {
        return match option.name {
            "formatter" => FORMATTERS.map(|(name, _)| name.to_owned()).to_vec(),
            _ => Vec::new(),
        };
    }
    if last.starts_with('-') {
        let own = arguments.command.map_or(&[][..], |command| command.options);
        let names = own.iter().chain(GLOBAL);
        return names.map(|option| format!("--{}", option.name)).collect();
    }
    match arguments.command {
        None if arguments.name.is_none() => names_of_commands(tool),
        None => Vec::new(),
        Some(command) => values(tool, command),
    }
}

fn names_of_commands(tool: Tool) -> Vec<String> {
    let names = help::beginning_with(tool, "");
    names.into_iter().map(str::to_owned).collect()
}

/// Words that a command understands.
fn values(tool: Tool, command: &Command) -> Vec<String> {
    let words: Vec<&str> = match command.name {
        "help" | "autocomplete" => return names_of_commands(tool),
        "enable" | "disable" | "set" | "is_enabled" => plugins::names().collect(),
        name => listing::columns_of(name),
    };
    words.into_iter().map(str::to_owned).collect()
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

/// What a shell reads to complete the command lines of all tools, and those of `warren`, whose subcommands are `subcommands`.
pub fn script(shell: Shell, subcommands: &[String]) -> String {
    let subcommands = subcommands.join(" ");
    let words: Vec<_> = Tool::ALL.iter().map(|tool| tool.word()).collect();
    let names: Vec<_> = Tool::ALL.iter().map(|tool| tool.name()).collect();
    match shell {
        Shell::Bash => format!(
            r#"_warren() {{
    local program=$1 first=1
    if [[ ${{program##*/}} == warren ]]; then
        if (( COMP_CWORD == 1 )); then
            COMPREPLY=($(compgen -W "{subcommands}" -- "$2"))
            return
        fi
        case ${{COMP_WORDS[1]}} in
            {words}) program="$1 ${{COMP_WORDS[1]}}" first=2 ;;
            *) return ;;
        esac
    fi
    COMPREPLY=($($program {COMPLETE} "${{COMP_WORDS[@]:first:COMP_CWORD-first+1}}" 2>/dev/null))
}}
complete -o default -F _warren warren {names}
"#,
            words = words.join("|"),
            names = names.join(" "),
        ),
        Shell::Zsh => format!(
            r#"#compdef warren {names}
local -a found program
local first=2
program=($words[1])
if [[ $service == warren ]]; then
    if (( CURRENT == 2 )); then
        compadd -- {subcommands}
        return
    fi
    case $words[2] in
        {words}) program+=($words[2]); first=3 ;;
        *) _files; return ;;
    esac
fi
found=(${{(f)"$($program {COMPLETE} "${{(@)words[first,CURRENT]}}" 2>/dev/null)"}})
if (( $#found )); then
    compadd -a found
else
    _files
fi
"#,
            names = names.join(" "),
            words = words.join("|"),
        ),
        Shell::Fish => {
            let mut text =
                format!("complete -c warren -n __fish_use_subcommand -f -a '{subcommands}'\n");
            for word in words {
                text.push_str(&format!(
                    "complete -c warren -n '__fish_seen_subcommand_from {word}' -a '(warren {word} {COMPLETE} (commandline -opc)[3..-1] (commandline -ct) 2>/dev/null)'\n"
                ));
            }
            for name in names {
                text.push_str(&format!(
                    "complete -c {name} -a '({name} {COMPLETE} (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'\n"
                ));
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(tool: Tool, words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        candidates(tool, &words)
    }

    #[test]
    fn commands_options_columns_and_formats_are_completed() {
        assert_eq!(completed(Tool::Ctl, &["list_queu"]), ["list_queues"]);
        assert_eq!(completed(Tool::Ctl, &["-q", "help", "add_u"]), ["add_user"]);
        assert_eq!(
            completed(Tool::Ctl, &["list_queues", "--o"]),
            ["--offline", "--online"]
        );
        assert_eq!(
            completed(Tool::Ctl, &["list_queues", "name", "messages_ready"]),
            ["messages_ready", "messages_ready_ram"]
        );
        assert_eq!(
            completed(Tool::Ctl, &["list_queues", "--formatter", "json"]),
            ["json", "json_stream"]
        );
        assert_eq!(
            completed(Tool::Plugins, &["enable", "rabbitmq_sha"]),
            ["rabbitmq_sharding"]
        );
    }

    #[test]
    fn where_nothing_is_known_nothing_is_offered() {
        assert!(completed(Tool::Ctl, &["list_queues", "-p", ""]).is_empty());
        assert!(completed(Tool::Ctl, &["no_such_command", ""]).is_empty());
        assert!(completed(Tool::Ctl, &["delete_user", ""]).is_empty());
        assert!(completed(Tool::Ctl, &[]).len() > 50);
    }

    #[test]
    fn scripts_name_every_tool() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell, &["server".to_owned(), "ctl".to_owned()]);
            for tool in Tool::ALL {
                assert!(script.contains(tool.name()), "{shell:?}");
            }
            assert!(script.contains("server ctl"), "{shell:?}");
        }
    }
}
