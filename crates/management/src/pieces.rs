//! Answers that are written while they are sent: however long one is, at most [`PIECE_BYTES`] of it and the pieces on their way are
//! in memory.
//!
//! What is written is somebody else's matter; here it is cut, compressed if the client likes that, and sent as fast as it is read.

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Frame};
use std::fmt;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// A piece is sent when it has grown to this size.
pub(crate) const PIECE_BYTES: usize = 64 << 10;
/// What the last thing that is written may have more than that, so that the room for it need not be moved.
const MARGIN_BYTES: usize = 4 << 10;
/// Pieces that wait for a slow reader.
const PIECES_MAX: usize = 4;

/// The body of an answer: pieces as they are written, and an empty one behind the last.
pub(crate) struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    is_whole: bool,
}

/// Whoever asked has gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// Writes the pieces of a body. What is written goes nowhere until it is [sent](PieceWriter::yield_if_full).
pub(crate) struct PieceWriter {
    bytes: Vec<u8>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    out: mpsc::Sender<Bytes>,
}

/// A body and who writes it.
pub(crate) fn pieces(compressed: bool) -> (PieceWriter, Pieces) {
    let (out, pieces) = mpsc::channel(PIECES_MAX);
    let writer = PieceWriter {
        bytes: Vec::new(),
        gzip: compressed.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
        out,
    };
    let pieces = Pieces {
        pieces,
        is_whole: false,
    };
    (writer, pieces)
}

impl PieceWriter {
    /// Sends what there is if that is much.
    ///
    /// # Errors
    /// Nobody wants it any more.
    pub(crate) async fn yield_if_full(&mut self) -> Result<(), Gone> {
        if self.bytes.len() >= PIECE_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Gone> {
        let bytes = std::mem::take(&mut self.bytes);
        let piece = match &mut self.gzip {
            None => bytes,
            Some(gzip) => {
                gzip.write_all(&bytes).map_err(|_| Gone)?;
                std::mem::take(gzip.get_mut())
            }
        };
        self.pass(piece).await
    }

    async fn pass(&self, piece: Vec<u8>) -> Result<(), Gone> {
        if piece.is_empty() {
            return Ok(());
        }
        self.out.send(piece.into()).await.map_err(|_| Gone)
    }

    /// Sends the rest. A body that is not finished breaks its connection, so that nobody takes a part for the whole.
    ///
    /// # Errors
    /// Nobody wants it any more.
    pub(crate) async fn finish(mut self) -> Result<(), Gone> {
        self.send().await?;
        if let Some(gzip) = self.gzip.take() {
            let rest = gzip.finish().map_err(|_| Gone)?;
            self.pass(rest).await?;
        }
        self.out.send(Bytes::new()).await.map_err(|_| Gone)
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(PIECE_BYTES + MARGIN_BYTES);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for PieceWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceWriter").finish_non_exhaustive()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_whole {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.pieces.poll_recv(context)) {
            Some(piece) if piece.is_empty() => {
                self.is_whole = true;
                None
            }
            Some(piece) => Some(Ok(Frame::data(piece))),
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::io::Read as _;

    /// What arrives of `lines` lines, of which the last piece is sent if the writer finishes.
    async fn arrived(compressed: bool, lines: usize, finishes: bool) -> io::Result<Vec<u8>> {
        let (mut writer, body) = pieces(compressed);
        let writing = tokio::spawn(async move {
            for line in 0..lines {
                writeln!(writer, "line {line}").unwrap();
                assert!(writer.bytes.len() <= PIECE_BYTES + 100);
                writer.yield_if_full().await.unwrap();
            }
            if finishes {
                writer.finish().await.unwrap();
            }
        });
        let body = body.collect().await;
        writing.await.unwrap();
        body.map(|body| body.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn pieces_are_the_whole_compressed_or_not() {
        let plain = arrived(false, 100_000, true).await.unwrap();
        assert!(plain.len() > 4 * PIECE_BYTES);
        let expected: String = (0..100_000).map(|line| format!("line {line}\n")).collect();
        assert!(plain == expected.as_bytes());
        let packed = arrived(true, 100_000, true).await.unwrap();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert!(unpacked == plain);
        assert_eq!(arrived(false, 0, true).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_part_is_not_taken_for_the_whole() {
        assert!(arrived(false, 100_000, false).await.is_err());
        assert!(arrived(false, 0, false).await.is_err());
    }

    #[tokio::test]
    async fn who_hangs_up_is_written_nothing_more() {
        let (mut writer, body) = pieces(false);
        drop(body);
        writer.write_all(&[b'x'; PIECE_BYTES]).unwrap();
        assert!(writer.yield_if_full().await.is_err());
    }
}
