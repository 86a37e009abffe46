//! All paths of the API in one table: who answers, and for each method what it asks of its user, what it takes and what it gives.
//!
//! The router ([`crate::table`]), the header `Allow`, the OpenAPI document and the page that describes the API
//! ([`crate::reference`]) are made of it. It holds no code.
//! The table is walked from the front, so what is fixed stands before what varies.

use crate::access::Access;
use crate::call::{Call, Outcome};
use crate::reference;
use crate::resources::*;
use crate::schemas::{self, Schema};
use hyper::Method;
use std::future::Future;
use std::pin::Pin;

pub(crate) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A path.
pub(crate) struct Endpoint {
    /// Segments below `/api`; one in braces varies and is called so.
    pub(crate) path: &'static str,
    pub(crate) operations: &'static [Operation],
    pub(crate) handler: Handler,
}

/// A method of a path.
pub(crate) struct Operation {
    pub(crate) verb: Verb,
    pub(crate) access: Access,
    pub(crate) answer: Shape,
    /// What the objects in the answer hold.
    pub(crate) gives: Option<&'static Schema>,
    /// One sentence.
    pub(crate) summary: &'static str,
    /// Groups of parameters in the query, beside those that come with the answer.
    pub(crate) query: &'static [&'static [Parameter]],
    pub(crate) body: Option<Body>,
}

/// Methods that paths have, in the order of the header `Allow`. GET stands for HEAD too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    /// The verb of a method that paths may have.
    pub(crate) fn of(method: &Method) -> Option<Self> {
        Some(match *method {
            Method::GET | Method::HEAD => Self::Get,
            Method::PUT => Self::Put,
            Method::POST => Self::Post,
            Method::DELETE => Self::Delete,
            _ => return None,
        })
    }
}

/// What is answered if all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// 200 with an object: with its [`Schema`] in brackets behind it.
    Object,
    /// 200 with a list of objects.
    List,
    /// The same, or a page of it.
    Pages,
    /// 200 with a text.
    Text,
    /// 200 with plain text.
    Plain,
    /// 200 with a page for readers.
    Html,
    /// 200, or 503 if the check failed.
    Check,
    /// 201 for what is new, 204 for what was there.
    Made,
    /// 201; the header `Location` names it.
    Created,
    /// 202: it goes on after the answer.
    Accepted,
    /// 204
    Done,
}

/// A parameter in the query of a path.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) meaning: &'static str,
}

/// The type of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Number,
    Text,
    Texts,
    Object,
    /// One of several types.
    Any,
}

