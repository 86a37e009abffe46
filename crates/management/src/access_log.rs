//! The access log: a line for each HTTP request, in the combined form of Apache, as RabbitMQ writes it.
//!
//! It is one file, `access.log`, that is only ever appended to; whoever renames it (logrotate, say) gets a new one within a second. It
//! decides nothing, and a line that cannot be written is lost.

use crate::access;
use crate::server::Body;
use base::Civil;
use hyper::body::Body as _;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Request, Response};
use parking_lot::Mutex;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FILE_NAME: &str = "access.log";
/// How often it is looked whether the file is still the one of its name.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The file.
pub(crate) struct AccessLog {
    path: PathBuf,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    checked: Instant,
}

/// A request that is under way.
pub(crate) struct Entry {
    /// The line up to the answer.
    begin: String,
    /// And after it.
    end: String,
}

impl AccessLog {
    /// Opens the file in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be opened; the error names it.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE_NAME);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        std::fs::create_dir_all(directory).map_err(named)?;
        let file = append(&path).map_err(named)?;
        let checked = Instant::now();
        Ok(Self {
            path,
            open: Mutex::new(Open { file, checked }),
        })
    }

    /// Writes the line of a request that has its answer.
    pub(crate) fn write(&self, entry: Entry, response: &Response<Body>) {
        let line = entry.line(
            response.status().as_u16(),
            response.body().size_hint().exact(),
        );
        let mut open = self.open.lock();
        if open.checked.elapsed() >= CHECK_INTERVAL {
            open.checked = Instant::now();
            if !is_at(&open.file, &self.path)
                && let Ok(file) = append(&self.path)
            {
                open.file = file;
            }
        }
        // Whoever asks is answered, also on a full disk.
        let _ = open.file.write_all(line.as_bytes());
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether the file is the one of this name.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

impl Entry {
    /// What is known of a request before it is answered, at a time in seconds since 1970.
    pub(crate) fn new<B>(request: &Request<B>, peer: SocketAddr, now_s: u64) -> Self {
        let headers = request.headers();
        let given = headers.get(header::AUTHORIZATION);
        let user = given.and_then(|value| access::name_in(value.as_bytes()));
        let user = user.map_or_else(|| "-".to_owned(), |name| one_word(&name));
        let time = Civil::from_unix(now_s);
        let month = MONTHS[usize::from(time.month).saturating_sub(1) % MONTHS.len()];
        Self {
            begin: format!(
                "{} - {user} [{:02}/{month}/{}:{:02}:{:02}:{:02} +0000] \"{} {} {:?}\"",
                peer.ip().to_canonical(),
                time.day,
                time.year,
                time.hour,
                time.minute,
                time.second,
                request.method(),
                request.uri().path(),
                request.version(),
            ),
            end: format!(
                "\"{}\" \"{}\"\n",
                quoted(headers, header::REFERER),
                quoted(headers, header::USER_AGENT)
            ),
        }
    }

    /// The line, with the status of the answer and the length of its body, if that is known before it is sent.
    fn line(self, status: u16, length: Option<u64>) -> String {
        let Self { mut begin, end } = self;
        let length = length.map_or_else(|| "-".to_owned(), |length| length.to_string());
        begin.push_str(&format!(" {status} {length} {end}"));
        begin
    }
}

/// A name without what separates the words and lines of the log.
fn one_word(name: &str) -> String {
    let mut word = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_whitespace() || character.is_control() || "\"\\".contains(character) {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(word, "%{byte:02X}");
            }
        } else {
            word.push(character);
        }
    }
    word
}

/// A header as it stands between quotation marks; empty if there is none.
fn quoted(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers.get(name);
    let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let text = text.unwrap_or_default();
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: hyper::http::request::Builder) -> String {
        let peer = "[::ffff:127.0.0.1]:4711".parse().unwrap();
        let request = request.body(()).unwrap();
        Entry::new(&request, peer, 1_795_456_712).line(200, Some(2_676))
    }

    /// Recorded from RabbitMQ 4.3.6.
    #[test]
    fn a_line_is_in_the_combined_form() {
        let request = Request::get("/api/overview?x=1")
            .header("authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
            .header("referer", "http://x/y")
            .header("user-agent", "ag\"ent");
        assert_eq!(
            line(request),
            "127.0.0.1 - guest [23/Nov/2026:17:58:32 +0000] \"GET /api/overview HTTP/1.1\" 200 2676 \"http://x/y\" \"ag\\\"ent\"\n"
        );
        assert_eq!(
            line(Request::get("/")),
            "127.0.0.1 - - [23/Nov/2026:17:58:32 +0000] \"GET / HTTP/1.1\" 200 2676 \"\" \"\"\n"
        );
    }

    #[test]
    fn nobody_writes_a_line_of_another_by_a_name() {
        // "a b\n\"c:x"
        let request = Request::get("/").header("authorization", "Basic YSBiCiJjOng=");
        assert!(line(request).starts_with("127.0.0.1 - a%20b%0A%22c ["));
    }

    #[test]
    fn a_file_that_was_renamed_is_not_the_one_of_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let log = AccessLog::open(&directory.path().join("new")).unwrap();
        assert!(is_at(&log.open.lock().file, &log.path));
        std::fs::rename(&log.path, log.path.with_extension("1")).unwrap();
        assert!(!is_at(&log.open.lock().file, &log.path));
        let refused = AccessLog::open(Path::new("/proc/none")).err().unwrap();
        assert!(refused.to_string().starts_with("/proc/none/access.log: "));
    }
}
