//! Starting and stopping the API beside a node, and its listeners while the node runs.

use crate::access_log::AccessLog;
use crate::control::{Attached, Control};
use crate::resources::plugins;
use crate::server::{self, Server, Site};
use crate::state::State;
use node::config::{HttpService, ListenAddress};
use node::{Entrance, Handle, Listeners, NodeError, Service};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::runtime::Runtime;
use transport::TlsSettings;

/// Threads that serve requests. They sleep when nobody asks.
const THREADS: usize = 2;
/// Threads that answer Prometheus.
const METRICS_THREADS: usize = 1;

struct Management {
    state: Arc<State>,
    _attached: Option<Attached>,
}

/// Starts the API, for the network as the node's settings say and for the control socket.
///
/// # Errors
/// A listener's address cannot be bound, or there are no threads to be had.
pub fn start(node: &Handle, control: Option<&Control>) -> Result<Vec<Box<dyn Service>>, NodeError> {
    let mut state = State::new(node.clone()).map_err(|error| NodeError::System {
        what: "prepare logins with OAuth 2",
        source: std::io::Error::other(error),
    })?;
    if let Some(directory) = &node.settings().management.access_log_dir {
        let log = AccessLog::open(directory).map_err(|source| NodeError::System {
            what: "open the access log",
            source,
        })?;
        state.access_log = Some(log);
    }
    let state = Arc::new(state);
    plugins::warn_of_absent(&state);
    plugins::enforce(&state).map_err(|source| NodeError::System {
        what: "write the list of enabled plugins",
        source,
    })?;
    if is_enabled(&state, plugins::MANAGEMENT)? {
        open_listeners(&state)?;
    }
    if is_enabled(&state, plugins::PROMETHEUS)? {
        open_metrics(&state)?;
    }
    let attached =
        control.map(|control| control.attach(Arc::new(Server::new(Arc::clone(&state), Site::Api))));
    Ok(vec![Box::new(Management {
        state,
        _attached: attached,
    })])
}

/// Whether the list of plugins, if there is one, has a plugin.
fn is_enabled(state: &State, plugin: &str) -> Result<bool, NodeError> {
    let listed = plugins::listed(state).map_err(|source| NodeError::System {
        what: "read the list of enabled plugins",
        source,
    })?;
    Ok(listed.is_none_or(|names| names.iter().any(|name| name == plugin)))
}

/// Opens the listeners of the API that the settings name, and starts threads if there are any; nothing, if they are open.
///
/// # Errors
/// As [`start`].
pub(crate) fn open_listeners(state: &Arc<State>) -> Result<(), NodeError> {
    let mut threads = state.threads.lock();
    if threads.is_some() {
        return Ok(());
    }
    let settings = state.settings();
    let site = SiteListeners {
        site: Site::Api,
        plain: bind(&settings.listeners, settings.service)?,
        tls: bind(&settings.tls_listeners, settings.tls_service)?,
        tls_settings: &settings.tls,
        proxy_protocol: settings.proxy_protocol,
    };
    if let Some((runtime, addresses)) = serve(state, site, THREADS)? {
        state.set_http_listeners(addresses);
        runtime.spawn(crate::statistics::sample(Arc::clone(state)));
        *threads = Some(runtime);
    }
    Ok(())
}

/// Opens the listeners of the metrics that the settings name; nothing, if they are open.
///
/// # Errors
/// As [`start`]; but where nobody chose the port, a port that is taken leaves the metrics off.
pub(crate) fn open_metrics(state: &Arc<State>) -> Result<(), NodeError> {
    let mut threads = state.metrics_threads.lock();
    if threads.is_some() {
        return Ok(());
    }
    let settings = &state.node.settings().prometheus;
    let plain = match bind(&settings.listeners, settings.service) {
        Err(error) if !settings.port_is_chosen => {
            tracing::warn!(%error, "no metrics for Prometheus; prometheus.tcp.port chooses another port");
            Vec::new()
        }
        bound => bound?,
    };
    let site = SiteListeners {
        site: Site::Metrics,
        plain,
        tls: bind(&settings.tls_listeners, settings.tls_service)?,
        tls_settings: &settings.tls,
        proxy_protocol: false,
    };
    if let Some((runtime, addresses)) = serve(state, site, METRICS_THREADS)? {
        state.set_metrics_listeners(addresses);
        *threads = Some(runtime);
    }
    Ok(())
}

