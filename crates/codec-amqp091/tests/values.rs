//! Tables and properties of every shape are read as they were written, and written as they were read.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use codec_amqp091::{ArrayWriter, BasicProperties, PropertyScan, Table, TableWriter, Value};
use proptest::prelude::*;

/// An owned table value, for the generator.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(u8, u64, Vec<u8>),
    Array(Vec<Self>),
    Table(Vec<(Vec<u8>, Self)>),
}

impl Tree {
    /// The value of a leaf.
    fn value(&self) -> Option<Value<'_>> {
        let Self::Leaf(kind, bits, bytes) = self else {
            return None;
        };
        Some(match kind % 15 {
            0 => Value::Bool(bits & 1 == 1),
            1 => Value::I8(*bits as i8),
            2 => Value::U8(*bits as u8),
            3 => Value::I16(*bits as i16),
            4 => Value::U16(*bits as u16),
            5 => Value::I32(*bits as i32),
            6 => Value::U32(*bits as u32),
            7 => Value::I64(*bits as i64),
            8 => Value::F32(*bits as f32),
            9 => Value::F64(*bits as f64),
            10 => Value::Decimal(*kind, *bits as u32),
            11 => Value::LongStr(bytes),
            12 => Value::Timestamp(*bits),
            13 => Value::Void,
            _ => Value::Binary(bytes),
        })
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let leaf =
        (any::<u8>(), any::<u64>(), bytes()).prop_map(|(kind, bits, b)| Tree::Leaf(kind, bits, b));
    leaf.prop_recursive(8, 100, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::Array),
            prop::collection::vec((bytes(), inner), 0..6).prop_map(Tree::Table),
        ]
    })
}

fn write_field(key: &[u8], tree: &Tree, out: &mut TableWriter<'_>) {
    match tree {
        Tree::Leaf(..) => out.field(key, &tree.value().unwrap()),
        Tree::Array(items) => out.array(key, |out| {
            items.iter().for_each(|item| write_item(item, out))
        }),
        Tree::Table(fields) => out.table(key, |out| {
            fields.iter().for_each(|(k, v)| write_field(k, v, out))
        }),
    }
}

fn write_item(tree: &Tree, out: &mut ArrayWriter<'_>) {
    match tree {
        Tree::Leaf(..) => out.value(&tree.value().unwrap()),
        Tree::Array(items) => out.array(|out| items.iter().for_each(|item| write_item(item, out))),
        Tree::Table(fields) => {
            out.table(|out| fields.iter().for_each(|(k, v)| write_field(k, v, out)))
        }
    }
}

fn assert_same(tree: &Tree, value: Value<'_>) {
    match (tree, value) {
        (Tree::Array(items), Value::Array(array)) => {
            assert_eq!(array.iter().count(), items.len());
            items
                .iter()
                .zip(array)
                .for_each(|(item, value)| assert_same(item, value.unwrap()));
        }
        (Tree::Table(fields), Value::Table(table)) => {
            assert_eq!(table.iter().count(), fields.len());
            for ((key, field), read) in fields.iter().zip(table) {
                let (read_key, value) = read.unwrap();
                assert_eq!(read_key, key);
                assert_same(field, value);
            }
        }
        (leaf, value) => assert_eq!(leaf.value(), Some(value)),
    }
}

proptest! {
    #[test]
    fn a_table_is_read_as_it_was_written(fields in prop::collection::vec(("[a-z.-]{0,20}", tree()), 0..8)) {
        let fields: Vec<_> = fields.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect();
        let mut bytes = Vec::new();
        let mut writer = TableWriter::new(&mut bytes);
        fields.iter().for_each(|(key, value)| write_field(key, value, &mut writer));
        let table = Table::new(&bytes);
        prop_assert_eq!(table.validate(), Ok(()));
        assert_same(&Tree::Table(fields), Value::Table(table));
        for cut in 0..bytes.len() {
            _ = Table::new(&bytes[..cut]).validate();
        }
    }

    #[test]
    fn properties_are_read_as_they_were_written(
        flags: u16,
        strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 10),
        headers in prop::collection::vec(any::<u8>(), 0..60),
        octets: [u8; 2],
        timestamp: u64,
    ) {
        let some = |bit: u16| (flags >> bit & 1 == 1).then_some(());
        let string = |bit: u16, index: usize| some(bit).map(|()| &strings[index][..]);
        let properties = BasicProperties {
            content_type: string(0, 0),
            content_encoding: string(1, 1),
            headers: some(2).map(|()| Table::new(&headers)),
            delivery_mode: some(3).map(|()| octets[0]),
            priority: some(4).map(|()| octets[1]),
            correlation_id: string(5, 2),
            reply_to: string(6, 3),
            expiration: string(7, 4),
            message_id: string(8, 5),
            timestamp: some(9).map(|()| timestamp),
            message_type: string(10, 6),
            user_id: string(11, 7),
            app_id: string(12, 8),
            cluster_id: string(13, 9),
        };
        let mut bytes = Vec::new();
        properties.encode(&mut bytes);
        prop_assert_eq!(BasicProperties::decode(&bytes), Ok(properties));
        prop_assert_eq!(PropertyScan::scan(&bytes), Ok(properties.into()));
        for cut in 0..bytes.len() {
            prop_assert!(PropertyScan::scan(&bytes[..cut]).is_err());
        }
    }
}

#[test]
fn odd_floats_keep_their_bits() {
    for bits in [
        f64::NAN.to_bits(),
        (-0.0f64).to_bits(),
        f64::INFINITY.to_bits(),
    ] {
        let mut bytes = Vec::new();
        TableWriter::new(&mut bytes).field(b"k", &Value::F64(f64::from_bits(bits)));
        let Ok(Some(Value::F64(read))) = Table::new(&bytes).get(b"k") else {
            panic!("{bytes:?}")
        };
        assert_eq!(read.to_bits(), bits);
    }
}
