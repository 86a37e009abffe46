//! What a command found out, and the formats in which it is printed.

use crate::pretty::pretty;
use crate::term::{Term, inspected_key};

/// What a command has to say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// Nothing.
    Nothing,
    /// Nothing more: it was printed as it came.
    Printed,
    /// Text for people, and the same as a value for programs.
    Report {
        /// For people; without a line feed at its end.
        text: String,
        /// For programs.
        value: Term,
    },
    /// An answer in words, which JSON alone tells as a value.
    Said {
        /// The words; without a line feed at their end.
        text: String,
        /// For JSON.
        value: Term,
    },
    /// A table.
    Rows {
        /// The names of the columns.
        columns: Vec<String>,
        /// The cells, as many a row as there are columns.
        rows: Vec<Vec<Term>>,
        /// Whether a table without rows is shown as an empty list; RabbitMQ's tools do so for commands that have all rows before they
        /// print the first.
        marks_empty: bool,
    },
}

impl Output {
    /// A line for people that is nothing but text for programs.
    pub(crate) fn line(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Report {
            value: Term::text(&text),
            text,
        }
    }

    /// A line for people, which programs find as a message.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Report {
            value: Term::Map(vec![(Term::atom("message"), Term::text(&text))]),
            text,
        }
    }

    /// The same with the node's name and that all went well, where programs expect it beside nothing or a line of text.
    pub(crate) fn named(self, node: &str) -> Self {
        let mut fields = vec![
            (Term::atom("node"), Term::atom(node)),
            (Term::atom("result"), Term::atom("ok")),
        ];
        let text = match self {
            Self::Nothing => String::new(),
            Self::Report {
                text,
                value: value @ Term::Binary(_),
            } => {
                fields.push((Term::atom("value"), value));
                text
            }
            Self::Rows { columns, rows, .. } => {
                let row = |row: Vec<Term>| {
                    let keys = columns.iter().map(Term::text);
                    Term::Map(keys.zip(row).collect())
                };
                let rows = rows.into_iter().map(row).collect();
                fields.push((Term::atom("value"), Term::List(rows)));
                String::new()
            }
            other @ (Self::Report { .. } | Self::Said { .. } | Self::Printed) => return other,
        };
        Self::Report {
            text,
            value: Term::Map(fields),
        }
    }

    /// A table of these columns.
    pub(crate) fn rows(columns: &[&str], rows: Vec<Vec<Term>>) -> Self {
        Self::Rows {
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            rows,
            marks_empty: false,
        }
    }

    /// The same, with an empty list in the place of no rows.
    pub(crate) fn marking_empty(self) -> Self {
        match self {
            Self::Rows { columns, rows, .. } => Self::Rows {
                columns,
                rows,
                marks_empty: true,
            },
            other => other,
        }
    }
}

/// A format of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formatter {
    /// Text, with tables in columns between tabulators.
    Table,
    /// Tables with frames.
    PrettyTable,
    /// One JSON document.
    Json,
    /// A JSON document a row.
    JsonStream,
    /// Comma-separated values, all in quotes.
    Csv,
    /// A term in Erlang's syntax.
    Erlang,
    /// The same in Elixir's.
    Inspect,
    /// Text, with each row in Elixir's syntax.
    String,
}

/// Names of formats.
pub(crate) const FORMATTERS: [(&str, Formatter); 8] = [
    ("table", Formatter::Table),
    ("string", Formatter::String),
    ("pretty_table", Formatter::PrettyTable),
    ("json", Formatter::Json),
    ("json_stream", Formatter::JsonStream),
    ("csv", Formatter::Csv),
    ("erlang", Formatter::Erlang),
    ("inspect", Formatter::Inspect),
];