/// What is served where.
struct SiteListeners<'a> {
    site: Site,
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    tls_settings: &'a TlsSettings,
    proxy_protocol: bool,
}

/// Starts threads that serve these listeners, if there are any.
fn serve(
    state: &Arc<State>,
    listeners: SiteListeners<'_>,
    threads: usize,
) -> Result<Option<(Runtime, Listeners)>, NodeError> {
    let SiteListeners {
        site,
        plain,
        tls,
        tls_settings,
        proxy_protocol,
    } = listeners;
    if plain.is_empty() && tls.is_empty() {
        return Ok(None);
    }
    let open = Entrance {
        proxy_protocol,
        tls_handshake_timeout: state.node.settings().tls_handshake_timeout,
        tls: None,
    };
    let acceptor = match tls.is_empty() {
        true => None,
        false => Some(node::tls(tls_keys(site), tls_settings)?),
    };
    let system = |what| move |source| NodeError::System { what, source };
    let name = match site {
        Site::Api => "management",
        Site::Metrics => "metrics",
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(system("start threads that serve HTTP"))?;
    let addresses = Listeners {
        plain: addresses(&plain)?,
        tls: addresses(&tls)?,
    };
    if let Some(acceptor) = &acceptor {
        runtime.spawn(Arc::clone(acceptor).watch());
    }
    let secure = Entrance {
        tls: acceptor,
        ..open
    };
    let listeners = {
        let _runtime = runtime.enter();
        let plain = plain.into_iter().map(|listener| (listener, open.clone()));
        let tls = tls.into_iter().map(|listener| (listener, secure.clone()));
        plain
            .chain(tls)
            .map(|(listener, entrance)| {
                Ok((tokio::net::TcpListener::from_std(listener)?, entrance))
            })
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(system("start HTTP listener"))?
    };
    let server = Arc::new(Server::new(Arc::clone(state), site));
    runtime.spawn(server::serve(server, listeners));
    Ok(Some((runtime, addresses)))
}

/// What the options of TLS of these listeners begin with.
fn tls_keys(site: Site) -> &'static str {
    match site {
        Site::Api => "management.ssl",
        Site::Metrics => "prometheus.ssl",
    }
}

/// Closes the listeners of the API. What is under way ends with its connection.
pub(crate) fn close_listeners(state: &State) {
    if let Some(runtime) = state.threads.lock().take() {
        // Whoever closes them must go on.
        runtime.shutdown_background();
    }
    state.set_http_listeners(Listeners::default());
}

/// Closes the listeners of the metrics.
pub(crate) fn close_metrics(state: &State) {
    if let Some(runtime) = state.metrics_threads.lock().take() {
        runtime.shutdown_background();
    }
    state.set_metrics_listeners(Listeners::default());
}

fn bind(addresses: &[ListenAddress], service: HttpService) -> Result<Vec<TcpListener>, NodeError> {
    addresses
        .iter()
        .map(|address| Handle::bind(*address, service.backlog))
        .collect()
}

fn addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, NodeError> {
    listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| NodeError::System {
            what: "start HTTP listener",
            source,
        })
}

impl Service for Management {
    fn addresses(&self) -> Vec<String> {
        let sites = [
            (self.state.http_listeners(), ""),
            (self.state.metrics_listeners(), "/metrics"),
        ];
        let of_site = |(listeners, path): (Listeners, &'static str)| {
            let plain = listeners.plain.into_iter();
            let plain = plain.map(move |address| format!("http://{address}{path}"));
            let tls = listeners.tls.into_iter();
            plain.chain(tls.map(move |address| format!("https://{address}{path}")))
        };
        sites.into_iter().flat_map(of_site).collect()
    }

    fn plugins(&self) -> Vec<&'static str> {
        plugins::running(&self.state)
    }

    fn stop(self: Box<Self>) {
        self.state.traces.shut_down();
        close_listeners(&self.state);
        close_metrics(&self.state);
    }
}
