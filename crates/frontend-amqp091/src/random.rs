//! Random names.
//!
//! The generator is seeded once per connection by the driver. Its numbers are unique and not guessable by other clients
//! as long as the seed is; they are no key material.

/// A SplitMix64 generator.
#[derive(Debug)]
pub(crate) struct Random(u64);

/// Length of 16 bytes in base64 without padding.
pub(crate) const ENCODED_ID_SIZE: usize = 22;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bytes16(&mut self) -> [u8; 16] {
        let (high, low) = (self.next(), self.next());
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    /// `prefix` followed by 16 random bytes, as RabbitMQ names queues and consumers for clients that leave it to the server.
    pub(crate) fn name(&mut self, prefix: &str) -> String {
        let mut name = String::with_capacity(prefix.len() + ENCODED_ID_SIZE);
        name.push_str(prefix);
        push_base64(&mut name, self.bytes16());
        name
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Appends 16 bytes in the URL-safe base64 alphabet, without padding.
pub(crate) fn push_base64(out: &mut String, bytes: [u8; 16]) {
    let value = u128::from_be_bytes(bytes);
    for digit in 0..ENCODED_ID_SIZE {
        // 22 digits of 6 bits hold 132 bits: the last digit carries two bits and four zeros.
        let shift = 122_i32 - 6 * digit as i32;
        let bits = if shift >= 0 {
            value >> shift
        } else {
            value << -shift
        };
        out.push(char::from(ALPHABET[(bits & 63) as usize]));
    }
}

/// The inverse of [`push_base64`].
pub(crate) fn parse_base64(text: &[u8]) -> Option<[u8; 16]> {
    let (last, digits) = text.split_last()?;
    if text.len() != ENCODED_ID_SIZE {
        return None;
    }
    let value_of = |digit: &u8| {
        ALPHABET
            .iter()
            .position(|symbol| symbol == digit)
            .map(|value| value as u128)
    };
    let mut value = 0_u128;
    for digit in digits {
        value = value << 6 | value_of(digit)?;
    }
    let last = value_of(last)?;
    (last & 15 == 0).then(|| (value << 2 | last >> 4).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_round_trip() {
        let mut random = Random::new(42);
        for _ in 0..100 {
            let bytes = random.bytes16();
            let mut text = String::new();
            push_base64(&mut text, bytes);
            assert_eq!(text.len(), ENCODED_ID_SIZE);
            assert_eq!(parse_base64(text.as_bytes()), Some(bytes));
        }
        let mut text = String::new();
        push_base64(&mut text, [0xFF; 16]);
        assert_eq!(text, "_____________________w");
    }

    #[test]
    fn foreign_text_is_no_id() {
        for text in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAA!",
            "AAAAAAAAAAAAAAAAAAAAAB",
        ] {
            assert_eq!(parse_base64(text.as_bytes()), None, "{text}");
        }
    }
}
