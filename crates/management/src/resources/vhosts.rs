//! Virtual hosts.

use crate::access;
use crate::call::{Answer, Body, Call, Outcome};
use crate::error::ApiError;
use crate::json::{Object, object};
use crate::listing::{Columns, Listing};
use crate::statistics::{Details, Subject, of_vhosts};
use base::Name;
use broker::command::MetadataCommand;
use broker::vhost::Vhost;
use broker::vhost_metadata::VhostChanges;
use definitions::objects::vhost_metadata;
use hyper::Method;
use std::collections::HashMap;

pub(crate) async fn list(call: Call) -> Outcome {
    let listing = Listing::new(&call.query)?;
    let mut vhosts: Vec<_> = if access::is_monitor(call.user()) {
        call.metadata.vhosts().cloned().collect()
    } else {
        access::vhosts(&call.metadata, call.user())
            .into_iter()
            .cloned()
            .collect()
    };
    vhosts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let cut = listing.cut(listing.filter(vhosts, |vhost| &vhost.name))?;
    let totals = if call.without_stats() {
        HashMap::new()
    } else {
        let names: Vec<Name> = cut.sources.iter().map(|vhost| vhost.name.clone()).collect();
        let totals = of_vhosts(&call.state, &names).await;
        names.into_iter().zip(totals).collect()
    };
    let node = call.state.node_name();
    let details = Details::new(&call)?;
    listing.show(cut, |vhost| {
        let mut item = item(vhost, &node);
        if let Some(totals) = totals.get(&vhost.name) {
            let subject = Subject::Vhost(vhost.name.clone());
            let series = call.state.statistics.glance_at(subject);
            item.append(totals.item(&details, series.as_ref()));
        }
        item
    })
}

/// The queue type that queues get which ask for none.
pub(crate) fn default_queue_type(vhost: &Vhost) -> String {
    vhost
        .metadata
        .default_queue_type
        .as_deref()
        .unwrap_or("classic")
        .to_owned()
}

/// The part that definitions have too.
pub(crate) fn metadata_item(vhost: &Vhost) -> Object {
    let tags: Vec<String> = vhost
        .metadata
        .tags
        .iter()
        .map(|tag| tag.to_string())
        .collect();
    object! {
        "description" => vhost.metadata.description.to_string(),
        "tags" => tags,
        "default_queue_type" => default_queue_type(vhost),
    }
}

fn item(vhost: &Vhost, node: &str) -> Object {
    let mut item = object! { "name" => &vhost.name };
    item.append(metadata_item(vhost));
    item.append(object! {
        "protected_from_deletion" => vhost.metadata.protected_from_deletion,
        "metadata" => metadata_item(vhost),
        "tracing" => vhost.metadata.tracing,
        "cluster_state" => object! { node.to_owned() => "running" },
    });
    item
}

pub(crate) async fn one(call: Call) -> Outcome {
    let name = call.parameter(0).clone();
    let known = call.metadata.vhost(&name);
    match call.method {
        Method::PUT => {
            let created = known.is_none();
            let commands = put(&call, &name, &call.body()?, created)?;
            call.propose_all(&commands).await?;
            Ok(Answer::put(created))
        }
        Method::DELETE => {
            known.ok_or(ApiError::NoObject)?;
            call.propose(MetadataCommand::DeleteVhost { name }).await?;
            Ok(Answer::NoContent)
        }
        _ => {
            let vhost = call.vhost()?;
            let details = Details::new(&call)?;
            let mut item = item(vhost, &call.state.node_name());
            if call.without_stats() {
                return Ok(Columns::new(&call.query).apply(item).into());
            }
            let series = call.state.statistics.look_at(Subject::Vhost(name.clone()));
            for totals in of_vhosts(&call.state, std::slice::from_ref(&name)).await {
                item.append(totals.item(&details, series.as_ref()));
            }
            Ok(Columns::new(&call.query).apply(item).into())
        }
    }
}

/// A new vhost belongs to the user who makes it; what is not said about one that exists is as if it were new.
fn put(
    call: &Call,
    name: &Name,
    body: &Body,
    is_new: bool,
) -> Result<Vec<MetadataCommand>, ApiError> {
    let metadata = vhost_metadata(body)?;
    if !is_new {
        let changes = VhostChanges {
            description: Some(metadata.description),
            tags: Some(metadata.tags),
            default_queue_type: metadata.default_queue_type.map(Some),
            protected_from_deletion: body
                .contains_key("protected_from_deletion")
                .then_some(metadata.protected_from_deletion),
            tracing: body.contains_key("tracing").then_some(metadata.tracing),
        };
        return Ok(vec![MetadataCommand::UpdateVhost {
            name: name.clone(),
            changes,
        }]);
    }
    let mut commands = vec![MetadataCommand::CreateVhost {
        name: name.clone(),
        metadata,
    }];
    if !call.is_operator() {
        commands.push(MetadataCommand::SetPermissions {
            vhost: name.clone(),
            user: call.user().name.clone(),
            configure: ".*".into(),
            write: ".*".into(),
            read: ".*".into(),
        });
    }
    Ok(commands)
}

pub(crate) async fn protection(call: Call) -> Outcome {
    let name = call.vhost()?.name.clone();
    let changes = VhostChanges {
        protected_from_deletion: Some(call.method == Method::POST),
        ..VhostChanges::default()
    };
    call.propose(MetadataCommand::UpdateVhost { name, changes })
        .await?;
    Ok(Answer::NoContent)
}

/// Vhosts are always up.
pub(crate) async fn start(call: Call) -> Outcome {
    call.vhost()?;
    let node = call.parameter(1);
    if super::nodes::expect_node_named(&call, node).is_err() {
        return Err(ApiError::bad(format!("Unknown node: {node}")));
    }
    Ok(Answer::NoContent)
}
