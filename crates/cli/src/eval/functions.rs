//! Functions that ask no node: those of `erlang`, `string`, `binary`, `proplists`, `io` and the like, and those of RabbitMQ that only
//! take values apart.

use super::format;
use super::machine::Machine;
use super::raised::Raised;
use crate::term::{self, Term};
use std::cmp::Ordering;

type Value = Result<Term, Raised>;

/// Functions that need no module in front, with the numbers of their arguments.
const IMPORTED: [(&str, &[usize]); 66] = [
    ("abs", &[1]),
    ("apply", &[2, 3]),
    ("atom_to_binary", &[1, 2]),
    ("atom_to_list", &[1]),
    ("binary_part", &[3]),
    ("binary_to_atom", &[1, 2]),
    ("binary_to_existing_atom", &[1, 2]),
    ("binary_to_integer", &[1]),
    ("binary_to_list", &[1]),
    ("byte_size", &[1]),
    ("bit_size", &[1]),
    ("ceil", &[1]),
    ("element", &[2]),
    ("error", &[1]),
    ("exit", &[1]),
    ("float", &[1]),
    ("float_to_list", &[1]),
    ("floor", &[1]),
    ("hd", &[1]),
    ("integer_to_binary", &[1]),
    ("integer_to_list", &[1, 2]),
    ("iolist_to_binary", &[1]),
    ("is_atom", &[1]),
    ("is_binary", &[1]),
    ("is_bitstring", &[1]),
    ("is_boolean", &[1]),
    ("is_float", &[1]),
    ("is_function", &[1, 2]),
    ("is_integer", &[1]),
    ("is_list", &[1]),
    ("is_map", &[1]),
    ("is_map_key", &[2]),
    ("is_number", &[1]),
    ("is_pid", &[1]),
    ("is_port", &[1]),
    ("is_reference", &[1]),
    ("is_tuple", &[1]),
    ("length", &[1]),
    ("list_to_atom", &[1]),
    ("list_to_binary", &[1]),
    ("list_to_existing_atom", &[1]),
    ("list_to_integer", &[1, 2]),
    ("list_to_pid", &[1]),
    ("list_to_tuple", &[1]),
    ("map_get", &[2]),
    ("map_size", &[1]),
    ("max", &[2]),
    ("min", &[2]),
    ("node", &[0, 1]),
    ("nodes", &[0, 1]),
    ("now", &[0]),
    ("date", &[0]),
    ("time", &[0]),
    ("pid_to_list", &[1]),
    ("registered", &[0]),
    ("round", &[1]),
    ("self", &[0]),
    ("setelement", &[3]),
    ("size", &[1]),
    ("statistics", &[1]),
    ("throw", &[1]),
    ("tl", &[1]),
    ("trunc", &[1]),
    ("tuple_size", &[1]),
    ("tuple_to_list", &[1]),
    ("unicode_to_binary", &[]),
];

pub(super) fn is_imported(function: &str, arity: usize) -> bool {
    IMPORTED
        .iter()
        .any(|(own, arities)| *own == function && arities.contains(&arity))
}

/// Arguments that a function does not take.
pub(crate) fn argument_error(module: &str, function: &str, arguments: &[Term]) -> Raised {
    Raised::in_function(Term::atom("badarg"), module, function, arguments)
}

/// How Erlang orders kinds of terms.
fn rank(term: &Term) -> u8 {
    match term {
        Term::Int(_) | Term::Float(_) => 0,
        Term::Atom(_) => 1,
        Term::Fun(_) => 2,
        Term::Pid(_) => 3,
        Term::Tuple(_) => 4,
        Term::Map(_) => 5,
        Term::List(_) => 6,
        Term::Binary(_) => 7,
    }
}

