//! The command line tools: `rabbitmqctl`, `rabbitmq-plugins`, `rabbitmq-diagnostics`, `rabbitmq-queues`, `rabbitmq-streams` and
//! `rabbitmq-upgrade`, each a view of one table of commands.
//!
//! A command reads its arguments, asks a node over its control socket, mostly in the words of the HTTP API, and prints what it hears
//! in one of several formats. What may be done is the node's to decide; nothing here validates what the node validates.
//!
//! Suggested reading order: `catalogue` (all commands), `arguments`, `call`, `node`, `output`, then `commands`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "JSON, terms and kinds of errors are data: what is not named is treated alike, also what may be added"
)]

mod aliases;
mod arguments;
mod call;
mod catalogue;
mod commands;
pub mod completion;
pub mod document;
mod eval;
mod external;
mod failure;
mod help;
mod node;
mod output;
mod pretty;
mod term;

use arguments::Arguments;
use call::Call;
use catalogue::{Command, Needs};
use config::{Place, Process};
use failure::{Failure, Shape};
use node::Node;
use output::{Formatter, Output};
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

/// A tool, by the name it is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `rabbitmqctl`
    Ctl,
    /// `rabbitmq-plugins`
    Plugins,
    /// `rabbitmq-diagnostics`
    Diagnostics,
    /// `rabbitmq-queues`
    Queues,
    /// `rabbitmq-streams`
    Streams,
    /// `rabbitmq-upgrade`
    Upgrade,
}

impl Tool {
    /// All tools.
    pub const ALL: [Self; 6] = [
        Self::Ctl,
        Self::Plugins,
        Self::Diagnostics,
        Self::Queues,
        Self::Streams,
        Self::Upgrade,
    ];

    /// The name of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ctl => "rabbitmqctl",
            Self::Plugins => "rabbitmq-plugins",
            Self::Diagnostics => "rabbitmq-diagnostics",
            Self::Queues => "rabbitmq-queues",
            Self::Streams => "rabbitmq-streams",
            Self::Upgrade => "rabbitmq-upgrade",
        }
    }

    /// The word for it behind `warren`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ctl => "ctl",
            Self::Plugins => "plugins",
            Self::Diagnostics => "diagnostics",
            Self::Queues => "queues",
            Self::Streams => "streams",
            Self::Upgrade => "upgrade",
        }
    }

    /// The tool of a program's name.
    pub fn find(program: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == program)
    }
}

/// Runs a tool with the words behind its name. What it says goes to the standard streams.
pub fn run(tool: Tool, words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = words
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if let Some((first, rest)) = words.split_first()
        && first == completion::COMPLETE
    {
        let candidates = completion::candidates(tool, rest);
        return help::print(
            &candidates
                .iter()
                .map(|word| format!("{word}\n"))
                .collect::<String>(),
        );
    }
    let mut arguments = Arguments::read(tool, words);
    match aliases::expand(tool, &arguments) {
        Ok(None) => {}
        Ok(Some(words)) => arguments = Arguments::read(tool, words),
        Err(problem) => {
            // There is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "{problem}");
        }
    }
    let (tool, arguments) = match arguments.option("script-name").map(Tool::find) {
        None => (tool, arguments),
        Some(Some(tool)) => (tool, Arguments::read(tool, arguments.raw)),
        Some(None) => {
            return help::unknown_tool(arguments.option("script-name").unwrap_or_default());
        }
    };
    let first = arguments.raw.first().map(String::as_str);
    if first == Some("--version") {
        return help::print(&format!("{}\n", commands::general::VERSION));
    }
    let Some(name) = arguments.name.clone().filter(|name| !name.is_empty()) else {
        return help::without_command(tool, &arguments);
    };
    if first == Some("--auto-complete") {
        let names = help::beginning_with(tool, &name);
        return help::print(&(names.join("\n") + "\n"));
    }
    let Some(command) = arguments.command else {
        return help::unknown_command(tool, &name);
    };
    if arguments.has("help") {
        return help::print(&help::of_command(tool, command));
    }
    match execute(tool, command, arguments.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(tool, command, &arguments, &failure),
    }
}

