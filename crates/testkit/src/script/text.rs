//! Methods and contents as text, both directions.
//!
//! ```text
//! value    5   true   word   "text \n \xff"   {key=value …}   [value …]   t:true b:-1 B: s: u: I: i: l: L: f: d: D:2/314 T: V x:"…"
//! ```
//! In a table a bare number is `I`, `true` and `false` are `t`, text is `S`. Tables are written sorted by key, the
//! time in an x-death header is left out.

use super::spec::{FieldType, MethodSpec, PROPERTIES, by_ids};
use anyhow::{Context, bail, ensure};
use std::fmt::Write as _;

/// Bodies longer than this are written as size and checksum.
const BODY_SHOWN_MAX: usize = 100;

/// Reads the words and values of a line.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    pub(super) fn skip_spaces(&mut self) {
        while let Some((b' ', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.skip_spaces();
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.rest.first() == Some(&byte);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    /// Up to the next space, bracket or one of `stops`.
    pub(super) fn word(&mut self, stops: &[u8]) -> &'a [u8] {
        let end = self
            .rest
            .iter()
            .position(|byte| b" {}[]\"".contains(byte) || stops.contains(byte));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A quoted or bare string.
    pub(super) fn string(&mut self) -> anyhow::Result<Vec<u8>> {
        if self.take(b'"') {
            self.rest_of_string()
        } else {
            Ok(self.word(&[]).to_vec())
        }
    }

    /// A string after its first quote.
    pub(super) fn rest_of_string(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let (&byte, rest) = self
                .rest
                .split_first()
                .context("text without its end quote")?;
            self.rest = rest;
            match byte {
                b'"' => return Ok(out),
                b'\\' => out.push(self.escaped()?),
                byte => out.push(byte),
            }
        }
    }

    fn escaped(&mut self) -> anyhow::Result<u8> {
        let (&letter, rest) = self
            .rest
            .split_first()
            .context("nothing after a backslash")?;
        self.rest = rest;
        Ok(match letter {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let (digits, rest) = self
                    .rest
                    .split_at_checked(2)
                    .context("two digits after \\x")?;
                self.rest = rest;
                u8::from_str_radix(std::str::from_utf8(digits)?, 16)
                    .context("two hex digits after \\x")?
            }
            other => other,
        })
    }

    /// The fields of a table up to its `}`, as wire bytes without the length.
    fn table(&mut self) -> anyhow::Result<Vec<u8>> {
        ensure!(self.take(b'{'), "a table starts with {{");
        let mut out = Vec::new();
        loop {
            self.skip_spaces();
            if self.take(b'}') {
                return Ok(out);
            }
            let key = if self.rest.first() == Some(&b'"') {
                self.string()?
            } else {
                self.word(b"=").to_vec()
            };
            ensure!(self.take(b'='), "no = after key {}", key.escape_ascii());
            push_short_string(&mut out, &key)?;
            self.field(&mut out)?;
        }
    }

    fn array(&mut self) -> anyhow::Result<Vec<u8>> {
        ensure!(self.take(b'['), "an array starts with [");
        let mut out = Vec::new();
        loop {
            self.skip_spaces();
            if self.take(b']') {
                return Ok(out);
            }
            self.field(&mut out)?;
        }
    }

    /// One value with its type tag.
    fn field(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self.rest.first() {
            Some(b'{') => {
                out.push(b'F');
                push_long_string(out, &self.table()?)
            }
            Some(b'[') => {
                out.push(b'A');
                push_long_string(out, &self.array()?)
            }
            Some(b'"') => {
                out.push(b'S');
                push_long_string(out, &self.string()?)
            }
            _ => {
                let word = self.word(b":");
                if word.len() == 1 && self.take(b':') {
                    self.typed(word[0], out)
                } else {
                    bare_field(word, out)
                }
            }
        }
    }

    fn typed(&mut self, tag: u8, out: &mut Vec<u8>) -> anyhow::Result<()> {
        out.push(tag);
        let value = self.string()?;
        if matches!(tag, b'S' | b'x') {
            return push_long_string(out, &value);
        }
        let text = std::str::from_utf8(&value)?;
        let number = || {
            text.parse::<i128>()
                .with_context(|| format!("'{text}' is not a number"))
        };
        match tag {
            b't' => out.push(u8::from(text == "true")),
            b'b' | b'B' => out.push(number()? as u8),
            b's' | b'u' => out.extend((number()? as u16).to_be_bytes()),
            b'I' | b'i' => out.extend((number()? as u32).to_be_bytes()),
            b'l' | b'L' | b'T' => out.extend((number()? as u64).to_be_bytes()),
            b'f' => out.extend(text.parse::<f32>()?.to_be_bytes()),
            b'd' => out.extend(text.parse::<f64>()?.to_be_bytes()),
            b'D' => {
                let (scale, value) = text.split_once('/').context("a decimal is scale/value")?;
                out.push(scale.parse()?);
                out.extend(value.parse::<u32>()?.to_be_bytes());
            }
            // An unknown type, to see what a broker says to it.
            _ => out.extend(value),
        }
        Ok(())
    }
}

