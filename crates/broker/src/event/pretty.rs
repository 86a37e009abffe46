//! Terms over several lines, broken where Erlang's `~p` breaks them. Terms themselves are the caller's.
//!
//! A term is written on one line if it fits there: a line ends before column `LINE_LENGTH`. Else a list or tuple has one element on
//! each line, except that simple elements which follow each other share lines. A tuple that begins with an atom is indented by that
//! atom, if that leaves half of the line everywhere, else by a few columns.

use std::fmt::{Display, Write as _};

/// What is printed: a term whose `Display` is its form on one line.
pub trait Term: Display + Sized {
    /// What it is made of.
    fn shape(&self) -> Shape<'_, Self>;
}

/// What a term is made of.
#[derive(Debug)]
pub enum Shape<'a, T> {
    /// An atom.
    Atom,
    /// Anything else without elements of its own.
    Simple,
    /// A list with elements.
    List(&'a [T]),
    /// A tuple with elements.
    Tuple(&'a [T]),
    /// A map with pairs.
    Map(&'a [(T, T)]),
}

/// Columns of a line, of which the last stays empty.
const LINE_LENGTH: usize = 80;

/// Columns by which the elements of a tuple are indented when the tag in front of them is too long, and the values of a map.
const INDENT: usize = 4;

/// The term, without a line feed at its end, where it begins in this column, from 1.
pub fn pretty(term: &impl Term, column: usize) -> String {
    let mut out = String::new();
    for tag_indent in [None, Some(INDENT), Some(1)] {
        let mut printer = Printer {
            text: String::new(),
            tag_indent,
            has_room: true,
        };
        let start = Place { column, closing: 0 };
        printer.put(term, start);
        out = printer.text;
        if printer.has_room {
            break;
        }
    }
    out
}

struct Printer {
    text: String,
    /// How the elements of tagged tuples are indented; `None` is by the tag.
    tag_indent: Option<usize>,
    /// Whether no indentation was too deep.
    has_room: bool,
}

/// Where something is to be written.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The column, from 1.
    column: usize,
    /// Brackets that follow on the same line.
    closing: usize,
}

impl Place {
    fn at(self, column: usize) -> Self {
        Self { column, ..self }
    }

    /// With what closes the list around it, for its last element.
    fn element(self, is_last: bool) -> Self {
        let closing = if is_last { self.closing + 1 } else { 0 };
        Self { closing, ..self }
    }

    /// Whether an element has room behind others: a comma or a bracket follows.
    fn takes(self, length: usize) -> bool {
        let closing = self.closing.max(1);
        Self { closing, ..self }.holds(length)
    }

    fn holds(self, length: usize) -> bool {
        length + self.column + self.closing < LINE_LENGTH
    }
}

/// The column behind something that nothing may follow on its line.
const FULL: usize = LINE_LENGTH;

impl Printer {
    fn put<T: Term>(&mut self, term: &T, place: Place) {
        let flat = term.to_string();
        if place.holds(length(&flat)) {
            self.text.push_str(&flat);
            return;
        }
        match term.shape() {
            Shape::List(items) => {
                self.text.push('[');
                self.elements(items, place.at(place.column + 1));
                self.text.push(']');
            }
            Shape::Tuple(items) => {
                self.text.push('{');
                self.tuple(items, place);
                self.text.push('}');
            }
            Shape::Map(pairs) => {
                self.text.push_str("#{");
                self.pairs(pairs, place.at(place.column + 2));
                self.text.push('}');
            }
            Shape::Atom | Shape::Simple => self.text.push_str(&flat),
        }
    }

    fn tuple<T: Term>(&mut self, items: &[T], place: Place) {
        let [tag, rest @ ..] = items else { return };
        if rest.is_empty() || !matches!(tag.shape(), Shape::Atom) {
            return self.elements(items, place.at(place.column + 1));
        }
        let tag = tag.to_string();
        let behind_tag = place.column + length(&tag) + 2;
        self.text.push_str(&tag);
        match self.tag_indent {
            Some(indent) if length(&tag) + 2 > indent => {
                let column = place.column + indent;
                self.has_room &= column <= LINE_LENGTH / 2;
                self.tail(rest, column, place.at(behind_tag));
            }
            Some(_) | None => {
                self.has_room &= behind_tag < LINE_LENGTH / 2;
                self.text.push(',');
                self.elements(rest, place.at(behind_tag));
            }
        }
    }

    /// Elements that begin here; further lines begin in the same column.
    fn elements<T: Term>(&mut self, items: &[T], place: Place) {
        let Some((first, rest)) = items.split_first() else {
            return;
        };
        let width = self.element(first, place.element(rest.is_empty()));
        let next = place.at(place.column + width);
        self.tail(rest, place.column, next);
    }

    /// Elements behind another one; further lines begin at `column`.
    fn tail<T: Term>(&mut self, items: &[T], column: usize, place: Place) {
        let mut place = place;
        for (index, item) in items.iter().enumerate() {
            let own = place.element(index + 1 == items.len());
            let flat = item.to_string();
            let width = length(&flat) + 1;
            self.text.push(',');
            if is_simple(item) && own.takes(width) {
                self.text.push_str(&flat);
                place = place.at(place.column + width);
            } else {
                self.line(column);
                let width = self.element(item, own.at(column));
                place = place.at(column + width);
            }
        }
    }

    /// Puts one element and returns its width, which is the whole line if it is not simple.
    fn element<T: Term>(&mut self, item: &T, place: Place) -> usize {
        self.put(item, place);
        let width = length(&item.to_string());
        if is_simple(item) && place.holds(width) {
            width
        } else {
            FULL
        }
    }

    fn pairs<T: Term>(&mut self, pairs: &[(T, T)], place: Place) {
        let column = place.column;
        let mut place = place;
        for (index, pair) in pairs.iter().enumerate() {
            let own = place.element(index + 1 == pairs.len());
            let width = pair_width(pair);
            if index == 0 {
                let width = self.pair(pair, own);
                place = place.at(column + width);
                continue;
            }
            self.text.push(',');
            if is_simple(&pair.0) && is_simple(&pair.1) && own.takes(width + 1) {
                self.pair(pair, own.at(own.column + 1));
                place = place.at(place.column + width + 1);
            } else {
                self.line(column);
                let width = self.pair(pair, own.at(column));
                place = place.at(column + width);
            }
        }
    }

    fn pair<T: Term>(&mut self, pair: &(T, T), place: Place) -> usize {
        let (key, value) = pair;
        if place.holds(pair_width(pair)) {
            self.text.push_str(&format!("{key} => {value}"));
            return if is_simple(key) && is_simple(value) {
                pair_width(pair)
            } else {
                FULL
            };
        }
        self.put(key, place);
        self.text.push_str(" =>");
        let column = place.column + self.tag_indent.unwrap_or(INDENT);
        self.line(column);
        self.put(value, place.at(column));
        FULL
    }

    fn line(&mut self, column: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', column - 1));
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn pair_width<T: Term>((key, value): &(T, T)) -> usize {
    length(&key.to_string()) + length(&value.to_string()) + 4
}

/// Whether a term has no elements of its own.
fn is_simple(term: &impl Term) -> bool {
    matches!(term.shape(), Shape::Atom | Shape::Simple)
}

/// Whether Erlang prints text between quotes, and not as numbers.
pub fn is_printable(text: &str) -> bool {
    text.chars().all(|c| {
        !c.is_control()
            || matches!(
                c,
                '\n' | '\r' | '\t' | '\u{8}' | '\u{b}' | '\u{c}' | '\u{1b}'
            )
    })
}

/// Text as it stands between quotes.
pub fn escaped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            // Writing to a string does not fail.
            c if c.is_control() => _ = write!(out, "\\x{{{:X}}}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}