/// What a body holds.
pub(crate) enum Body {
    /// An object with these fields, of which the first have to be there. Others are passed over.
    Fields(&'static [Field], &'static [Field]),
    /// A file of definitions, also as the part `file` of a form.
    Definitions,
    /// A form with these fields.
    Form(&'static [Field]),
}

/// A field of a body, and its type.
pub(crate) type Field = (&'static str, Kind);

macro_rules! parameters {
    ($($group:ident: $($name:literal $kind:ident $meaning:literal,)*;)*) => {
        $(pub(crate) const $group: &[Parameter] = &[$(Parameter {
            name: $name,
            kind: Kind::$kind,
            meaning: $meaning,
        }),*];)*
    };
}

parameters! {
    COLUMNS:
        "columns" Text "The fields that are wanted, with commas between them.",;
    SORT:
        "sort" Text "The field that gives the order; dots lead into objects.",
        "sort_reverse" Bool "The order is the other way round.",;
    PAGES:
        "page" Number "The page that is wanted, from 1; without it the list comes as a whole.",
        "page_size" Number "Items of a page, at most 500; 100 if it is not given.",
        "name" Text "Only items whose names contain this, whatever the case.",
        "use_regex" Bool "`name` is a regular expression.",
        "pagination" Bool "Taken and not used, as in RabbitMQ.",;
    RATES:
        "msg_rates_age" Number "Seconds for which samples of counted messages are shown.",
        "msg_rates_incr" Number "Seconds between two of them.",
        "data_rates_age" Number "Seconds for which samples of counted bytes are shown.",
        "data_rates_incr" Number "Seconds between two of them.",
        "lengths_age" Number "Seconds for which samples of lengths are shown.",
        "lengths_incr" Number "Seconds between two of them.",;
    NODE_RATES:
        "node_stats_age" Number "Seconds for which samples of the node's figures are shown.",
        "node_stats_incr" Number "Seconds between two of them.",;
    STATS:
        "disable_stats" Bool "Only what does not change is shown.",
        "enable_queue_totals" Bool "With it, messages are counted nevertheless.",;
    MEMORY:
        "memory" Bool "What memory is used for is shown, too.",
        "binary" Bool "What memory of contents is used for is shown, too.",;
    IF_UNUSED:
        "if-unused" Bool "It is left if it is used.",;
    IF_EMPTY:
        "if-empty" Bool "It is left if there are messages.",;
    DELAYED:
        "count" Number "Messages at most: 100 without it, 1000 at most.",;
    CANCELLED:
        "message_id" Text "Only messages with this property.",
        "position" Text "Only the message that the list has there.",
        "all" Bool "All of them.",;
    DOWNLOAD:
        "download" Text "The file's name, for a browser that keeps the answer as a file.",;
}

/// What a part of a path that varies is.
pub(crate) fn meaning(part: &str) -> &'static str {
    match part {
        "vhost" => "The virtual host; `/` is written `%2F`.",
        "queue" => "The queue.",
        "exchange" => "The exchange; the default exchange is `amq.default`.",
        "source" => "The exchange that messages come from; the default exchange is `amq.default`.",
        "destination" => "The queue or exchange that messages go to.",
        "props" => "The binding's `properties_key`, as listings show it.",
        "connection" => "The connection's name: both ends of its socket.",
        "channel" => "The channel's name: that of its connection and its number.",
        "user" => "The user.",
        "name" => "Its name.",
        "node" => "The node.",
        "component" => "The component that parameters belong to.",
        "password" => "The password.",
        "port" => "The port.",
        "protocols" => "Names of protocols, with commas between them.",
        "within" => "How many units of time.",
        "unit" => "`days`, `weeks`, `months` or `years`.",
        "pattern" => "A regular expression.",
        "filter" => "A part of names.",
        "thread" => "The thread's id, as `/top/NODE` shows it.",
        "resource" => "The resource server's id.",
        _ => "",
    }
}

macro_rules! endpoints {
    ($($path:literal => $handler:path { $(
        $verb:ident $access:ident $shape:ident $(($gives:ident))? $summary:literal
        $(? $($group:ident),+)?
        $({ $($must:literal $must_kind:ident),* ; $($may:literal $may_kind:ident),* })?
        $(form { $($form:literal $form_kind:ident),* })?
        $(file $file:ident)?
    );* $(;)? })*) => {
        &[$(Endpoint {
            path: $path,
            operations: &[$(Operation {
                verb: Verb::$verb,
                access: Access::$access,
                answer: Shape::$shape,
                gives: endpoints!(@gives $($gives)?),
                summary: $summary,
                query: &[$($($group),+)?],
                body: endpoints!(@body
                    $({ $(($must, Kind::$must_kind)),* ; $(($may, Kind::$may_kind)),* })?
                    $(form { $(($form, Kind::$form_kind)),* })?
                    $(file $file)?
                ),
            }),*],
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
    (@gives) => { None };
    (@gives $gives:ident) => { Some(&schemas::$gives) };
    (@body) => { None };
    (@body { $($must:expr),* ; $($may:expr),* }) => {
        Some(Body::Fields(&[$($must),*], &[$($may),*]))
    };
    (@body form { $($form:expr),* }) => { Some(Body::Form(&[$($form),*])) };
    (@body file $file:ident) => { Some(Body::$file) };
}

pub(crate) static ENDPOINTS: &[Endpoint] = endpoints! {
    "index.html" => reference::page {
        Get Reference Html "This description, for readers.";
    }
    "openapi.json" => reference::openapi {
        Get Reference Object "This description, as an OpenAPI document.";
    }
    "overview" => overview::overview {
        Get Management Object(OVERVIEW) "What the node is and does: totals, rates, listeners." ? RATES, COLUMNS;
    }
    "cluster-name" => overview::cluster_name {
        Get Management Object(NAMED) "The cluster's name.";
        Put Administrator Done "Renames the cluster." { "name" Text; };
    }
    "extensions" => overview::extensions {
        Get Management List(SCRIPT) "Scripts that the web UI of RabbitMQ loads.";
    }
    "version" => overview::version {
        Get Open Text "The version of RabbitMQ that this node is like.";
    }
    "whoami" => users::whoami {
        Get Management Object(WHOAMI) "The user who asks.";
    }
    "login" => users::login {
        Post Open Object(LOGIN) "Checks a name and a password, and gives what the header `Authorization` may hold." form { "username" Text, "password" Text };
        Delete Open Done "Ends nothing: the node keeps no login.";
    }
    "session" => users::session {
        Get Open Object(LOGIN) "Whose session the cookie stands for; 204 if nobody's.";
        Post Open Object(LOGIN) "Opens a session of the web UI, with a name and a password or a token." { ; "username" Text, "password" Text, "access_token" Text };
        Delete Open Done "Ends the session.";
    }
    "oauth" => oauth::settings {
        Get Open Object(OAUTH) "Whether and where users log in to the web UI with OAuth 2.";
    }
    "oauth/{resource}" => oauth::endpoints {
        Get Open Object(OAUTH) "Where a browser is sent to log in and out.";
    }
    "oauth/{resource}/token" => oauth::token {
        Post Open Object "Asks the provider for a token; the client's secret is added here." form { "grant_type" Text };
    }
    "nodes" => nodes::list {
        Get Monitoring List(NODE) "All nodes." ? RATES, NODE_RATES;
    }
    "nodes/{node}" => nodes::one {
        Get Monitoring Object(NODE) "A node." ? RATES, NODE_RATES, MEMORY, COLUMNS;
    }
    "nodes/{node}/memory" => memory::show {
        Get Monitoring Object(MEMORY) "What memory is used for, in bytes.";
    }
    "nodes/{node}/memory/relative" => memory::relative {
        Get Monitoring Object(MEMORY) "What memory is used for, in percent.";
    }
    "nodes/{node}/memory/ets" => nodes::memory_tables {
        Get Monitoring Object(ETS) "Memory of Erlang's tables, of which there are none here.";
    }
    "nodes/{node}/memory/ets/relative" => nodes::memory_tables {
        Get Monitoring Object(ETS) "The same in percent.";
    }
    "nodes/{node}/memory/ets/{filter}" => nodes::memory_tables {
        Get Monitoring Object(ETS) "The same of some tables.";
    }
    "nodes/{node}/memory/ets/{filter}/relative" => nodes::memory_tables {
        Get Monitoring Object(ETS) "The same of some tables in percent.";
    }
    "definitions" => definitions::all {
        Get Administrator Object(DEFINITIONS) "Everything but messages, as a file." ? DOWNLOAD;
        Post Administrator Done "Makes what a file of definitions describes: all of it or nothing." file Definitions;
    }
    "all-configuration" => definitions::all {
        Get Administrator Object(DEFINITIONS) "The older name of `/definitions`." ? DOWNLOAD;
        Post Administrator Done "The older name of `/definitions`." file Definitions;
    }
    "definitions/{vhost}" => definitions::vhost {
        Get Administrator Object(DEFINITIONS) "Everything but messages of a virtual host, as a file." ? DOWNLOAD;
        Post Administrator Done "Makes in a virtual host what a file of definitions describes." file Definitions;
    }
    "connections" => connections::list {
        Get Management Pages(CONNECTION) "Connections: all for a monitor, else the user's own." ? RATES;
    }
    "connections/username/{user}" => connections::of_user {
        Get Management List(CONNECTION_OF_USER) "Connections of a user.";
        Delete Management Done "Closes all connections of a user; the header `X-Reason` says why.";
    }
    "connections/{connection}" => connections::one {
        Get Management Object(CONNECTION) "A connection." ? RATES, COLUMNS;
        Delete Management Done "Closes a connection; the header `X-Reason` says why.";
    }
    "connections/{connection}/channels" => channels::of_connection {
        Get Management List(CHANNEL) "Channels of a connection." ? RATES;
    }
    "connections/{connection}/sessions" => connections::sessions {
        Get Management List "Sessions of an AMQP 1.0 connection, of which there are none.";
    }
    "channels" => channels::list {
        Get Management Pages(CHANNEL) "Channels: all for a monitor, else the user's own." ? RATES;
    }
    "channels/{channel}" => channels::one {
        Get Management Object(CHANNEL) "A channel, with its consumers." ? RATES, COLUMNS;
    }
    "consumers" => consumers::list {
        Get Management List(CONSUMER) "Consumers.";
    }
    "consumers/{vhost}" => consumers::list {
        Get Management List(CONSUMER) "Consumers in a virtual host.";
    }
    "exchanges" => exchanges::list {
        Get Management Pages(EXCHANGE) "Exchanges." ? RATES;
    }
    "exchanges/{vhost}" => exchanges::list {
        Get Management Pages(EXCHANGE) "Exchanges of a virtual host." ? RATES;
    }
    "exchanges/{vhost}/{exchange}" => exchanges::one {
        Get Management Object(EXCHANGE) "An exchange." ? RATES, COLUMNS;
        Put Management Made "Declares an exchange." { ; "type" Text, "durable" Bool, "auto_delete" Bool, "internal" Bool, "arguments" Object };
        Delete Management Done "Deletes an exchange." ? IF_UNUSED;
    }
    "exchanges/{vhost}/{exchange}/publish" => exchanges::publish {
        Post Management Object(ROUTED) "Publishes a message, and says whether it was routed." { "properties" Object, "routing_key" Text, "payload" Text, "payload_encoding" Text; };
    }
    "exchanges/{vhost}/{exchange}/delayed" => delayed::of_exchange {
        Get Management Object(DELAYED_MESSAGES) "Messages that wait at an exchange for their time, those that are due first; see docs/delayed-messages.md." ? DELAYED;
        Delete Management Object(ACTED) "Cancels some of them, or all." ? CANCELLED;
    }
    "exchanges/{vhost}/{exchange}/bindings/source" => bindings::of_source {
        Get Management List(BINDING) "Bindings that lead from an exchange.";
    }
    "exchanges/{vhost}/{exchange}/bindings/destination" => bindings::of_destination_exchange {
        Get Management List(BINDING) "Bindings that lead to an exchange.";
    }
    "queues" => queues::list {
        Get Management Pages(QUEUE) "Queues." ? RATES, STATS;
    }
    "queues/detailed" => queues::detailed {
        Get Management Pages(QUEUE) "Queues, with all their figures." ? RATES, STATS;
    }
    "queues/quorum/{vhost}/{queue}/status" => queues::quorum_status {
        Get Management List(MEMBER) "How far the members of a quorum queue are.";
    }
    "queues/quorum/{vhost}/{queue}/replicas/add" => queues::add_replica {
        Post Administrator Done "Adds a member to a quorum queue." { "node" Text; };
    }
    "queues/quorum/{vhost}/{queue}/replicas/delete" => queues::delete_replica {
        Delete Administrator Accepted "Takes a member from a quorum queue." { "node" Text; };
    }
    "queues/quorum/replicas/on/{node}/grow" => queues::grow_replicas {
        Post Administrator Done "Adds members on a node to quorum queues." { "vhost_pattern" Text, "queue_pattern" Text, "strategy" Text; };
    }
    "queues/quorum/replicas/on/{node}/shrink" => queues::shrink_replicas {
        Delete Administrator Accepted "Takes the members on a node from quorum queues.";
    }
    "queues/{vhost}" => queues::list {
        Get Management Pages(QUEUE) "Queues of a virtual host." ? RATES, STATS;
    }
    "queues/{vhost}/{queue}" => queues::one {
        Get Management Object(QUEUE) "A queue, with its consumers." ? RATES, COLUMNS;
        Put Management Made "Declares a queue." { ; "durable" Bool, "auto_delete" Bool, "arguments" Object, "node" Text };
        Delete Management Done "Deletes a queue." ? IF_UNUSED, IF_EMPTY;
    }
    "queues/{vhost}/{queue}/bindings" => bindings::of_destination_queue {
        Get Management List(BINDING) "Bindings that lead to a queue.";
    }
    "queues/{vhost}/{queue}/browse" => browse::browse {
        Post Management Object(BROWSED_PAGE) "Messages of a queue as they lie there; see docs/browsing.md." { ; "filter" Object, "positions" Any, "from" Any, "count" Number, "truncate" Number, "settled" Bool, "settled_from" Number, "settled_until" Number };
    }
    "queues/{vhost}/{queue}/delayed" => delayed::of_queue {
        Get Management Object(DELAYED_MESSAGES) "Messages that wait before a queue for their time, or to be tried again." ? DELAYED;
        Delete Management Object(ACTED) "Cancels some of them, or all." ? CANCELLED;
    }
    "queues/{vhost}/{queue}/move" => browse::move_messages {
        Post Management Object(ACTED) "Moves messages; see docs/browsing.md." { ; "filter" Object, "positions" Any, "from" Any, "count" Number, "dry_run" Bool, "to_queue" Text, "to_exchange" Text, "routing_key" Text };
    }
    "queues/{vhost}/{queue}/copy" => browse::copy {
        Post Management Object(ACTED) "Copies messages; see docs/browsing.md." { ; "filter" Object, "positions" Any, "from" Any, "count" Number, "dry_run" Bool, "to_queue" Text, "to_exchange" Text, "routing_key" Text };
    }
    "queues/{vhost}/{queue}/delete-messages" => browse::delete_messages {
        Post Management Object(ACTED) "Deletes messages; see docs/browsing.md." { ; "filter" Object, "positions" Any, "from" Any, "count" Number, "dry_run" Bool };
    }
    "queues/{vhost}/{queue}/replay" => browse::replay {
        Post Management Object(ACTED) "Puts messages that were settled back; see docs/browsing.md." { ; "filter" Object, "positions" Any, "from" Any, "count" Number, "dry_run" Bool, "settled_from" Number, "settled_until" Number, "to_queue" Text, "to_exchange" Text, "routing_key" Text };
        Delete Management Object(ACTED) "Forgets them.";
    }
    "queues/{vhost}/{queue}/pause" => browse::pause {
        Put Management Done "Stops deliveries.";
    }
    "queues/{vhost}/{queue}/resume" => browse::resume {
        Put Management Done "Goes on with deliveries.";
    }
    "queues/{vhost}/{queue}/contents" => queues::purge {
        Delete Management Done "Purges a queue.";
    }
    "queues/{vhost}/{queue}/get" => queues::get {
        Post Management List(GOT) "Takes messages out of a queue and settles them." { "count" Number, "ackmode" Text, "encoding" Text; "truncate" Number };
    }
    "queues/{vhost}/{queue}/actions" => queues::actions {
        Post Administrator Done "Knows no action any more, as RabbitMQ 4." { "action" Text; };
    }
    "bindings" => bindings::list {
        Get Management List(BINDING) "Bindings.";
    }
    "bindings/{vhost}" => bindings::list {
        Get Management List(BINDING) "Bindings of a virtual host.";
    }
    "bindings/{vhost}/e/{source}/q/{destination}" => bindings::between_queue {
        Get Management List(BINDING) "Bindings from an exchange to a queue.";
        Post Management Created "Binds a queue to an exchange." { ; "routing_key" Text, "arguments" Object };
    }
    "bindings/{vhost}/e/{source}/q/{destination}/{props}" => bindings::one_to_queue {
        Get Management Object(BINDING) "A binding.";
        Delete Management Done "Unbinds a queue.";
    }
    "bindings/{vhost}/e/{source}/e/{destination}" => bindings::between_exchanges {
        Get Management List(BINDING) "Bindings from an exchange to another.";
        Post Management Created "Binds an exchange to another." { ; "routing_key" Text, "arguments" Object };
    }
    "bindings/{vhost}/e/{source}/e/{destination}/{props}" => bindings::one_to_exchange {
        Get Management Object(BINDING) "A binding.";
        Delete Management Done "Unbinds an exchange.";
    }
    "vhosts" => vhosts::list {
        Get Management Pages(VHOST) "Virtual hosts: all for a monitor, else those that the user may open." ? RATES, STATS;
    }
    "vhosts/{vhost}" => vhosts::one {
        Get Administrator Object(VHOST) "A virtual host." ? RATES, COLUMNS;
        Put Administrator Made "Makes a virtual host, which the user may use from then on, or describes it anew." { ; "description" Text, "tags" Any, "default_queue_type" Text, "protected_from_deletion" Bool, "tracing" Bool };
        Delete Administrator Done "Deletes a virtual host and all that is in it.";
    }
    "vhosts/{vhost}/deletion/protection" => vhosts::protection {
        Post Administrator Done "Protects a virtual host from deletion.";
        Delete Administrator Done "Protects it no longer.";
    }
    "vhosts/{vhost}/start/{node}" => vhosts::start {
        Post Administrator Done "Starts a virtual host on a node, where it runs already.";
    }
    "vhosts/{vhost}/permissions" => permissions::of_vhost {
        Get Administrator List(PERMISSION) "Permissions in a virtual host.";
    }
    "vhosts/{vhost}/topic-permissions" => permissions::topics_of_vhost {
        Get Administrator List(PERMISSION) "Topic permissions in a virtual host.";
    }
    "vhosts/{vhost}/connections" => connections::of_vhost {
        Get Management Pages(CONNECTION) "Connections to a virtual host." ? RATES;
    }
    "vhosts/{vhost}/channels" => channels::of_vhost {
        Get Management Pages(CHANNEL) "Channels in a virtual host." ? RATES;
    }
    "users" => users::list {
        Get Administrator Pages(USER) "Users.";
    }
    "users/without-permissions" => users::without_permissions {
        Get Administrator Pages(USER) "Users who may not open any virtual host.";
    }
    "users/bulk-delete" => users::bulk_delete {
        Post Administrator Done "Deletes users." { "users" Texts; };
    }
    "users/{user}" => users::one {
        Get Administrator Object(USER) "A user." ? COLUMNS;
        Put Administrator Made "Makes or changes a user." { "tags" Any; "password" Text, "password_hash" Text, "hashing_algorithm" Text };
        Delete Administrator Done "Deletes a user.";
    }
    "users/{user}/permissions" => permissions::of_user {
        Get Administrator List(PERMISSION) "Permissions of a user.";
    }
    "users/{user}/topic-permissions" => permissions::topics_of_user {
        Get Administrator List(PERMISSION) "Topic permissions of a user.";
    }
    "users/{user}/queues" => queues::of_user {
        Get Management List(QUEUE) "Queues that a user has declared." ? RATES, STATS;
    }
    "permissions" => permissions::list {
        Get Administrator List(PERMISSION) "Permissions of all users.";
    }
    "permissions/{vhost}/{user}" => permissions::one {
        Get Administrator Object(PERMISSION) "What a user may do in a virtual host." ? COLUMNS;
        Put Administrator Made "Says what a user may do in a virtual host." { "configure" Text, "write" Text, "read" Text; };
        Delete Administrator Done "Shuts a user out of a virtual host.";
    }
    "topic-permissions" => permissions::topics {
        Get Administrator List(PERMISSION) "Topic permissions of all users.";
    }
    "topic-permissions/{vhost}/{user}" => permissions::topic {
        Get Administrator List(PERMISSION) "Topic permissions of a user in a virtual host.";
        Put Administrator Made "Says which routing keys a user may use with an exchange." { "exchange" Text, "write" Text, "read" Text; };
        Delete Administrator Done "Takes all topic permissions of a user in a virtual host away.";
    }
    "topic-permissions/{vhost}/{user}/{exchange}" => permissions::topic_exchange {
        Get Administrator List(PERMISSION) "Topic permissions of a user with an exchange.";
        Delete Administrator Done "Takes them away.";
    }
    "policies" => policies::list {
        Get Management List(POLICY) "Policies.";
    }
    "policies/{vhost}" => policies::list {
        Get Management List(POLICY) "Policies of a virtual host.";
    }
    "policies/{vhost}/{name}" => policies::one {
        Get Policymaker Object(POLICY) "A policy." ? COLUMNS;
        Put Policymaker Made "Sets a policy." { "pattern" Text, "definition" Object; "priority" Number, "apply-to" Text };
        Delete Policymaker Done "Clears a policy.";
    }
    "operator-policies" => policies::operator_list {
        Get Management List(POLICY) "Operator policies.";
    }
    "operator-policies/{vhost}" => policies::operator_list {
        Get Management List(POLICY) "Operator policies of a virtual host.";
    }
    "operator-policies/{vhost}/{name}" => policies::operator_one {
        Get Administrator Object(POLICY) "An operator policy." ? COLUMNS;
        Put Administrator Made "Sets an operator policy." { "pattern" Text, "definition" Object; "priority" Number, "apply-to" Text };
        Delete Administrator Done "Clears an operator policy.";
    }
    "parameters" => parameters::list {
        Get Policymaker List(PARAMETER) "Parameters.";
    }
    "parameters/{component}" => parameters::list {
        Get Policymaker List(PARAMETER) "Parameters of a component.";
    }
    "parameters/{component}/{vhost}" => parameters::list {
        Get Policymaker List(PARAMETER) "Parameters of a component in a virtual host.";
    }
    "parameters/{component}/{vhost}/{name}" => parameters::one {
        Get Policymaker Object(PARAMETER) "A parameter." ? COLUMNS;
        Put Policymaker Made "Sets a parameter." { "value" Object; };
        Delete Policymaker Done "Clears a parameter.";
    }
    "global-parameters" => parameters::global_list {
        Get Policymaker List(PARAMETER) "Global parameters.";
    }
    "global-parameters/{name}" => parameters::global {
        Get Policymaker Object(PARAMETER) "A global parameter.";
        Put Policymaker Made "Sets a global parameter." { "value" Any; };
        Delete Policymaker Done "Clears a global parameter.";
    }
    "vhost-limits" => limits::vhost_list {
        Get Management List(LIMITS) "Limits of virtual hosts.";
    }
    "vhost-limits/{vhost}" => limits::vhost_list {
        Get Management List(LIMITS) "Limits of a virtual host.";
    }
    "vhost-limits/{vhost}/{name}" => limits::vhost {
        Put Administrator Done "Sets a limit: `max-connections` or `max-queues`." { "value" Number; };
        Delete Administrator Done "Clears a limit.";
    }
    "user-limits" => limits::user_list {
        Get Administrator List(LIMITS) "Limits of users.";
    }
    "user-limits/{user}" => limits::user_list {
        Get Management List(LIMITS) "Limits of a user.";
    }
    "user-limits/{user}/{name}" => limits::user {
        Put Administrator Done "Sets a limit: `max-connections` or `max-channels`." { "value" Number; };
        Delete Administrator Done "Clears a limit.";
    }
    "auth/attempts/{node}" => users::attempts {
        Get Monitoring List(ATTEMPTS) "Logins, by protocol.";
        Delete Administrator Done "Counts them from zero.";
    }
    "auth/attempts/{node}/source" => users::attempts_by_source {
        Get Monitoring List(ATTEMPTS) "Logins, by address and user.";
        Delete Administrator Done "Counts them from zero.";
    }
    "auth/hash_password/{password}" => users::hash_password {
        Get Administrator Object(HASH) "A salted hash of a password, for `password_hash`.";
    }
    "feature-flags" => features::flags {
        Get Management List(FEATURE_FLAG) "Feature flags.";
    }
    "feature-flags/{name}/enable" => features::enable {
        Put Administrator Done "Enables a feature flag." { ; "name" Text };
    }
    "deprecated-features" => features::deprecated {
        Get Management List(DEPRECATED_FEATURE) "Deprecated features, and whether they may be used.";
    }
    "deprecated-features/used" => features::deprecated_used {
        Get Management List(DEPRECATED_FEATURE) "Those that are used.";
    }
    "traces" => traces::list {
        Get Administrator List(TRACE) "Traces to files.";
    }
    "traces/node/{node}" => traces::list_of_node {
        Get Administrator List(TRACE) "Traces of a node.";
    }
    "traces/{vhost}" => traces::list {
        Get Administrator List(TRACE) "Traces of a virtual host.";
    }
    "traces/node/{node}/{vhost}" => traces::list_of_node {
        Get Administrator List(TRACE) "Traces of a virtual host on a node.";
    }
    "traces/{vhost}/{name}" => traces::one {
        Get Administrator Object(TRACE) "A trace.";
        Put Administrator Made "Starts a trace." { ; "format" Text, "pattern" Text, "max_payload_bytes" Number, "tracer_connection_username" Text, "tracer_connection_password" Text };
        Delete Administrator Done "Ends a trace.";
    }
    "traces/node/{node}/{vhost}/{name}" => traces::one_of_node {
        Get Administrator Object(TRACE) "A trace on a node.";
        Put Administrator Made "Starts a trace on a node." { ; "format" Text, "pattern" Text, "max_payload_bytes" Number, "tracer_connection_username" Text, "tracer_connection_password" Text };
        Delete Administrator Done "Ends a trace on a node.";
    }
    "trace-files" => traces::files {
        Get Administrator List(TRACE_FILE) "Files of traces.";
    }
    "trace-files/node/{node}" => traces::files_of_node {
        Get Administrator List(TRACE_FILE) "Files of traces on a node.";
    }
    "trace-files/{name}" => traces::file {
        Get Administrator Plain "A file of a trace.";
        Delete Administrator Done "Deletes a file of a trace.";
    }
    "trace-files/node/{node}/{name}" => traces::file_of_node {
        Get Administrator Plain "A file of a trace on a node.";
        Delete Administrator Done "Deletes a file of a trace on a node.";
    }
    "rebalance/queues" => queues::rebalance {
        Post Administrator Done "Spreads the leaders of queues over the nodes.";
    }
    "config/effective" => maintenance::effective_configuration {
        Get Administrator Plain "The configuration in effect, as an Erlang term without secrets.";
    }
    "top/ets/{node}" => top::tables {
        Get Administrator Object(TOP) "Erlang's tables, of which there are none.";
    }
    "top/{node}" => top::threads {
        Get Administrator Object(TOP) "The threads of the node, and what they use.";
    }
    "process/{thread}" => top::thread {
        Get Administrator Object(THREAD) "A thread of the node.";
    }
    "reset" => overview::reset {
        Delete Administrator Done "Forgets all samples.";
    }
    "reset/{node}" => overview::reset {
        Delete Administrator Done "Forgets all samples of a node.";
    }
    "aliveness-test/{vhost}" => health::aliveness {
        Get Management Check "Whether a virtual host is there.";
    }
    "healthchecks/node" => health::ok {
        Get Management Check "Says yes, as RabbitMQ 4.";
    }
    "healthchecks/node/{node}" => health::ok {
        Get Management Check "Says yes, as RabbitMQ 4.";
    }
    "health/checks/alarms" => health::alarms {
        Get Management Check "Whether no alarm is raised.";
    }
    "health/checks/local-alarms" => health::local_alarms {
        Get Management Check "Whether no alarm is raised on this node.";
    }
    "health/checks/certificate-expiration/{within}/{unit}" => health::certificates {
        Get Management Check "Whether all certificates of listeners hold for this time.";
    }
    "health/checks/port-listener/{port}" => health::port {
        Get Management Check "Whether something listens on a port.";
    }
    "health/checks/protocol-listener/{protocols}" => health::protocols {
        Get Management Check "Whether something listens for each of these protocols.";
    }
    "health/checks/virtual-hosts" => health::ok {
        Get Management Check "Whether all virtual hosts run.";
    }
    "health/checks/node-is-quorum-critical" => health::quorum_critical {
        Get Management Check "Whether queues would remain available without this node.";
    }
    "health/checks/quorum-queues-without-elected-leaders/all-vhosts" => health::ok {
        Get Management Check "Whether all quorum queues have a leader.";
    }
    "health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}" => health::ok {
        Get Management Check "Whether quorum queues whose names match have a leader.";
    }
    "health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}" => health::leaders_of_vhost {
        Get Management Check "Whether all quorum queues of a virtual host have a leader.";
    }
    "health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}" => health::leaders_of_vhost {
        Get Management Check "Whether quorum queues of a virtual host whose names match have a leader.";
    }
    "health/checks/is-in-service" => health::in_service {
        Get Open Check "Whether the node serves clients.";
    }
    "health/checks/below-node-connection-limit" => health::below_connection_limit {
        Get Open Check "Whether another client may connect.";
    }
    "health/checks/ready-to-serve-clients" => health::ready_to_serve {
        Get Open Check "Whether clients are let in: the node runs, listens, and another one may connect.";
    }
    "health/checks/reached-target-cluster-size" => health::ok {
        Get Open Check "Whether the cluster is as large as it is to be.";
    }
    "health/checks/metadata-store/initialized" => health::ok {
        Get Management Check "Whether the metadata can be used.";
    }
    "health/checks/metadata-store/initialized/with-data" => health::ok {
        Get Management Check "Whether the metadata can be used and is not empty.";
    }
};

/// Paths of the control socket, below `/control/`.
pub(crate) static CONTROL_ENDPOINTS: &[Endpoint] = endpoints! {
    "status" => control::status { Get Administrator Object "The node's figures."; }
    "authenticate" => control::authenticate_user { Post Administrator Object "Tries a password."; }
    "plugins" => plugins::enabled {
        Get Administrator Object "The plugins.";
        Put Administrator Done "Enables plugins.";
    }
    "watermarks" => control::watermarks { Put Administrator Done "Says where alarms begin."; }
    "environment" => maintenance::environment { Get Administrator List "The configuration."; }
    "process" => maintenance::process { Get Administrator Object "The process."; }
    "certificates" => maintenance::certificates { Get Administrator List "Certificates of listeners."; }
    "listeners/suspend" => maintenance::suspend { Post Administrator Done "Closes listeners."; }
    "listeners/resume" => maintenance::resume { Post Administrator Done "Opens them again."; }
    "drain" => maintenance::drain { Post Administrator Done "Puts the node into maintenance."; }
    "revive" => maintenance::revive { Post Administrator Done "Takes it out of maintenance."; }
    "force-gc" => maintenance::force_gc { Post Administrator Done "Gives memory back."; }
    "disk-monitor" => maintenance::disk_monitor { Post Administrator Done "Switches the watch over the disk."; }
    "log" => maintenance::log { Get Administrator Object "Lines of the log."; }
    "log/level" => maintenance::log_level { Put Administrator Done "Sets the level of the log."; }
    "log/rotate" => maintenance::log_rotate { Post Administrator Done "Rotates log files."; }
    "queues/{vhost}/{queue}/purge" => control::purge { Post Administrator Object "Purges a queue."; }
    "queues/{vhost}/{queue}/delete" => control::delete { Post Administrator Object "Deletes a queue."; }
    "message-sizes" => maintenance::message_sizes {
        Get Administrator Object "Messages by their sizes.";
    }
    "auth-attempt-sources" => users::attempt_sources {
        Put Administrator Done "Counts logins by source.";
        Delete Administrator Done "Counts them no longer.";
    }
    "trust-store" => trust_store::trust_store {
        Get Administrator Object "Certificates that are trusted.";
        Post Administrator Done "Looks for them anew.";
    }
    "connections/close" => control::close_connection { Post Administrator Object "Closes a connection."; }
};