impl Formatter {
    /// The format of a name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        FORMATTERS
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, formatter)| *formatter)
    }

    /// Whether programs read it, so that nothing else may be on the standard output.
    pub(crate) fn is_machine_readable(self) -> bool {
        match self {
            Self::Json | Self::JsonStream | Self::Csv => true,
            Self::Table | Self::PrettyTable | Self::Erlang | Self::Inspect | Self::String => false,
        }
    }

    /// The text of some output, with all its line feeds.
    pub(crate) fn format(self, output: &Output, with_headers: bool) -> String {
        match output {
            Output::Nothing | Output::Printed => String::new(),
            Output::Report { text, value } => self.report(text, value),
            Output::Said { text, value } => self.said(text, value),
            Output::Rows {
                columns,
                rows,
                marks_empty,
            } => {
                if rows.is_empty() {
                    return self.no_rows(*marks_empty).to_owned();
                }
                self.table(columns, rows, with_headers)
            }
        }
    }

    /// Compat: RabbitMQ's tools have no headers for a table without rows.
    fn no_rows(self, marks_empty: bool) -> &'static str {
        match (self, marks_empty) {
            (Self::Table | Self::String, true) => "\n",
            (Self::Csv, true) => "\n\n\n",
            (Self::PrettyTable, true) => {
                "\u{1b}(0lqqqqqqqqk\u{1b}(B\n\
                 \u{1b}(0x\u{1b}(B \u{1b}[1mOutput\u{1b}[0m \u{1b}(0x\u{1b}(B\n\
                 \u{1b}(0tqqqqqqqqu\u{1b}(B\n\
                 \u{1b}(0x\u{1b}(B []     \u{1b}(0x\u{1b}(B\n\
                 \u{1b}(0mqqqqqqqqj\u{1b}(B\n"
            }
            (Self::Json | Self::JsonStream | Self::Inspect, true) | (Self::Erlang, _) => "[]\n",
            (Self::Json | Self::Inspect, false) => "[\n]\n",
            (
                Self::Table | Self::String | Self::PrettyTable | Self::Csv | Self::JsonStream,
                false,
            ) => "",
        }
    }

    fn report(self, text: &str, value: &Term) -> String {
        let text = match self {
            Self::Table | Self::PrettyTable | Self::Csv | Self::String => text.to_owned(),
            Self::Json | Self::JsonStream => value.to_json().to_string(),
            Self::Erlang => pretty(value),
            Self::Inspect => value.inspect(),
        };
        if text.is_empty() || text.ends_with('\n') {
            text
        } else {
            format!("{text}\n")
        }
    }

    fn said(self, text: &str, value: &Term) -> String {
        let words = Term::text(text);
        match self {
            Self::Json | Self::JsonStream => self.report(text, value),
            _ if text.is_empty() => String::new(),
            Self::PrettyTable => framed(&["Output".to_owned()], &[vec![words]]),
            Self::Table | Self::Csv | Self::String | Self::Erlang | Self::Inspect => {
                self.report(text, &words)
            }
        }
    }

    fn table(self, columns: &[String], rows: &[Vec<Term>], with_headers: bool) -> String {
        let mut table = Rows::new(self, columns.to_vec(), with_headers);
        table.add(rows.to_vec()) + &table.end(false)
    }
}

/// A table that is written piece by piece, as far as its format allows: frames and Erlang's terms need all rows for the first.
#[derive(Debug)]
pub(crate) struct Rows {
    formatter: Formatter,
    columns: Vec<String>,
    with_headers: bool,
    is_begun: bool,
    kept: Vec<Vec<Term>>,
}

impl Rows {
    pub(crate) fn new(formatter: Formatter, columns: Vec<String>, with_headers: bool) -> Self {
        Self {
            formatter,
            columns,
            with_headers,
            is_begun: false,
            kept: Vec::new(),
        }
    }

