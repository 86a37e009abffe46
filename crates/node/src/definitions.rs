//! Definitions that a node takes in, at its start or later: from files, or from a server over HTTPS.
//!
//! What such a file says is [`definitions`](::definitions)' matter; this reads, hashes and carries out.

use crate::boot::NodeError;
use crate::metadata_leader::{BatchError, BatchKind, MetadataLeader};
use base::Name;
use broker::Error;
use broker::auth::CredentialValidator;
use broker::command::MetadataCommand;
use broker::event::INTERNAL_USER;
use broker::json::Json;
use broker::metadata::IMPORTED_DEFINITIONS_HASH;
use config::{ContentHash, DefinitionsSettings, DefinitionsSource, Secret};
use http_client::{Answer, Client, Limits, Url, header};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use thiserror::Error as ThisError;
use transport::{ClientTls, ClientTlsSettings};

/// Definitions that a node reads at its start at most, over all files; more is an error.
const DEFINITIONS_BYTES_MAX: u64 = 512 << 20;
/// How long a server may take to give its definitions.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a server may send us on.
const REDIRECTIONS_MAX: usize = 5;

/// What is imported together: the name of each file for messages, and what is in it.
type Contents = Vec<(String, Vec<u8>)>;

/// Why definitions were not imported; nothing has changed then.
#[derive(Clone, Debug, PartialEq, ThisError)]
pub enum ImportError {
    /// The file, or something in it, makes no sense.
    #[error(transparent)]
    File(#[from] ::definitions::Error),
    /// The broker refuses something in it.
    #[error("{text}")]
    Refused {
        /// What RabbitMQ says of it.
        text: String,
        /// The rule.
        error: Error,
    },
}

impl ImportError {
    pub(crate) fn refused(commands: &[MetadataCommand], refused: BatchError) -> Self {
        let BatchError { index, error } = refused;
        let text = match index {
            Some(index) => ::definitions::refusal(&commands[index], &error),
            None => error.to_string(),
        };
        Self::Refused { text, error }
    }
}

/// The commands of a file.
pub(crate) fn read(
    file: &[u8],
    vhost: Option<&Name>,
    user: &Name,
    validator: &CredentialValidator,
) -> Result<Vec<MetadataCommand>, ::definitions::Error> {
    let mut context = ::definitions::Context {
        vhost,
        user,
        random: &mut rand::random,
        validator,
    };
    ::definitions::read(file, &mut context)
}

/// Imports what the configuration says, all files together or nothing.
///
/// # Errors
/// A file or a server cannot be read, or something in it is refused: a node must not run with less than its operator asked for.
pub(crate) fn import_at_start(
    leader: &MetadataLeader,
    settings: &DefinitionsSettings,
    validator: &CredentialValidator,
) -> Result<(), NodeError> {
    let (origin, contents) = match &settings.source {
        None => return Ok(()),
        Some(DefinitionsSource::Path(path)) => (path.display().to_string(), files(path)?),
        Some(DefinitionsSource::Https(url)) => {
            let fetched = fetch_apart(url, &settings.tls)?;
            (fetched.0.clone(), vec![fetched])
        }
    };
    let hash = Json::from(hash_of(&contents, settings.hashing));
    let name = Name::from(IMPORTED_DEFINITIONS_HASH);
    if settings.skip_if_unchanged && leader.snapshot().global_parameter(&name) == Some(&hash) {
        tracing::info!("definitions of {origin} are those that were imported last");
        return Ok(());
    }
    let (mut commands, mut ranges) = (Vec::new(), Vec::new());
    for (file, content) in &contents {
        let read = read(content, None, &INTERNAL_USER.into(), validator);
        let start = commands.len();
        commands.extend(read.map_err(|error| refused(file, &error))?);
        ranges.push((file, start..commands.len()));
    }
    if settings.skip_if_unchanged {
        commands.push(MetadataCommand::PutGlobalParameter { name, value: hash });
    }
    let imported = leader.bootstrap(&commands, BatchKind::Definitions);
    imported.map_err(|error| {
        let is_in = |range: &Range<usize>| error.index.is_some_and(|index| range.contains(&index));
        let found = ranges.iter().find(|(_, range)| is_in(range));
        let file = found.map_or(&origin, |(file, _)| file);
        refused(file, &ImportError::refused(&commands, error))
    })?;
    tracing::info!(objects = commands.len(), "definitions of {origin} imported");
    Ok(())
}

/// The global parameter that says what was imported last, as it is once this file is.
pub(crate) fn mark(file: &[u8], hashing: ContentHash) -> (Name, Json) {
    let files = [(String::new(), file.to_vec())];
    (
        Name::from(IMPORTED_DEFINITIONS_HASH),
        Json::from(hash_of(&files, hashing)),
    )
}

fn refused(origin: &str, reason: &dyn std::fmt::Display) -> NodeError {
    NodeError::Definitions {
        origin: origin.to_owned(),
        reason: reason.to_string(),
    }
}

/// What a server has, with its address, of which the query is left out: it may be secret.
///
/// The caller may be inside a runtime, so this has a thread of its own.
fn fetch_apart(url: &Secret, tls: &ClientTlsSettings) -> Result<(String, Vec<u8>), NodeError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| NodeError::System {
                    what: "start a runtime for definitions",
                    source,
                })?;
            runtime.block_on(fetch(url, tls))
        });
        thread.join().expect("fetching does not panic")
    })
}

