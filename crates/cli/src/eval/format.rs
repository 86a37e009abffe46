//! Text: what is one, and `io:format`'s directives.

use super::raised::Raised;
use crate::pretty::pretty;
use crate::term::{self, Term};

/// Widest field of a directive.
const WIDTH_MAX: usize = 10_000;

/// The text of an atom, a binary, or characters in lists as deep as they are.
pub(crate) fn text_of(term: &Term) -> Option<String> {
    let mut text = String::new();
    put(term, &mut text)?;
    Some(text)
}

fn put(term: &Term, text: &mut String) -> Option<()> {
    match term {
        Term::Atom(own) => text.push_str(own),
        Term::Binary(bytes) => text.push_str(std::str::from_utf8(bytes).ok()?),
        Term::Int(code) => text.push(u32::try_from(*code).ok().and_then(char::from_u32)?),
        Term::List(items) => {
            for item in items {
                match item {
                    Term::Atom(_) => return None,
                    other => put(other, text)?,
                }
            }
        }
        _ => return None,
    }
    Some(())
}

/// The text that `io:format` makes of a format and its arguments.
pub(super) fn format(template: &str, arguments: &[Term]) -> Result<String, Raised> {
    let bad = || {
        let arguments = [Term::characters(template), Term::List(arguments.to_vec())];
        Raised::in_function(Term::atom("badarg"), "io", "format", &arguments)
    };
    let mut out = String::new();
    let mut left = arguments.iter();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '~' {
            out.push(c);
            continue;
        }
        let mut numbers = [String::new(), String::new()];
        let mut place = 0;
        let mut padding = ' ';
        let directive = loop {
            match chars.next().ok_or_else(bad)? {
                '.' if place == 1 => padding = chars.next().ok_or_else(bad)?,
                '.' => place = 1,
                '*' => match left.next() {
                    Some(Term::Int(width)) => numbers[place] = width.to_string(),
                    _ => return Err(bad()),
                },
                digit @ ('0'..='9' | '-') => numbers[place].push(digit),
                't' | 'l' => {}
                other => break other,
            }
        };
        let width: Option<i64> = numbers[0].parse().ok();
        let precision: Option<usize> = numbers[1].parse().ok();
        if width.is_some_and(|width| width.unsigned_abs() as usize > WIDTH_MAX)
            || precision.is_some_and(|precision| precision > WIDTH_MAX)
        {
            return Err(bad());
        }
        let mut next = || left.next().ok_or_else(bad);
        let text = match directive {
            '~' => "~".to_owned(),
            'n' => "\n".to_owned(),
            'p' | 'P' => {
                let text = pretty(next()?);
                if directive == 'P' {
                    next()?;
                }
                text
            }
            'w' | 'W' => {
                let text = next()?.flat();
                if directive == 'W' {
                    next()?;
                }
                text
            }
            's' => {
                let text = text_of(next()?).ok_or_else(bad)?;
                match precision {
                    Some(precision) => text.chars().take(precision).collect(),
                    None => text,
                }
            }
            'b' | 'B' | 'x' | 'X' | '#' | '+' => match next()? {
                Term::Int(value) => {
                    let base = precision.unwrap_or(10);
                    let text = radix(*value, base).ok_or_else(bad)?;
                    match directive {
                        'B' | 'X' | '#' => text.to_ascii_uppercase(),
                        _ => text,
                    }
                }
                _ => return Err(bad()),
            },
            'c' => match next()? {
                Term::Int(code) => {
                    let code = u32::try_from(*code).ok().and_then(char::from_u32);
                    let times = width.map_or(1, |width| width.unsigned_abs() as usize);
                    code.ok_or_else(bad)?.to_string().repeat(times)
                }
                _ => return Err(bad()),
            },
            'f' | 'e' | 'g' => {
                let value = match next()? {
                    Term::Float(value) => *value,
                    Term::Int(value) => *value as f64,
                    _ => return Err(bad()),
                };
                match directive {
                    'f' => format!("{value:.*}", precision.unwrap_or(6)),
                    'e' => format!("{value:.*e}", precision.unwrap_or(6).saturating_sub(1)),
                    _ => term::float(value),
                }
            }
            'i' => {
                next()?;
                String::new()
            }
            _ => return Err(bad()),
        };
        out.push_str(&padded(&text, width, padding));
    }
    if left.next().is_some() {
        return Err(bad());
    }
    Ok(out)
}

fn padded(text: &str, width: Option<i64>, padding: char) -> String {
    let Some(width) = width else {
        return text.to_owned();
    };
    let missing = (width.unsigned_abs() as usize).saturating_sub(text.chars().count());
    let fill: String = std::iter::repeat_n(padding, missing).collect();
    if width < 0 {
        format!("{text}{fill}")
    } else {
        format!("{fill}{text}")
    }
}

/// A number in a base from 2 to 36, in small letters.
pub(super) fn radix(value: i128, base: usize) -> Option<String> {
    if !(2..=36).contains(&base) {
        return None;
    }
    let mut digits = Vec::new();
    let mut rest = value.unsigned_abs();
    loop {
        let digit = u32::try_from(rest % base as u128).ok()?;
        digits.push(char::from_digit(digit, base as u32)?);
        rest /= base as u128;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        digits.push('-');
    }
    Some(digits.iter().rev().collect())
}
