//! Starting and stopping the API beside a node.

use crate::server;
use crate::state::State;
use node::{Handle, NodeError, Service};
use std::net::SocketAddr;
use std::sync::Arc;

/// Threads that serve requests. They sleep when nobody asks.
const THREADS: usize = 2;

struct Management {
    runtime: tokio::runtime::Runtime,
    addresses: Vec<SocketAddr>,
}

/// Starts the API as the node's settings say; nothing, if it has no listener.
///
/// # Errors
/// A listener's address cannot be bound, or there are no threads to be had.
pub fn start(node: &Handle) -> Result<Vec<Box<dyn Service>>, NodeError> {
    let listeners = node
        .settings()
        .management
        .listeners
        .iter()
        .map(|address| Handle::bind(*address))
        .collect::<Result<Vec<_>, _>>()?;
    if listeners.is_empty() {
        return Ok(Vec::new());
    }
    let system = |what| move |source| NodeError::System { what, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("management")
        .enable_all()
        .build()
        .map_err(system("start threads of the HTTP API"))?;
    let state = Arc::new(State::new(node.clone()));
    let addresses = listeners
        .iter()
        .map(std::net::TcpListener::local_addr)
        .collect::<Result<Vec<_>, _>>()
        .map_err(system("start HTTP listener"))?;
    state
        .listeners
        .set(addresses.clone())
        .expect("it is set once");
    let listeners = {
        let _runtime = runtime.enter();
        listeners
            .into_iter()
            .map(tokio::net::TcpListener::from_std)
            .collect::<Result<Vec<_>, _>>()
            .map_err(system("start HTTP listener"))?
    };
    runtime.spawn(crate::statistics::sample(Arc::clone(&state)));
    runtime.spawn(server::serve(state, listeners));
    Ok(vec![Box::new(Management { runtime, addresses })])
}

impl Service for Management {
    fn addresses(&self) -> Vec<String> {
        self.addresses
            .iter()
            .map(|address| format!("http://{address}"))
            .collect()
    }

    fn stop(self: Box<Self>) {
        // The node is stopping and this thread must go on: what is under way ends with its connection.
        self.runtime.shutdown_background();
    }
}