async fn fetch(url: &Secret, tls: &ClientTlsSettings) -> Result<(String, Vec<u8>), NodeError> {
    let in_settings = |error| refused("definitions.https.url", &error);
    let mut url: Url = url.expose().parse().map_err(in_settings)?;
    let limits = Limits {
        timeout: FETCH_TIMEOUT,
        answer_bytes_max: DEFINITIONS_BYTES_MAX as usize,
    };
    let client = Client::new(Some(ClientTls::new(tls)?), limits);
    for _ in 0..=REDIRECTIONS_MAX {
        let origin = format!("{url:?}");
        let answer = client.get(&url).await;
        let answer = answer.map_err(|error| refused(&origin, &error))?;
        if answer.status.is_success() {
            return Ok((origin, answer.body.to_vec()));
        }
        let next = redirection(&url, &answer).filter(Url::is_https);
        url = next.ok_or_else(|| refused(&origin, &format!("it answers {}", answer.status)))?;
    }
    Err(refused(&format!("{url:?}"), &"it sends us on and on"))
}

/// Where an answer sends us.
fn redirection(url: &Url, answer: &Answer) -> Option<Url> {
    if !answer.status.is_redirection() {
        return None;
    }
    let location = answer.headers.get(header::LOCATION)?.to_str().ok()?;
    match location.starts_with('/') {
        true => Some(url.with_target(location)),
        false => location.parse().ok(),
    }
}

/// The files that a path means, with what is in them.
fn files(path: &Path) -> Result<Contents, NodeError> {
    let name = path.display().to_string();
    let mut paths = Vec::new();
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|error| refused(&name, &error))?;
        for entry in entries {
            let file = entry.map_err(|error| refused(&name, &error))?.path();
            let name = file.file_name().unwrap_or_default();
            // What mounts and editors leave beside the files begins with a dot.
            if file.is_file() && !name.as_encoded_bytes().starts_with(b".") {
                paths.push(file);
            }
        }
        paths.sort();
    } else {
        paths.push(path.to_owned());
    }
    let mut left = DEFINITIONS_BYTES_MAX;
    let mut files = Vec::new();
    for file in paths {
        let name = file.display().to_string();
        let content = content(&file, &mut left).map_err(|error| refused(&name, &error))?;
        files.push((name, content));
    }
    Ok(files)
}

fn content(file: &Path, left: &mut u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?
        .take(*left + 1)
        .read_to_end(&mut content)?;
    *left = left.checked_sub(content.len() as u64).ok_or_else(|| {
        let limit = DEFINITIONS_BYTES_MAX >> 20;
        io::Error::other(format!("definitions are larger than {limit} MiB"))
    })?;
    Ok(content)
}

/// What changes with any of the files, in hexadecimal, with the name of the digest in front.
fn hash_of(files: &[(String, Vec<u8>)], hashing: ContentHash) -> String {
    fn digest<D: sha2::Digest>(files: &[(String, Vec<u8>)]) -> String {
        let mut digest = D::new();
        for (_, content) in files {
            digest.update((content.len() as u64).to_be_bytes());
            digest.update(content);
        }
        let bytes = digest.finalize();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
    match hashing {
        ContentHash::Sha224 => format!("sha224:{}", digest::<sha2::Sha224>(files)),
        ContentHash::Sha256 => format!("sha256:{}", digest::<sha2::Sha256>(files)),
        ContentHash::Sha384 => format!("sha384:{}", digest::<sha2::Sha384>(files)),
        ContentHash::Sha512 => format!("sha512:{}", digest::<sha2::Sha512>(files)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tells_files_apart() {
        let of = |contents: &[&str]| {
            let files: Vec<_> = contents
                .iter()
                .map(|content| (String::new(), content.as_bytes().to_vec()))
                .collect();
            hash_of(&files, ContentHash::Sha256)
        };
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["a", "b"]), of(&["ab"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        assert!(of(&[]).starts_with("sha256:"));
    }
}
