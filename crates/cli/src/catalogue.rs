//! All commands of all tools, in one table: parsing, help, completion, manual pages and `docs/cli.md` are made from it.

use crate::arguments::Opt;
use crate::call::Call;
use crate::commands::*;
use crate::output::{Formatter, Output};
use crate::{Failure, Tool};
use Group as G;
use Tool::{Ctl, Diagnostics, Plugins, Queues, Streams, Upgrade};

/// What a command does.
pub(crate) type Run = fn(&mut Call) -> Result<Output, Failure>;

/// What a command needs before it can do anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// No node.
    Nothing,
    /// The process of the node.
    Node,
    /// A running broker.
    Running,
    /// A stopped broker in a running process.
    Stopped,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It does what it says.
    Done,
    /// It answers for the one node that there is.
    OneNode,
    /// There is nothing here that it could change; it says so and succeeds.
    NoEffect(&'static str),
    /// It is refused.
    Missing(&'static str),
}

/// Commands that belong together in help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Help,
    Nodes,
    Cluster,
    Users,
    Access,
    Monitoring,
    Parameters,
    Policies,
    Vhosts,
    Queues,
    Messages,
    Streams,
    Operations,
    Features,
    Configuration,
    Definitions,
    Plugins,
    Upgrade,
    Other,
    Deprecated,
}

impl Group {
    pub(crate) const ALL: [Self; 20] = [
        Self::Help,
        Self::Nodes,
        Self::Cluster,
        Self::Users,
        Self::Access,
        Self::Monitoring,
        Self::Parameters,
        Self::Policies,
        Self::Vhosts,
        Self::Queues,
        Self::Messages,
        Self::Streams,
        Self::Operations,
        Self::Features,
        Self::Configuration,
        Self::Definitions,
        Self::Plugins,
        Self::Upgrade,
        Self::Other,
        Self::Deprecated,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Help => "Help",
            Self::Nodes => "Nodes",
            Self::Cluster => "Cluster",
            Self::Users => "Users",
            Self::Access => "Access control",
            Self::Monitoring => "Monitoring, observability and health checks",
            Self::Parameters => "Parameters",
            Self::Policies => "Policies",
            Self::Vhosts => "Virtual hosts",
            Self::Queues => "Queues",
            Self::Messages => "Messages",
            Self::Streams => "Streams",
            Self::Operations => "Operations",
            Self::Features => "Feature flags",
            Self::Configuration => "Configuration and environment",
            Self::Definitions => "Definitions",
            Self::Plugins => "Plugins",
            Self::Upgrade => "Upgrade",
            Self::Other => "Other",
            Self::Deprecated => "Deprecated",
        }
    }
}

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) tools: &'static [Tool],
    /// What follows the name.
    pub(crate) usage: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    pub(crate) details: Option<&'static str>,
    /// Fewest and most values.
    pub(crate) values: (usize, usize),
    pub(crate) options: &'static [Opt],
    pub(crate) needs: Needs,
    /// The format unless told otherwise.
    pub(crate) formatter: Formatter,
    /// Whether its rows are a table, whose header can be left out.
    pub(crate) is_table: bool,
    /// Whether it asks the node what it would do when it is only to say so (`--dry-run`).
    pub(crate) counts_when_dry: bool,
    pub(crate) state: State,
    pub(crate) run: Run,
}

/// Any number of values.
const MANY: usize = usize::MAX;

impl Command {
    const fn new(
        name: &'static str,
        group: Group,
        usage: &'static str,
        summary: &'static str,
        run: Run,
    ) -> Self {
        Self {
            name,
            group,
            tools: &[Ctl],
            usage,
            summary,
            details: None,
            values: (0, 0),
            options: &[],
            needs: Needs::Running,
            formatter: Formatter::Table,
            is_table: false,
            counts_when_dry: false,
            state: State::Done,
            run,
        }
    }

    const fn values(mut self, min: usize, max: usize) -> Self {
        self.values = (min, max);
        self
    }

    const fn options(mut self, options: &'static [Opt]) -> Self {
        self.options = options;
        self
    }

    const fn tools(mut self, tools: &'static [Tool]) -> Self {
        self.tools = tools;
        self
    }

    const fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    const fn table(mut self) -> Self {
        self.is_table = true;
        self
    }

    const fn counts_when_dry(mut self) -> Self {
        self.counts_when_dry = true;
        self
    }

    const fn framed(mut self) -> Self {
        self.formatter = Formatter::PrettyTable;
        self
    }

    const fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    const fn details(mut self, details: &'static str) -> Self {
        self.details = Some(details);
        self
    }
}

/// The command of a name.
pub(crate) fn find(tool: Tool, name: &str) -> Option<&'static Command> {
    of(tool).find(|command| command.name == name)
}

/// The commands of a tool.
pub(crate) fn of(tool: Tool) -> impl Iterator<Item = &'static Command> {
    COMMANDS
        .iter()
        .filter(move |command| command.tools.contains(&tool))
}

const CTL_AND_DIAGNOSTICS: &[Tool] = &[Ctl, Diagnostics];
const DIAGNOSTICS: &[Tool] = &[Diagnostics];
const QUEUE_TOOLS: &[Tool] = &[Diagnostics, Queues];
const CTL_AND_QUEUES: &[Tool] = &[Ctl, Queues];
const PLUGINS: &[Tool] = &[Plugins];
const QUEUES: &[Tool] = &[Queues];
const STREAMS: &[Tool] = &[Streams];
const EVERYWHERE: &[Tool] = &Tool::ALL;

const DESCRIPTION: Opt = Opt::text("description", "what the virtual host is for");
const TAGS: Opt = Opt::text("tags", "tags, with commas between them");
const QUEUE_TYPE: Opt = Opt::text(
    "default-queue-type",
    "the type of queues that are declared without one: classic, quorum or stream",
);
const PROTECTED: Opt = Opt::text("protected-from-deletion", "true or false");
const PRIORITY: Opt = Opt::number(
    "priority",
    "the highest of several that match wins; 0 without it",
);
const APPLY_TO: Opt = Opt::text(
    "apply-to",
    "queues, classic_queues, quorum_queues, streams, exchanges or all",
);
const GLOBAL_SWITCH: Opt = Opt::switch("global", "all of them");
const IF_EMPTY: Opt = Opt::switch("if-empty", "only if it has no ready messages").short('e');
const IF_UNUSED: Opt = Opt::switch("if-unused", "only if it has no consumers").short('u');
const FORMAT: Opt = Opt::text("format", "json, or erlang for Erlang's external terms");
const ALL: Opt = Opt::switch("all", "all of them");
const OFFLINE: Opt = Opt::switch("offline", "change the file only, for the next start");
const ONLINE: Opt = Opt::switch("online", "ask the node");
const PLUGINS_FILE: Opt = Opt::text(
    "enabled-plugins-file",
    "the list of enabled plugins, in the place of the node's",
);
const REPLICA_OPTIONS: &[Opt] = &[
    Opt::text("vhost-pattern", "an expression for names of virtual hosts"),
    Opt::text("queue-pattern", "an expression for names of queues"),
    Opt::text("membership", "promotable or voter"),
    Opt::switch("errors-only", "show failures only"),
];
const ENCRYPTION: &[Opt] = &[
    Opt::text(
        "cipher",
        "the cipher; list_ciphers names those that there are",
    ),
    Opt::text(
        "hash",
        "the hash of the key; list_hashes names those that there are",
    ),
    Opt::number("iterations", "rounds of the hash"),
];
const DURATION: Opt =
    Opt::number("duration", "seconds; until it is interrupted without it").short('d');
