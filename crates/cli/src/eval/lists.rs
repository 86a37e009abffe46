//! The module `lists`, and `maps` where it takes functions.

use super::functions::{compare, equal};
use super::machine::Machine;
use super::raised::Raised;
use crate::term::Term;
use std::cmp::Ordering;

type Value = Result<Term, Raised>;

/// Most comparisons of `--`.
const COMPARISONS_MAX: usize = 30_000_000;

fn is_true(value: &Term) -> bool {
    matches!(value, Term::Atom(text) if text == "true")
}

/// The elements of the first list that are not in the second, which takes each once.
pub(super) fn subtract(left: &[Term], right: &[Term]) -> Value {
    if left.len().saturating_mul(right.len()) > COMPARISONS_MAX {
        return Err(Raised::TooMuch("the expression takes too long"));
    }
    let mut left = left.to_vec();
    for item in right {
        if let Some(at) = left.iter().position(|own| own == item) {
            left.remove(at);
        }
    }
    Ok(Term::List(left))
}

fn index(value: &Term) -> Option<usize> {
    match value {
        Term::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    }
}

/// The element of a tuple, counted from 1.
fn key(tuple: &Term, place: usize) -> Option<&Term> {
    match tuple {
        Term::Tuple(items) => items.get(place.checked_sub(1)?),
        _ => None,
    }
}

fn has_key(tuple: &Term, place: usize, wanted: &Term) -> bool {
    key(tuple, place).is_some_and(|own| equal(own, wanted))
}

fn sum(items: &[Term]) -> Option<Term> {
    let mut whole = 0_i128;
    let mut real = 0.0;
    let mut is_real = false;
    for item in items {
        match item {
            Term::Int(value) => whole = whole.checked_add(*value)?,
            Term::Float(value) => {
                real += value;
                is_real = true;
            }
            _ => return None,
        }
    }
    Some(if is_real {
        Term::Float(whole as f64 + real)
    } else {
        Term::Int(whole)
    })
}

/// Calls a function of these modules. `None` if there is none.
pub(super) fn call(
    machine: &mut Machine<'_>,
    module: &str,
    function: &str,
    arguments: &[Term],
) -> Option<Value> {
    match module {
        "lists" => lists(machine, function, arguments),
        "maps" => maps(machine, function, arguments),
        _ => None,
    }
}