    /// What is to be written when these rows have come.
    pub(crate) fn add(&mut self, rows: Vec<Vec<Term>>) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let mut text = String::new();
        if !std::mem::replace(&mut self.is_begun, true) {
            self.begin(&mut text);
            self.row(&mut text, "", &rows[0]);
            rows[1..]
                .iter()
                .for_each(|row| self.row(&mut text, "\n,", row));
        } else {
            rows.iter().for_each(|row| self.row(&mut text, "\n,", row));
        }
        if matches!(self.formatter, Formatter::PrettyTable | Formatter::Erlang) {
            self.kept.extend(rows);
        }
        text
    }

    fn begin(&self, text: &mut String) {
        match self.formatter {
            Formatter::Table if self.with_headers => {
                text.push_str(&self.columns.join("\t"));
                text.push('\n');
            }
            // Compat: these have headers also when everything but the rows is unwanted.
            Formatter::Csv => text.push_str(&comma_separated(self.columns.iter().cloned())),
            Formatter::Json | Formatter::Inspect => text.push_str("[\n"),
            Formatter::Table
            | Formatter::String
            | Formatter::JsonStream
            | Formatter::PrettyTable
            | Formatter::Erlang => {}
        }
    }

    fn row(&self, text: &mut String, separator: &str, row: &[Term]) {
        match self.formatter {
            Formatter::Table => {
                let cells: Vec<_> = row.iter().map(Term::cell).collect();
                text.push_str(&cells.join("\t"));
                text.push('\n');
            }
            Formatter::Csv => text.push_str(&comma_separated(row.iter().map(csv_cell))),
            Formatter::Json => {
                text.push_str(separator);
                text.push_str(&json_row(&self.columns, row));
            }
            Formatter::Inspect => {
                text.push_str(separator);
                text.push_str(&inspected(&self.columns, row));
            }
            Formatter::JsonStream => text.push_str(&(json_row(&self.columns, row) + "\n\n")),
            Formatter::String => text.push_str(&(inspected(&self.columns, row) + "\n")),
            Formatter::PrettyTable | Formatter::Erlang => {}
        }
    }

    /// What is to be written behind the last rows. `marks_empty` as in [`Output::Rows`].
    pub(crate) fn end(self, marks_empty: bool) -> String {
        if !self.is_begun {
            return self.formatter.no_rows(marks_empty).to_owned();
        }
        match self.formatter {
            Formatter::Json | Formatter::Inspect => "\n]\n".to_owned(),
            Formatter::PrettyTable => framed(&self.columns, &self.kept),
            Formatter::Erlang => {
                let rows = self.kept.iter().map(|row| term_row(&self.columns, row));
                pretty(&Term::List(rows.collect())) + "\n"
            }
            Formatter::Table | Formatter::String | Formatter::Csv | Formatter::JsonStream => {
                String::new()
            }
        }
    }
}