fn bare_field(word: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
    match word {
        b"true" | b"false" => out.extend([b't', u8::from(word == b"true")]),
        b"V" => out.push(b'V'),
        _ => match std::str::from_utf8(word)?.parse::<i32>() {
            Ok(number) => {
                out.push(b'I');
                out.extend(number.to_be_bytes());
            }
            Err(_) => {
                out.push(b'S');
                push_long_string(out, word)?;
            }
        },
    }
    Ok(())
}

fn push_short_string(out: &mut Vec<u8>, value: &[u8]) -> anyhow::Result<()> {
    out.push(u8::try_from(value.len()).context("a short string has at most 255 bytes")?);
    out.extend_from_slice(value);
    Ok(())
}

fn push_long_string(out: &mut Vec<u8>, value: &[u8]) -> anyhow::Result<()> {
    out.extend(u32::try_from(value.len())?.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// One argument of a line, still without a type.
#[derive(Debug)]
pub(super) enum Argument {
    Text(Vec<u8>),
    Table(Vec<u8>),
}

/// Reads `name=value …`.
pub(super) fn arguments(text: &[u8]) -> anyhow::Result<Vec<(String, Argument)>> {
    let mut scanner = Scanner::new(text);
    let mut arguments = Vec::new();
    while !scanner.is_at_end() {
        let name = String::from_utf8(scanner.word(b"=").to_vec())?;
        ensure!(scanner.take(b'='), "no = after '{name}'");
        let value = match scanner.rest.first() {
            Some(b'{') => Argument::Table(scanner.table()?),
            _ => Argument::Text(scanner.string()?),
        };
        arguments.push((name, value));
    }
    Ok(arguments)
}

/// Takes the argument of this name out of the list.
pub(super) fn take_argument(
    arguments: &mut Vec<(String, Argument)>,
    name: &str,
) -> Option<Argument> {
    let index = arguments.iter().position(|(key, _)| key == name)?;
    Some(arguments.remove(index).1)
}

fn push_value(
    out: &mut Vec<u8>,
    field_type: FieldType,
    value: Option<Argument>,
) -> anyhow::Result<()> {
    let text = match value {
        Some(Argument::Table(bytes)) => {
            ensure!(
                field_type == FieldType::Table,
                "a table where none is expected"
            );
            return push_long_string(out, &bytes);
        }
        Some(Argument::Text(text)) => text,
        None => Vec::new(),
    };
    let number = || -> anyhow::Result<i128> {
        if text.is_empty() {
            Ok(0)
        } else {
            Ok(std::str::from_utf8(&text)?.parse()?)
        }
    };
    match field_type {
        FieldType::Octet => out.push(number()? as u8),
        FieldType::Short => out.extend((number()? as u16).to_be_bytes()),
        FieldType::Long => out.extend((number()? as u32).to_be_bytes()),
        FieldType::LongLong => out.extend((number()? as u64).to_be_bytes()),
        FieldType::ShortStr => push_short_string(out, &text)?,
        FieldType::LongStr | FieldType::Table => push_long_string(out, &text)?,
        FieldType::Bit => bail!("bits are packed by the caller"),
    }
    Ok(())
}

/// The payload of a method frame; takes its arguments out of the list.
pub(super) fn encode_method(
    spec: &MethodSpec,
    arguments: &mut Vec<(String, Argument)>,
) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    out.extend(spec.class_id.to_be_bytes());
    out.extend(spec.method_id.to_be_bytes());
    let mut bits = 0;
    for (name, field_type) in &spec.fields {
        let value = take_argument(arguments, name);
        if *field_type != FieldType::Bit {
            bits = 0;
            push_value(&mut out, *field_type, value).with_context(|| format!("field {name}"))?;
            continue;
        }
        if bits % 8 == 0 {
            out.push(0);
        }
        if let Some(Argument::Text(text)) = value
            && text == b"true"
        {
            *out.last_mut().expect("an octet was pushed") |= 1 << (bits % 8);
        }
        bits += 1;
    }
    Ok(out)
}

/// Property flags and list; takes its arguments out of the list.
pub(super) fn encode_properties(
    arguments: &mut Vec<(String, Argument)>,
) -> anyhow::Result<Vec<u8>> {
    let mut flags = 0u16;
    let mut list = Vec::new();
    for (index, (name, field_type)) in PROPERTIES.iter().enumerate() {
        if let Some(value) = take_argument(arguments, name) {
            flags |= 0x8000 >> index;
            push_value(&mut list, *field_type, Some(value))
                .with_context(|| format!("property {name}"))?;
        }
    }
    Ok([&flags.to_be_bytes()[..], &list].concat())
}

/// Reads primitives from what a broker sent.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, size: usize) -> anyhow::Result<&'a [u8]> {
        let (bytes, rest) = self
            .0
            .split_at_checked(size)
            .context("the broker sent too few bytes")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self, size: usize) -> anyhow::Result<u64> {
        Ok(self
            .bytes(size)?
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn string(&mut self, length_size: usize) -> anyhow::Result<&'a [u8]> {
        let size = self.number(length_size)?;
        self.bytes(usize::try_from(size)?)
    }

    fn show(&mut self, field_type: FieldType) -> anyhow::Result<String> {
        Ok(match field_type {
            FieldType::Octet => self.number(1)?.to_string(),
            FieldType::Short => self.number(2)?.to_string(),
            FieldType::Long => self.number(4)?.to_string(),
            FieldType::LongLong => self.number(8)?.to_string(),
            FieldType::ShortStr => show_string(self.string(1)?),
            FieldType::LongStr => show_string(self.string(4)?),
            FieldType::Table => show_table(self.string(4)?)?,
            FieldType::Bit => bail!("bits are unpacked by the caller"),
        })
    }

    fn show_field(&mut self) -> anyhow::Result<String> {
        let tag = self.bytes(1)?[0];
        let signed =
            |number: u64, size: u32| (number << (64 - 8 * size)).cast_signed() >> (64 - 8 * size);
        Ok(match tag {
            b't' => format!("t:{}", self.number(1)? != 0),
            b'b' => format!("b:{}", signed(self.number(1)?, 1)),
            b'B' => format!("B:{}", self.number(1)?),
            b's' => format!("s:{}", signed(self.number(2)?, 2)),
            b'u' => format!("u:{}", self.number(2)?),
            b'I' => format!("I:{}", signed(self.number(4)?, 4)),
            b'i' => format!("i:{}", self.number(4)?),
            b'l' | b'L' => format!("l:{}", self.number(8)?.cast_signed()),
            b'T' => format!("T:{}", self.number(8)?),
            b'f' => format!("f:{}", f32::from_bits(self.number(4)? as u32)),
            b'd' => format!("d:{}", f64::from_bits(self.number(8)?)),
            b'D' => format!("D:{}/{}", self.number(1)?, self.number(4)?),
            b'V' => "V".to_owned(),
            b'S' => quoted(self.string(4)?),
            b'x' => format!("x:{}", quoted(self.string(4)?)),
            b'F' => show_table(self.string(4)?)?,
            b'A' => {
                let mut array = Self(self.string(4)?);
                let mut values = Vec::new();
                while !array.0.is_empty() {
                    values.push(array.show_field()?);
                }
                format!("[{}]", values.join(" "))
            }
            other => bail!("the broker sent field type {other}"),
        })
    }
}

