//! Where a node is on this host: its name, its data directory, and the files there by which command line tools reach it.
//!
//! The same rules hold for the server and for the tools, which know no more of a node than its name.

use crate::{Problem, Surroundings, data_dir, full_node_name, node_name};
use std::path::PathBuf;

/// A node and its data directory, which need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `name@host`
    pub node_name: String,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
}

impl Place {
    /// The place of a node; without a name, of the one that `rabbitmq-server` would start here.
    ///
    /// # Errors
    /// The name is none, or no directory can be found for it.
    pub fn find(surroundings: &dyn Surroundings, name: Option<&str>) -> Result<Self, Problem> {
        let own = node_name(surroundings);
        let name = match name {
            Some(name) => full_node_name(surroundings, name)?,
            None => own.clone()?,
        };
        let is_own = own.is_ok_and(|own| own == name);
        let data_dir = data_dir(surroundings, &name, is_own).ok_or(Problem::NoDataDirectory)?;
        Ok(Self {
            node_name: name,
            data_dir,
        })
    }

    /// The socket over which the node is controlled.
    pub fn control_socket(&self) -> PathBuf {
        self.data_dir.join("control.sock")
    }

    /// The secret that whoever speaks over the socket has to know.
    pub fn control_secret(&self) -> PathBuf {
        self.data_dir.join("control.secret")
    }

    /// The file that is locked by the process that has the socket.
    pub fn control_lock(&self) -> PathBuf {
        self.data_dir.join("control.lock")
    }

    /// The plugins that were enabled, one term.
    pub fn enabled_plugins(&self) -> PathBuf {
        self.data_dir.join("enabled_plugins")
    }
}
