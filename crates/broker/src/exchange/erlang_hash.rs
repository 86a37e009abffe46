//! The hashes by which RabbitMQ spreads messages over queues, so that a key leads to the same queue here.
//!
//! [`phash2`] is Erlang's portable hash of a term, for the terms that routing needs; its mixing function is Bob Jenkins'
//! "lookup2". [`bucket`] is jump consistent hashing (Lamping and Veach, 2014) over numbers drawn from xorshift1024*
//! as Erlang's `rand` module seeds it.

/// Multiples of it tell the types of terms apart.
const GOLDEN: u32 = 0x9E37_79B9;
const LIST_END: u32 = GOLDEN.wrapping_mul(2);
const FLOAT: u32 = GOLDEN.wrapping_mul(12);
const BINARY: u32 = GOLDEN.wrapping_mul(13);
/// Stands for the empty list behind the last element of a list.
const NIL: u32 = 2;
/// Results of [`phash2`] have 27 bits.
const RANGE_MASK: u32 = (1 << 27) - 1;
/// Hash of the atom that stands for a header or a property that a message does not have.
pub(super) const UNDEFINED: u32 = 45_914_356;
/// Hash of the atom `true`.
pub(super) const TRUE: u32 = 506_293;
/// Hash of the atom `false`.
pub(super) const FALSE: u32 = 7_111_573;

/// Hash of a binary.
pub(super) fn phash2(bytes: &[u8]) -> u32 {
    hash_binary(bytes, 0) & RANGE_MASK
}

/// Hash of a list of binaries, which is not empty.
pub(super) fn phash2_list(items: &[&[u8]]) -> u32 {
    let hash = items.iter().fold(0, |hash, item| hash_binary(item, hash));
    hash_words(NIL, 0, LIST_END, hash) & RANGE_MASK
}

/// Hash of a float.
pub(super) fn phash2_float(value: f64) -> u32 {
    // Both zeros hash alike.
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    hash_words((bits >> 32) as u32, bits as u32, FLOAT, 0) & RANGE_MASK
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> [u32; 3] {
    for [first, second, third] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> first);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << second);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> third);
    }
    [a, b, c]
}

fn hash_words(first: u32, second: u32, constant: u32, hash: u32) -> u32 {
    let (a, b) = (constant.wrapping_add(first), constant.wrapping_add(second));
    mix(a, b, hash)[2]
}

fn hash_binary(bytes: &[u8], hash: u32) -> u32 {
    let start = BINARY.wrapping_add(hash);
    if bytes.is_empty() {
        return start;
    }
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
    };
    let (mut a, mut b, mut c) = (GOLDEN, GOLDEN, start);
    let (blocks, rest) = bytes.as_chunks::<12>();
    for block in blocks {
        a = a.wrapping_add(word(&block[..4]));
        b = b.wrapping_add(word(&block[4..8]));
        c = c.wrapping_add(word(&block[8..]));
        [a, b, c] = mix(a, b, c);
    }
    let mut last = [0; 12];
    last[..rest.len()].copy_from_slice(rest);
    a = a.wrapping_add(word(&last[..4]));
    b = b.wrapping_add(word(&last[4..8]));
    // The lowest byte is the length's.
    c = c
        .wrapping_add(bytes.len() as u32)
        .wrapping_add(word(&last[8..]) << 8);
    mix(a, b, c)[2]
}

/// The bucket of `key`, below `buckets`. One more bucket takes its share of keys from each of the others, and moves no other.
pub(super) fn bucket(key: i64, buckets: u64) -> u64 {
    let mut random = Xorshift1024::new(key);
    let (mut bucket, mut next) = (0, 0);
    while next < buckets {
        bucket = next;
        // The float is as Erlang computes it; past the largest integer it ends the loop all the same.
        next = ((bucket + 1) as f64 / random.next()) as u64;
    }
    bucket
}

/// Vigna's xorshift1024*.
struct Xorshift1024 {
    words: [u64; 16],
    index: usize,
}

impl Xorshift1024 {
    fn new(key: i64) -> Self {
        const MASK: u64 = (1 << 21) - 1;
        let part = |factor: u64| (((key as u64 & MASK) + 1) * factor) & MASK;
        let mut state = part(2_097_131) << 43 | part(2_097_133) << 22 | part(2_097_143) << 1 | 1;
        let mut words = [0; 16];
        // The first number drawn is the last of the state.
        for word in words.iter_mut().rev() {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            *word = state.wrapping_mul(2_685_821_657_736_338_717);
        }
        Self { words, index: 0 }
    }

    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        let low = self.words[self.index];
        self.index = (self.index + 1) % self.words.len();
        let mut high = self.words[self.index];
        high ^= high << 31;
        high ^= high >> 11;
        let word = low ^ (low >> 30) ^ high;
        self.words[self.index] = word;
        word.wrapping_mul(1_181_783_497_276_652_981) as f64 / 2_f64.powi(64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that Erlang/OTP 27 prints.
    #[test]
    fn hashes_are_erlangs() {
        let check = |text: &str, one: u32, list: u32| {
            let text = text.as_bytes();
            assert_eq!((phash2(text), phash2_list(&[text])), (one, list));
        };
        check("", 13_708_901, 38_220_213);
        check("a", 112_802_447, 53_691_870);
        check("abc", 98_228_475, 63_525_141);
        check("hello world!!", 2_064_796, 117_813_134);
        assert_eq!(phash2(b"hello world!"), 25_699_699);
        assert_eq!(phash2(&b"0123456789".repeat(4)), 92_689_738);
        assert_eq!(phash2_list(&[b"a", b"b"]), 3_094_894);
        assert_eq!(phash2_list(&[b"a", b"b", b"c"]), 109_904_979);
        for (float, hash) in [
            (1.0, 77_147_068),
            (0.0, 20_875_736),
            (-0.0, 20_875_736),
            (1.5, 10_380_315),
            (-2.25e10, 54_584_548),
        ] {
            assert_eq!(phash2_float(float), hash, "{float}");
        }
    }

    #[test]
    fn random_numbers_are_erlangs() {
        for (key, first, second) in [
            (0, 0.294_232_217_744_804_2, 0.989_309_343_681_186_5),
            (-1, 0.403_937_041_687_543_9, 0.496_948_452_807_902_84),
            (12_345, 0.037_522_836_103_473_42, 0.850_707_804_988_891),
            (
                1_000_000_000_000_000,
                0.618_920_410_490_166_4,
                0.855_647_224_396_986_8,
            ),
        ] {
            let mut random = Xorshift1024::new(key);
            assert_eq!((random.next(), random.next()), (first, second), "{key}");
        }
        // More numbers than the state has words.
        let mut random = Xorshift1024::new(7);
        let fortieth = (0..40).map(|_| random.next()).last();
        assert_eq!(fortieth, Some(0.579_123_160_774_539_7));
    }

    #[test]
    fn another_bucket_moves_keys_to_itself_only() {
        let keys = 0..10_000_i64;
        for buckets in 1..20 {
            let moved = keys.clone().filter(|key| {
                let (before, after) = (bucket(*key, buckets), bucket(*key, buckets + 1));
                assert!(before < buckets);
                assert!(after == before || after == buckets, "{key} of {buckets}");
                after != before
            });
            let (moved, fair) = (moved.count() as f64, 10_000.0 / (buckets + 1) as f64);
            assert!((moved / fair - 1.0).abs() < 0.15, "{moved} of {fair}");
        }
    }
}
