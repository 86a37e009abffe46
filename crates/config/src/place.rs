//! Where a node is on this host: its name, its data directory, and the files there by which command line tools reach it.
//!
//! The same rules hold for the server and for the tools, which know no more of a node than its name.

use crate::{
    Problem, Settings, Surroundings, data_dir, enabled_plugins_file, full_node_name, node_name,
};
use std::path::PathBuf;

/// A node and its data directory, which need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `name@host`
    pub node_name: String,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// The list of enabled plugins, one term; the file need not exist.
    pub enabled_plugins: PathBuf,
    /// Variables say where the data of this very node is: a process of its name that has its data elsewhere is another one.
    pub is_certain: bool,
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
        let names = [
            "RABBITMQ_MNESIA_DIR",
            "RABBITMQ_MNESIA_BASE",
            "RABBITMQ_BASE",
        ];
        let is_set = |name: &&str| surroundings.variable(name).is_some();
        Ok(Self {
            is_certain: is_own && names.iter().any(is_set),
            enabled_plugins: enabled_plugins_file(surroundings, &data_dir),
            node_name: name,
            data_dir,
        })
    }

    /// The place of a node with these settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            node_name: settings.node_name.clone(),
            data_dir: settings.data_dir.clone(),
            enabled_plugins: settings.enabled_plugins_file.clone(),
            is_certain: true,
        }
    }

    /// The name of the socket, in the system's abstract namespace, at which a node says where its data is. Names are unique on a host
    /// as those of nodes are.
    pub fn directory_socket(&self) -> String {
        format!("warrenmq/{}", self.node_name)
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
}