fn show_table(bytes: &[u8]) -> anyhow::Result<String> {
    let mut reader = Reader(bytes);
    let mut fields = Vec::new();
    while !reader.0.is_empty() {
        let key = show_string(reader.string(1)?);
        let value = reader.show_field()?;
        fields.push(match key.as_str() {
            // When something happened, and on which ports, is not reproducible.
            "timestamp_in_ms" => format!("{key}=l:…"),
            "connection" if value.contains(" -> ") => format!("{key}=…"),
            _ => format!("{key}={value}"),
        });
    }
    // When something was dead-lettered is not reproducible.
    if fields.iter().any(|field| field.starts_with("reason="))
        && fields.iter().any(|field| field.starts_with("count="))
    {
        for field in &mut fields {
            if field.starts_with("time=T:") {
                *field = "time=T:…".to_owned();
            }
        }
    }
    // A stable sort: the order of repeated keys stays visible.
    fields.sort_by(|a, b| a.split('=').next().cmp(&b.split('=').next()));
    Ok(format!("{{{}}}", fields.join(" ")))
}

fn show_string(bytes: &[u8]) -> String {
    let is_bare = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+#*@$%=".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_bare) {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        quoted(bytes)
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b' '..=b'~' => out.push(char::from(*byte)),
            byte => write!(out, "\\x{byte:02x}").expect("writing to a string does not fail"),
        }
    }
    out.push('"');
    out
}