fn comma_separated(cells: impl Iterator<Item = String>) -> String {
    let quoted = |text: String| format!("\"{}\"", text.replace('"', "\"\""));
    cells.map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

/// Compat: an empty list is nothing.
fn csv_cell(cell: &Term) -> String {
    match cell {
        Term::List(items) if items.is_empty() => String::new(),
        other => other.cell(),
    }
}

fn json_row(columns: &[String], row: &[Term]) -> String {
    let fields: Vec<_> = columns
        .iter()
        .zip(row)
        .map(|(column, cell)| {
            format!(
                "{}:{}",
                serde_json::Value::from(column.as_str()),
                cell.to_json()
            )
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn inspected(columns: &[String], row: &[Term]) -> String {
    let cells: Vec<_> = columns
        .iter()
        .zip(row)
        .map(|(column, cell)| format!("{}: {}", inspected_key(column), cell.inspect()))
        .collect();
    format!("[{}]", cells.join(", "))
}

fn term_row(columns: &[String], row: &[Term]) -> Term {
    let pairs = columns.iter().zip(row);
    Term::List(
        pairs
            .map(|(column, cell)| Term::pair(column, cell.clone()))
            .collect(),
    )
}

/// Frames in the line-drawing characters of terminals, headers in bold.
fn framed(columns: &[String], rows: &[Vec<Term>]) -> String {
    const ON: &str = "\u{1b}(0";
    const OFF: &str = "\u{1b}(B";
    let cells: Vec<Vec<Vec<String>>> = rows
        .iter()
        .map(|row| row.iter().map(framed_cell).collect())
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let lines = cells.iter().flat_map(|row| &row[index]);
            let widest = lines.map(|line| line.chars().count()).max();
            widest.unwrap_or(0).max(column.chars().count())
        })
        .collect();
    let rule = |left: char, middle: char, right: char| {
        let dashes: Vec<_> = widths.iter().map(|width| "q".repeat(width + 2)).collect();
        let dashes = dashes.join(&middle.to_string());
        format!("{ON}{left}{dashes}{right}{OFF}\n")
    };
    let bar = format!("{ON}x{OFF}");
    let line = |cells: &[String], is_header: bool| {
        let cells: Vec<_> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| {
                let padding = " ".repeat(width - cell.chars().count());
                if is_header {
                    format!(" \u{1b}[1m{cell}\u{1b}[0m{padding} ")
                } else {
                    format!(" {cell}{padding} ")
                }
            })
            .collect();
        format!("{bar}{}{bar}\n", cells.join(&bar))
    };
    let mut out = rule('l', 'w', 'k');
    out.push_str(&line(columns, true));
    for row in &cells {
        out.push_str(&rule('t', 'n', 'u'));
        let height = row.iter().map(Vec::len).max().unwrap_or(1);
        for index in 0..height {
            let cells: Vec<String> = row
                .iter()
                .map(|lines| lines.get(index).cloned().unwrap_or_default())
                .collect();
            out.push_str(&line(&cells, false));
        }
    }
    out.push_str(&rule('m', 'v', 'j'));
    out
}

/// The lines of a cell.
fn framed_cell(cell: &Term) -> Vec<String> {
    let text = match cell {
        Term::List(items) => items.iter().map(Term::plain).collect(),
        Term::Map(_) => return pretty(cell).lines().map(str::to_owned).collect(),
        other => other.cell(),
    };
    vec![text.replace(['\t', '\n'], " ")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Output {
        Output::rows(
            &["name", "messages"],
            vec![
                vec![Term::text("q2"), Term::int(0)],
                vec![Term::text("say \"hi\""), Term::int(1)],
            ],
        )
    }

    #[test]
    fn each_format_has_its_form() {
        let formatted = |formatter: Formatter| formatter.format(&sample(), true);
        assert_eq!(
            formatted(Formatter::Table),
            "name\tmessages\nq2\t0\nsay \"hi\"\t1\n"
        );
        assert_eq!(
            formatted(Formatter::Csv),
            "\"name\",\"messages\"\n\"q2\",\"0\"\n\"say \"\"hi\"\"\",\"1\"\n"
        );
        assert_eq!(
            formatted(Formatter::Json),
            "[\n{\"name\":\"q2\",\"messages\":0}\n,{\"name\":\"say \\\"hi\\\"\",\"messages\":1}\n]\n"
        );
        assert_eq!(
            formatted(Formatter::Erlang),
            "[[{name,<<\"q2\">>},{messages,0}],[{name,<<\"say \\\"hi\\\"\">>},{messages,1}]]\n"
        );
        assert_eq!(
            formatted(Formatter::Inspect),
            "[\n[name: \"q2\", messages: 0]\n,[name: \"say \\\"hi\\\"\", messages: 1]\n]\n"
        );
    }

    #[test]
    fn a_table_in_pieces_is_the_same() {
        let Output::Rows { columns, rows, .. } = sample() else {
            unreachable!()
        };
        for (_, formatter) in FORMATTERS {
            let mut table = Rows::new(formatter, columns.clone(), true);
            let mut text = table.add(Vec::new());
            for row in &rows {
                text += &table.add(vec![row.clone()]);
            }
            text += &table.end(false);
            assert_eq!(text, formatter.format(&sample(), true), "{formatter:?}");
        }
    }

    #[test]
    fn frames_are_as_wide_as_what_is_in_them() {
        let output = Output::rows(&["user"], vec![vec![Term::text("guest")]]);
        assert_eq!(
            Formatter::PrettyTable.format(&output, true),
            "\u{1b}(0lqqqqqqqk\u{1b}(B\n\
             \u{1b}(0x\u{1b}(B \u{1b}[1muser\u{1b}[0m  \u{1b}(0x\u{1b}(B\n\
             \u{1b}(0tqqqqqqqu\u{1b}(B\n\
             \u{1b}(0x\u{1b}(B guest \u{1b}(0x\u{1b}(B\n\
             \u{1b}(0mqqqqqqqj\u{1b}(B\n"
        );
    }

    #[test]
    fn an_answer_in_words_is_a_value_for_json_alone() {
        let formatted = |text: &str, formatter: Formatter| {
            let value = Term::Map(vec![(Term::atom("result"), Term::atom("ok"))]);
            let text = text.to_owned();
            formatter.format(&Output::Said { text, value }, true)
        };
        assert_eq!(formatted("fine", Formatter::Json), "{\"result\":\"ok\"}\n");
        assert_eq!(formatted("fine", Formatter::Table), "fine\n");
        assert_eq!(formatted("fine", Formatter::Erlang), "<<\"fine\">>\n");
        assert!(formatted("fine", Formatter::PrettyTable).contains("\u{1b}[1mOutput"));
        assert_eq!(formatted("", Formatter::Erlang), "");
        assert_eq!(formatted("", Formatter::Json), "{\"result\":\"ok\"}\n");
    }

    #[test]
    fn no_rows_are_no_lines_but_for_json() {
        let none = Output::rows(&["name"], Vec::new());
        assert_eq!(Formatter::Table.format(&none, true), "");
        assert_eq!(Formatter::PrettyTable.format(&none, true), "");
        assert_eq!(Formatter::Json.format(&none, true), "[\n]\n");
        let marked = none.marking_empty();
        assert_eq!(Formatter::Table.format(&marked, true), "\n");
        assert_eq!(Formatter::Json.format(&marked, true), "[]\n");
    }
}
