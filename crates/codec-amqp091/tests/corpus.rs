//! The committed fuzz corpus, replayed on stable, and every split point of its streams.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]
#![expect(clippy::disallowed_methods, reason = "the corpus is in files")]

use codec_amqp091::decode_frame;
use std::path::Path;

#[path = "../../../fuzz/oracles/codec_amqp091.rs"]
mod oracle;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let inputs: Vec<_> = files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(!inputs.is_empty(), "no corpus for {target}");
    inputs
}

#[test]
fn the_frames_corpus_holds() {
    corpus("frames")
        .iter()
        .for_each(|input| oracle::frames(input));
}

#[test]
fn the_method_corpus_holds() {
    corpus("method")
        .iter()
        .for_each(|input| oracle::method(input));
}

#[test]
fn the_table_corpus_holds() {
    corpus("table")
        .iter()
        .for_each(|input| oracle::table(input));
}

/// Kind, channel and payload of every frame, and what ended the stream, when it arrives in these parts.
fn read(parts: &[&[u8]]) -> Vec<String> {
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    for part in parts {
        buffer.extend_from_slice(part);
        loop {
            match decode_frame(&buffer, 8192) {
                Ok(Some((frame, size))) => {
                    found.push(format!("{frame:?}"));
                    buffer.drain(..size);
                }
                Ok(None) => break,
                Err(error) => {
                    found.push(error.to_string());
                    return found;
                }
            }
        }
    }
    found
}

#[test]
fn a_stream_gives_the_same_frames_wherever_it_is_split() {
    for stream in corpus("frames") {
        let whole = read(&[&stream]);
        for at in 0..=stream.len() {
            let (front, back) = stream.split_at(at);
            assert_eq!(read(&[front, back]), whole);
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(read(&bytes), whole);
    }
}