/// A received method: what it is, and its arguments as text.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) spec: &'static MethodSpec,
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Shown {
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value)
    }

    pub(super) fn text(&self) -> String {
        let mut out = self.spec.name.clone();
        for (name, value) in &self.fields {
            write!(out, " {name}={value}").expect("writing to a string does not fail");
        }
        out
    }
}

pub(super) fn decode_method(payload: &[u8]) -> anyhow::Result<Shown> {
    let mut reader = Reader(payload);
    let (class_id, method_id) = (reader.number(2)? as u16, reader.number(2)? as u16);
    let spec = by_ids(class_id, method_id)
        .with_context(|| format!("the broker sent method {class_id}.{method_id}"))?;
    let mut fields = Vec::new();
    let (mut bits, mut octet) = (0, 0);
    for (name, field_type) in &spec.fields {
        let value = if *field_type == FieldType::Bit {
            if bits % 8 == 0 {
                octet = reader.number(1)?;
            }
            bits += 1;
            (octet >> ((bits - 1) % 8) & 1 != 0).to_string()
        } else {
            bits = 0;
            reader.show(*field_type)?
        };
        if !name.starts_with("reserved_") {
            fields.push((name.as_str(), value));
        }
    }
    ensure!(
        reader.0.is_empty(),
        "{} bytes too many behind {}",
        reader.0.len(),
        spec.name
    );
    if spec.name == "connection.start" {
        hide_identity(&mut fields, payload)?;
    }
    Ok(Shown { spec, fields })
}

/// Who the server is differs between brokers and versions: of its properties only the names stay, apart from its capabilities.
fn hide_identity(fields: &mut [(&'static str, String)], payload: &[u8]) -> anyhow::Result<()> {
    let mut reader = Reader(payload.get(6..).context("connection.start is cut off")?);
    let mut properties = Reader(reader.string(4)?);
    let mut shown = Vec::new();
    while !properties.0.is_empty() {
        let key = show_string(properties.string(1)?);
        let value = properties.show_field()?;
        shown.push(if key == "capabilities" {
            format!("{key}={value}")
        } else {
            format!("{key}=…")
        });
    }
    shown.sort();
    for (name, value) in fields {
        if *name == "server_properties" {
            *value = format!("{{{}}}", shown.join(" "));
        }
        if *name == "mechanisms" {
            let mut mechanisms: Vec<&str> = value.trim_matches('"').split(' ').collect();
            mechanisms.sort_unstable();
            *value = quoted(mechanisms.join(" ").as_bytes());
        }
    }
    Ok(())
}

/// The properties of a received content header, each with a space in front.
pub(super) fn decode_properties(bytes: &[u8]) -> anyhow::Result<String> {
    let mut reader = Reader(bytes);
    let flags = reader.number(2)?;
    let mut out = String::new();
    for (index, (name, field_type)) in PROPERTIES.iter().enumerate() {
        if flags & (0x8000 >> index) != 0 {
            let value = reader.show(*field_type)?;
            if *name == "timestamp" && out.contains("timestamp_in_ms=") {
                out.push_str(" timestamp=…");
                continue;
            }
            write!(out, " {name}={value}")?;
        }
    }
    ensure!(reader.0.is_empty(), "bytes behind the properties");
    Ok(out)
}

pub(super) fn show_body(body: &[u8]) -> String {
    if body.len() <= BODY_SHOWN_MAX {
        return quoted(body);
    }
    // FNV-1a: enough to tell bodies apart.
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("<{} bytes, {hash:016x}>", body.len())
}
