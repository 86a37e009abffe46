//! What operators find in the log of changes of users, permissions, virtual hosts and policies, in RabbitMQ's words.
//!
//! It tells of single changes; an import of definitions has one line for all. What a queue, an exchange or a runtime parameter says is
//! not logged, since clients make the former and the latter may hold secrets.

use broker::command::MetadataCommand;
use broker::event::Change;
use broker::policy::Policy;
use std::sync::Arc;

/// Logs a change that took place.
pub(crate) fn log(change: &Change<'_>) {
    match change.command {
        MetadataCommand::CreateVhost { name, metadata } => {
            if change.before.vhost(name).is_none() {
                let tags = metadata.tags.join(",");
                tracing::info!(
                    "Adding vhost '{name}' (description: '{}', tags: [{tags}])",
                    metadata.description
                );
            }
        }
        MetadataCommand::UpdateVhost { name, .. } => log_tracing(change, name),
        MetadataCommand::DeleteVhost { name } => {
            tracing::info!("Deleting vhost '{name}'");
            tracing::info!(
                target: "connection",
                "Closing all connections in vhost '{name}' because it's being deleted"
            );
        }
        MetadataCommand::PutUser { name, .. } => log_user(change, name),
        MetadataCommand::DeleteUser { name } => {
            tracing::info!(target: "user", "Deleted user '{name}'");
            tracing::info!(
                target: "connection",
                "Closing all connections for user '{name}' because the user is being deleted"
            );
        }
        MetadataCommand::SetPermissions {
            vhost,
            user,
            configure,
            write,
            read,
        } => {
            tracing::info!(
                target: "user",
                "Successfully set permissions for user '{user}' in virtual host '{vhost}' to '{configure}', '{write}', '{read}'"
            );
        }
        MetadataCommand::ClearPermissions { vhost, user } => {
            tracing::info!(
                target: "user",
                "Successfully cleared permissions for user '{user}' in virtual host '{vhost}'"
            );
        }
        MetadataCommand::SetTopicPermissions {
            vhost,
            user,
            exchange,
            write,
            read,
        } => {
            tracing::info!(
                target: "user",
                "Successfully set topic permissions on exchange '{exchange}' for user '{user}' in virtual host '{vhost}' to '{write}', '{read}'"
            );
        }
        MetadataCommand::ClearTopicPermissions { vhost, user, .. } => {
            tracing::info!(
                target: "user",
                "Successfully cleared topic permissions for user '{user}' in virtual host '{vhost}'"
            );
        }
        MetadataCommand::PutPolicy { vhost, policy, .. } => log_policy(vhost, policy),
        MetadataCommand::DeclareExchange { .. }
        | MetadataCommand::DeleteExchange { .. }
        | MetadataCommand::CreateSystemExchange { .. }
        | MetadataCommand::DeclareQueue { .. }
        | MetadataCommand::DeleteQueue { .. }
        | MetadataCommand::SetQueuePaused { .. }
        | MetadataCommand::DeleteExclusiveQueues { .. }
        | MetadataCommand::Bind { .. }
        | MetadataCommand::Unbind { .. }
        | MetadataCommand::DeletePolicy { .. }
        | MetadataCommand::PutParameter { .. }
        | MetadataCommand::DeleteParameter { .. }
        | MetadataCommand::PutGlobalParameter { .. }
        | MetadataCommand::DeleteGlobalParameter { .. }
        | MetadataCommand::SetVhostLimits { .. }
        | MetadataCommand::SetUserLimits { .. } => {}
    }
}

fn log_tracing(change: &Change<'_>, vhost: &str) {
    let before = change.before.vhost(vhost);
    let after = change.after.vhost(vhost);
    let is_on = |vhost: Option<&Arc<broker::vhost::Vhost>>| {
        vhost.is_some_and(|vhost| vhost.metadata.tracing)
    };
    match (is_on(before), is_on(after)) {
        (false, true) => tracing::info!("Enabling tracing for vhost '{vhost}'"),
        (true, false) => tracing::info!("Disabling tracing for vhost '{vhost}'"),
        (true, true) | (false, false) => {}
    }
}

fn log_user(change: &Change<'_>, name: &str) {
    let before = change.before.user(name);
    let Some(after) = change.after.user(name) else {
        return;
    };
    match before {
        None => tracing::info!(target: "user", "Created user '{name}'"),
        Some(before) if before.password_hash != after.password_hash => match after.password_hash {
            Some(_) => {
                tracing::info!(target: "user", "Successfully changed password for user '{name}'");
            }
            None => tracing::info!(target: "user", "Clearing password for user '{name}'"),
        },
        Some(_) => {}
    }
    let tags_before = before.map_or(&[][..], |before| &before.tags);
    if after.tags != tags_before {
        let tags = after.tags.join(",");
        tracing::info!(target: "user", "Successfully set user tags for user '{name}' to [{tags}]");
    }
}

fn log_policy(vhost: &str, policy: &Policy) {
    tracing::info!(
        "Successfully set policy '{}' matching {} names in virtual host '{vhost}' using pattern '{}'",
        policy.name,
        policy.apply_to.as_str(),
        policy.pattern.source()
    );
}
