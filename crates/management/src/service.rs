//! Starting and stopping the API beside a node, and its listeners while the node runs.

use crate::control::{Attached, Control};
use crate::resources::plugins;
use crate::server::{self, Server};
use crate::state::State;
use node::config::ListenAddress;
use node::{Entrance, Handle, Listeners, NodeError, Service};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use transport::TlsAcceptor;

/// Threads that serve requests. They sleep when nobody asks.
const THREADS: usize = 2;

struct Management {
    state: Arc<State>,
    _attached: Option<Attached>,
}

/// Starts the API, for the network as the node's settings say and for the control socket.
///
/// # Errors
/// A listener's address cannot be bound, or there are no threads to be had.
pub fn start(node: &Handle, control: Option<&Control>) -> Result<Vec<Box<dyn Service>>, NodeError> {
    let state = Arc::new(State::new(node.clone()));
    if is_enabled(&state)? {
        open_listeners(&state)?;
    }
    let attached = control.map(|control| control.attach(Arc::new(Server::new(Arc::clone(&state)))));
    Ok(vec![Box::new(Management {
        state,
        _attached: attached,
    })])
}

/// Whether the list of plugins, if there is one, has this one.
fn is_enabled(state: &State) -> Result<bool, NodeError> {
    let listed = plugins::listed(state).map_err(|source| NodeError::System {
        what: "read the list of enabled plugins",
        source,
    })?;
    Ok(listed.is_none_or(|names| names.iter().any(|name| name == plugins::MANAGEMENT)))
}

/// Opens the listeners that the settings name, and starts threads if there are any; nothing, if they are open.
///
/// # Errors
/// As [`start`].
pub(crate) fn open_listeners(state: &Arc<State>) -> Result<(), NodeError> {
    let mut threads = state.threads.lock();
    if threads.is_some() {
        return Ok(());
    }
    let settings = state.settings();
    let plain = bind(&settings.listeners)?;
    let tls = bind(&settings.tls_listeners)?;
    if plain.is_empty() && tls.is_empty() {
        return Ok(());
    }
    let open = Entrance {
        proxy_protocol: settings.proxy_protocol,
        tls_handshake_timeout: state.node.settings().tls_handshake_timeout,
        tls: None,
    };
    let acceptor = match tls.is_empty() {
        true => None,
        false => Some(TlsAcceptor::start(settings.tls.clone())?),
    };
    let system = |what| move |source| NodeError::System { what, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("management")
        .enable_all()
        .build()
        .map_err(system("start threads of the HTTP API"))?;
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
    state.set_http_listeners(addresses);
    runtime.spawn(crate::statistics::sample(Arc::clone(state)));
    let server = Arc::new(Server::new(Arc::clone(state)));
    runtime.spawn(server::serve(server, listeners));
    *threads = Some(runtime);
    Ok(())
}

/// Closes the listeners. What is under way ends with its connection.
pub(crate) fn close_listeners(state: &State) {
    if let Some(runtime) = state.threads.lock().take() {
        // Whoever closes them must go on.
        runtime.shutdown_background();
    }
    state.set_http_listeners(Listeners::default());
}

fn bind(addresses: &[ListenAddress]) -> Result<Vec<TcpListener>, NodeError> {
    addresses
        .iter()
        .map(|address| Handle::bind(*address))
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
        let addresses = self.state.http_listeners();
        let plain = addresses.plain.iter();
        let tls = addresses.tls.iter();
        plain
            .map(|address| format!("http://{address}"))
            .chain(tls.map(|address| format!("https://{address}")))
            .collect()
    }

    fn stop(self: Box<Self>) {
        close_listeners(&self.state);
    }
}