const PATTERNS: &[Opt] = &[
    Opt::text("vhost-pattern", "an expression for names of virtual hosts"),
    Opt::text("queue-pattern", "an expression for names of queues"),
    Opt::switch("errors-only", "show failures only"),
];
const PID: Opt = Opt::number("pid", "the process of the node").short('P');

const FILTER: Opt = Opt::text(
    "filter",
    "a term of a filter in JSON, as in docs/browsing.md; all terms have to hold",
);
const HEADER: Opt = Opt::text("header", "NAME or NAME=VALUE: it has such a header");
const JSON_PATH: Opt = Opt::text(
    "json",
    "PATH or PATH=VALUE: its body is JSON and has that, $.customer.id=17",
);
const ROUTING_KEY: Opt = Opt::text("routing-key", "its routing key matches; * is any text");
const EXCHANGE: Opt = Opt::text("exchange", "it was published to that exchange");
const BODY: Opt = Opt::text("body", "its body contains the text");
const REDELIVERED: Opt = Opt::switch(
    "redelivered",
    "it was delivered before; --no-redelivered: it was not",
);
const UNACKNOWLEDGED: Opt = Opt::switch(
    "unacknowledged",
    "a consumer has it; --no-unacknowledged: none has",
);
const POSITIONS: Opt = Opt::text(
    "positions",
    "in the place of a filter: positions, with commas between them",
);
const FROM: Opt = Opt::text("from", "the position to begin at");
const COUNT: Opt = Opt::number("count", "so many messages at most; all without it");
const SETTLED_FROM: Opt = Opt::number(
    "settled-from",
    "settled at that time or later, in milliseconds since 1970",
);
const SETTLED_UNTIL: Opt = Opt::number("settled-until", "settled at that time or earlier");
const TO: Opt = Opt::text("to", "the queue to publish them to");
const TO_EXCHANGE: Opt = Opt::text("to-exchange", "the exchange to publish them to");
const TO_ROUTING_KEY: Opt = Opt::text(
    "to-routing-key",
    "with --to-exchange: the routing key, in the place of each message's own",
);
const OF_QUEUE: Opt = Opt::text("queue", "those that wait before this queue");
const OF_EXCHANGE: Opt = Opt::text("exchange", "those that wait at this exchange");

const FILTERED: &str = "A filter is any of --filter, --header, --routing-key, --exchange, --body, --json, --redelivered and --unacknowledged; what is given several times has to hold each time. With --dry-run the messages are counted and left alone.";

const NO_STREAM: State = State::NoEffect(
    "No queue is a stream yet: it answers as RabbitMQ does for a queue that is none.",
);

