//! Byte sizes in configuration values: `50000000`, `64MB`, `1.5 GiB` is not one.
//!
//! Two families exist and RabbitMQ keeps both, key by key: *information units*, in which `MB` is 10⁶ and `MiB` or a bare `M` is
//! 2²⁰ (memory and disk limits), and *byte sizes*, in which every suffix is a power of two (`frame_max`).
//! Fractions and signs are not accepted. Invariant: nothing here overflows; a size past 2⁶⁴−1 is `None`.

/// Parses an information unit: `kB MB GB TB` are powers of 10, `KiB MiB GiB TiB` and bare `K M G T` powers of 2, in any case.
///
/// Returns `None` for everything else, also for a size that does not fit.
pub fn parse_information_unit(text: &str) -> Option<u64> {
    let (count, unit) = split(text)?;
    let unit_bytes = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return None,
    };
    count.checked_mul(unit_bytes)
}

/// Parses a byte size: `K`/`KB`, `M`/`MB`, `G`/`GB` are powers of 2, in any case.
///
/// Returns `None` for everything else, also for a size that does not fit.
pub fn parse_byte_size(text: &str) -> Option<u64> {
    let (count, unit) = split(text)?;
    let unit_bytes = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    count.checked_mul(unit_bytes)
}

/// Parses a duration such as `500ms`, `30s`, `1h30m`, `2d` or `1w` as milliseconds; a bare number is milliseconds.
///
/// Returns `None` for everything else, also for one that does not fit.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    if let Ok(milliseconds) = text.parse() {
        return Some(milliseconds);
    }
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (count, after) = split(rest)?;
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit_ms)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

/// Digits and what follows them, with at most one run of spaces between.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_units_tell_decimal_from_binary() {
        for (text, bytes) in [
            ("0", 0),
            ("50000000", 50_000_000),
            ("1kB", 1_000),
            ("1KiB", 1_024),
            ("2M", 2 << 20),
            ("64MB", 64_000_000),
            ("64 MiB", 64 << 20),
            ("1gb", 1_000_000_000),
            ("1GiB", 1 << 30),
            ("3T", 3 << 40),
        ] {
            assert_eq!(parse_information_unit(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn durations_add_up() {
        for (text, milliseconds) in [
            ("500", Some(500)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1w2d", Some(777_600_000)),
            ("", None),
            ("5x", None),
            ("s", None),
            ("99999999999999999w", None),
        ] {
            assert_eq!(parse_duration_ms(text), milliseconds, "{text}");
        }
    }

    #[test]
    fn byte_sizes_are_binary() {
        assert_eq!(parse_byte_size("128KB"), Some(131_072));
        assert_eq!(parse_byte_size("131072"), Some(131_072));
        assert_eq!(parse_byte_size("1GiB"), None);
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "MB",
            "-1",
            "1.5GB",
            "1 0",
            "12XB",
            "99999999999999999999",
            "18446744073709551615T",
            "1 M B",
        ] {
            assert_eq!(parse_information_unit(text), None, "{text}");
        }
    }
}