fn lists(machine: &mut Machine<'_>, function: &str, arguments: &[Term]) -> Option<Value> {
    let clause = || {
        Err(Raised::in_function(
            Term::atom("function_clause"),
            "lists",
            function,
            arguments,
        ))
    };
    let boolean = |value: bool| Ok(Term::bool(value));
    Some(match (function, arguments) {
        ("reverse", [Term::List(items)]) => Ok(Term::List(items.iter().rev().cloned().collect())),
        ("sort", [Term::List(items)]) => {
            let mut items = items.clone();
            items.sort_by(compare);
            Ok(Term::List(items))
        }
        ("usort", [Term::List(items)]) => {
            let mut items = items.clone();
            items.sort_by(compare);
            items.dedup_by(|a, b| equal(a, b));
            Ok(Term::List(items))
        }
        ("keysort", [place, Term::List(items)]) => match index(place) {
            Some(place) if items.iter().all(|item| key(item, place).is_some()) => {
                let mut items = items.clone();
                items.sort_by(|a, b| match (key(a, place), key(b, place)) {
                    (Some(a), Some(b)) => compare(a, b),
                    _ => Ordering::Equal,
                });
                Ok(Term::List(items))
            }
            _ => clause(),
        },
        ("member", [item, Term::List(items)]) => boolean(items.contains(item)),
        ("nth", [place, Term::List(items)]) => {
            let found = index(place).and_then(|place| items.get(place.checked_sub(1)?));
            found.cloned().map_or_else(clause, Ok)
        }
        ("nthtail", [count, Term::List(items)]) => {
            let found = index(count).and_then(|count| items.get(count..));
            found.map_or_else(clause, |tail| Ok(Term::List(tail.to_vec())))
        }
        ("last", [Term::List(items)]) => items.last().cloned().map_or_else(clause, Ok),
        ("droplast", [Term::List(items)]) => match items.split_last() {
            Some((_, rest)) => Ok(Term::List(rest.to_vec())),
            None => clause(),
        },
        ("sum", [Term::List(items)]) => sum(items).map_or_else(clause, Ok),
        ("max", [Term::List(items)]) => {
            let most = items.iter().max_by(|a, b| compare(a, b)).cloned();
            most.map_or_else(clause, Ok)
        }
        ("min", [Term::List(items)]) => {
            let least = items.iter().min_by(|a, b| compare(a, b)).cloned();
            least.map_or_else(clause, Ok)
        }
        ("append", [Term::List(items)]) => {
            let mut all = Vec::new();
            for item in items {
                let Term::List(item) = item else {
                    return Some(clause());
                };
                all.extend(item.iter().cloned());
            }
            Ok(Term::List(all))
        }
        ("append", [Term::List(left), Term::List(right)]) => {
            Ok(Term::List([&left[..], right].concat()))
        }
        ("concat", [Term::List(items)]) => {
            let mut text = String::new();
            for item in items {
                match item {
                    Term::List(_) => text.push_str(&super::text_of(item).unwrap_or_default()),
                    other => text.push_str(&other.plain()),
                }
            }
            Ok(Term::characters(&text))
        }
        ("flatten", [Term::List(items)]) => {
            let mut flat = Vec::new();
            flatten(items, &mut flat);
            Ok(Term::List(flat))
        }
        ("duplicate", [count, item]) => match index(count) {
            Some(count) => match machine.pay(count) {
                Ok(()) => Ok(Term::List(vec![item.clone(); count])),
                Err(raised) => Err(raised),
            },
            None => clause(),
        },
        ("seq", [Term::Int(from), Term::Int(to)]) => seq(machine, *from, *to, 1),
        ("seq", [Term::Int(from), Term::Int(to), Term::Int(step)]) if *step != 0 => {
            seq(machine, *from, *to, *step)
        }
        ("sublist", [Term::List(items), count]) => match index(count) {
            Some(count) => Ok(Term::List(items.iter().take(count).cloned().collect())),
            None => clause(),
        },
        ("sublist", [Term::List(items), from, count]) => match (index(from), index(count)) {
            (Some(from), Some(count)) if from > 0 => {
                let part = items.iter().skip(from - 1).take(count);
                Ok(Term::List(part.cloned().collect()))
            }
            _ => clause(),
        },
        ("delete", [item, Term::List(items)]) => subtract(items, std::slice::from_ref(item)),
        ("subtract", [Term::List(left), Term::List(right)]) => subtract(left, right),
        ("split", [count, Term::List(items)]) => {
            match index(count).and_then(|count| items.split_at_checked(count)) {
                Some((head, tail)) => Ok(Term::Tuple(vec![
                    Term::List(head.to_vec()),
                    Term::List(tail.to_vec()),
                ])),
                None => clause(),
            }
        }
        ("prefix", [Term::List(prefix), Term::List(items)]) => boolean(items.starts_with(prefix)),
        ("suffix", [Term::List(suffix), Term::List(items)]) => boolean(items.ends_with(suffix)),
        ("zip", [Term::List(left), Term::List(right)]) if left.len() == right.len() => {
            let pairs = left.iter().zip(right);
            let pairs = pairs.map(|(a, b)| Term::Tuple(vec![a.clone(), b.clone()]));
            Ok(Term::List(pairs.collect()))
        }
        ("enumerate", [Term::List(items)]) => {
            let pairs = (1_i64..).zip(items);
            let pairs = pairs.map(|(at, item)| Term::Tuple(vec![Term::int(at), item.clone()]));
            Ok(Term::List(pairs.collect()))
        }
        ("keyfind", [wanted, place, Term::List(items)]) => {
            let place = index(place).unwrap_or_default();
            let found = items.iter().find(|item| has_key(item, place, wanted));
            Ok(found.cloned().unwrap_or_else(|| Term::bool(false)))
        }
        ("keymember", [wanted, place, Term::List(items)]) => {
            let place = index(place).unwrap_or_default();
            boolean(items.iter().any(|item| has_key(item, place, wanted)))
        }
        ("keydelete", [wanted, place, Term::List(items)]) => {
            let place = index(place).unwrap_or_default();
            let mut items = items.clone();
            if let Some(at) = items.iter().position(|item| has_key(item, place, wanted)) {
                items.remove(at);
            }
            Ok(Term::List(items))
        }
        ("map", [fun, Term::List(items)]) => items
            .iter()
            .map(|item| machine.apply(fun, std::slice::from_ref(item)))
            .collect::<Result<_, _>>()
            .map(Term::List),
        ("flatmap", [fun, Term::List(items)]) => {
            let mut all = Vec::new();
            for item in items {
                match machine.apply(fun, std::slice::from_ref(item)) {
                    Ok(Term::List(more)) => all.extend(more),
                    Ok(_) => return Some(clause()),
                    Err(raised) => return Some(Err(raised)),
                }
            }
            Ok(Term::List(all))
        }
        ("foreach", [fun, Term::List(items)]) => items
            .iter()
            .try_for_each(|item| machine.apply(fun, std::slice::from_ref(item)).map(drop))
            .map(|()| Term::atom("ok")),
        ("filter", [fun, Term::List(items)]) => {
            select(machine, fun, items).map(|(chosen, _)| Term::List(chosen))
        }
        ("partition", [fun, Term::List(items)]) => select(machine, fun, items)
            .map(|(chosen, rest)| Term::Tuple(vec![Term::List(chosen), Term::List(rest)])),
        ("filtermap", [fun, Term::List(items)]) => {
            let mut all = Vec::new();
            for item in items {
                match machine.apply(fun, std::slice::from_ref(item)) {
                    Ok(Term::Tuple(pair)) if pair.len() == 2 && is_true(&pair[0]) => {
                        all.extend(pair.into_iter().nth(1));
                    }
                    Ok(value) if is_true(&value) => all.push(item.clone()),
                    Ok(_) => {}
                    Err(raised) => return Some(Err(raised)),
                }
            }
            Ok(Term::List(all))
        }
        ("any", [fun, Term::List(items)]) => {
            for item in items {
                match machine.apply(fun, std::slice::from_ref(item)) {
                    Ok(value) if is_true(&value) => return Some(boolean(true)),
                    Ok(_) => {}
                    Err(raised) => return Some(Err(raised)),
                }
            }
            boolean(false)
        }
        ("all", [fun, Term::List(items)]) => {
            for item in items {
                match machine.apply(fun, std::slice::from_ref(item)) {
                    Ok(value) if is_true(&value) => {}
                    Ok(_) => return Some(boolean(false)),
                    Err(raised) => return Some(Err(raised)),
                }
            }
            boolean(true)
        }
        ("foldl", [fun, start, Term::List(items)]) => {
            items.iter().try_fold(start.clone(), |sum, item| {
                machine.apply(fun, &[item.clone(), sum])
            })
        }
        ("foldr", [fun, start, Term::List(items)]) => {
            items.iter().rev().try_fold(start.clone(), |sum, item| {
                machine.apply(fun, &[item.clone(), sum])
            })
        }
        (
            "reverse" | "sort" | "usort" | "last" | "droplast" | "sum" | "max" | "min" | "concat"
            | "flatten" | "enumerate",
            [_],
        )
        | (
            "keysort" | "member" | "nth" | "nthtail" | "append" | "delete" | "subtract" | "split"
            | "prefix" | "suffix" | "zip" | "map" | "flatmap" | "foreach" | "filter" | "partition"
            | "filtermap" | "any" | "all" | "seq" | "sublist",
            [_, _],
        )
        | (
            "keyfind" | "keymember" | "keydelete" | "foldl" | "foldr" | "seq" | "sublist",
            [_, _, _],
        ) => clause(),
        _ => return None,
    })
}

