//! Files that are sent as they are, a piece at a time: however large one is, it costs little memory.
//!
//! What a client may have, and whether there is such a file, is decided elsewhere.

use crate::call::Download;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Response};
use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Bytes that are read at once.
const PIECE_BYTES: u64 = 64 << 10;
/// Pieces that wait for a slow client.
const PIECES_MAX: usize = 4;

/// A file on its way.
pub(crate) struct FileBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

/// The response that carries a file. It is for keeping: no browser shows it as a page.
pub(crate) fn response(download: Download) -> Response<FileBody> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let Download {
        name,
        file,
        size_bytes,
    } = download;
    tokio::task::spawn_blocking(move || read(file, size_bytes, &sender));
    let left = size_bytes;
    let mut response = Response::new(FileBody { pieces, left });
    set_headers(response.headers_mut(), &name);
    response
}

fn set_headers(headers: &mut HeaderMap, name: &str) {
    for (key, value) in [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(key, HeaderValue::from_static(value));
    }
    let name = crate::query::encode(name.as_bytes()).replace('+', "%20");
    let disposition = format!("attachment; filename*=UTF-8''{name}");
    if let Ok(disposition) = HeaderValue::try_from(disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
}

/// Reads as much of a file as was announced, though it may grow meanwhile.
fn read(mut file: File, size_bytes: u64, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    let mut left = size_bytes;
    while left > 0 {
        let mut piece = Vec::new();
        let size = left.min(PIECE_BYTES);
        let piece = match (&mut file).take(size).read_to_end(&mut piece) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                left -= read as u64;
                Ok(piece.into())
            }
            Err(error) => Err(error),
        };
        let is_end = piece.is_err();
        // Nobody wants the rest when the client is gone.
        if pieces.blocking_send(piece).is_err() || is_end {
            return;
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        if let Some(Ok(piece)) = &piece {
            self.left = self.left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
