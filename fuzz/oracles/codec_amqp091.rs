//! What must hold of the AMQP 0-9-1 codec for any input. The fuzz targets and the corpus test of the codec share this.

use codec_amqp091::{
    Array, ArrayWriter, BasicProperties, ContentHeader, Frame, FrameKind, Method, PropertyScan,
    Table, TableWriter, Value, decode_frame, encode_frame, encode_header_frame,
};

/// Any stream of frames: those found are written again as they were, and what is in them is read or refused.
pub(crate) fn frames(input: &[u8]) {
    let mut rest = input;
    while let Ok(Some((frame, size))) = decode_frame(rest, 8192) {
        assert!(
            decode_frame(&rest[..size - 1], 8192) == Ok(None),
            "a frame is found only when all of it is there"
        );
        let mut again = Vec::new();
        encode_frame(frame.kind, frame.channel, frame.payload, &mut again);
        assert_eq!(again, rest[..size]);
        frame_content(&frame);
        rest = &rest[size..];
    }
}

fn frame_content(frame: &Frame<'_>) {
    match frame.kind {
        FrameKind::Method => method(frame.payload),
        FrameKind::Header => {
            let header = ContentHeader::decode(frame.payload)
                .expect("the frame is long enough for a header");
            properties(header.properties);
            if (header.class_id, header.weight) == (60, 0) {
                let mut again = Vec::new();
                encode_header_frame(
                    &mut again,
                    frame.channel,
                    header.body_size,
                    header.properties,
                );
                assert_eq!(again[7..again.len() - 1], *frame.payload);
            }
        }
        FrameKind::Body | FrameKind::Heartbeat => {}
    }
}

/// Any property flags and list: what is accepted is written again as it was, and both readers agree.
pub(crate) fn properties(input: &[u8]) {
    let all = BasicProperties::decode(input);
    assert_eq!(PropertyScan::scan(input), all.clone().map(Into::into));
    if let Ok(all) = all {
        let mut again = Vec::new();
        all.encode(&mut again);
        assert_eq!(again, input);
        table(all.headers.unwrap_or_default().as_bytes());
    }
}

/// Any method frame's payload: what is accepted survives being written and read.
pub(crate) fn method(input: &[u8]) {
    match Method::decode(input) {
        Ok(method) => {
            let mut again = Vec::new();
            method.encode(7, &mut again);
            let (frame, size) = decode_frame(&again, 0)
                .expect("own frame")
                .expect("all of it");
            assert_eq!((size, frame.payload.len()), (again.len(), input.len()));
            assert_eq!(Method::decode(frame.payload), Ok(method));
        }
        Err(error) => assert!(error.to_string().len() < 2000),
    }
}

/// Any content of a table: what is accepted has a canonical form that stays as it is.
pub(crate) fn table(input: &[u8]) {
    if Table::new(input).validate().is_ok() {
        let once = rewritten(input);
        assert_eq!(once.len(), input.len());
        assert_eq!(Table::new(&once).validate(), Ok(()));
        assert_eq!(rewritten(&once), once);
    } else {
        Table::new(input).iter().for_each(drop);
    }
}

fn rewritten(table: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rewrite_table(Table::new(table), &mut TableWriter::new(&mut out));
    out
}

fn rewrite_table(table: Table<'_>, out: &mut TableWriter<'_>) {
    for field in table {
        let (key, value) = field.expect("the table was validated");
        if let Value::Table(table) = value {
            out.table(key, |out| rewrite_table(table, out));
        } else if let Value::Array(array) = value {
            out.array(key, |out| rewrite_array(array, out));
        } else {
            out.field(key, &value);
        }
    }
}

fn rewrite_array(array: Array<'_>, out: &mut ArrayWriter<'_>) {
    for value in array {
        let value = value.expect("the table was validated");
        if let Value::Table(table) = value {
            out.table(|out| rewrite_table(table, out));
        } else if let Value::Array(array) = value {
            out.array(|out| rewrite_array(array, out));
        } else {
            out.value(&value);
        }
    }
}