/// Erlang's order of terms.
pub(super) fn compare(a: &Term, b: &Term) -> Ordering {
    let each = |a: &[Term], b: &[Term]| {
        let pairs = a.iter().zip(b);
        pairs
            .map(|(a, b)| compare(a, b))
            .find(|order| order.is_ne())
    };
    match (a, b) {
        (Term::Int(a), Term::Int(b)) => a.cmp(b),
        (Term::Int(a), Term::Float(b)) => (*a as f64).total_cmp(b),
        (Term::Float(a), Term::Int(b)) => a.total_cmp(&(*b as f64)),
        (Term::Float(a), Term::Float(b)) => a.total_cmp(b),
        (Term::Atom(a), Term::Atom(b)) | (Term::Pid(a), Term::Pid(b)) => a.cmp(b),
        (Term::Binary(a), Term::Binary(b)) => a.cmp(b),
        (Term::Fun(a), Term::Fun(b)) => a.cmp(b),
        (Term::List(a), Term::List(b)) => each(a, b).unwrap_or_else(|| a.len().cmp(&b.len())),
        (Term::Tuple(a), Term::Tuple(b)) => {
            let order = a.len().cmp(&b.len());
            order.then_with(|| each(a, b).unwrap_or(Ordering::Equal))
        }
        (Term::Map(a), Term::Map(b)) => a.len().cmp(&b.len()).then_with(|| {
            let sorted = |pairs: &[(Term, Term)]| {
                let mut pairs = pairs.to_vec();
                pairs.sort_by(|(a, _), (b, _)| compare(a, b));
                pairs
            };
            let (a, b) = (sorted(a), sorted(b));
            let keys = a.iter().zip(&b).map(|((a, _), (b, _))| compare(a, b));
            let values = a.iter().zip(&b).map(|((_, a), (_, b))| compare(a, b));
            let mut orders = keys.chain(values);
            orders
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        }),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// `==`, for which 1 is 1.0.
pub(super) fn equal(a: &Term, b: &Term) -> bool {
    compare(a, b) == Ordering::Equal
}

/// The text of a list of characters.
pub(super) fn characters(items: &[Term]) -> Option<String> {
    let code = |item: &Term| match item {
        Term::Int(code) => u32::try_from(*code).ok().and_then(char::from_u32),
        _ => None,
    };
    items.iter().map(code).collect()
}

/// The bytes of an iolist.
fn bytes_of(term: &Term, into: &mut Vec<u8>) -> Option<()> {
    match term {
        Term::Binary(bytes) => into.extend_from_slice(bytes),
        Term::Int(byte) => into.push(u8::try_from(*byte).ok()?),
        Term::List(items) => items.iter().try_for_each(|item| bytes_of(item, into))?,
        _ => return None,
    }
    Some(())
}

fn count(length: usize) -> Term {
    Term::Int(i128::try_from(length).unwrap_or(i128::MAX))
}

fn text(term: &Term) -> Option<String> {
    match term {
        Term::Atom(_) => None,
        other => format::text_of(other),
    }
}

/// Text in the form of another one: characters or a binary.
fn like(model: &Term, text: &str) -> Term {
    match model {
        Term::Binary(_) => Term::text(text),
        _ => Term::characters(text),
    }
}

/// Calls a function. `None` if there is none here.
pub(super) fn call(
    machine: &mut Machine<'_>,
    module: &str,
    function: &str,
    arguments: &[Term],
) -> Option<Value> {
    match module {
        "erlang" => erlang(machine, function, arguments),
        "io" | "io_lib" => input_output(machine, module, function, arguments),
        "string" | "binary" | "unicode" => texts(module, function, arguments),
        "proplists" => proplists(function, arguments),
        "sets" | "ordsets" | "gb_sets" => None,
        "amqqueue" => amqqueue(function, arguments),
        "rabbit_misc" => rabbit_misc(function, arguments),
        "rabbit_data_coercion" => coercion(function, arguments),
        _ => None,
    }
}

fn erlang(machine: &mut Machine<'_>, function: &str, arguments: &[Term]) -> Option<Value> {
    let bad = || Err(argument_error("erlang", function, arguments));
    let is = |value: bool| Ok(Term::bool(value));
    let real = |value: f64| {
        // Numbers of more digits are none that a float holds exactly.
        if value.abs() < 1e38 {
            Ok(Term::Int(value as i128))
        } else {
            bad()
        }
    };
    Some(match (function, arguments) {
        ("length", [Term::List(items)]) => Ok(count(items.len())),
        ("hd", [Term::List(items)]) => items.first().cloned().map_or_else(bad, Ok),
        ("tl", [Term::List(items)]) => match items.split_first() {
            Some((_, tail)) => Ok(Term::List(tail.to_vec())),
            None => bad(),
        },
        ("element", [Term::Int(place), Term::Tuple(items)]) => {
            let place = usize::try_from(*place).ok();
            let found = place.and_then(|place| items.get(place.checked_sub(1)?));
            found.cloned().map_or_else(bad, Ok)
        }
        ("setelement", [Term::Int(place), Term::Tuple(items), value]) => {
            let mut items = items.clone();
            let place = usize::try_from(*place).ok();
            match place.and_then(|place| items.get_mut(place.checked_sub(1)?)) {
                Some(own) => {
                    *own = value.clone();
                    Ok(Term::Tuple(items))
                }
                None => bad(),
            }
        }
        ("tuple_size" | "size", [Term::Tuple(items)]) => Ok(count(items.len())),
        ("map_size", [Term::Map(pairs)]) => Ok(count(pairs.len())),
        ("map_get", [key, map @ Term::Map(_)]) => {
            return Some(machine.call("maps", "get", &[key.clone(), map.clone()]));
        }
        ("is_map_key", [key, Term::Map(pairs)]) => is(pairs.iter().any(|(own, _)| own == key)),
        ("byte_size" | "size", [Term::Binary(bytes)]) => Ok(count(bytes.len())),
        ("bit_size", [Term::Binary(bytes)]) => Ok(count(bytes.len() * 8)),
        ("binary_part", [Term::Binary(bytes), Term::Int(from), Term::Int(length)]) => {
            part(bytes, *from, *length).map_or_else(bad, Ok)
        }
        ("tuple_to_list", [Term::Tuple(items)]) => Ok(Term::List(items.clone())),
        ("list_to_tuple", [Term::List(items)]) => Ok(Term::Tuple(items.clone())),
        ("is_atom", [value]) => is(matches!(value, Term::Atom(_))),
        ("is_binary" | "is_bitstring", [value]) => is(matches!(value, Term::Binary(_))),
        ("is_boolean", [value]) => {
            is(matches!(value, Term::Atom(text) if text == "true" || text == "false"))
        }
        ("is_float", [value]) => is(matches!(value, Term::Float(_))),
        ("is_function", [value]) => is(matches!(value, Term::Fun(_))),
        ("is_integer", [value]) => is(matches!(value, Term::Int(_))),
        ("is_list", [value]) => is(matches!(value, Term::List(_))),
        ("is_map", [value]) => is(matches!(value, Term::Map(_))),
        ("is_number", [value]) => is(matches!(value, Term::Int(_) | Term::Float(_))),
        ("is_pid", [value]) => is(matches!(value, Term::Pid(_))),
        ("is_port" | "is_reference", [_]) => is(false),
        ("is_tuple", [value]) => is(matches!(value, Term::Tuple(_))),
        ("abs", [Term::Int(value)]) => value.checked_abs().map(Term::Int).map_or_else(bad, Ok),
        ("abs", [Term::Float(value)]) => Ok(Term::Float(value.abs())),
        ("float", [Term::Int(value)]) => Ok(Term::Float(*value as f64)),
        ("float", [Term::Float(value)]) => Ok(Term::Float(*value)),
        ("round" | "trunc" | "ceil" | "floor", [Term::Int(value)]) => Ok(Term::Int(*value)),
        ("round", [Term::Float(value)]) => real(value.round()),
        ("trunc", [Term::Float(value)]) => real(value.trunc()),
        ("ceil", [Term::Float(value)]) => real(value.ceil()),
        ("floor", [Term::Float(value)]) => real(value.floor()),
        ("max", [a, b]) => Ok(if compare(a, b).is_lt() { b } else { a }.clone()),
        ("min", [a, b]) => Ok(if compare(a, b).is_gt() { b } else { a }.clone()),
        ("atom_to_list", [Term::Atom(text)]) => Ok(Term::characters(text)),
        ("atom_to_binary", [Term::Atom(text)] | [Term::Atom(text), _]) => Ok(Term::text(text)),
        ("list_to_atom" | "list_to_existing_atom", [Term::List(items)]) => {
            characters(items).map(Term::Atom).map_or_else(bad, Ok)
        }
        (
            "binary_to_atom" | "binary_to_existing_atom",
            [Term::Binary(bytes)] | [Term::Binary(bytes), _],
        ) => match String::from_utf8(bytes.clone()) {
            Ok(text) => Ok(Term::Atom(text)),
            Err(_) => bad(),
        },
        ("binary_to_list", [Term::Binary(bytes)]) => Ok(Term::List(
            bytes.iter().map(|byte| Term::int(*byte)).collect(),
        )),
        ("list_to_binary" | "iolist_to_binary", [list @ (Term::List(_) | Term::Binary(_))]) => {
            let mut bytes = Vec::new();
            match bytes_of(list, &mut bytes) {
                Some(()) => Ok(Term::Binary(bytes)),
                None => bad(),
            }
        }
        ("integer_to_list", [Term::Int(value)]) => Ok(Term::characters(&value.to_string())),
        ("integer_to_list", [Term::Int(value), Term::Int(base)]) => usize::try_from(*base)
            .ok()
            .and_then(|base| format::radix(*value, base))
            .map_or_else(bad, |text| Ok(Term::characters(&text.to_ascii_uppercase()))),
        ("integer_to_binary", [Term::Int(value)]) => Ok(Term::text(value.to_string())),
        ("float_to_list", [Term::Float(value)]) => Ok(Term::characters(&format!("{value:.20e}"))),
        ("list_to_integer", [Term::List(items)]) => characters(items)
            .and_then(|text| text.parse().ok())
            .map(Term::Int)
            .map_or_else(bad, Ok),
        ("binary_to_integer", [Term::Binary(bytes)]) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .map(Term::Int)
            .map_or_else(bad, Ok),
        ("list_to_pid", [Term::List(items)]) => match characters(items) {
            Some(text) if text.starts_with('<') && text.ends_with('>') => Ok(Term::Pid(text)),
            _ => bad(),
        },
        ("pid_to_list", [Term::Pid(text)]) => Ok(Term::characters(text)),
        ("apply", [fun, Term::List(items)]) => machine.apply(fun, items),
        ("apply", [Term::Atom(module), Term::Atom(function), Term::List(items)]) => {
            machine.call(module, function, items)
        }
        ("error", [reason]) => Err(Raised::error(reason.clone())),
        ("exit", [reason]) => Err(Raised::Exit(reason.clone())),
        ("throw", [value]) => Err(Raised::Throw(value.clone())),
        ("phash2", _) => return None,
        _ if !is_imported(function, arguments.len()) => return None,
        // These the node knows.
        ("node" | "nodes" | "now" | "date" | "time" | "statistics" | "self" | "registered", _) => {
            return None;
        }
        _ => bad(),
    })
}

fn part(bytes: &[u8], from: i128, length: i128) -> Option<Term> {
    let from = usize::try_from(from).ok()?;
    let end = from.checked_add(usize::try_from(length).ok()?)?;
    bytes.get(from..end).map(|part| Term::Binary(part.to_vec()))
}

fn input_output(
    machine: &mut Machine<'_>,
    module: &str,
    function: &str,
    arguments: &[Term],
) -> Option<Value> {
    let formatted = |template: &Term, values: &Term| match (text(template), values) {
        (Some(template), Term::List(values)) => format::format(&template, values),
        _ => Err(argument_error(module, function, arguments)),
    };
    let none = Term::List(Vec::new());
    Some(match (module, function, arguments) {
        ("io", "format" | "fwrite", [template]) => formatted(template, &none).map(|text| {
            machine.facts.print(&text);
            Term::atom("ok")
        }),
        ("io", "format" | "fwrite", [template, values] | [_, template, values]) => {
            formatted(template, values).map(|text| {
                machine.facts.print(&text);
                Term::atom("ok")
            })
        }
        ("io_lib", "format" | "fwrite", [template, values]) => {
            formatted(template, values).map(|text| Term::characters(&text))
        }
        ("io", "put_chars", [value]) => match text(value) {
            Some(text) => {
                machine.facts.print(&text);
                Ok(Term::atom("ok"))
            }
            None => Err(argument_error(module, function, arguments)),
        },
        ("io", "nl", []) => {
            machine.facts.print("\n");
            Ok(Term::atom("ok"))
        }
        _ => return None,
    })
}

fn texts(module: &str, function: &str, arguments: &[Term]) -> Option<Value> {
    let bad = || Err(argument_error(module, function, arguments));
    let first = arguments.first()?;
    let Some(own) = text(first) else {
        return Some(bad());
    };
    let second = arguments.get(1).and_then(text);
    let yes = |value: bool| Ok(Term::bool(value));
    Some(match (module, function, arguments.len()) {
        ("string", "length", 1) => Ok(count(own.chars().count())),
        ("string", "lowercase" | "to_lower", 1) => Ok(like(first, &own.to_lowercase())),
        ("string", "uppercase" | "to_upper", 1) => Ok(like(first, &own.to_uppercase())),
        ("string", "trim" | "strip", 1) => Ok(like(first, own.trim())),
        ("string", "to_integer", 1) => {
            let end = own.find(|c: char| !(c.is_ascii_digit() || c == '-'));
            let (digits, rest) = own.split_at(end.unwrap_or(own.len()));
            Ok(match digits.parse() {
                Ok(value) => Term::Tuple(vec![Term::Int(value), like(first, rest)]),
                Err(_) => Term::pair("error", Term::atom("no_integer")),
            })
        }
        ("string", "equal", 2) => second.map_or_else(bad, |other| yes(own == other)),
        ("string", "prefix", 2) => second.map_or_else(bad, |prefix| {
            Ok(own
                .strip_prefix(&prefix)
                .map_or_else(|| Term::atom("nomatch"), |rest| like(first, rest)))
        }),
        ("string", "find", 2) => second.map_or_else(bad, |part| {
            Ok(own
                .find(&part)
                .map_or_else(|| Term::atom("nomatch"), |at| like(first, &own[at..])))
        }),
        ("string", "tokens" | "lexemes", 2) => second.map_or_else(bad, |marks| {
            let words = own.split(|c| marks.contains(c));
            let words = words.filter(|word| !word.is_empty());
            Ok(Term::List(words.map(|word| like(first, word)).collect()))
        }),
        ("string", "split", 2) => second.map_or_else(bad, |mark| {
            Ok(Term::List(match own.split_once(&mark) {
                Some((left, right)) => vec![like(first, left), like(first, right)],
                None => vec![first.clone()],
            }))
        }),
        ("string", "split", 3) => second.map_or_else(bad, |mark| {
            let parts = own.split(mark.as_str());
            Ok(Term::List(parts.map(|part| like(first, part)).collect()))
        }),
        ("string", "join", 2) => match (first, second) {
            (Term::List(items), Some(mark)) => {
                let words: Vec<String> = items.iter().filter_map(text).collect();
                Ok(Term::characters(&words.join(&mark)))
            }
            _ => bad(),
        },
        ("binary", "split", 2 | 3) => second.map_or_else(bad, |mark| {
            let limit = if arguments.len() == 3 { usize::MAX } else { 2 };
            let parts = own.splitn(limit, mark.as_str());
            Ok(Term::List(parts.map(Term::text).collect()))
        }),
        ("binary", "part", 3) => match arguments {
            [Term::Binary(bytes), Term::Int(from), Term::Int(length)] => {
                part(bytes, *from, *length).map_or_else(bad, Ok)
            }
            _ => bad(),
        },
        ("binary", "match", 2) => second.map_or_else(bad, |mark| {
            Ok(match own.find(&mark) {
                Some(at) => Term::Tuple(vec![count(at), count(mark.len())]),
                None => Term::atom("nomatch"),
            })
        }),
        ("unicode", "characters_to_binary", 1) => Ok(Term::text(own)),
        ("unicode", "characters_to_list", 1) => Ok(Term::characters(&own)),
        _ => return None,
    })
}

fn proplists(function: &str, arguments: &[Term]) -> Option<Value> {
    let find = |key: &Term, list: &Term| -> Option<Term> {
        let Term::List(items) = list else {
            return None;
        };
        items.iter().find_map(|item| match item {
            Term::Tuple(pair) => match pair.as_slice() {
                [own, value] if own == key => Some(value.clone()),
                _ => None,
            },
            own if own == key => Some(Term::bool(true)),
            _ => None,
        })
    };
    Some(match (function, arguments) {
        ("get_value", [key, list]) => {
            Ok(find(key, list).unwrap_or_else(|| Term::atom("undefined")))
        }
        ("get_value", [key, list, default]) => {
            Ok(find(key, list).unwrap_or_else(|| default.clone()))
        }
        ("is_defined", [key, list]) => Ok(Term::bool(find(key, list).is_some())),
        ("get_bool", [key, list]) => Ok(Term::bool(
            find(key, list).is_some_and(|value| value == Term::bool(true)),
        )),
        ("get_keys", [Term::List(items)]) => {
            let mut keys: Vec<Term> = Vec::new();
            for item in items {
                let key = match item {
                    Term::Tuple(pair) => pair.first(),
                    other => Some(other),
                };
                if let Some(key) = key
                    && !keys.contains(key)
                {
                    keys.push(key.clone());
                }
            }
            Ok(Term::List(keys))
        }
        _ => return None,
    })
}

/// What a queue's record has at a place, counted from 1.
fn amqqueue(function: &str, arguments: &[Term]) -> Option<Value> {
    let place = match (function, arguments.len()) {
        ("get_name", 1) => 2,
        ("is_durable", 1) => 3,
        ("is_auto_delete", 1) => 4,
        ("get_exclusive_owner", 1) => 5,
        ("get_arguments", 1) => 6,
        ("get_pid", 1) => 7,
        ("get_policy", 1) => 11,
        ("get_operator_policy", 1) => 12,
        ("get_state", 1) => 15,
        ("get_vhost", 1) => 18,
        ("get_options", 1) => 19,
        ("get_type", 1) => 20,
        _ => return None,
    };
    let found = match arguments {
        [Term::Tuple(items)] if items.first() == Some(&Term::atom("amqqueue")) => {
            items.get(place - 1).cloned()
        }
        _ => None,
    };
    Some(found.ok_or_else(|| argument_error("amqqueue", function, arguments)))
}

/// The parts of `{resource,VHost,Kind,Name}`.
pub(crate) fn resource(term: &Term) -> Option<(String, String, String)> {
    let Term::Tuple(items) = term else {
        return None;
    };
    match items.as_slice() {
        [
            Term::Atom(tag),
            Term::Binary(vhost),
            Term::Atom(kind),
            Term::Binary(name),
        ] if tag == "resource" => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Some((text(vhost), kind.clone(), text(name)))
        }
        _ => None,
    }
}

/// `{resource,VHost,Kind,Name}`
pub(crate) fn resource_term(vhost: &str, kind: &str, name: &str) -> Term {
    Term::Tuple(vec![
        Term::atom("resource"),
        Term::text(vhost),
        Term::atom(kind),
        Term::text(name),
    ])
}

fn rabbit_misc(function: &str, arguments: &[Term]) -> Option<Value> {
    Some(match (function, arguments) {
        ("r", [Term::Binary(vhost), Term::Atom(kind), Term::Binary(name)]) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok(resource_term(&text(vhost), kind, &text(name)))
        }
        ("rs", [name]) => match resource(name) {
            Some((vhost, kind, name)) => Ok(Term::characters(&format!(
                "{kind} '{name}' in vhost '{vhost}'"
            ))),
            None => Err(argument_error("rabbit_misc", function, arguments)),
        },
        ("pget", [key, list]) => {
            return proplists("get_value", &[key.clone(), list.clone()]);
        }
        ("pget", [key, list, default]) => {
            return proplists("get_value", &[key.clone(), list.clone(), default.clone()]);
        }
        ("format", [template, Term::List(values)]) => match text(template) {
            Some(template) => format::format(&template, values).map(|text| Term::characters(&text)),
            None => Err(argument_error("rabbit_misc", function, arguments)),
        },
        _ => return None,
    })
}

fn coercion(function: &str, arguments: &[Term]) -> Option<Value> {
    let [value] = arguments else {
        return None;
    };
    let text = match value {
        Term::Int(value) => Some(value.to_string()),
        Term::Float(value) => Some(term::float(*value)),
        other => format::text_of(other),
    };
    let made = match function {
        "to_binary" => text.map(Term::text),
        "to_list" => match value {
            Term::List(_) => Some(value.clone()),
            _ => text.map(|text| Term::characters(&text)),
        },
        "to_atom" => text.map(Term::Atom),
        "to_integer" => text.and_then(|text| text.parse().ok()).map(Term::Int),
        _ => return None,
    };
    Some(made.ok_or_else(|| argument_error("rabbit_data_coercion", function, arguments)))
}