/// As deep as the value, whose depth is limited.
fn flatten(items: &[Term], into: &mut Vec<Term>) {
    for item in items {
        match item {
            Term::List(inner) => flatten(inner, into),
            other => into.push(other.clone()),
        }
    }
}

fn seq(machine: &mut Machine<'_>, from: i128, to: i128, step: i128) -> Value {
    let count = to.checked_sub(from).map(|span| span / step);
    let count = count.map_or(usize::MAX, |count| {
        usize::try_from(count.saturating_add(1).max(0)).unwrap_or(usize::MAX)
    });
    machine.pay(count)?;
    let mut items = Vec::new();
    let mut next = from;
    while if step > 0 { next <= to } else { next >= to } {
        items.push(Term::Int(next));
        next = next.saturating_add(step);
    }
    Ok(Term::List(items))
}

/// The elements for which a function says `true`, and the others.
fn select(
    machine: &mut Machine<'_>,
    fun: &Term,
    items: &[Term],
) -> Result<(Vec<Term>, Vec<Term>), Raised> {
    let (mut chosen, mut rest) = (Vec::new(), Vec::new());
    for item in items {
        if is_true(&machine.apply(fun, std::slice::from_ref(item))?) {
            chosen.push(item.clone());
        } else {
            rest.push(item.clone());
        }
    }
    Ok((chosen, rest))
}

