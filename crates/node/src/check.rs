//! What can be known of a configuration before a node starts with it: whether its certificates can be used, its backends made and its
//! definitions found.
//!
//! It opens no listener, touches no data directory and asks nobody over a network.

use crate::boot::NodeError;
use crate::config::{DefinitionsSource, EnabledPlugins, Settings};
use auth::{Chain, Link};
use broker::auth::Authenticator;
use std::sync::Arc;
use transport::{TlsAcceptor, TlsSettings};

/// Checks what a start with these settings would need.
///
/// # Errors
/// The first thing that would keep a node from starting.
pub fn check(settings: &Settings) -> Result<(), NodeError> {
    backends(settings, &settings.auth.backends)?;
    backends(settings, &settings.management.auth_backends)?;
    if !settings.tls_listeners.is_empty() {
        tls("ssl_options", &settings.tls)?;
    }
    if !settings.management.tls_listeners.is_empty() {
        tls("management.ssl", &settings.management.tls)?;
    }
    if !settings.prometheus.tls_listeners.is_empty() {
        tls("prometheus.ssl", &settings.prometheus.tls)?;
    }
    if let Some(DefinitionsSource::Path(path)) = &settings.definitions.source
        && let Err(error) = std::fs::metadata(path)
    {
        return Err(NodeError::Definitions {
            origin: path.display().to_string(),
            reason: error.to_string(),
        });
    }
    Ok(())
}

/// Reads the files of listeners whose options begin with `keys`.
///
/// # Errors
/// One is missing or wrong, or the options do not fit together.
pub fn tls(keys: &'static str, settings: &TlsSettings) -> Result<Arc<TlsAcceptor>, NodeError> {
    TlsAcceptor::start(settings.clone()).map_err(|error| NodeError::Tls {
        reason: error
            .to_string()
            .replace("ssl_options.", &format!("{keys}.")),
        keys,
    })
}

/// What lets users in and decides about them beside the metadata; `None` if nothing does.
///
/// # Errors
/// A backend cannot be used as it is configured, or no plugin of one is enabled.
pub(crate) fn backends(
    settings: &Settings,
    links: &[Link],
) -> Result<Option<Arc<dyn Authenticator>>, NodeError> {
    if links.is_empty() {
        return Ok(None);
    }
    let auth = auth::Settings {
        backends: usable(settings, links)?,
        ..settings.auth.clone()
    };
    let chain = Chain::new(&auth).map_err(NodeError::Auth)?;
    Ok(chain.map(|chain| chain as Arc<dyn Authenticator>))
}

/// The links whose backends' plugins are enabled. Where no list says what is enabled, all are.
///
/// Compat: a link is left out as a whole if the backend that lets users in is, or all that decide about them are.
fn usable(settings: &Settings, links: &[Link]) -> Result<Vec<Link>, NodeError> {
    let Some(enabled) = enabled_plugins(settings) else {
        return Ok(links.to_vec());
    };
    let is_enabled = |name: &auth::BackendName| match name.plugin() {
        Some(plugin) if !enabled.iter().any(|enabled| enabled == plugin) => {
            tracing::info!(
                "The `{}` auth backend module is configured. However, the `{plugin}` plugin must be enabled in order to use this auth backend. Until then it will be skipped during authentication/authorization",
                name.module()
            );
            false
        }
        _ => true,
    };
    let mut kept = Vec::new();
    for Link { authn, authz } in links {
        let is_in = is_enabled(authn);
        let left: Vec<_> = authz.iter().copied().filter(is_enabled).collect();
        if is_in && left.is_empty() == authz.is_empty() {
            kept.push(Link {
                authn: *authn,
                authz: left,
            });
        }
    }
    if kept.is_empty() {
        return Err(NodeError::NoBackend);
    }
    if kept != links {
        let names: Vec<_> = kept.iter().map(|link| link.authn.module()).collect();
        tracing::warn!(
            "Some configured backends were dropped because their corresponding plugins are disabled. Please look at the info messages above to learn which plugin(s) should be enabled. Here is the list of auth backends kept after filering:\n[{}]",
            names.join(",")
        );
    }
    Ok(kept)
}

/// The plugins that are enabled by name; `None` where nothing lists them.
///
/// What is wrong with the file is told by who needs all of it.
pub(crate) fn enabled_plugins(settings: &Settings) -> Option<Vec<String>> {
    match &settings.enabled_plugins {
        Some(EnabledPlugins::These(names)) => Some(names.clone()),
        Some(EnabledPlugins::All) => None,
        None => {
            let text = std::fs::read_to_string(&settings.enabled_plugins_file).ok()?;
            Some(EnabledPlugins::names_in(&text))
        }
    }
}
