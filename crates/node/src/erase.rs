//! Erasing a data directory, except for the files by which command line tools reach the node ([`config::Place`]).

use std::io;
use std::path::Path;

/// What the names of these files begin with; they outlive a reset.
const PREFIX: &str = "control.";

/// The list of plugins is configuration, not data.
const PLUGINS_NAME: &str = "enabled_plugins";

/// Nor are the certificates that the operator trusts.
const TRUST_STORE_NAME: &str = "trust_store";

/// The lock of the store, which may be somebody's at any moment.
const LOCK_NAME: &str = "lock";

/// Erases the data of a broker that is stopped. The next start is a first start.
///
/// # Errors
/// Something cannot be read or removed; the rest may be gone.
pub fn erase_data(data_dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let stays = [LOCK_NAME, PLUGINS_NAME, TRUST_STORE_NAME];
        if name.starts_with(PREFIX) || stays.contains(&&*name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    std::fs::File::open(data_dir)?.sync_all()
}
