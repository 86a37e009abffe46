//! What the objects in answers and bodies hold: one table of fields, each with its type and a line that says what it is.
//!
//! The OpenAPI document ([`crate::reference`]) is made of it, and the tests hold every answer against that document, so that a field
//! that is not here, or of another type, is found. No field has to be there: a request may ask for some `columns` only, and figures
//! can be switched off.

/// An object.
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) fields: &'static [Described],
}

/// A field of an object.
pub(crate) struct Described {
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    pub(crate) may_be_null: bool,
    pub(crate) meaning: &'static str,
}

/// The type of a field.
#[derive(Clone, Copy)]
pub(crate) enum Type {
    Bool,
    /// A whole number.
    Count,
    /// A number with or without a fraction.
    Number,
    /// A number with how it changes beside it, as `NAME_details`.
    Sampled,
    Text,
    Texts,
    Counts,
    /// An object whose keys are names, settings or arguments.
    Map,
    /// An object of which other lists tell as well.
    One(&'static Schema),
    Many(&'static Schema),
    /// One of several types.
    Any,
}

macro_rules! schemas {
    ($($schema:ident $name:literal $meaning:literal { $(
        $field:literal $kind:ident $(($of:ident))? $(or $null:ident)?, $what:literal;
    )* })*) => {
        $(pub(crate) static $schema: Schema = Schema {
            name: $name,
            meaning: $meaning,
            fields: &[$(Described {
                name: $field,
                kind: Type::$kind $((&$of))?,
                may_be_null: schemas!(@null $($null)?),
                meaning: $what,
            }),*],
        };)*
        /// All of them.
        pub(crate) static SCHEMAS: &[&Schema] = &[$(&$schema),*];
    };
    (@null) => { false };
    (@null null) => { true };
}

schemas! {
    ERROR "Error" "Why something was refused." {
        "error" Text, "What kind of refusal it is.";
        "reason" Any, "Why, for people.";
    }
    PAGE "Page" "A page; its objects are in `items`, as they are in the list." {
        "items" Any, "What is on the page.";
        "page" Count, "Its number, from 1.";
        "page_count" Count, "How many pages there are.";
        "page_size" Count, "How many objects a page has at most.";
        "item_count" Count, "How many objects are on this one.";
        "filtered_count" Count, "How many there are whose names match.";
        "total_count" Count, "How many there are.";
    }
    SAMPLE "Sample" "A value at a time." {
        "sample" Count, "The value.";
        "timestamp" Count, "When, in milliseconds since 1970.";
    }
    RATE "Rate" "How a value changes." {
        "rate" Number, "By how much a second, between the last two samples.";
        "avg" Number, "The average of the samples.";
        "avg_rate" Number, "By how much a second, over all samples.";
        "samples" Many(SAMPLE), "Samples as the request asks for them, newest first.";
    }
    MESSAGE_STATS "MessageStats" "What happened to messages; not there if nothing did." {
        "publish" Sampled, "Messages that were published; of a queue those that entered it.";
        "publish_in" Sampled, "Messages that were published to an exchange.";
        "publish_out" Sampled, "Messages times the queues that an exchange gave them to.";
        "confirm" Sampled, "Publishes that were confirmed.";
        "return_unroutable" Sampled, "Mandatory messages that no queue took and that went back.";
        "drop_unroutable" Sampled, "Messages that no queue took and nobody heard of.";
        "deliver" Sampled, "Deliveries to consumers that acknowledge.";
        "deliver_no_ack" Sampled, "Deliveries to consumers that do not.";
        "get" Sampled, "Messages fetched by somebody who acknowledges.";
        "get_no_ack" Sampled, "Messages fetched by somebody who does not.";
        "get_empty" Sampled, "Fetches that found nothing.";
        "deliver_get" Sampled, "All deliveries and fetched messages.";
        "redeliver" Sampled, "Of these: messages that went out again.";
        "ack" Sampled, "Messages that were acknowledged.";
        "disk_reads" Sampled, "Messages that were read back from the log.";
        "disk_writes" Sampled, "Messages that were given to the log.";
    }
    QUEUE_TOTALS "QueueTotals" "Messages in all queues." {
        "messages" Sampled, "All of them.";
        "messages_ready" Sampled, "Messages that wait.";
        "messages_unacknowledged" Sampled, "Messages that were delivered and not settled.";
    }
    CHURN "ChurnRates" "What came and went since the node's start." {
        "connection_created" Sampled, "Connections that were opened.";
        "connection_closed" Sampled, "Connections that have ended.";
        "channel_created" Sampled, "Channels that were opened.";
        "channel_closed" Sampled, "Channels that have ended.";
        "queue_declared" Sampled, "Declarations of queues, also of those that were there.";
        "queue_created" Sampled, "Queues that were made.";
        "queue_deleted" Sampled, "Queues that were deleted.";
    }
    OBJECT_TOTALS "ObjectTotals" "How many objects there are." {
        "channels" Count, "Channels.";
        "connections" Count, "Connections.";
        "consumers" Count, "Consumers.";
        "exchanges" Count, "Exchanges.";
        "queues" Count, "Queues.";
    }
    RETENTION "RetentionPolicies" "Ages in seconds for which samples are kept." {
        "global" Counts, "Those of the node.";
        "basic" Counts, "Those of queues, channels and connections.";
        "detailed" Counts, "Those of exchanges and of what is between two objects.";
    }
    OFFERED "Offered" "Something that the node offers." {
        "name" Text, "Its name.";
        "description" Text, "What it is.";
        "enabled" Bool, "Whether it can be used.";
    }
    APPLICATION "Application" "A part of the node." {
        "name" Text, "Its name.";
        "description" Text, "What it is.";
        "version" Text, "Its version.";
    }
    LISTENER "Listener" "Where the node listens." {
        "node" Text, "The node.";
        "protocol" Text, "For what.";
        "ip_address" Text, "The address.";
        "port" Count, "The port.";
        "socket_opts" Map, "Options of its sockets.";
        "tls" Bool, "Whether it speaks TLS.";
    }
    CONTEXT "Context" "Where the HTTP API is." {
        "node" Text, "The node.";
        "description" Text, "What is there.";
        "path" Text, "Its path.";
        "ip" Text, "The address.";
        "port" Text, "The port.";
        "ssl_opts" Any, "Nothing; RabbitMQ's options of TLS.";
        "cowboy_opts" Text, "Nothing; options of RabbitMQ's HTTP server.";
    }
    OVERVIEW "Overview" "The node at a glance." {
        "node" Text, "The node that answers.";
        "cluster_name" Text, "The cluster's name.";
        "cluster_tags" Map, "Tags of the cluster.";
        "node_tags" Map, "Tags of the node.";
        "product_name" Text, "The product's name.";
        "product_version" Text, "The product's version.";
        "rabbitmq_version" Text, "The version of RabbitMQ that the node is like.";
        "management_version" Text, "The same of its HTTP API.";
        "erlang_version" Text, "Empty: there is no Erlang.";
        "erlang_full_version" Text, "The name and version of this broker.";
        "crypto_lib_version" Text, "Empty: it is part of the broker.";
        "rates_mode" Text, "What is counted: `basic`, `detailed` or `none`.";
        "sample_retention_policies" One(RETENTION), "How long samples are kept.";
        "exchange_types" Many(OFFERED), "Types of exchanges.";
        "default_queue_type" Text, "The type of queues that ask for none.";
        "disable_stats" Bool, "Whether figures are left out.";
        "enable_queue_totals" Bool, "Whether lengths of queues are shown even so.";
        "is_op_policy_updating_enabled" Bool, "Whether operator policies can be changed here.";
        "require_definition_json_extension" Bool, "Whether files of definitions must be called `.json`.";
        "message_stats" One(MESSAGE_STATS), "What happened to messages.";
        "churn_rates" One(CHURN), "What came and went.";
        "queue_totals" One(QUEUE_TOTALS), "Messages in all queues.";
        "object_totals" One(OBJECT_TOTALS), "How many objects there are.";
        "statistics_db_event_queue" Count, "0: figures are not queued.";
        "listeners" Many(LISTENER), "Where the node listens.";
        "contexts" Many(CONTEXT), "Where the HTTP API is.";
    }
    NODE "Node" "A node." {
        "name" Text, "Its name.";
        "type" Text, "`disc`.";
        "running" Bool, "Whether it runs.";
        "being_drained" Bool, "Whether it is in maintenance.";
        "uptime" Count, "Milliseconds since its start.";
        "os_pid" Text, "Its process id.";
        "rates_mode" Text, "What is counted: `basic`, `detailed` or `none`.";
        "rabbitmq_version" Text, "The version of RabbitMQ that it is like.";
        "erlang_version" Text, "Empty: there is no Erlang.";
        "erlang_full_version" Text, "The name and version of this broker.";
        "crypto_lib_version" Text, "Empty: it is part of the broker.";
        "db_dir" Text, "The data directory.";
        "config_files" Texts, "Configuration files.";
        "log_files" Texts, "Log files.";
        "enabled_plugins" Texts, "Plugins that are enabled.";
        "applications" Many(APPLICATION), "Parts of the node.";
        "auth_mechanisms" Many(OFFERED), "Ways to log in.";
        "exchange_types" Many(OFFERED), "Types of exchanges.";
        "contexts" Many(CONTEXT), "Where the HTTP API is.";
        "partitions" Texts, "Nodes that were lost sight of.";
        "cluster_links" Any, "Connections to other nodes.";
        "net_ticktime" Count, "Seconds after which a node that says nothing counts as lost.";
        "processors" Count, "Processors.";
        "run_queue" Count, "Threads that wait for a processor.";
        "mem_used" Sampled, "Bytes of memory in use.";
        "mem_limit" Count, "Bytes of memory at which publishers stop.";
        "mem_alarm" Bool, "Whether they have to.";
        "mem_calculation_strategy" Text, "What counts as memory in use.";
        "memory" Any, "What memory is used for, if the request asks for it.";
        "binary" Any, "What memory of contents is used for, if the request asks for it.";
        "disk_free" Sampled, "Bytes that are free on the disk.";
        "disk_free_limit" Count, "Free bytes below which publishers stop.";
        "disk_free_alarm" Bool, "Whether they have to.";
        "fd_used" Sampled, "Open files and sockets.";
        "fd_total" Count, "Files and sockets that may be open.";
        "sockets_used" Sampled, "Connections of clients.";
        "sockets_total" Count, "Connections that there may be.";
        "proc_used" Sampled, "Threads.";
        "proc_total" Count, "Threads that there may be.";
        "context_switches" Sampled, "Switches between threads.";
        "gc_num" Sampled, "0: there is no garbage collector.";
        "gc_bytes_reclaimed" Sampled, "0: there is no garbage collector.";
        "connection_created" Sampled, "Connections that were opened.";
        "connection_closed" Sampled, "Connections that have ended.";
        "channel_created" Sampled, "Channels that were opened.";
        "channel_closed" Sampled, "Channels that have ended.";
        "queue_declared" Sampled, "Declarations of queues, also of those that were there.";
        "queue_created" Sampled, "Queues that were made.";
        "queue_deleted" Sampled, "Queues that were deleted.";
        "io_read_avg_time" Sampled, "0: a figure of RabbitMQ's files.";
        "io_read_bytes" Sampled, "0: a figure of RabbitMQ's files.";
        "io_read_count" Sampled, "0: a figure of RabbitMQ's files.";
        "io_reopen_count" Sampled, "0: a figure of RabbitMQ's files.";
        "io_seek_avg_time" Sampled, "0: a figure of RabbitMQ's files.";
        "io_seek_count" Sampled, "0: a figure of RabbitMQ's files.";
        "io_sync_avg_time" Sampled, "0: a figure of RabbitMQ's files.";
        "io_sync_count" Sampled, "0: a figure of RabbitMQ's files.";
        "io_write_avg_time" Sampled, "0: a figure of RabbitMQ's files.";
        "io_write_bytes" Sampled, "0: a figure of RabbitMQ's files.";
        "io_write_count" Sampled, "0: a figure of RabbitMQ's files.";
        "mnesia_disk_tx_count" Sampled, "0: a figure of RabbitMQ's metadata store.";
        "mnesia_ram_tx_count" Sampled, "0: a figure of RabbitMQ's metadata store.";
        "msg_store_read_count" Sampled, "0: a figure of RabbitMQ's message store.";
        "msg_store_write_count" Sampled, "0: a figure of RabbitMQ's message store.";
        "queue_index_read_count" Sampled, "0: a figure of RabbitMQ's message store.";
        "queue_index_write_count" Sampled, "0: a figure of RabbitMQ's message store.";
        "metrics_gc_queue_length" Map, "Nothing waits to be forgotten.";
        "ra_open_file_metrics" Map, "0: files of RabbitMQ's Raft logs.";
    }
    MEMORY "Memory" "What memory is used for." {
        "memory" Any, "Bytes, or percent, by purpose; text if they are not known.";
    }
    ETS "TableMemory" "Memory of Erlang's tables." {
        "ets_tables_memory" Any, "0 in total, or text: there are no tables.";
    }
    NAMED "Named" "A name." {
        "name" Text, "The name.";
    }
    SCRIPT "Script" "A script of RabbitMQ's web UI." {
        "javascript" Text, "Its file.";
    }
    WHOAMI "WhoAmI" "The user who asks." {
        "name" Text, "The user's name.";
        "tags" Texts, "The user's tags.";
        "is_internal_user" Bool, "Whether the node itself keeps the user.";
        "login_session_timeout" Count, "Minutes after which a login ends.";
    }
    LOGIN "Login" "A login, or a session of the web UI." {
        "user" Any, "The user.";
        "token" Map, "What the header `Authorization` may hold.";
    }
    OAUTH "OAuth" "Logins to the web UI with OAuth 2." {
        "oauth_enabled" Bool, "Whether there are any.";
        "oauth_disable_basic_auth" Bool, "Whether there are no other logins.";
        "oauth_resource_servers" Any, "What users may log in for.";
        "oauth_client_id" Text, "The client's id.";
        "oauth_provider_url" Text, "Who logs users in.";
        "oauth_scopes" Text, "The scopes that are asked for.";
        "oauth_response_type" Text, "What the provider answers.";
        "oauth_initiated_logon_type" Text, "Whether the web UI or the provider begins.";
        "id" Text, "The resource server's id.";
        "label" Text, "What users are shown.";
        "authorization_endpoint" Text, "Where a browser is sent to log in.";
        "end_session_endpoint" Text, "Where a browser is sent to log out.";
    }
    DEFINITIONS "Definitions" "Everything but messages, as a file." {
        "rabbit_version" Text, "The version of RabbitMQ that the file is for.";
        "rabbitmq_version" Text, "The same.";
        "product_name" Text, "What wrote it.";
        "product_version" Text, "Its version.";
        "rabbitmq_definition_format" Text, "`cluster` or `single_virtual_host`.";
        "original_cluster_name" Text, "The cluster that it is of.";
        "original_vhost_name" Text, "The virtual host that it is of.";
        "explanation" Text, "What the file is.";
        "description" Text, "The virtual host's description.";
        "metadata" Map, "The virtual host's settings.";
        "default_queue_type" Text, "The type of queues that ask for none.";
        "limits" Map, "The virtual host's limits.";
        "users" Many(USER), "Users.";
        "vhosts" Many(VHOST), "Virtual hosts.";
        "permissions" Many(PERMISSION), "Permissions.";
        "topic_permissions" Many(PERMISSION), "Topic permissions.";
        "parameters" Many(PARAMETER), "Parameters.";
        "global_parameters" Many(PARAMETER), "Global parameters.";
        "policies" Many(POLICY), "Policies.";
        "queues" Many(QUEUE), "Durable queues.";
        "exchanges" Many(EXCHANGE), "Durable exchanges.";
        "bindings" Many(BINDING), "Bindings between them.";
    }
    GARBAGE_COLLECTION "GarbageCollection" "Figures of RabbitMQ's processes, all 0." {
        "fullsweep_after" Count, "0";
        "max_heap_size" Count, "0";
        "min_bin_vheap_size" Count, "0";
        "min_heap_size" Count, "0";
        "minor_gcs" Count, "0";
    }
    CONNECTION "Connection" "A connection of a client." {
        "name" Text, "Both ends of its socket.";
        "user_provided_name" Text or null, "What the client calls it.";
        "node" Text, "The node.";
        "vhost" Text, "The virtual host.";
        "user" Text, "Who logged in.";
        "user_who_performed_action" Text, "The same.";
        "state" Text, "`starting`, `running`, `flow`, `blocking`, `blocked`, `closing` or `closed`.";
        "throttled" Bool, "It is not read because it publishes faster than a limit allows.";
        "type" Text, "`network`.";
        "protocol" Text, "The protocol.";
        "auth_mechanism" Text, "How the client logged in.";
        "connected_at" Count, "Since when, in milliseconds since 1970.";
        "channels" Count, "Open channels.";
        "channel_max" Count, "Channels that there may be, 0 for no limit.";
        "frame_max" Count, "Bytes of a frame at most, 0 for no limit.";
        "timeout" Count, "Seconds between heartbeats, 0 for none.";
        "client_properties" Map, "What the client says of itself.";
        "host" Text, "Our address.";
        "port" Count, "Our port.";
        "peer_host" Text, "The client's address.";
        "peer_port" Count, "The client's port.";
        "ssl" Bool, "Whether it speaks TLS.";
        "ssl_protocol" Text or null, "The version of TLS.";
        "ssl_cipher" Text or null, "How it is encrypted.";
        "ssl_hash" Text or null, "How it is hashed.";
        "ssl_key_exchange" Text or null, "How keys were exchanged.";
        "peer_cert_subject" Text or null, "Whose the client's certificate is.";
        "peer_cert_issuer" Text or null, "Who issued it.";
        "peer_cert_serial_number" Text or null, "Its serial number.";
        "peer_cert_validity" Text or null, "From when to when it holds.";
        "recv_oct" Sampled, "Bytes that the client sent.";
        "send_oct" Sampled, "Bytes that it was sent.";
        "recv_cnt" Count, "Pieces in which the client's bytes came.";
        "send_cnt" Count, "Writes to its socket.";
        "send_pend" Count, "Bytes that its socket has not taken yet.";
        "reductions" Sampled, "0: a figure of Erlang's processes.";
        "garbage_collection" One(GARBAGE_COLLECTION), "Figures of RabbitMQ's processes.";
    }
    PEER "ConnectionDetails" "A connection, as others name it." {
        "name" Text, "Both ends of its socket.";
        "peer_host" Text, "The client's address.";
        "peer_port" Count, "The client's port.";
    }
    PLACE "Place" "A queue or an exchange, by its name." {
        "name" Text or null, "Its name.";
        "vhost" Text or null, "Its virtual host.";
    }
    CHANNEL_DETAILS "ChannelDetails" "A channel, as others name it." {
        "name" Text, "That of its connection and its number.";
        "number" Count, "Its number.";
        "connection_name" Text, "Its connection.";
        "node" Text, "The node.";
        "user" Text, "Who logged in.";
        "peer_host" Text, "The client's address.";
        "peer_port" Count, "The client's port.";
    }
    TRAFFIC "Traffic" "What happened between two objects, where `management.rates_mode` is `detailed`." {
        "stats" One(MESSAGE_STATS), "What happened.";
        "exchange" One(PLACE), "The exchange.";
        "queue" One(PLACE), "The queue.";
        "channel_details" One(CHANNEL_DETAILS), "The channel.";
    }
    CONSUMER "Consumer" "A consumer." {
        "consumer_tag" Text, "Its tag.";
        "queue" One(PLACE), "The queue that it takes from.";
        "channel_details" One(CHANNEL_DETAILS), "The channel that it is on.";
        "ack_required" Bool, "Whether it acknowledges.";
        "prefetch_count" Count, "Messages that it may have unacknowledged, 0 for no limit.";
        "exclusive" Bool, "Whether it has the queue for itself.";
        "active" Bool, "Whether it gets messages.";
        "activity_status" Text, "`up`, `waiting` or `single_active`.";
        "consumer_timeout" Count, "Milliseconds for which it may keep a message.";
        "arguments" Map, "Its arguments.";
    }
    CHANNEL "Channel" "A channel of a connection." {
        "name" Text, "That of its connection and its number.";
        "number" Count, "Its number.";
        "connection_details" One(PEER), "Its connection.";
        "node" Text, "The node.";
        "vhost" Text, "The virtual host.";
        "user" Text, "Who logged in.";
        "user_who_performed_action" Text, "The same.";
        "state" Text, "`running`, `flow` or `closing`.";
        "idle_since" Text, "Since when nothing has happened.";
        "confirm" Bool, "Whether publishes are confirmed.";
        "transactional" Bool, "Whether it has transactions.";
        "consumer_count" Count, "Consumers.";
        "prefetch_count" Count, "Unacknowledged messages that a consumer may have, 0 for no limit.";
        "global_prefetch_count" Count, "The same of all consumers together.";
        "messages_unacknowledged" Count, "Messages that were delivered and not settled.";
        "messages_unconfirmed" Count, "Publishes that are not confirmed yet.";
        "messages_uncommitted" Count, "Publishes of a transaction that goes on.";
        "acks_uncommitted" Count, "Acknowledgements of a transaction that goes on.";
        "message_stats" One(MESSAGE_STATS), "What happened to messages.";
        "consumer_details" Many(CONSUMER), "Its consumers.";
        "publishes" Many(TRAFFIC), "What it published to each exchange.";
        "deliveries" Many(TRAFFIC), "What it was sent from each queue.";
        "pending_raft_commands" Count, "0: a figure of RabbitMQ's quorum queues.";
        "cached_segments" Count, "0: a figure of RabbitMQ's quorum queues.";
        "reductions" Sampled, "0: a figure of Erlang's processes.";
        "garbage_collection" One(GARBAGE_COLLECTION), "Figures of RabbitMQ's processes.";
    }
    EXCHANGE "Exchange" "An exchange." {
        "name" Text, "Its name; empty for the default exchange.";
        "vhost" Text, "The virtual host.";
        "type" Text, "Its type.";
        "durable" Bool, "Whether it survives a restart.";
        "auto_delete" Bool, "Whether it goes with its last binding.";
        "internal" Bool, "Whether only exchanges publish to it.";
        "arguments" Map, "Its arguments.";
        "messages_delayed" Count, "Messages that wait there for their time.";
        "policy" Text, "The policy that applies.";
        "user_who_performed_action" Text, "Who made it, if that was the node.";
        "message_stats" One(MESSAGE_STATS), "What happened to messages.";
        "incoming" Many(TRAFFIC), "What each channel published to it.";
        "outgoing" Many(TRAFFIC), "What it gave to each queue.";
    }
    QUEUE "Queue" "A queue." {
        "name" Text, "Its name.";
        "vhost" Text, "The virtual host.";
        "type" Text, "`classic` or `quorum`.";
        "node" Text, "The node that it is on.";
        "state" Text, "`running` or `paused`.";
        "durable" Bool, "Whether it survives a restart.";
        "auto_delete" Bool, "Whether it goes with its last consumer.";
        "exclusive" Bool, "Whether it belongs to one connection.";
        "owner_pid_details" One(PEER), "That connection.";
        "internal" Bool, "`false`: no queue is the node's own.";
        "internal_owner" Any, "`false`: no queue is the node's own.";
        "arguments" Map, "Its arguments.";
        "policy" Text or null, "The policy that applies.";
        "operator_policy" Text or null, "The operator policy that applies.";
        "effective_policy_definition" Map, "What both say together.";
        "messages" Sampled, "Messages in it: those that wait, those that are out, and those that wait to be tried again.";
        "messages_ready" Sampled, "Messages that wait.";
        "messages_unacknowledged" Sampled, "Messages that were delivered and not settled.";
        "messages_persistent" Count, "Messages that survive a restart.";
        "messages_ram" Count, "Messages that are ready or out.";
        "messages_ready_ram" Count, "Messages that are ready.";
        "messages_unacknowledged_ram" Count, "Messages that are out.";
        "messages_replayable" Count, "Settled messages that are kept to be played again.";
        "message_bytes" Count, "Bytes of the bodies of all messages.";
        "message_bytes_ready" Count, "The same of those that wait.";
        "message_bytes_unacknowledged" Count, "The same of those that are out.";
        "message_bytes_persistent" Count, "The same of those that survive a restart.";
        "message_bytes_ram" Count, "Bytes of messages in memory.";
        "message_bytes_replayable" Count, "Bytes of the bodies of settled messages that are kept.";
        "message_stats" One(MESSAGE_STATS), "What happened to messages.";
        "memory" Count, "Bytes of memory that its messages take.";
        "idle_since" Text, "Since when nothing has happened.";
        "head_message_timestamp" Count or null, "Nothing: the timestamp of the first message is not looked at.";
        "consumers" Count, "Consumers.";
        "consumer_capacity" Number, "The share of time, from 0 to 1, in which consumers took what there was.";
        "consumer_utilisation" Number, "The same.";
        "consumer_details" Many(CONSUMER), "The consumers.";
        "exclusive_consumer_tag" Text or null, "The consumer that has the queue for itself.";
        "single_active_consumer_tag" Text or null, "The one consumer that gets messages.";
        "incoming" Many(TRAFFIC), "What each exchange gave to it.";
        "deliveries" Many(TRAFFIC), "What each channel was sent.";
        "leader" Text, "The node that leads a quorum queue.";
        "members" Texts, "The nodes that have a copy.";
        "online" Texts or null, "Those of them that run.";
        "delivery_limit" Any, "How often a message may come back, or `unlimited`.";
        "delayed_retry" Text, "How messages that come back are delayed.";
        "messages_delayed" Count, "Messages that wait to be tried again.";
        "next_delayed_at" Count, "When the first of them is due, in milliseconds since 1970.";
        "last_delayed_at" Count, "When the last of them is due.";
        "messages_by_priority" Map, "How many messages wait of each priority.";
        "messages_active_priorities" Count, "Of how many priorities messages wait.";
        "messages_dlx" Count, "Dead letters that have not arrived elsewhere yet.";
        "message_bytes_dlx" Count, "Bytes of their bodies.";
        "open_files" Map, "0 for each node: copies share one log.";
        "storage_version" Count, "2, as RabbitMQ's present one.";
        "reductions" Sampled, "0: a figure of Erlang's processes.";
        "garbage_collection" One(GARBAGE_COLLECTION), "Figures of RabbitMQ's processes.";
    }
    MEMBER "QuorumMember" "How far a member of a quorum queue is." {
        "Node Name" Text, "The node.";
        "Raft State" Text, "`leader`.";
        "Membership" Text, "`voter`.";
        "Last Log Index" Count, "0: there is one copy.";
        "Last Written" Count, "0: there is one copy.";
        "Last Applied" Count, "0: there is one copy.";
        "Commit Index" Count, "0: there is one copy.";
        "Snapshot Index" Count, "0: there is one copy.";
        "Term" Count, "0: there is one copy.";
        "Machine Version" Count, "0: there is one copy.";
    }
    GOT "GotMessage" "A message that was taken out of a queue." {
        "payload" Text, "The body.";
        "payload_encoding" Text, "`string` or `base64`.";
        "payload_bytes" Count, "Bytes of the whole body.";
        "properties" Any, "The message's properties.";
        "exchange" Text, "The exchange that it was published to.";
        "routing_key" Text, "Its routing key.";
        "redelivered" Bool, "Whether it was delivered before.";
        "message_count" Count, "Messages that are left in the queue.";
    }
    BROWSED "BrowsedMessage" "A message as it lies in a queue." {
        "position" Text, "Its place, which it keeps.";
        "state" Text, "`ready`, `unacknowledged` or `settled`.";
        "redelivered" Bool, "Whether it was delivered before.";
        "expires_at" Count or null, "When it expires, in milliseconds since 1970.";
        "settled_at" Count or null, "When it was settled.";
        "exchange" Text, "The exchange that it was published to.";
        "routing_key" Text, "Its routing key.";
        "properties" Any, "Its properties.";
        "payload" Text, "The body, as much of it as was asked for.";
        "payload_encoding" Text, "`string` or `base64`.";
        "payload_bytes" Count, "Bytes of the whole body.";
    }
    BROWSED_PAGE "BrowsedMessages" "Messages of a queue." {
        "messages" Many(BROWSED), "The messages, in the order of delivery.";
        "examined" Count, "Messages that were looked at.";
        "next" Text or null, "Where to go on; nothing at the end.";
    }
    ACTED "Acted" "What became of messages that were moved, copied, deleted or played again." {
        "examined" Count, "Messages that were looked at.";
        "matched" Count, "Messages that the request means.";
        "done" Count, "Messages with which it was done.";
        "unroutable" Count, "Messages that no queue took.";
        "refused" Count, "Messages that a queue refused.";
        "busy" Count, "Messages that a consumer has.";
        "next" Text or null, "Where to go on; nothing at the end.";
    }
    DELAYED "DelayedMessage" "A message that waits for its time." {
        "position" Text, "Its place, which it keeps.";
        "due_at" Count, "When it is due, in milliseconds since 1970.";
        "retry" Bool, "Whether it was in the queue and is to be tried again.";
    }
    DELAYED_MESSAGES "DelayedMessages" "Messages that wait for their time." {
        "messages" Many(DELAYED), "The first of them.";
        "messages_delayed" Count, "How many there are.";
    }
    ROUTED "Routed" "What became of a publish." {
        "routed" Bool, "Whether a queue took it.";
    }
    BINDING "Binding" "A binding." {
        "source" Text, "The exchange that messages come from; empty for the default exchange.";
        "vhost" Text, "The virtual host.";
        "destination" Text, "The queue or exchange that they go to.";
        "destination_type" Text, "`queue` or `exchange`.";
        "routing_key" Text, "The key.";
        "arguments" Map, "Its arguments.";
        "properties_key" Text, "What it is called in paths.";
    }
    VHOST "VirtualHost" "A virtual host." {
        "name" Text, "Its name.";
        "description" Text, "What it is for.";
        "tags" Texts, "Its tags.";
        "default_queue_type" Text, "The type of queues that ask for none.";
        "protected_from_deletion" Bool, "Whether it cannot be deleted.";
        "metadata" Map, "All these.";
        "limits" Map, "Its limits.";
        "tracing" Bool, "Whether messages are traced.";
        "cluster_state" Map, "Whether it runs, by node.";
        "messages" Sampled, "Messages in its queues.";
        "messages_ready" Sampled, "Messages that wait.";
        "messages_unacknowledged" Sampled, "Messages that were delivered and not settled.";
        "recv_oct" Sampled, "Bytes that came on its connections.";
        "send_oct" Sampled, "Bytes that went out on its connections.";
        "message_stats" One(MESSAGE_STATS), "What happened to messages.";
    }
    USER "User" "A user." {
        "name" Text, "The user's name.";
        "tags" Any, "Tags, as a list or with commas between them.";
        "password_hash" Text, "The salted hash of the password; empty for none.";
        "hashing_algorithm" Text, "How it was hashed.";
        "limits" Map, "The user's limits.";
    }
    CONNECTION_OF_USER "UserConnection" "A connection of a user." {
        "name" Text, "Both ends of its socket.";
        "vhost" Text, "The virtual host.";
        "user" Text, "The user.";
        "node" Text, "The node.";
    }
    PERMISSION "Permission" "What a user may do in a virtual host." {
        "user" Text, "The user.";
        "vhost" Text, "The virtual host.";
        "exchange" Text, "The exchange, of a topic permission.";
        "configure" Text, "A pattern: what the user may make and delete.";
        "write" Text, "A pattern: where to the user may publish.";
        "read" Text, "A pattern: what the user may take from.";
    }
    POLICY "Policy" "A policy." {
        "name" Text, "Its name.";
        "vhost" Text, "The virtual host.";
        "pattern" Text, "The names that it is for.";
        "apply-to" Text, "The kinds of objects that it is for.";
        "priority" Count, "Of two policies the higher one applies.";
        "definition" Map, "What it sets.";
    }
    PARAMETER "Parameter" "A parameter." {
        "name" Text, "Its name.";
        "component" Text, "The component that it belongs to.";
        "vhost" Text, "The virtual host.";
        "value" Any, "Its value.";
    }
    LIMITS "Limits" "Limits of a virtual host or a user." {
        "vhost" Text, "The virtual host.";
        "user" Text, "The user.";
        "value" Map, "The limits by name.";
    }
    ATTEMPTS "LoginAttempts" "Logins." {
        "protocol" Text, "The protocol.";
        "remote_address" Text, "Where from.";
        "username" Text, "Whose.";
        "auth_attempts" Count, "All of them.";
        "auth_attempts_succeeded" Count, "Those that were let in.";
        "auth_attempts_failed" Count, "Those that were not.";
    }
    HASH "PasswordHash" "A salted hash." {
        "ok" Text, "The hash, in Base64.";
    }
    FEATURE_FLAG "FeatureFlag" "A feature flag." {
        "name" Text, "Its name.";
        "desc" Text, "What it is about.";
        "doc_url" Text, "Where more is said.";
        "state" Text, "`enabled`.";
        "stability" Text, "`required`, `stable` or `experimental`.";
        "require_level" Text, "Whether a node needs it.";
        "experiment_level" Text, "Whether it is supported.";
        "callbacks" Texts, "What is done when it is enabled.";
        "provided_by" Text, "The part that has it.";
    }
    DEPRECATED_FEATURE "DeprecatedFeature" "A deprecated feature." {
        "name" Text, "Its name.";
        "desc" Text, "What it is about.";
        "doc_url" Text, "Where more is said.";
        "state" Text, "`permitted` or `denied`.";
        "deprecation_phase" Text, "How far its end is.";
        "provided_by" Text, "The part that has it.";
    }
    TRACE "Trace" "A trace to a file." {
        "name" Text, "Its name.";
        "vhost" Text, "The virtual host.";
        "format" Text, "`text` or `json`.";
        "pattern" Text, "The routing keys of what is traced.";
        "max_payload_bytes" Count, "Bytes of a body that are written.";
        "tracer_connection_username" Text, "Who takes the copies.";
        "records_lost" Count, "Copies that came faster than the disk took them.";
        "queue" One(QUEUE), "The queue that the copies wait in.";
    }
    TRACE_FILE "TraceFile" "A file of a trace." {
        "name" Text, "Its name.";
        "size" Count, "Its size in bytes.";
    }
    THREAD "Thread" "A thread of the node." {
        "pid" Text, "Its id.";
        "name" Any, "Its name and what it does.";
        "status" Text, "Whether it runs.";
        "memory" Count, "0: threads share memory.";
        "reductions" Count, "Microseconds of a processor that it used.";
        "reduction_delta" Number, "The same, a second.";
        "buffer_len" Count, "-1: there is none.";
        "message_queue_len" Count, "What waits for it.";
    }
    TOP "Threads" "The threads of the node." {
        "node" Text, "The node.";
        "row_count" Count, "How many are shown.";
        "processes" Many(THREAD), "The threads.";
        "ets_tables" Any, "Nothing: there are no tables.";
    }
    CHECK "Check" "What a check found." {
        "status" Text, "`ok` or `failed`.";
        "reason" Any, "Why it failed.";
        "port" Count, "The port that was looked for.";
        "ports" Counts, "The ports that there are.";
        "protocol" Text, "The protocol that was looked for.";
        "protocols" Texts, "The protocols that there are.";
        "missing" Any, "What was looked for and is not there.";
        "alarms" Any, "Alarms that are raised.";
        "connections" Count, "Connections that there are.";
        "expired" Any, "Certificates that cease to hold.";
    }
}

/// What a field of a body is.
pub(crate) fn meaning_of_field(name: &str) -> &'static str {
    match name {
        "name" => "Its name.",
        "type" => "Its type; `direct` if it is not given.",
        "durable" => "Whether it survives a restart; `true` if it is not given.",
        "auto_delete" => "Whether it goes when it is used no longer.",
        "internal" => "Whether only exchanges may publish to it.",
        "arguments" => "Its arguments.",
        "node" => "The node.",
        "routing_key" => "The routing key.",
        "properties" => "The properties of the message.",
        "payload" => "The body of the message.",
        "payload_encoding" => "`string` or `base64`.",
        "count" => "How many messages at most.",
        "ackmode" => {
            "`ack_requeue_true`, `ack_requeue_false`, `reject_requeue_true` or `reject_requeue_false`."
        }
        "encoding" => "`auto` or `base64`.",
        "truncate" => "Bytes of a body that are shown at most.",
        "dry_run" => "With it, messages are counted and left alone.",
        "filter" => "Which messages; `{}` for all.",
        "positions" => "Places of messages, instead of a filter.",
        "from" => "The place to begin at.",
        "settled" => "Whether settled messages are meant that are kept to be played again.",
        "settled_from" => "Settled then or later, in milliseconds since 1970.",
        "settled_until" => "Settled before then.",
        "to_queue" => "The queue that they go to.",
        "to_exchange" => "The exchange that they go to, instead of a queue.",
        "action" => "The action.",
        "vhost_pattern" => "A pattern: the virtual hosts that are meant.",
        "queue_pattern" => "A pattern: the queues that are meant.",
        "strategy" => "`all` or `even`.",
        "description" => "What it is for.",
        "tags" => "Tags, as a list or with commas between them.",
        "tracing" => "Whether messages are traced.",
        "default_queue_type" => "The type of queues that ask for none.",
        "protected_from_deletion" => "Whether it cannot be deleted.",
        "metadata" => "The same settings, as listings show them.",
        "users" => "Names of users.",
        "username" => "The user's name.",
        "password" => "The password.",
        "password_hash" => "A salted hash of the password, instead of the password.",
        "hashing_algorithm" => "How it was hashed.",
        "access_token" => "A token of OAuth 2, instead of name and password.",
        "grant_type" => "What the provider is asked for.",
        "configure" => "A pattern: what the user may make and delete.",
        "write" => "A pattern: where to the user may publish.",
        "read" => "A pattern: what the user may take from.",
        "exchange" => "The exchange.",
        "pattern" => "A pattern: the names, or routing keys, that are meant.",
        "definition" => "What the policy sets.",
        "priority" => "Of two policies the higher one applies; 0 if it is not given.",
        "apply-to" => "The kinds of objects; `all` if it is not given.",
        "value" => "The value.",
        "format" => "`text` or `json`.",
        "max_payload_bytes" => "Bytes of a body that are written.",
        "tracer_connection_username" => "Who takes the copies.",
        "tracer_connection_password" => "The password of whoever takes them.",
        "file" => "The file.",
        _ => "",
    }
}
