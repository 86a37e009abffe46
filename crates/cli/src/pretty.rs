//! Terms over several lines, broken where Erlang's `~p` breaks them.
//!
//! A term that fits its line is written on it. Else a list or tuple has one element on each line, except that simple elements
//! which follow each other share lines. A tuple that begins with an atom is indented by that atom, if everything fits then, else by
//! [`INDENT`].

use crate::term::Term;

/// Columns of a line.
const LINE_LENGTH: usize = 80;

/// Columns by which the elements of a tagged tuple are indented when they do not fit behind the tag.
const INDENT: usize = 4;

/// The term, without a line feed at its end.
pub(crate) fn pretty(term: &Term) -> String {
    for indent in [None, Some(INDENT)] {
        let mut out = Printer {
            text: String::new(),
            indent,
        };
        out.put(term, 0, 0);
        if out
            .text
            .lines()
            .all(|line| line.chars().count() < LINE_LENGTH)
        {
            return out.text;
        }
    }
    let mut out = Printer {
        text: String::new(),
        indent: Some(1),
    };
    out.put(term, 0, 0);
    out.text
}

struct Printer {
    text: String,
    /// How tagged tuples are indented; `None` is by the tag.
    indent: Option<usize>,
}

impl Printer {
    /// Puts a term at a column, with so many characters behind it on its last line.
    fn put(&mut self, term: &Term, column: usize, behind: usize) {
        let flat = term.to_string();
        if flat.chars().count() + behind < LINE_LENGTH.saturating_sub(column) {
            self.text.push_str(&flat);
            return;
        }
        match term {
            Term::List(items) if !items.is_empty() => {
                self.text.push('[');
                self.elements(items, column + 1, column + 1, behind + 1);
                self.text.push(']');
            }
            Term::Tuple(items) if !items.is_empty() => {
                self.text.push('{');
                self.tuple(items, column + 1, behind + 1);
                self.text.push('}');
            }
            Term::Map(pairs) if !pairs.is_empty() => {
                self.text.push_str("#{");
                self.pairs(pairs, column + 2, behind + 1);
                self.text.push('}');
            }
            Term::Atom(_)
            | Term::Int(_)
            | Term::Float(_)
            | Term::Binary(_)
            | Term::Pid(_)
            | Term::List(_)
            | Term::Tuple(_)
            | Term::Map(_) => self.text.push_str(&flat),
        }
    }

    fn tuple(&mut self, items: &[Term], column: usize, behind: usize) {
        let [Term::Atom(_), rest @ ..] = items else {
            return self.elements(items, column, column, behind);
        };
        if rest.is_empty() {
            return self.elements(items, column, column, behind);
        }
        let tag = items[0].to_string();
        let tag_width = tag.chars().count() + 1;
        self.text.push_str(&tag);
        match self.indent {
            Some(indent) if tag_width + 1 > indent => {
                self.tail(rest, column + indent - 1, column + tag_width - 1, behind);
            }
            Some(_) | None => {
                self.text.push(',');
                self.elements(rest, column + tag_width, column + tag_width, behind);
            }
        }
    }

    /// Elements that begin here, at `at`; further lines begin at `column`.
    fn elements(&mut self, items: &[Term], column: usize, at: usize, behind: usize) {
        let Some((first, rest)) = items.split_first() else {
            return;
        };
        let at = self.element(first, at, if rest.is_empty() { behind } else { 1 });
        self.tail(rest, column, at, behind);
    }

    /// Elements behind another one that ends at `at`.
    fn tail(&mut self, items: &[Term], column: usize, at: usize, behind: usize) {
        let mut at = at;
        for (index, item) in items.iter().enumerate() {
            let behind = if index + 1 == items.len() { behind } else { 1 };
            self.text.push(',');
            let width = item.to_string().chars().count() + 1;
            if is_simple(item) && at + width + behind < LINE_LENGTH {
                self.text.push_str(&item.to_string());
                at += width;
            } else {
                self.line(column);
                at = self.element(item, column, behind);
            }
        }
    }

    /// Puts one element and returns where the next one may begin: behind one that is not simple, nowhere on this line.
    fn element(&mut self, item: &Term, at: usize, behind: usize) -> usize {
        self.put(item, at, behind);
        if is_simple(item) {
            at + item.to_string().chars().count()
        } else {
            LINE_LENGTH
        }
    }

    fn pairs(&mut self, pairs: &[(Term, Term)], column: usize, behind: usize) {
        for (index, (key, value)) in pairs.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
                self.line(column);
            }
            let behind = if index + 1 == pairs.len() { behind } else { 1 };
            let key = key.to_string();
            let key_width = key.chars().count() + 4;
            self.text.push_str(&key);
            self.text.push_str(" =>");
            let width = value.to_string().chars().count();
            if column + key_width + width + behind < LINE_LENGTH {
                self.text.push(' ');
                self.put(value, column + key_width, behind);
            } else {
                self.line(column + INDENT);
                self.put(value, column + INDENT, behind);
            }
        }
    }

    fn line(&mut self, column: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', column));
    }
}

/// Whether a term has no elements of its own.
fn is_simple(term: &Term) -> bool {
    match term {
        Term::List(items) | Term::Tuple(items) => items.is_empty(),
        Term::Map(pairs) => pairs.is_empty(),
        Term::Atom(_) | Term::Int(_) | Term::Float(_) | Term::Binary(_) | Term::Pid(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_on_one_line() {
        let term = Term::List(vec![Term::int(1), Term::int(2)]);
        assert_eq!(pretty(&term), "[1,2]");
    }

    #[test]
    fn rows_have_a_line_for_each_column_that_does_not_fit() {
        let row = |name: &str| {
            Term::List(vec![
                Term::pair("name", Term::text(name)),
                Term::pair("policy", Term::none()),
                Term::pair("leader", Term::atom("rabbit@localhost")),
                Term::pair("members", Term::atoms(["rabbit@localhost"])),
            ])
        };
        assert_eq!(
            pretty(&Term::List(vec![row("a"), row("b")])),
            "[[{name,<<\"a\">>},\n  {policy,''},\n  {leader,rabbit@localhost},\n  {members,[rabbit@localhost]}],\n [{name,<<\"b\">>},\n  {policy,''},\n  {leader,rabbit@localhost},\n  {members,[rabbit@localhost]}]]"
        );
    }

    #[test]
    fn simple_elements_share_lines() {
        let term = Term::atoms((0..30).map(|index| format!("atom{index}")));
        let text = pretty(&term);
        assert!(text.starts_with("[atom0,atom1,"));
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
