//! Starting and stopping the API beside a node.

use crate::server;
use crate::state::State;
use node::config::ListenAddress;
use node::{Entrance, Handle, Listeners, NodeError, Service};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use transport::TlsAcceptor;

/// Threads that serve requests. They sleep when nobody asks.
const THREADS: usize = 2;

struct Management {
    runtime: tokio::runtime::Runtime,
    addresses: Listeners,
}

/// Starts the API as the node's settings say; nothing, if it has no listener.
///
/// # Errors
/// A listener's address cannot be bound, or there are no threads to be had.
pub fn start(node: &Handle) -> Result<Vec<Box<dyn Service>>, NodeError> {
    let settings = &node.settings().management;
    let plain = bind(&settings.listeners)?;
    let tls = bind(&settings.tls_listeners)?;
    if plain.is_empty() && tls.is_empty() {
        return Ok(Vec::new());
    }
    let open = Entrance {
        proxy_protocol: settings.proxy_protocol,
        tls_handshake_timeout: node.settings().tls_handshake_timeout,
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
    let state = Arc::new(State::new(node.clone()));
    let addresses = Listeners {
        plain: addresses(&plain)?,
        tls: addresses(&tls)?,
    };
    state
        .listeners
        .set(addresses.clone())
        .expect("it is set once");
    if let Some(acceptor) = &acceptor {
        runtime.spawn(Arc::clone(acceptor).watch());
    }
    let secure = Entrance {
        tls: acceptor,
        ..open.clone()
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
    runtime.spawn(crate::statistics::sample(Arc::clone(&state)));
    runtime.spawn(server::serve(state, listeners));
    Ok(vec![Box::new(Management { runtime, addresses })])
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
        let plain = self.addresses.plain.iter();
        let tls = self.addresses.tls.iter();
        plain
            .map(|address| format!("http://{address}"))
            .chain(tls.map(|address| format!("https://{address}")))
            .collect()
    }

    fn stop(self: Box<Self>) {
        // The node is stopping and this thread must go on: what is under way ends with its connection.
        self.runtime.shutdown_background();
    }
}