/// All commands.
pub(crate) static COMMANDS: &[Command] = &[
    Command::new("help", G::Help, "(<command> | [--list-commands])", "Explains a command, or lists all", general::help)
        .values(0, 1).needs(Needs::Nothing).tools(EVERYWHERE)
        .options(&[Opt::switch("list-commands", "only the names of all commands")]),
    Command::new("version", G::Help, "", "Prints the version of RabbitMQ whose commands these are", general::version)
        .needs(Needs::Nothing).tools(EVERYWHERE),
    Command::new("autocomplete", G::Help, "[prefix] [--timeout <timeout>]", "Lists the commands that begin with a prefix", general::autocomplete)
        .values(1, 1).needs(Needs::Nothing).tools(EVERYWHERE),
    Command::new("hash_password", G::Other, "<cleartext_password> [--hashing-algorithm <algorithm>]", "Prints the salted hash of a password, for definitions", general::hash_password)
        .values(0, 1).needs(Needs::Nothing)
        .options(&[Opt::text("hashing-algorithm", "sha256, sha512 or md5")]),

    Command::new("status", G::Monitoring, "[--unit <unit>] [--timeout <timeout>]", "Shows what a node is doing and with what", nodes::status)
        .tools(CTL_AND_DIAGNOSTICS).options(&[Opt::text("unit", "bytes, kb, mb or gb")]),
    Command::new("ping", G::Monitoring, "[--timeout <timeout>]", "Checks that the node's process answers", nodes::ping)
        .tools(CTL_AND_DIAGNOSTICS).needs(Needs::Nothing),
    Command::new("await_startup", G::Nodes, "", "Waits until the broker of a node runs", nodes::await_startup)
        .needs(Needs::Nothing),
    Command::new("wait", G::Nodes, "[<pidfile>] [--pid|-P <pid>] [--timeout <timeout>]", "Waits until the broker of a node runs, as long as its process does", nodes::wait)
        .values(0, 1).needs(Needs::Nothing).options(&[PID]).tools(CTL_AND_DIAGNOSTICS),
    Command::new("stop", G::Nodes, "[--idempotent] [<pidfile>]", "Stops the broker and the process of a node", nodes::stop)
        .values(0, 1).needs(Needs::Nothing)
        .options(&[Opt::switch("idempotent", "a node that does not run is no failure")]),
    Command::new("shutdown", G::Nodes, "[--wait] [--timeout <timeout>]", "Stops the broker and the process of a node, and waits for its end", nodes::shutdown)
        .needs(Needs::Node)
        .options(&[Opt::switch("wait", "wait for the end of the process; --no-wait does not")]),
    Command::new("stop_app", G::Nodes, "", "Stops the broker and leaves its process", nodes::stop_app).needs(Needs::Node),
    Command::new("start_app", G::Nodes, "", "Starts the broker in a process that is there", nodes::start_app).needs(Needs::Node),
    Command::new("reset", G::Nodes, "", "Erases all data of a stopped broker", nodes::reset).needs(Needs::Stopped),
    Command::new("force_reset", G::Cluster, "", "Erases all data of a stopped broker, whatever its cluster says", nodes::force_reset).needs(Needs::Stopped),

    Command::new("add_user", G::Users, "<username> [<password>] [<password_hash> --pre-hashed-password]", "Creates a user, without any permissions", users::add_user)
        .values(1, 2).options(&[Opt::switch("pre-hashed-password", "the password is a hash in base64")])
        .details("A password that is not given is read from the standard input, where other users of the host cannot see it."),
    Command::new("delete_user", G::Users, "<username>", "Deletes a user", users::delete_user).values(1, 1),
    Command::new("change_password", G::Users, "<username> <password>", "Changes the password of a user", users::change_password).values(1, 2)
        .details("A password that is not given is read from the standard input, where other users of the host cannot see it."),
    Command::new("clear_password", G::Users, "<username>", "Takes the password from a user, who cannot log in with one any more", users::clear_password).values(1, 1),
    Command::new("authenticate_user", G::Users, "<username> <password>", "Checks whether a user could log in", users::authenticate_user).values(1, 2)
        .details("A password that is not given is read from the standard input, where other users of the host cannot see it."),
    Command::new("set_user_tags", G::Users, "<username> <tag> [...]", "Gives a user these tags and no others", users::set_user_tags).values(1, MANY),
    Command::new("list_users", G::Users, "[--no-table-headers] [--timeout <timeout>]", "Lists users and their tags", users::list_users).table().tools(CTL_AND_DIAGNOSTICS),
    Command::new("set_user_limits", G::Users, "<username> <definition>", "Limits connections and channels of a user", users::set_user_limits).values(2, 2),
    Command::new("clear_user_limits", G::Users, "<username> <limit_type> | all", "Takes one limit, or all, from a user", users::clear_user_limits).values(2, 2),
    Command::new("list_user_limits", G::Users, "[--user <username>] [--global]", "Lists limits of a user, or of all", users::list_user_limits).table()
        .options(&[Opt::text("user", "the user, guest without it"), GLOBAL_SWITCH]).tools(CTL_AND_DIAGNOSTICS),

    Command::new("set_permissions", G::Access, "[--vhost <vhost>] <username> <conf> <write> <read>", "Says what a user may do in a virtual host", access::set_permissions).values(4, 4),
    Command::new("set_permissions_globally", G::Access, "<username> <conf> <write> <read>", "Says what a user may do in each virtual host there is", access::set_permissions_globally).values(4, 4),
    Command::new("clear_permissions", G::Access, "[--vhost <vhost>] <username>", "Takes a user's permissions in a virtual host", access::clear_permissions).values(1, 1),
    Command::new("list_permissions", G::Access, "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", "Lists who may do what in a virtual host", access::list_permissions).table().tools(CTL_AND_DIAGNOSTICS),
    Command::new("list_user_permissions", G::Access, "[--no-table-headers] <username> [--timeout <timeout>]", "Lists what a user may do where", access::list_user_permissions).table().values(1, 1).tools(CTL_AND_DIAGNOSTICS),
    Command::new("set_topic_permissions", G::Access, "[--vhost <vhost>] <username> <exchange> <write> <read>", "Says which routing keys a user may use with a topic exchange", access::set_topic_permissions).values(4, 4),
    Command::new("clear_topic_permissions", G::Access, "[--vhost <vhost>] <username> [<exchange>]", "Takes a user's topic permissions for an exchange, or for all", access::clear_topic_permissions).values(1, 2),
    Command::new("list_topic_permissions", G::Access, "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", "Lists topic permissions in a virtual host", access::list_topic_permissions).table().tools(CTL_AND_DIAGNOSTICS),
    Command::new("list_user_topic_permissions", G::Access, "[--no-table-headers] <username> [--timeout <timeout>]", "Lists topic permissions of a user", access::list_user_topic_permissions).table().values(1, 1).tools(CTL_AND_DIAGNOSTICS),

    Command::new("list_vhosts", G::Access, "[--no-table-headers] [<column> ...] [--timeout <timeout>]", "Lists virtual hosts", vhosts::list_vhosts).table().values(0, MANY).tools(CTL_AND_DIAGNOSTICS),
    Command::new("add_vhost", G::Vhosts, "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic|stream>]", "Creates a virtual host, in which nobody has permissions", vhosts::add_vhost)
        .values(1, 1).options(&[DESCRIPTION, TAGS, QUEUE_TYPE]),
    Command::new("delete_vhost", G::Vhosts, "<vhost>", "Deletes a virtual host with everything in it", vhosts::delete_vhost).values(1, 1),
    Command::new("update_vhost_metadata", G::Vhosts, "<vhost> [--description=<description>] [--tags=\"<tag1>,<tag2>,<...>\"] [--default-queue-type=<quorum|classic|stream>] [--protected-from-deletion=<true|false>]", "Changes what is said about a virtual host", vhosts::update_vhost_metadata)
        .values(1, 1).options(&[DESCRIPTION, TAGS, QUEUE_TYPE, PROTECTED]),
    Command::new("set_vhost_tags", G::Vhosts, "<vhost> <tag> [...]", "Gives a virtual host these tags and no others", vhosts::set_vhost_tags).values(1, MANY),
    Command::new("enable_vhost_deletion_protection", G::Vhosts, "<vhost>", "Keeps a virtual host from being deleted", vhosts::enable_deletion_protection).values(1, 1),
    Command::new("disable_vhost_deletion_protection", G::Vhosts, "<vhost>", "Lets a virtual host be deleted again", vhosts::disable_deletion_protection).values(1, 1),
    Command::new("set_vhost_limits", G::Vhosts, "[--vhost <vhost>] <definition>", "Limits connections and queues of a virtual host", vhosts::set_vhost_limits).values(1, 1),
    Command::new("clear_vhost_limits", G::Vhosts, "[--vhost <vhost>]", "Takes all limits from a virtual host", vhosts::clear_vhost_limits),
    Command::new("list_vhost_limits", G::Vhosts, "[--vhost <vhost>] [--global] [--no-table-headers]", "Lists limits of a virtual host, or of all", vhosts::list_vhost_limits).table().options(&[GLOBAL_SWITCH]).tools(CTL_AND_DIAGNOSTICS),
    Command::new("restart_vhost", G::Vhosts, "[--vhost <vhost>] [--timeout <timeout>]", "Starts a virtual host that has failed, which none does here", vhosts::restart_vhost),
    Command::new("reconcile_vhosts", G::Vhosts, "[--timeout <timeout>]", "Starts virtual hosts on all nodes; they are always started here", vhosts::reconcile_vhosts),
    Command::new("trace_on", G::Vhosts, "[--vhost <vhost>]", "Copies all messages of a virtual host to amq.rabbitmq.trace", vhosts::trace_on),
    Command::new("trace_off", G::Vhosts, "[--vhost <vhost>]", "Stops copying them", vhosts::trace_off),

    Command::new("set_parameter", G::Parameters, "[--vhost <vhost>] <component_name> <name> <value>", "Sets a runtime parameter of a virtual host", parameters::set_parameter).values(3, 3),
    Command::new("clear_parameter", G::Parameters, "[--vhost <vhost>] <component_name> <name>", "Clears a runtime parameter of a virtual host", parameters::clear_parameter).values(2, 2),
    Command::new("list_parameters", G::Parameters, "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", "Lists the runtime parameters of a virtual host", parameters::list_parameters).table().tools(CTL_AND_DIAGNOSTICS),
    Command::new("set_global_parameter", G::Parameters, "<name> <value>", "Sets a runtime parameter of the cluster", parameters::set_global_parameter).values(2, 2),
    Command::new("clear_global_parameter", G::Parameters, "<name>", "Clears a runtime parameter of the cluster", parameters::clear_global_parameter).values(1, 1),
    Command::new("list_global_parameters", G::Parameters, "[--no-table-headers] [--timeout <timeout>]", "Lists the runtime parameters of the cluster", parameters::list_global_parameters).table().tools(CTL_AND_DIAGNOSTICS),
    Command::new("set_policy", G::Policies, "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>", "Creates or changes a policy", parameters::set_policy).values(3, 3).options(&[PRIORITY, APPLY_TO]),
    Command::new("clear_policy", G::Policies, "[--vhost <vhost>] <name>", "Deletes a policy", parameters::clear_policy).values(1, 1),
    Command::new("list_policies", G::Policies, "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", "Lists policies", parameters::list_policies).table().tools(CTL_AND_DIAGNOSTICS),
    Command::new("set_operator_policy", G::Policies, "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>", "Creates or changes an operator policy, which limits what policies and arguments say", parameters::set_operator_policy).values(3, 3).options(&[PRIORITY, APPLY_TO]),
    Command::new("clear_operator_policy", G::Policies, "[--vhost <vhost>] <name>", "Deletes an operator policy", parameters::clear_operator_policy).values(1, 1),
    Command::new("list_operator_policies", G::Policies, "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", "Lists operator policies", parameters::list_operator_policies).table().tools(CTL_AND_DIAGNOSTICS),

    Command::new("list_queues", G::Monitoring, "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...] [--timeout <timeout>]", "Lists queues and what is in them", listing::list_queues).table()
        .values(0, MANY).tools(CTL_AND_DIAGNOSTICS)
        .options(&[Opt::switch("online", "queues that are up"), Opt::switch("offline", "queues that are down"), Opt::switch("local", "queues of this node")]),
    Command::new("list_exchanges", G::Monitoring, "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]", "Lists exchanges", listing::list_exchanges).table().values(0, MANY).tools(CTL_AND_DIAGNOSTICS),
    Command::new("list_bindings", G::Monitoring, "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]", "Lists bindings", listing::list_bindings).table().values(0, MANY).tools(CTL_AND_DIAGNOSTICS),
    Command::new("list_connections", G::Monitoring, "[--no-table-headers] [<column> ...] [--timeout <timeout>]", "Lists client connections", listing::list_connections).table().values(0, MANY).tools(CTL_AND_DIAGNOSTICS),
    Command::new("list_channels", G::Monitoring, "[--no-table-headers] [<column> ...]", "Lists channels", listing::list_channels).table().values(0, MANY).tools(CTL_AND_DIAGNOSTICS),
    Command::new("list_consumers", G::Monitoring, "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]", "Lists consumers", listing::list_consumers).table().values(0, MANY).tools(CTL_AND_DIAGNOSTICS),
    Command::new("list_unresponsive_queues", G::Monitoring, "[--local] [--queue-timeout <seconds>] [<column> ...] [--no-table-headers] [--timeout <timeout>]", "Lists queues that do not answer in time", listing::list_unresponsive_queues).table()
        .values(0, MANY).tools(CTL_AND_DIAGNOSTICS)
        .options(&[Opt::switch("local", "queues of this node"), Opt::number("queue-timeout", "milliseconds for each queue")]),

    Command::new("purge_queue", G::Queues, "<queue> [--timeout <timeout>]", "Drops all ready messages of a queue", operations::purge_queue).values(1, 1),
    Command::new("delete_queue", G::Queues, "[--vhost <vhost>] <queue_name> [--if-empty|-e] [--if-unused|-u] [--force] [--timeout <timeout>]", "Deletes a queue", operations::delete_queue)
        .values(1, 1).options(&[IF_EMPTY, IF_UNUSED, Opt::switch("force", "queues of this node are always deleted in order")]),
    Command::new("pause_queue", G::Queues, "[--vhost <vhost>] <queue> [--timeout <timeout>]", "Stops the deliveries of a queue, also over restarts", messages::pause).values(1, 1).tools(CTL_AND_QUEUES),
    Command::new("resume_queue", G::Queues, "[--vhost <vhost>] <queue> [--timeout <timeout>]", "Lets the deliveries of a queue go on", messages::resume).values(1, 1).tools(CTL_AND_QUEUES),
    Command::new("browse_messages", G::Messages, "[--vhost <vhost>] <queue> [--positions <position,...> | <filter>] [--settled] [--from <position>] [--count <count>] [--truncate <bytes>] [--no-table-headers] [<column> ...] [--timeout <timeout>]", "Shows messages of a queue and leaves them there", messages::browse)
        .values(1, MANY).table().tools(CTL_AND_QUEUES)
        .options(&[
            FILTER, HEADER, ROUTING_KEY, EXCHANGE, BODY, JSON_PATH, REDELIVERED, UNACKNOWLEDGED, POSITIONS, FROM,
            Opt::number("count", "so many messages at most; 100 without it"),
            Opt::number("truncate", "bytes of each payload at most"),
            Opt::switch("settled", "settled messages that the replay window keeps"), SETTLED_FROM, SETTLED_UNTIL,
        ])
        .details("A filter is any of --filter, --header, --routing-key, --exchange, --body, --json, --redelivered and --unacknowledged; what is given several times has to hold each time."),
    Command::new("move_messages", G::Messages, "[--vhost <vhost>] <queue> (--to <queue> | --to-exchange <exchange> [--to-routing-key <key>]) (--all | --positions <position,...> | <filter>) [--from <position>] [--count <count>] [--dry-run] [--timeout <timeout>]", "Publishes messages of a queue elsewhere, then removes them", messages::move_messages)
        .values(1, 1).tools(CTL_AND_QUEUES).counts_when_dry()
        .options(&[FILTER, HEADER, ROUTING_KEY, EXCHANGE, BODY, JSON_PATH, REDELIVERED, UNACKNOWLEDGED, POSITIONS, FROM, COUNT, ALL, TO, TO_EXCHANGE, TO_ROUTING_KEY]).details(FILTERED),
    Command::new("copy_messages", G::Messages, "[--vhost <vhost>] <queue> (--to <queue> | --to-exchange <exchange> [--to-routing-key <key>]) (--all | --positions <position,...> | <filter>) [--from <position>] [--count <count>] [--dry-run] [--timeout <timeout>]", "Publishes messages of a queue elsewhere and leaves them there", messages::copy)
        .values(1, 1).tools(CTL_AND_QUEUES).counts_when_dry()
        .options(&[FILTER, HEADER, ROUTING_KEY, EXCHANGE, BODY, JSON_PATH, REDELIVERED, UNACKNOWLEDGED, POSITIONS, FROM, COUNT, ALL, TO, TO_EXCHANGE, TO_ROUTING_KEY]).details(FILTERED),
    Command::new("delete_messages", G::Messages, "[--vhost <vhost>] <queue> (--all | --positions <position,...> | <filter>) [--from <position>] [--count <count>] [--dry-run] [--timeout <timeout>]", "Removes messages from a queue", messages::delete)
        .values(1, 1).tools(CTL_AND_QUEUES).counts_when_dry()
        .options(&[FILTER, HEADER, ROUTING_KEY, EXCHANGE, BODY, JSON_PATH, REDELIVERED, UNACKNOWLEDGED, POSITIONS, FROM, COUNT, ALL]).details(FILTERED),
    Command::new("replay_messages", G::Messages, "[--vhost <vhost>] <queue> [--to <queue> | --to-exchange <exchange> [--to-routing-key <key>]] (--all | --positions <position,...> | <filter>) [--settled-from <ms>] [--settled-until <ms>] [--from <position>] [--count <count>] [--dry-run] [--timeout <timeout>]", "Publishes messages again that consumers have settled and the replay window keeps", messages::replay)
        .values(1, 1).tools(CTL_AND_QUEUES).counts_when_dry()
        .options(&[FILTER, HEADER, ROUTING_KEY, EXCHANGE, BODY, JSON_PATH, REDELIVERED, UNACKNOWLEDGED, POSITIONS, FROM, COUNT, ALL, SETTLED_FROM, SETTLED_UNTIL, TO, TO_EXCHANGE, TO_ROUTING_KEY]).details(FILTERED),
    Command::new("forget_settled_messages", G::Messages, "[--vhost <vhost>] <queue> [--timeout <timeout>]", "Drops what the replay window of a queue keeps", messages::forget).values(1, 1).tools(CTL_AND_QUEUES),
    Command::new("list_delayed_messages", G::Messages, "[--vhost <vhost>] (--queue <queue> | --exchange <exchange>) [--count <count>] [--no-table-headers] [--timeout <timeout>]", "Lists messages that wait for their time, those that are due first", messages::list_delayed)
        .table().tools(CTL_AND_QUEUES)
        .options(&[OF_QUEUE, OF_EXCHANGE, Opt::number("count", "so many messages at most: 100 without it, 1000 at most")]),
    Command::new("cancel_delayed_messages", G::Messages, "[--vhost <vhost>] (--queue <queue> | --exchange <exchange>) (--message-id <id> | --positions <position,...> | --all) [--timeout <timeout>]", "Drops messages that wait for their time", messages::cancel_delayed)
        .tools(CTL_AND_QUEUES)
        .options(&[OF_QUEUE, OF_EXCHANGE, Opt::text("message-id", "those with this property"), Opt::text("positions", "positions of the list, with commas between them"), ALL]),
    Command::new("close_connection", G::Operations, "<connection pid> <explanation>", "Closes a connection, which list_connections names by its pid", operations::close_connection).values(2, 2),
    Command::new("close_all_connections", G::Operations, "[--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay <delay>] <explanation>", "Closes all connections of a virtual host, or of the node", operations::close_all_connections)
        .values(1, 1).options(&[GLOBAL_SWITCH, Opt::number("limit", "so many at most"), Opt::number("per-connection-delay", "milliseconds between two of them")]),
    Command::new("close_all_user_connections", G::Operations, "<username> <explanation>", "Closes all connections of a user", operations::close_all_user_connections)
        .values(2, 2).options(&[Opt::number("limit", "so many at most"), Opt::number("per-connection-delay", "milliseconds between two of them")]),

    Command::new("cluster_status", G::Cluster, "[--timeout <timeout>]", "Shows the nodes of the cluster and how they are", cluster::cluster_status).tools(CTL_AND_DIAGNOSTICS).state(State::OneNode),
    Command::new("set_cluster_name", G::Configuration, "<name>", "Names the cluster", cluster::set_cluster_name).values(1, 1),
    Command::new("join_cluster", G::Cluster, "[--disc] <existing_cluster_member>", "Makes a node a member of a cluster", cluster::join_cluster)
        .values(1, 1).needs(Needs::Node).options(&[Opt::switch("disc", "every node keeps its data on the disk")])
        .state(State::Missing("A cluster of WarrenMQ has one node so far: joining another is refused.")),
    Command::new("forget_cluster_node", G::Cluster, "[--offline] <existing_cluster_member_node>", "Removes a node from the cluster", cluster::forget_cluster_node)
        .values(1, 1).needs(Needs::Nothing).options(&[Opt::switch("offline", "while the local node does not run")]).state(State::OneNode),
    Command::new("force_boot", G::Cluster, "", "Lets a node start without the rest of its cluster", cluster::force_boot)
        .needs(Needs::Nothing).state(State::NoEffect("A single node waits for nobody when it starts.")),
    Command::new("force_standalone_khepri_boot", G::Cluster, "", "Lets a node start as the only one of its cluster", cluster::force_standalone_boot)
        .needs(Needs::Nothing).state(State::NoEffect("A single node waits for nobody when it starts.")),
    Command::new("await_online_nodes", G::Cluster, "<count> [--timeout <timeout>]", "Waits until the cluster has that many nodes", cluster::await_online_nodes).values(1, 1).state(State::OneNode),
    Command::new("rename_cluster_node", G::Deprecated, "<oldnode1> <newnode1> [oldnode2] [newnode2] ...", "Does nothing, as in RabbitMQ 4", cluster::deprecated).values(2, MANY).needs(Needs::Nothing).state(State::NoEffect("It does nothing in RabbitMQ 4 either.")),
    Command::new("update_cluster_nodes", G::Deprecated, "<seed_node>", "Does nothing, as in RabbitMQ 4", cluster::deprecated).values(1, 1).needs(Needs::Stopped).state(State::NoEffect("It does nothing in RabbitMQ 4 either.")),
    Command::new("node_health_check", G::Deprecated, "[--timeout <timeout>]", "Does nothing, as in RabbitMQ 4", cluster::node_health_check).tools(CTL_AND_DIAGNOSTICS).needs(Needs::Nothing).state(State::NoEffect("It does nothing in RabbitMQ 4 either.")),
    Command::new("rotate_logs", G::Configuration, "", "Begins new log files", maintenance::rotate_logs),
    Command::new("list_feature_flags", G::Features, "[<column> ...] [--timeout <timeout>]", "Lists feature flags", cluster::list_feature_flags).table().values(0, MANY).tools(CTL_AND_DIAGNOSTICS)
        .state(State::NoEffect("There are no flags to switch: whatever a node can do, it does.")),
    Command::new("enable_feature_flag", G::Features, "[--opt-in] <all | feature_flag>", "Enables a feature flag, or all", cluster::enable_feature_flag).values(1, 1)
        .options(&[Opt::switch("opt-in", "also flags that are experiments"), Opt::switch("experimental", "the same")])
        .state(State::NoEffect("There are no flags to switch: whatever a node can do, it does.")),
    Command::new("list_deprecated_features", G::Features, "[--used] [<column> ...]", "Lists deprecated features", cluster::list_deprecated_features).tools(CTL_AND_DIAGNOSTICS).framed().values(0, MANY).options(&[Opt::switch("used", "those that are in use")]),

    Command::new("set_vm_memory_high_watermark", G::Configuration, "<fraction> | absolute <value>", "Says at which use of memory publishers are blocked, until the node starts again", settings::set_vm_memory_high_watermark).values(1, 2),
    Command::new("set_disk_free_limit", G::Configuration, "<disk_limit> | mem_relative <fraction>", "Says below which free disk space publishers are blocked, until the node starts again", settings::set_disk_free_limit).values(1, 2),
    Command::new("export_definitions", G::Definitions, "<file_path | \"-\"> [--format <json | erlang>] [--timeout <timeout>]", "Writes everything but messages to a file", settings::export_definitions).values(1, 1).options(&[FORMAT]),
    Command::new("import_definitions", G::Definitions, "<file_path> [--format <json | erlang>] [--skip-if-unchanged] [--timeout <timeout>]", "Reads a file of definitions, all of it or nothing", settings::import_definitions).values(0, 1).options(&[FORMAT, Opt::switch("skip-if-unchanged", "not if the file is the one that was imported last")])
        .details("Without a file, or with - in its place, the standard input is read."),

    Command::new("alarms", G::Monitoring, "[--timeout <timeout>]", "Lists alarms for memory and disk", diagnostics::list_alarms).tools(DIAGNOSTICS),
    Command::new("check_alarms", G::Monitoring, "[--timeout <timeout>]", "Fails if there is an alarm", diagnostics::check_alarms).tools(DIAGNOSTICS),
    Command::new("check_local_alarms", G::Deprecated, "[--timeout <timeout>]", "Does nothing, as in RabbitMQ 4", diagnostics::check_local_alarms).tools(DIAGNOSTICS).state(State::NoEffect("It does nothing in RabbitMQ 4 either.")),
    Command::new("check_running", G::Monitoring, "[--timeout <timeout>]", "Fails if the broker does not run", diagnostics::check_running).tools(DIAGNOSTICS).needs(Needs::Node),
    Command::new("is_running", G::Monitoring, "[--timeout <timeout>]", "Says whether the broker runs", diagnostics::is_running).tools(DIAGNOSTICS).needs(Needs::Node),
    Command::new("is_booting", G::Monitoring, "[--timeout <timeout>]", "Says whether the broker is starting", diagnostics::is_booting).tools(DIAGNOSTICS).needs(Needs::Node),
    Command::new("listeners", G::Monitoring, "[--timeout <timeout>]", "Lists where clients can connect", diagnostics::listeners).tools(DIAGNOSTICS),
    Command::new("check_port_listener", G::Monitoring, "<port> [--timeout <timeout>]", "Fails if nothing listens on a port", diagnostics::check_port_listener).values(1, 1).tools(DIAGNOSTICS),
    Command::new("check_protocol_listener", G::Monitoring, "<protocol> [--timeout <timeout>]", "Fails if nothing listens for a protocol", diagnostics::check_protocol_listener).values(1, 1).tools(DIAGNOSTICS),
    Command::new("check_port_connectivity", G::Monitoring, "[--address <target address>] [--timeout <timeout>]", "Connects to all listeners", diagnostics::check_port_connectivity).tools(DIAGNOSTICS).options(&[Opt::text("address", "where to connect to")]),
    Command::new("check_virtual_hosts", G::Monitoring, "[--timeout <timeout>]", "Fails if a virtual host does not run", diagnostics::check_virtual_hosts).tools(DIAGNOSTICS),
    Command::new("check_certificate_expiration", G::Monitoring, "[--within <period>] [--unit <unit>]", "Fails if a certificate expires soon", diagnostics::check_certificate_expiration).tools(DIAGNOSTICS)
        .options(&[Opt::number("within", "how soon; 4 without it"), Opt::text("unit", "days, weeks, months or years")]),
    Command::new("check_if_node_is_quorum_critical", G::Monitoring, "[--timeout <timeout>]", "Fails if queues would lose their quorum with this node", diagnostics::check_if_node_is_quorum_critical).tools(QUEUE_TOOLS).state(State::OneNode),
    Command::new("check_if_new_quorum_queue_replicas_have_finished_initial_sync", G::Monitoring, "[--timeout <timeout>]", "Fails if there are replicas that are not complete yet", diagnostics::check_new_replicas).tools(QUEUE_TOOLS).state(State::OneNode),
    Command::new("check_for_quorum_queues_without_an_elected_leader", G::Monitoring, "[--vhost <vhost>] [--across-all-vhosts] <pattern>", "Fails if there are quorum queues without a leader", diagnostics::check_leaders).values(1, 1).tools(DIAGNOSTICS).options(&[Opt::switch("across-all-vhosts", "in all virtual hosts")]).state(State::OneNode),
    Command::new("check_if_metadata_store_is_initialized", G::Monitoring, "[--timeout <timeout>]", "Fails if the metadata is not there yet", diagnostics::check_metadata_store).tools(DIAGNOSTICS),
    Command::new("check_if_metadata_store_is_initialized_with_data", G::Monitoring, "[--timeout <timeout>]", "Fails if the metadata is not there yet", diagnostics::check_metadata_store).tools(DIAGNOSTICS),
    Command::new("check_if_any_deprecated_features_are_used", G::Monitoring, "[--timeout <timeout>]", "Fails if deprecated features are in use", diagnostics::check_deprecated_features).tools(CTL_AND_DIAGNOSTICS),
    Command::new("check_if_cluster_has_classic_queue_mirroring_policy", G::Monitoring, "[--timeout <timeout>]", "Fails if policies ask for mirrored queues, which there are none of", diagnostics::check_mirroring).tools(QUEUE_TOOLS),
    Command::new("list_policies_with_classic_queue_mirroring", G::Monitoring, "[--no-table-headers] [--timeout <timeout>]", "Lists policies that ask for mirrored queues", diagnostics::list_mirroring).table().tools(QUEUE_TOOLS),
    Command::new("list_operator_policies_with_classic_queue_mirroring", G::Monitoring, "[--no-table-headers] [--timeout <timeout>]", "Lists operator policies that ask for mirrored queues", diagnostics::list_mirroring).table().tools(QUEUE_TOOLS),
    Command::new("check_if_node_is_mirror_sync_critical", G::Deprecated, "[--timeout <timeout>]", "Does nothing, as in RabbitMQ 4", diagnostics::check_mirror_sync).tools(QUEUE_TOOLS).state(State::NoEffect("It does nothing in RabbitMQ 4 either.")),
    Command::new("memory_breakdown", G::Monitoring, "[--unit <unit>] [--timeout <timeout>]", "Shows what memory is used for", diagnostics::memory_breakdown).tools(DIAGNOSTICS).options(&[Opt::text("unit", "bytes, kb, mb or gb")]),
    Command::new("server_version", G::Monitoring, "[--timeout <timeout>]", "Prints the version of RabbitMQ whose behaviour the node has", diagnostics::server_version).tools(DIAGNOSTICS).needs(Needs::Node),
    Command::new("erlang_version", G::Monitoring, "[--timeout <timeout>]", "Says that there is no Erlang", diagnostics::erlang_version).tools(DIAGNOSTICS).options(&[Opt::switch("details", "the same"), Opt::switch("offline", "the same")]),
    Command::new("discover_peers", G::Monitoring, "[--timeout <timeout>]", "Lists the nodes of the cluster", diagnostics::discover_peers).tools(DIAGNOSTICS).state(State::OneNode),
    Command::new("resolve_hostname", G::Configuration, "<hostname> [--address-family <ipv4 | ipv6>]", "Resolves the name of a host", diagnostics::resolve_hostname).values(1, 1).tools(DIAGNOSTICS).options(&[Opt::text("address-family", "ipv4 or ipv6"), Opt::switch("offline", "by the tool; both run on one host")]),
    Command::new("list_node_auth_attempt_stats", G::Monitoring, "[--by-source]", "Lists how many logins were tried", diagnostics::auth_attempts).table().tools(CTL_AND_DIAGNOSTICS).options(&[Opt::switch("by-source", "by address and user")]),
    Command::new("has_reached_target_cluster_size", G::Upgrade, "[--timeout <timeout>]", "Fails if the cluster has too few nodes", diagnostics::has_reached_target_cluster_size).tools(&[Ctl, Diagnostics, Upgrade]).state(State::OneNode),
    Command::new("log_location", G::Configuration, "[--all|-a] [--timeout <timeout>]", "Says where the log goes", diagnostics::log_location).tools(DIAGNOSTICS).options(&[Opt::switch("all", "all places").short('a')]),
    Command::new("list_policies_that_match", G::Policies, "[--object-type <type>] <name>", "Lists policies about a queue or exchange, the one that holds first", diagnostics::list_policies_that_match).values(1, 1).tools(DIAGNOSTICS).framed().options(&[Opt::text("object-type", "queue or exchange")]),

    Command::new("eval", G::Operations, "<expression>", "Evaluates an Erlang expression about the node", eval::eval).values(0, MANY).needs(Needs::Nothing)
        .details("The functions that there are, and limits, are in docs/eval.md. Further arguments are _1, _2 and so on; without any the expression is read from the standard input."),
    Command::new("eval_file", G::Operations, "<file path>", "Evaluates an Erlang expression in a file", eval::eval_file).values(1, 1).needs(Needs::Nothing),
    Command::new("exec", G::Operations, "<expression> [--offline]", "Evaluates Elixir in the tool, which has none", eval::exec).values(1, 1).needs(Needs::Nothing)
        .options(&[Opt::switch("offline", "without a node")]).state(State::Missing("The tools are not written in Elixir; 'eval' takes Erlang.")),
    Command::new("environment", G::Configuration, "", "Shows what the node is configured with, as Erlang terms", environment::environment).tools(CTL_AND_DIAGNOSTICS),
    Command::new("report", G::Monitoring, "", "Shows everything about the node at once", environment::report).values(0, MANY).tools(CTL_AND_DIAGNOSTICS),
    Command::new("os_env", G::Configuration, "[--timeout <timeout>]", "Lists the RABBITMQ_* variables of the node's process", environment::os_env).tools(DIAGNOSTICS),
    Command::new("command_line_arguments", G::Configuration, "", "Lists the arguments of the node's process", environment::command_line_arguments).tools(DIAGNOSTICS),
    Command::new("encode", G::Configuration, "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]", "Encrypts an Erlang term for advanced.config", encryption::encode).values(0, 2).needs(Needs::Nothing).options(ENCRYPTION),
    Command::new("decode", G::Configuration, "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]", "Decrypts a term of advanced.config", encryption::decode).values(0, 2).needs(Needs::Nothing).options(ENCRYPTION),
    Command::new("encrypt_conf_value", G::Configuration, "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]", "Encrypts a text for rabbitmq.conf", encryption::encrypt_conf_value).values(0, 2).needs(Needs::Nothing).options(ENCRYPTION),
    Command::new("decrypt_conf_value", G::Configuration, "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]", "Decrypts a text of rabbitmq.conf", encryption::decrypt_conf_value).values(0, 2).needs(Needs::Nothing).options(ENCRYPTION),
    Command::new("list_ciphers", G::Configuration, "", "Lists ciphers for encrypted values", encryption::list_ciphers).tools(CTL_AND_DIAGNOSTICS).needs(Needs::Nothing),
    Command::new("list_hashes", G::Configuration, "", "Lists hashes for encrypted values", encryption::list_hashes).tools(CTL_AND_DIAGNOSTICS).needs(Needs::Nothing),

    Command::new("suspend_listeners", G::Operations, "", "Closes the listeners for clients; connections stay", maintenance::suspend_listeners),
    Command::new("resume_listeners", G::Operations, "", "Opens the listeners for clients again", maintenance::resume_listeners),
    Command::new("drain", G::Upgrade, "", "Puts the node into maintenance: no listeners, no clients", maintenance::drain).tools(&[Upgrade]),
    Command::new("revive", G::Upgrade, "", "Ends the maintenance of the node", maintenance::revive).tools(&[Upgrade]),
    Command::new("force_gc", G::Operations, "[--timeout <timeout>]", "Gives memory that is free back to the operating system", maintenance::force_gc),
    Command::new("reset_stats_db", G::Operations, "[--all]", "Forgets what was sampled for rates and charts", maintenance::reset_stats_db).values(0, MANY).options(&[Opt::switch("all", "on all nodes")]),
    Command::new("activate_free_disk_space_monitoring", G::Operations, "[--timeout <timeout>]", "Watches free disk space again", maintenance::activate_disk_monitor).tools(CTL_AND_DIAGNOSTICS),
    Command::new("deactivate_free_disk_space_monitoring", G::Operations, "[--timeout <timeout>]", "Watches free disk space no more, until the node starts again", maintenance::deactivate_disk_monitor).tools(CTL_AND_DIAGNOSTICS),
    Command::new("set_log_level", G::Configuration, "<log_level>", "Sets the level of the log, until the node starts again", maintenance::set_log_level).values(1, 1)
        .details("Levels: debug, info, warning, error, critical, none."),
    Command::new("log_tail", G::Configuration, "[--number|-N <number>] [--timeout <timeout>]", "Shows the last lines of the log's file", maintenance::log_tail).tools(DIAGNOSTICS).options(&[Opt::number("number", "lines to show; 50 without it").short('N')]),
    Command::new("log_tail_stream", G::Configuration, "[--duration|-d <seconds>] [--timeout <timeout>]", "Shows what comes into the log's file", maintenance::log_tail_stream).tools(DIAGNOSTICS).options(&[DURATION]),
    Command::new("consume_event_stream", G::Monitoring, "[--duration|-d <seconds>] [--pattern <pattern>] [--timeout <timeout>]", "Shows events of the node as they happen, a JSON object each", maintenance::consume_event_stream).tools(DIAGNOSTICS)
        .options(&[DURATION, Opt::text("pattern", "events whose name matches, as a topic; all without it")]),

    Command::new("certificates", G::Configuration, "", "Lists certificates of TLS listeners", runtime::certificates).tools(DIAGNOSTICS),
    Command::new("tls_versions", G::Configuration, "[--timeout <timeout>]", "Lists versions of TLS that can be spoken", runtime::tls_versions).tools(DIAGNOSTICS).needs(Needs::Nothing),
    Command::new("cipher_suites", G::Configuration, "[--format <openssl | erlang | map>] [--all] [--timeout <timeout>]", "Lists cipher suites that TLS can use", runtime::cipher_suites).tools(DIAGNOSTICS).needs(Needs::Nothing)
        .options(&[Opt::text("format", "openssl, erlang or map"), Opt::switch("all", "the same: there are no others")]),
    Command::new("runtime_thread_stats", G::Monitoring, "[--sample-interval <interval>]", "Shows what the node's threads do", runtime::runtime_thread_stats).tools(DIAGNOSTICS).needs(Needs::Node).options(&[Opt::number("sample-interval", "seconds; 5 without it")]),
    Command::new("maybe_stuck", G::Monitoring, "[--timeout <timeout>]", "Looks for threads that do not get on", runtime::maybe_stuck).tools(DIAGNOSTICS).needs(Needs::Node),
    Command::new("erlang_cookie_hash", G::Configuration, "[--timeout <timeout>]", "Shows a hash of the node's secret", runtime::cookie_hash).tools(DIAGNOSTICS).needs(Needs::Nothing),
    Command::new("erlang_cookie_sources", G::Configuration, "[--timeout <timeout>]", "Shows where the tools take the node's secret from", runtime::cookie_sources).tools(DIAGNOSTICS).needs(Needs::Nothing),
    Command::new("list_network_interfaces", G::Monitoring, "[--timeout <timeout>]", "Lists network interfaces of the host", runtime::list_network_interfaces).tools(DIAGNOSTICS).needs(Needs::Nothing).options(&[Opt::switch("offline", "those that are down")]),
    Command::new("resolver_info", G::Configuration, "", "Shows how names of hosts are resolved", runtime::resolver_info).tools(DIAGNOSTICS).needs(Needs::Nothing).options(&[Opt::switch("offline", "the same")]),
    Command::new("metadata_store_status", G::Cluster, "", "Shows the replicas of the metadata", runtime::metadata_store_status).tools(DIAGNOSTICS).framed().state(State::OneNode),
    Command::new("consistent_hash_exchange_ring_state", G::Monitoring, "<exchange>", "Shows the places of a consistent-hash exchange's ring", runtime::ring_state).values(1, 1).tools(DIAGNOSTICS),
    Command::new("message_size_stats", G::Monitoring, "[--timeout <timeout>]", "Shows how large published messages are", runtime::message_size_stats).tools(DIAGNOSTICS).framed(),
    Command::new("observer", G::Monitoring, "[--interval <seconds>]", "Shows what the node is doing, again and again", observer::observer).tools(DIAGNOSTICS).needs(Needs::Running).options(&[Opt::number("interval", "seconds between two looks; 5 without it")])
        .details("Ends when it is interrupted; where the output is no terminal, after one look."),
    Command::new("remote_shell", G::Configuration, "", "Reads expressions of eval and evaluates them one by one", eval::remote_shell).tools(DIAGNOSTICS).needs(Needs::Node)
        .details("Variables stay for the expressions behind; f(). forgets them. q(). or the end of the input ends it."),
    Command::new("list_channel_interceptors", G::Monitoring, "[--no-table-headers] [--timeout <timeout>]", "Lists channel interceptors, which there are none of", runtime::list_channel_interceptors).table().tools(CTL_AND_DIAGNOSTICS),
    Command::new("set_channel_interceptor_priorities", G::Operations, "<interceptor> <priority> [<interceptor> <priority> ...] [--timeout <timeout>]", "Orders channel interceptors, which there are none of", runtime::set_channel_interceptor_priorities).values(2, MANY),
    Command::new("remove_classic_queue_mirroring_from_policies", G::Policies, "[--timeout <timeout>]", "Removes keys for mirrored queues from policies, which have none", runtime::remove_mirroring),
    Command::new("enable_auth_attempt_source_tracking", G::Configuration, "", "Counts logins by address and name, too", logins::enable_attempt_sources).tools(DIAGNOSTICS),
    Command::new("disable_auth_attempt_source_tracking", G::Configuration, "", "Counts logins by protocol only", logins::disable_attempt_sources).tools(DIAGNOSTICS),
    Command::new("list_trust_store_certificates", G::Access, "", "Lists the certificates of clients that are trusted for themselves", logins::list_trust_store),
    Command::new("refresh_trust_store", G::Access, "", "Asks the trust store's providers for certificates now", logins::refresh_trust_store),
    Command::new("reset_node_auth_attempt_metrics", G::Monitoring, "", "Forgets how many logins were tried", runtime::reset_auth_attempts).tools(DIAGNOSTICS),

    Command::new("list", G::Plugins, "[pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]", "Lists plugins and which of them are enabled", plugins::list).values(0, 1).tools(PLUGINS).needs(Needs::Nothing)
        .options(&[
            Opt::switch("verbose", "more of each").short('v'), Opt::switch("minimal", "only names").short('m'),
            Opt::switch("enabled", "enabled plugins, and those that they need").short('e'), Opt::switch("implicitly-enabled", "plugins that were enabled by name").short('E'),
            PLUGINS_FILE,
        ]),
    Command::new("enable", G::Plugins, "<plugin1> [ <plugin2>] | --all [--offline] [--online]", "Enables plugins, at once where the node runs", plugins::enable).values(0, MANY).tools(PLUGINS).needs(Needs::Nothing).options(&[ALL, OFFLINE, ONLINE, PLUGINS_FILE]),
    Command::new("disable", G::Plugins, "<plugin1> [ <plugin2>] | --all [--offline] [--online]", "Disables plugins, at once where the node runs", plugins::disable).values(0, MANY).tools(PLUGINS).needs(Needs::Nothing).options(&[ALL, OFFLINE, ONLINE, PLUGINS_FILE]),
    Command::new("set", G::Plugins, "<plugin1> [ <plugin2>] [--offline] [--online]", "Enables these plugins and no others", plugins::set).values(0, MANY).tools(PLUGINS).needs(Needs::Nothing).options(&[OFFLINE, ONLINE, PLUGINS_FILE]),
    Command::new("is_enabled", G::Plugins, "<plugin1> [ <plugin2>] [--offline] [--online]", "Fails if a plugin is not enabled", plugins::is_enabled).values(1, MANY).tools(PLUGINS).needs(Needs::Nothing).options(&[OFFLINE, ONLINE, PLUGINS_FILE]),
    Command::new("directories", G::Plugins, "[--offline] [--online]", "Says where the list of enabled plugins is", plugins::directories).tools(PLUGINS).needs(Needs::Nothing).options(&[OFFLINE, ONLINE, PLUGINS_FILE]),

    Command::new("quorum_status", G::Queues, "[--vhost <vhost>] <queue>", "Shows the replicas of a quorum queue", replicas::quorum_status).values(1, 1).tools(QUEUE_TOOLS).framed().state(State::OneNode),
    Command::new("peek", G::Queues, "[--vhost <vhost>] <queue> <position> [--timeout <timeout>]", "Shows a message of a quorum queue and leaves it there", replicas::peek).values(2, 2).tools(QUEUES).framed(),
    Command::new("add_member", G::Queues, "[--vhost <vhost>] <queue> <node> [--membership <promotable|voter>] [--timeout <timeout>]", "Adds a replica to a queue", replicas::add_member).values(2, 2).tools(QUEUES).options(&[Opt::text("membership", "promotable or voter")]).state(State::OneNode),
    Command::new("delete_member", G::Queues, "[--vhost <vhost>] <queue> <node>", "Removes a replica of a queue", replicas::delete_member).values(2, 2).tools(QUEUES).state(State::OneNode),
    Command::new("grow", G::Queues, "<node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>] [--membership <promotable|voter>]", "Adds replicas on a node", replicas::grow).table().values(2, 2).tools(QUEUES).options(REPLICA_OPTIONS).state(State::OneNode),
    Command::new("shrink", G::Queues, "<node> [--errors-only]", "Removes replicas from a node", replicas::shrink).table().values(1, 1).tools(QUEUES).options(REPLICA_OPTIONS).state(State::OneNode),
    Command::new("rebalance", G::Queues, "< all | quorum | stream > [--vhost-pattern <pattern>] [--queue-pattern <pattern>]", "Spreads leaders over the nodes", replicas::rebalance).values(1, 1).tools(QUEUES).framed().options(REPLICA_OPTIONS).state(State::OneNode),
    Command::new("reclaim_quorum_memory", G::Queues, " [--vhost <vhost>] <quorum queue>", "Lets a quorum queue give back memory", replicas::reclaim_quorum_memory).values(1, 1).tools(QUEUE_TOOLS).state(State::NoEffect("Queues give back memory by themselves.")),
    Command::new("stream_status", G::Streams, "[--vhost <vhost>] [--tracking] <stream>", "Shows the replicas of a stream", replicas::stream_status).values(1, 1).tools(&[Diagnostics, Queues, Streams]).framed().options(&[Opt::switch("tracking", "offsets of consumers")]).state(State::Missing("There are no streams yet.")),
    Command::new("add_replica", G::Streams, "[--vhost <vhost>] <stream> <node> [--timeout <timeout>]", "Adds a replica to a stream", replicas::add_replica).values(2, 2).tools(STREAMS).state(NO_STREAM),
    Command::new("delete_replica", G::Streams, "[--vhost <vhost>] <queue> <node>", "Removes a replica of a stream", replicas::delete_replica).values(2, 2).tools(STREAMS).state(NO_STREAM),
    Command::new("restart_stream", G::Streams, "[--vhost <vhost>] <stream> [--preferred-leader-node <node>]", "Chooses the leader of a stream again", replicas::restart_stream).values(1, 1).tools(STREAMS).options(&[Opt::text("preferred-leader-node", "the node to lead")]).state(NO_STREAM),
    Command::new("coordinator_status", G::Streams, "", "Shows what coordinates streams", replicas::coordinator_status).tools(&[Diagnostics, Streams]).framed().state(NO_STREAM),
    Command::new("grow", G::Streams, "<node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>] [--errors-only]", "Adds replicas of streams on a node", replicas::grow_streams).table().values(2, 2).tools(STREAMS).options(PATTERNS).state(NO_STREAM),
    Command::new("shrink", G::Streams, "<node> [--errors-only]", "Removes replicas of streams from a node", replicas::shrink_streams).table().values(1, 1).tools(STREAMS).options(PATTERNS).state(NO_STREAM),
    Command::new("transfer_leadership", G::Streams, "[--vhost <vhost>] <stream> <node> [--timeout <timeout>]", "Lets another node lead a stream", replicas::transfer_stream).values(2, 2).tools(STREAMS).state(NO_STREAM),
    Command::new("transfer_leadership", G::Queues, "[--vhost <vhost>] <queue> <node> [--timeout <timeout>]", "Lets another node lead a quorum queue", replicas::transfer_leadership).values(2, 2).tools(QUEUES).state(State::OneNode),
    Command::new("force_checkpoint", G::Queues, "[--vhost-pattern <pattern>] [--queue-pattern <pattern>]", "Writes checkpoints of quorum queues, whose log makes room by itself", replicas::force_checkpoint).table().tools(QUEUES).options(PATTERNS),
    Command::new("grow_to_count", G::Queues, "<node_count> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>] [--membership <promotable|voter>]", "Gives queues that many replicas", replicas::grow_to_count).table().values(2, 2).tools(QUEUES).options(REPLICA_OPTIONS).state(State::OneNode),
    Command::new("add_super_stream", G::Streams, "[--vhost <vhost>] <super_stream>", "Creates a stream of several", replicas::no_streams).values(1, 1).tools(STREAMS).state(State::Missing("There are no streams yet.")),
    Command::new("delete_super_stream", G::Streams, "[--vhost <vhost>] <super_stream>", "Deletes a stream of several", replicas::no_streams).values(1, 1).tools(STREAMS).state(State::Missing("There are no streams yet.")),
    Command::new("await_online_quorum_plus_one", G::Upgrade, "", "Waits until every quorum queue can lose this node", replicas::await_online_quorum_plus_one).tools(&[Upgrade]).state(State::OneNode),
    Command::new("post_upgrade", G::Upgrade, "", "Does what is to be done behind an upgrade", replicas::post_upgrade).tools(&[Upgrade]).state(State::OneNode),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_there_once() {
        for tool in Tool::ALL {
            let mut names: Vec<_> = of(tool).map(|command| command.name).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{tool:?}");
        }
    }

    #[test]
    fn summaries_are_one_line_without_a_full_stop() {
        for command in COMMANDS {
            assert!(!command.summary.ends_with('.'), "{}", command.name);
            assert!(!command.summary.contains('\n'), "{}", command.name);
        }
    }
}
