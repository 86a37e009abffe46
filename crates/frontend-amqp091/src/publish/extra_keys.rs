//! The headers CC and BCC: further routing keys of a message (RabbitMQ docs: sender-selected).
//!
//! Where the keys lead is found out with the message's own.

use crate::exception::{Exception, Violation};
use broker::message::ExtraRoutingKeys;
use bytes::Bytes;
use codec_amqp091::{BasicProperties, Table, TableWriter, Value};
use smallvec::SmallVec;
use std::sync::Arc;

/// CC routing keys of one message, and BCC ones; more end the channel.
const EXTRA_KEYS_MAX: usize = 1000;

/// Routing keys in the CC and BCC headers.
#[derive(Default)]
pub(super) struct ExtraKeys<'a> {
    /// CC, then BCC.
    pub(super) keys: SmallVec<[&'a [u8]; 4]>,
    /// How many of them are CC.
    pub(super) cc_count: usize,
    pub(super) has_bcc: bool,
}

impl<'a> ExtraKeys<'a> {
    /// # Errors
    /// A header is no array, or there are too many keys.
    pub(super) fn of(headers: Table<'a>) -> Result<Self, Exception> {
        let mut extra = Self::default();
        let mut bcc: SmallVec<[&[u8]; 4]> = SmallVec::new();
        for field in headers {
            let (key, value) = field?;
            let header = match key {
                b"CC" => "CC",
                b"BCC" => "BCC",
                _ => continue,
            };
            extra.has_bcc |= header == "BCC";
            let Value::Array(array) = value else {
                return Err(Violation::HeaderType {
                    header,
                    type_name: type_name(value),
                }
                .into());
            };
            let keys = if header == "CC" {
                &mut extra.keys
            } else {
                &mut bcc
            };
            for value in array {
                if let Value::LongStr(key) = value? {
                    keys.push(key);
                }
            }
            if keys.len() > EXTRA_KEYS_MAX {
                return Err(Violation::TooManyKeys(EXTRA_KEYS_MAX).into());
            }
        }
        extra.cc_count = extra.keys.len();
        extra.keys.extend(bcc);
        Ok(extra)
    }

    /// As the message keeps them.
    pub(super) fn shared(&self) -> Option<Arc<ExtraRoutingKeys>> {
        if self.keys.is_empty() {
            return None;
        }
        let owned = |keys: &[&[u8]]| keys.iter().map(|key| Bytes::copy_from_slice(key)).collect();
        let (cc, bcc) = self.keys.split_at(self.cc_count);
        Some(Arc::new(ExtraRoutingKeys {
            cc: owned(cc),
            bcc: owned(bcc),
        }))
    }

    /// The properties as consumers may see them.
    pub(super) fn without_bcc(&self, properties: Bytes) -> Result<Bytes, Exception> {
        if !self.has_bcc {
            return Ok(properties);
        }
        let decoded = BasicProperties::decode(&properties)?;
        let mut headers = Vec::new();
        let mut writer = TableWriter::new(&mut headers);
        for field in decoded.headers.unwrap_or_default() {
            let (key, value) = field?;
            if key != b"BCC" {
                writer.field(key, &value);
            }
        }
        let mut encoded = Vec::with_capacity(properties.len());
        BasicProperties {
            headers: Some(Table::new(&headers)),
            ..decoded
        }
        .encode(&mut encoded);
        Ok(encoded.into())
    }
}

fn type_name(value: Value<'_>) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::I8(_) => "byte",
        Value::U8(_) => "unsignedbyte",
        Value::I16(_) => "short",
        Value::U16(_) => "unsignedshort",
        Value::I32(_) => "signedint",
        Value::U32(_) => "unsignedint",
        Value::I64(_) => "long",
        Value::F32(_) => "float",
        Value::F64(_) => "double",
        Value::Decimal(..) => "decimal",
        Value::LongStr(_) => "longstr",
        Value::Array(_) => "array",
        Value::Timestamp(_) => "timestamp",
        Value::Table(_) => "table",
        Value::Void => "void",
        Value::Binary(_) => "binary",
    }
}
