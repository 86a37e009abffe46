//! Terms over several lines, as Erlang's `~p` prints them. Where lines break is [`broker::event::pretty`]'s matter.

use crate::term::Term;
use broker::event::pretty::{self, Shape};

/// The term, without a line feed at its end.
pub(crate) fn pretty(term: &Term) -> String {
    pretty::pretty(term, 1)
}

impl pretty::Term for Term {
    fn shape(&self) -> Shape<'_, Self> {
        match self {
            Self::Atom(_) => Shape::Atom,
            Self::List(items) if !items.is_empty() => Shape::List(items),
            Self::Tuple(items) if !items.is_empty() => Shape::Tuple(items),
            Self::Map(pairs) if !pairs.is_empty() => Shape::Map(pairs),
            Self::Int(_)
            | Self::Float(_)
            | Self::Binary(_)
            | Self::Pid(_)
            | Self::Fun(_)
            | Self::List(_)
            | Self::Tuple(_)
            | Self::Map(_) => Shape::Simple,
        }
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