fn maps(machine: &mut Machine<'_>, function: &str, arguments: &[Term]) -> Option<Value> {
    let raise = |reason: Term| Err(Raised::in_function(reason, "maps", function, arguments));
    let find = |pairs: &[(Term, Term)], key: &Term| {
        let found = pairs.iter().find(|(own, _)| own == key);
        found.map(|(_, value)| value.clone())
    };
    Some(match (function, arguments) {
        ("new", []) => Ok(Term::Map(Vec::new())),
        ("get", [key, Term::Map(pairs)]) => match find(pairs, key) {
            Some(value) => Ok(value),
            None => raise(Term::pair("badkey", key.clone())),
        },
        ("get", [key, Term::Map(pairs), default]) => {
            Ok(find(pairs, key).unwrap_or_else(|| default.clone()))
        }
        ("find", [key, Term::Map(pairs)]) => Ok(match find(pairs, key) {
            Some(value) => Term::pair("ok", value),
            None => Term::atom("error"),
        }),
        ("is_key", [key, Term::Map(pairs)]) => Ok(Term::bool(find(pairs, key).is_some())),
        ("keys", [Term::Map(pairs)]) => Ok(Term::List(
            pairs.iter().map(|(key, _)| key.clone()).collect(),
        )),
        ("values", [Term::Map(pairs)]) => Ok(Term::List(
            pairs.iter().map(|(_, value)| value.clone()).collect(),
        )),
        ("size", [Term::Map(pairs)]) => {
            Ok(Term::Int(i128::try_from(pairs.len()).unwrap_or(i128::MAX)))
        }
        ("to_list", [Term::Map(pairs)]) => Ok(Term::List(
            pairs
                .iter()
                .map(|(key, value)| Term::Tuple(vec![key.clone(), value.clone()]))
                .collect(),
        )),
        ("from_list", [Term::List(items)]) => {
            let mut pairs: Vec<(Term, Term)> = Vec::new();
            for item in items {
                let Term::Tuple(pair) = item else {
                    return Some(raise(Term::atom("badarg")));
                };
                let [key, value] = pair.as_slice() else {
                    return Some(raise(Term::atom("badarg")));
                };
                if let Err(raised) = machine.pay(pairs.len()) {
                    return Some(Err(raised));
                }
                put(&mut pairs, key, value);
            }
            Ok(Term::Map(pairs))
        }
        ("put", [key, value, Term::Map(pairs)]) => {
            let mut pairs = pairs.clone();
            put(&mut pairs, key, value);
            Ok(Term::Map(pairs))
        }
        ("remove", [key, Term::Map(pairs)]) => {
            let pairs = pairs.iter().filter(|(own, _)| own != key);
            Ok(Term::Map(pairs.cloned().collect()))
        }
        ("with", [Term::List(keys), Term::Map(pairs)]) => {
            let pairs = pairs.iter().filter(|(own, _)| keys.contains(own));
            Ok(Term::Map(pairs.cloned().collect()))
        }
        ("merge", [Term::Map(left), Term::Map(right)]) => {
            let mut pairs = left.clone();
            for (key, value) in right {
                if let Err(raised) = machine.pay(pairs.len()) {
                    return Some(Err(raised));
                }
                put(&mut pairs, key, value);
            }
            Ok(Term::Map(pairs))
        }
        ("map", [fun, Term::Map(pairs)]) => pairs
            .iter()
            .map(|(key, value)| {
                let new = machine.apply(fun, &[key.clone(), value.clone()])?;
                Ok((key.clone(), new))
            })
            .collect::<Result<_, Raised>>()
            .map(Term::Map),
        ("filter", [fun, Term::Map(pairs)]) => {
            let mut kept = Vec::new();
            for (key, value) in pairs {
                match machine.apply(fun, &[key.clone(), value.clone()]) {
                    Ok(answer) if is_true(&answer) => kept.push((key.clone(), value.clone())),
                    Ok(_) => {}
                    Err(raised) => return Some(Err(raised)),
                }
            }
            Ok(Term::Map(kept))
        }
        ("fold", [fun, start, Term::Map(pairs)]) => {
            pairs.iter().try_fold(start.clone(), |sum, (key, value)| {
                machine.apply(fun, &[key.clone(), value.clone(), sum])
            })
        }
        (
            "get" | "find" | "is_key" | "with" | "remove" | "map" | "filter" | "merge",
            [_, other],
        )
        | ("keys" | "values" | "size" | "to_list", [other])
        | ("put" | "fold" | "get", [_, _, other]) => raise(Term::pair("badmap", other.clone())),
        _ => return None,
    })
}

fn put(pairs: &mut Vec<(Term, Term)>, key: &Term, value: &Term) {
    match pairs.iter_mut().find(|(own, _)| own == key) {
        Some((_, own)) => *own = value.clone(),
        None => pairs.push((key.clone(), value.clone())),
    }
}