fn execute(tool: Tool, command: &'static Command, arguments: Arguments) -> Result<(), Failure> {
    arguments.check(command)?;
    let formatter = match arguments.option("formatter") {
        Some(name) => Formatter::find(name).ok_or_else(|| {
            let known: Vec<_> = output::FORMATTERS.iter().map(|(name, _)| *name).collect();
            Failure::usage(format!(
                "Formatter {name} does not exist; there are {}",
                known.join(", ")
            ))
        })?,
        None => command.formatter,
    };
    if formatter != Formatter::Table || !command.is_table {
        arguments.check_headers()?;
    }
    let place = Place::find(&Process, arguments.option("node"))
        .map_err(|problem| Failure::argument(problem.to_string()))?;
    let secret = arguments
        .option("erlang-cookie")
        .map(str::to_owned)
        .or_else(|| std::env::var("RABBITMQ_ERLANG_COOKIE").ok());
    let node = Node::new(place, secret, arguments.timeout(), command.name);
    let mut call = Call {
        tool,
        command,
        arguments,
        formatter,
        node,
    };
    if call.arguments.has("dry-run") && !command.counts_when_dry {
        return dry_run(&mut call);
    }
    check_state(&mut call, command.needs)?;
    let mut output = (command.run)(&mut call)?;
    let is_list = matches!(output, Output::Rows { .. });
    if call.formatter == Formatter::Json && !is_list {
        output = output.named(call.node.name());
    }
    let with_headers = !call.arguments.is_without_headers();
    call.print(&call.formatter.format(&output, with_headers));
    Ok(())
}

/// Says what the command would say first, and lets it ask the node nothing.
fn dry_run(call: &mut Call) -> Result<(), Failure> {
    if call.command.needs == Needs::Nothing {
        let name = call.command.name;
        call.say(&format!("Would run {name} and change nothing now"));
        return Ok(());
    }
    call.node.stay_dry();
    match (call.command.run)(call) {
        Err(failure) if failure.shape != Shape::Silent => Err(failure),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Checks that the broker is as the command needs it.
fn check_state(call: &mut Call, needs: Needs) -> Result<(), Failure> {
    let (running, verb, remedy) = match needs {
        Needs::Nothing => return Ok(()),
        Needs::Node => {
            call.node.get("/control/node/ping")?.ok()?;
            return Ok(());
        }
        Needs::Running => (true, "running", "Start it with 'rabbitmqctl start_app'."),
        Needs::Stopped => (false, "stopped", STOP_IT),
    };
    let state = call.node.get("/control/node/ping")?.ok()?;
    if (state["phase"] == "running") == running {
        return Ok(());
    }
    Err(wrong_state(verb, remedy))
}

fn wrong_state(verb: &str, remedy: &str) -> Failure {
    Failure::state(format!(
        "this command requires the 'rabbit' app to be {verb} on the target node. {remedy}"
    ))
}

/// The broker runs and must not.
fn must_be_stopped() -> Failure {
    wrong_state("stopped", STOP_IT)
}

const STOP_IT: &str = "Stop it with 'rabbitmqctl stop_app'.";

fn report(tool: Tool, command: &Command, arguments: &Arguments, failure: &Failure) -> ExitCode {
    let Failure { code, text, shape } = failure;
    let usage = || {
        format!(
            "Arguments given:\n\t{}\n\nUsage\n\n{}\n",
            arguments.raw.join(" "),
            help::usage(tool, command)
        )
    };
    let text = match shape {
        Shape::Validation => format!("Error (argument validation): {text}\n{}", usage()),
        Shape::State => format!("Error: {text}\n{}", usage()),
        Shape::Error => format!("Error:\n{text}\n"),
        Shape::Plain => format!("{text}\n"),
        Shape::Silent => String::new(),
    };
    // There is nobody else to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(*code)
}
