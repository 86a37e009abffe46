//! Evaluates expressions: variables, matching, functions.
//!
//! Values are terms; a function in an expression is a term with its number in [`Machine::funs`]. Each step, and each element of a
//! value that is made, is paid for from [`WORK_MAX`]; calls nest [`DEPTH_MAX`] deep, values [`TERM_DEPTH_MAX`].

use super::functions::{self, compare, equal};
use super::raised::Raised;
use super::syntax::{Callee, Clause, Expr, Field, Fun, Qualifier, Segment, SegmentKind};
use super::{Facts, lists};
use crate::term::Term;
use std::cmp::Ordering;
use std::sync::Arc;

/// Steps, and elements of values, of one evaluation.
const WORK_MAX: u64 = 30_000_000;
/// How deep calls and expressions in them may be nested.
const DEPTH_MAX: usize = 400;
/// How deep values may be nested.
const TERM_DEPTH_MAX: usize = 200;
/// Most bits by which a number is shifted.
const SHIFT_MAX: i128 = 120;

type Value = Result<Term, Raised>;
type Bindings = Vec<(Arc<str>, Arc<Term>)>;

/// Variables, and the functions that they may hold.
#[derive(Clone, Default)]
pub(super) struct Kept {
    bindings: Bindings,
    funs: Vec<Closure>,
}

impl Kept {
    /// `_1`, `_2` … stand for these arguments.
    pub(super) fn of_arguments(arguments: &[String]) -> Self {
        let name = |index: usize| format!("_{}", index + 1).into();
        let arguments = arguments.iter().enumerate();
        Self {
            bindings: arguments
                .map(|(index, text)| (name(index), Arc::new(Term::text(text))))
                .collect(),
            funs: Vec::new(),
        }
    }
}

/// An evaluation.
pub(super) struct Machine<'a> {
    pub(super) facts: &'a mut dyn Facts,
    funs: Vec<Closure>,
    work: u64,
    depth: usize,
}

/// A function and the variables around it.
#[derive(Clone)]
enum Closure {
    Interpreted(Arc<Fun>, Arc<Bindings>),
    Named(Arc<str>, Arc<str>, usize),
}

fn too_much(what: &'static str) -> Raised {
    Raised::TooMuch(what)
}

fn is_true(value: &Term) -> bool {
    matches!(value, Term::Atom(text) if text == "true")
}

impl<'a> Machine<'a> {
    pub(super) fn new(facts: &'a mut dyn Facts) -> Self {
        Self {
            facts,
            funs: Vec::new(),
            work: 0,
            depth: 0,
        }
    }

    /// Evaluates, and leaves what was there before where that fails.
    pub(super) fn run(&mut self, body: &[Expr], kept: &mut Kept) -> Value {
        let mut bindings = kept.bindings.clone();
        self.funs.clone_from(&kept.funs);
        let value = self.body(body, &mut bindings)?;
        *kept = Kept {
            bindings,
            funs: std::mem::take(&mut self.funs),
        };
        Ok(value)
    }

    /// Pays for so many steps.
    pub(super) fn pay(&mut self, steps: usize) -> Result<(), Raised> {
        self.work = self.work.saturating_add(steps as u64);
        if self.work > WORK_MAX {
            return Err(too_much("the expression takes too long"));
        }
        Ok(())
    }

    /// Pays for a value.
    fn weigh(&mut self, value: &Term) -> Result<(), Raised> {
        fn size(value: &Term, depth: usize) -> Option<usize> {
            if depth > TERM_DEPTH_MAX {
                return None;
            }
            match value {
                Term::List(items) | Term::Tuple(items) => items
                    .iter()
                    .try_fold(1_usize, |sum, item| Some(sum + size(item, depth + 1)?)),
                Term::Map(pairs) => pairs.iter().try_fold(1_usize, |sum, (key, value)| {
                    Some(sum + size(key, depth + 1)? + size(value, depth + 1)?)
                }),
                Term::Binary(bytes) => Some(1 + bytes.len() / 16),
                Term::Atom(_) | Term::Int(_) | Term::Float(_) | Term::Pid(_) | Term::Fun(_) => {
                    Some(1)
                }
            }
        }
        match size(value, 0) {
            Some(size) => self.pay(size),
            None => Err(too_much("a value is nested too deep")),
        }
    }

    fn made(&mut self, value: Term) -> Value {
        self.weigh(&value)?;
        Ok(value)
    }

    fn body(&mut self, body: &[Expr], bindings: &mut Bindings) -> Value {
        let mut value = Term::atom("ok");
        for expression in body {
            value = self.eval(expression, bindings)?;
        }
        Ok(value)
    }

    fn eval(&mut self, expression: &Expr, bindings: &mut Bindings) -> Value {
        self.pay(1)?;
        if self.depth >= DEPTH_MAX {
            return Err(too_much("calls are nested too deep"));
        }
        self.depth += 1;
        let value = self.eval_inner(expression, bindings);
        self.depth -= 1;
        value
    }

    fn eval_inner(&mut self, expression: &Expr, bindings: &mut Bindings) -> Value {
        match expression {
            Expr::Literal(term) => self.made(term.clone()),
            Expr::Variable(name) => {
                let found = bindings.iter().rev().find(|(own, _)| own == name);
                let Some((_, value)) = found else {
                    return Err(Raised::unbound(name));
                };
                let value = Arc::clone(value);
                self.weigh(&value)?;
                Ok(Arc::unwrap_or_clone(value))
            }
            Expr::Match(pattern, value) => {
                let value = self.eval(value, bindings)?;
                if self.matches(pattern, &value, bindings)? {
                    Ok(value)
                } else {
                    Err(Raised::bad_match(value))
                }
            }
            Expr::Tuple(items) => {
                let items = self.all(items, bindings)?;
                self.made(Term::Tuple(items))
            }
            Expr::List(items, tail) => {
                let mut items = self.all(items, bindings)?;
                match tail.as_deref() {
                    None => {}
                    Some(tail) => match self.eval(tail, bindings)? {
                        Term::List(more) => items.extend(more),
                        _ => return Err(too_much("lists that end in no list are not supported")),
                    },
                }
                self.made(Term::List(items))
            }
            Expr::Map(base, fields) => self.map(base.as_deref(), fields, bindings),
            Expr::Binary(segments) => self.binary(segments, bindings),
            Expr::Unary(operator, operand) => {
                let operand = self.eval(operand, bindings)?;
                unary(operator, operand)
            }
            Expr::Operator("andalso", left, right) => match self.boolean(left, bindings)? {
                true => self.eval(right, bindings),
                false => Ok(Term::bool(false)),
            },
            Expr::Operator("orelse", left, right) => match self.boolean(left, bindings)? {
                true => Ok(Term::bool(true)),
                false => self.eval(right, bindings),
            },
            Expr::Operator(operator, left, right) => {
                let left = self.eval(left, bindings)?;
                let right = self.eval(right, bindings)?;
                let value = binary_operator(operator, left, right)?;
                self.made(value)
            }
            Expr::Call(callee, arguments) => self.call_expression(callee, arguments, bindings),
            Expr::Fun(fun) => {
                let around = Arc::new(bindings.clone());
                self.pay(bindings.len())?;
                Ok(self.closure(Closure::Interpreted(Arc::clone(fun), around)))
            }
            Expr::Reference(module, function, arity) => Ok(self.closure(Closure::Named(
                Arc::clone(module),
                Arc::clone(function),
                *arity,
            ))),
            Expr::Block(body) => self.body(body, bindings),
            Expr::Case(value, clauses) => {
                let value = self.eval(value, bindings)?;
                match self.choose(clauses, std::slice::from_ref(&value), bindings)? {
                    Some(body) => self.body(body, bindings),
                    None => Err(Raised::case_clause(value)),
                }
            }
            Expr::If(clauses) => match self.choose(clauses, &[], bindings)? {
                Some(body) => self.body(body, bindings),
                None => Err(Raised::if_clause()),
            },
            Expr::Comprehension(result, qualifiers) => {
                let mut items = Vec::new();
                let before = bindings.len();
                self.comprehend(result, qualifiers, bindings, &mut items)?;
                bindings.truncate(before);
                self.made(Term::List(items))
            }
            Expr::Catch(inner) => {
                let before = bindings.len();
                let raised = match self.eval(inner, bindings) {
                    Ok(value) => return Ok(value),
                    Err(raised) => raised,
                };
                bindings.truncate(before);
                match raised.caught() {
                    Some(("throw", value, _)) => Ok(value),
                    Some(("exit", reason, _)) => Ok(Term::pair("EXIT", reason)),
                    Some((_, reason, stack)) => {
                        Ok(Term::pair("EXIT", Term::Tuple(vec![reason, stack])))
                    }
                    None => Err(raised),
                }
            }
            Expr::Try(body, of, catches, after) => {
                let before = bindings.len();
                let value = self.attempt(body, of, catches, bindings);
                bindings.truncate(before);
                if !after.is_empty() {
                    self.body(after, bindings)?;
                    bindings.truncate(before);
                }
                value
            }
        }
    }

    fn attempt(
        &mut self,
        body: &[Expr],
        of: &[Clause],
        catches: &[Clause],
        bindings: &mut Bindings,
    ) -> Value {
        let before = bindings.len();
        let raised = match self.body(body, bindings) {
            Ok(value) if of.is_empty() => return Ok(value),
            Ok(value) => {
                return match self.choose(of, std::slice::from_ref(&value), bindings)? {
                    Some(body) => self.body(body, bindings),
                    None => Err(Raised::try_clause(value)),
                };
            }
            Err(raised) => raised,
        };
        bindings.truncate(before);
        let Some((class, reason, stack)) = raised.caught() else {
            return Err(raised);
        };
        match self.choose(catches, &[Term::atom(class), reason, stack], bindings)? {
            Some(body) => self.body(body, bindings),
            None => Err(raised),
        }
    }

    fn all(&mut self, expressions: &[Expr], bindings: &mut Bindings) -> Result<Vec<Term>, Raised> {
        expressions
            .iter()
            .map(|expression| self.eval(expression, bindings))
            .collect()
    }

    fn boolean(&mut self, expression: &Expr, bindings: &mut Bindings) -> Result<bool, Raised> {
        let value = self.eval(expression, bindings)?;
        match &value {
            Term::Atom(text) if text == "true" => Ok(true),
            Term::Atom(text) if text == "false" => Ok(false),
            _ => Err(Raised::error(Term::pair("badarg", value))),
        }
    }

    fn closure(&mut self, closure: Closure) -> Term {
        self.funs.push(closure);
        Term::Fun(self.funs.len() - 1)
    }

    fn map(&mut self, base: Option<&Expr>, fields: &[Field], bindings: &mut Bindings) -> Value {
        let mut pairs = match base {
            None => Vec::new(),
            Some(base) => match self.eval(base, bindings)? {
                Term::Map(pairs) => pairs,
                other => return Err(Raised::error(Term::pair("badmap", other))),
            },
        };
        for field in fields {
            let key = self.eval(&field.key, bindings)?;
            let value = self.eval(&field.value, bindings)?;
            self.pay(pairs.len())?;
            match pairs.iter_mut().find(|(own, _)| *own == key) {
                Some((_, own)) => *own = value,
                None if field.exact => return Err(Raised::error(Term::pair("badkey", key))),
                None => pairs.push((key, value)),
            }
        }
        self.made(Term::Map(pairs))
    }

    fn binary(&mut self, segments: &[Segment], bindings: &mut Bindings) -> Value {
        let bad = || Raised::error(Term::atom("badarg"));
        let mut bytes = Vec::new();
        for segment in segments {
            let value = self.eval(&segment.value, bindings)?;
            let size = match &segment.size {
                None => None,
                Some(size) => match self.eval(size, bindings)? {
                    Term::Int(size) => Some(usize::try_from(size).map_err(|_| bad())?),
                    _ => return Err(bad()),
                },
            };
            match (segment.kind, value) {
                (SegmentKind::Binary, Term::Binary(own)) => {
                    let end = size.unwrap_or(own.len());
                    bytes.extend_from_slice(own.get(..end).ok_or_else(bad)?);
                }
                (SegmentKind::Utf8, value) => {
                    let text = match &value {
                        Term::List(items) => functions::characters(items),
                        one => functions::characters(std::slice::from_ref(one)),
                    };
                    bytes.extend(text.ok_or_else(bad)?.into_bytes());
                }
                (SegmentKind::Integer, Term::Int(value)) => {
                    integer_bytes(value, size.unwrap_or(8), &mut bytes).ok_or_else(bad)?;
                }
                // Text is in UTF-8, whether it says so or not.
                (SegmentKind::Integer, Term::List(items)) => {
                    let text = functions::characters(&items).ok_or_else(bad)?;
                    bytes.extend(text.into_bytes());
                }
                (SegmentKind::Integer | SegmentKind::Binary, _) => return Err(bad()),
            }
        }
        self.made(Term::Binary(bytes))
    }

    fn call_expression(
        &mut self,
        callee: &Callee,
        arguments: &[Expr],
        bindings: &mut Bindings,
    ) -> Value {
        match callee {
            Callee::Local(name) => {
                let arguments = self.all(arguments, bindings)?;
                if functions::is_imported(name, arguments.len()) {
                    self.call("erlang", name, &arguments)
                } else {
                    Err(Raised::undefined_local(name, arguments.len()))
                }
            }
            Callee::Remote(module, function) => {
                let module = self.eval(module, bindings)?;
                let function = self.eval(function, bindings)?;
                let arguments = self.all(arguments, bindings)?;
                match (module, function) {
                    (Term::Atom(module), Term::Atom(function)) => {
                        self.call(&module, &function, &arguments)
                    }
                    _ => Err(Raised::error(Term::atom("badarg"))),
                }
            }
            Callee::Value(fun) => {
                let fun = self.eval(fun, bindings)?;
                let arguments = self.all(arguments, bindings)?;
                self.apply(&fun, &arguments)
            }
        }
    }

    /// Calls a function by its name.
    pub(super) fn call(&mut self, module: &str, function: &str, arguments: &[Term]) -> Value {
        let found = match lists::call(self, module, function, arguments) {
            None => functions::call(self, module, function, arguments),
            found => found,
        };
        let found = match found {
            None => self.facts.call(module, function, arguments),
            found => found,
        };
        match found {
            None => Err(Raised::undefined(module, function, arguments)),
            Some(value) => {
                let value = value?;
                self.made(value)
            }
        }
    }

    /// Calls what a value is.
    pub(super) fn apply(&mut self, fun: &Term, arguments: &[Term]) -> Value {
        let closure = match fun {
            Term::Fun(index) => self.funs.get(*index).cloned(),
            _ => None,
        };
        match closure {
            None => Err(Raised::bad_fun(fun.clone())),
            Some(Closure::Named(module, function, arity)) => {
                if arguments.len() == arity {
                    self.call(&module, &function, arguments)
                } else {
                    Err(bad_arity(fun, arguments))
                }
            }
            Some(Closure::Interpreted(code, around)) => {
                let arity = code
                    .clauses
                    .first()
                    .map_or(0, |clause| clause.patterns.len());
                if arguments.len() != arity {
                    return Err(bad_arity(fun, arguments));
                }
                let mut bindings = Vec::clone(&around);
                self.pay(bindings.len())?;
                if let Some(name) = &code.name {
                    bindings.push((Arc::clone(name), Arc::new(fun.clone())));
                }
                // Parameters are new variables, also where one of that name is around.
                let inner = bindings.len();
                for clause in &code.clauses {
                    bindings.truncate(inner);
                    let mut own: Bindings = Vec::new();
                    let mut fits = true;
                    for (pattern, value) in clause.patterns.iter().zip(arguments) {
                        fits = fits && self.matches(pattern, value, &mut own)?;
                    }
                    if !fits {
                        continue;
                    }
                    bindings.extend(own);
                    if self.holds(&clause.guard, &mut bindings)? {
                        return self.body(&clause.body, &mut bindings);
                    }
                }
                Err(Raised::no_clause(arguments.to_vec()))
            }
        }
    }

    /// The body of the first clause that takes the values; its variables are bound then.
    fn choose<'c>(
        &mut self,
        clauses: &'c [Clause],
        values: &[Term],
        bindings: &mut Bindings,
    ) -> Result<Option<&'c [Expr]>, Raised> {
        let before = bindings.len();
        for clause in clauses {
            bindings.truncate(before);
            let mut fits = true;
            for (pattern, value) in clause.patterns.iter().zip(values) {
                fits = fits && self.matches(pattern, value, bindings)?;
            }
            if fits && self.holds(&clause.guard, bindings)? {
                return Ok(Some(&clause.body));
            }
        }
        bindings.truncate(before);
        Ok(None)
    }

    /// Whether a condition holds; a test that fails does not.
    fn holds(&mut self, guard: &[Vec<Expr>], bindings: &mut Bindings) -> Result<bool, Raised> {
        if guard.is_empty() {
            return Ok(true);
        }
        for tests in guard {
            let mut all = true;
            for test in tests {
                all = match self.eval(test, bindings) {
                    Ok(value) => is_true(&value),
                    Err(raised) if raised.caught().is_none() => return Err(raised),
                    Err(_) => false,
                };
                if !all {
                    break;
                }
            }
            if all {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn comprehend(
        &mut self,
        result: &Expr,
        qualifiers: &[Qualifier],
        bindings: &mut Bindings,
        into: &mut Vec<Term>,
    ) -> Result<(), Raised> {
        let Some((first, rest)) = qualifiers.split_first() else {
            into.push(self.eval(result, bindings)?);
            return Ok(());
        };
        let before = bindings.len();
        match first {
            Qualifier::Filter(test) => {
                let value = self.eval(test, bindings)?;
                match &value {
                    Term::Atom(text) if text == "true" => {
                        self.comprehend(result, rest, bindings, into)?;
                    }
                    Term::Atom(text) if text == "false" => {}
                    _ => return Err(Raised::error(Term::pair("bad_filter", value))),
                }
            }
            Qualifier::Generator(pattern, source) => {
                let items = match self.eval(source, bindings)? {
                    Term::List(items) => items,
                    other => return Err(Raised::bad_generator(other)),
                };
                for item in items {
                    bindings.truncate(before);
                    let mut own = Vec::new();
                    if self.matches(pattern, &item, &mut own)? {
                        bindings.extend(own);
                        self.comprehend(result, rest, bindings, into)?;
                    }
                }
            }
            Qualifier::MapGenerator(key, value, source) => {
                let pairs = match self.eval(source, bindings)? {
                    Term::Map(pairs) => pairs,
                    other => return Err(Raised::bad_generator(other)),
                };
                for (own_key, own_value) in pairs {
                    bindings.truncate(before);
                    let mut own = Vec::new();
                    if self.matches(key, &own_key, &mut own)?
                        && self.matches(value, &own_value, &mut own)?
                    {
                        bindings.extend(own);
                        self.comprehend(result, rest, bindings, into)?;
                    }
                }
            }
        }
        bindings.truncate(before);
        Ok(())
    }

    /// Matches a value and binds the pattern's variables; none of them, if it does not match.
    fn matches(
        &mut self,
        pattern: &Expr,
        value: &Term,
        bindings: &mut Bindings,
    ) -> Result<bool, Raised> {
        self.pay(1)?;
        let before = bindings.len();
        let fits = self.fits(pattern, value, bindings)?;
        if !fits {
            bindings.truncate(before);
        }
        Ok(fits)
    }

    fn fits(
        &mut self,
        pattern: &Expr,
        value: &Term,
        bindings: &mut Bindings,
    ) -> Result<bool, Raised> {
        match pattern {
            Expr::Variable(name) if &**name == "_" => Ok(true),
            Expr::Variable(name) => match bindings.iter().rev().find(|(own, _)| own == name) {
                Some((_, own)) => Ok(**own == *value),
                None => {
                    self.weigh(value)?;
                    bindings.push((Arc::clone(name), Arc::new(value.clone())));
                    Ok(true)
                }
            },
            Expr::Match(left, right) => {
                Ok(self.matches(left, value, bindings)? && self.matches(right, value, bindings)?)
            }
            Expr::Tuple(patterns) => match value {
                Term::Tuple(items) if items.len() == patterns.len() => {
                    self.all_match(patterns, items, bindings)
                }
                _ => Ok(false),
            },
            Expr::List(patterns, tail) => {
                let Term::List(items) = value else {
                    return Ok(false);
                };
                let Some((head, rest)) = items.split_at_checked(patterns.len()) else {
                    return Ok(false);
                };
                if !self.all_match(patterns, head, bindings)? {
                    return Ok(false);
                }
                match tail {
                    None => Ok(rest.is_empty()),
                    Some(tail) => self.matches(tail, &Term::List(rest.to_vec()), bindings),
                }
            }
            // "text" ++ Rest
            Expr::Operator("++", prefix, rest) => {
                let (Expr::Literal(Term::List(prefix)), Term::List(items)) = (&**prefix, value)
                else {
                    return Err(too_much("the pattern is not supported"));
                };
                match items.strip_prefix(prefix.as_slice()) {
                    Some(tail) => self.matches(rest, &Term::List(tail.to_vec()), bindings),
                    None => Ok(false),
                }
            }
            Expr::Map(None, fields) => {
                let Term::Map(pairs) = value else {
                    return Ok(false);
                };
                for field in fields {
                    let key = self.eval(&field.key, bindings)?;
                    let Some((_, own)) = pairs.iter().find(|(own, _)| *own == key) else {
                        return Ok(false);
                    };
                    if !self.matches(&field.value, own, bindings)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Expr::Binary(segments) => match value {
                Term::Binary(bytes) => self.fits_binary(segments, bytes, bindings),
                _ => Ok(false),
            },
            other => Ok(self.eval(other, bindings)? == *value),
        }
    }

    fn all_match(
        &mut self,
        patterns: &[Expr],
        values: &[Term],
        bindings: &mut Bindings,
    ) -> Result<bool, Raised> {
        for (pattern, value) in patterns.iter().zip(values) {
            if !self.matches(pattern, value, bindings)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fits_binary(
        &mut self,
        segments: &[Segment],
        bytes: &[u8],
        bindings: &mut Bindings,
    ) -> Result<bool, Raised> {
        let mut rest = bytes;
        for segment in segments {
            if let Expr::Literal(Term::List(_)) = &segment.value {
                let literal = self.binary(std::slice::from_ref(segment), bindings)?;
                let Term::Binary(prefix) = literal else {
                    return Ok(false);
                };
                let Some(behind) = rest.strip_prefix(prefix.as_slice()) else {
                    return Ok(false);
                };
                rest = behind;
                continue;
            }
            let size = match &segment.size {
                None => None,
                Some(size) => match self.eval(size, bindings)? {
                    Term::Int(size) => usize::try_from(size).ok(),
                    _ => None,
                },
            };
            let (own, behind) = match segment.kind {
                SegmentKind::Binary => {
                    let Some((own, behind)) = rest.split_at_checked(size.unwrap_or(rest.len()))
                    else {
                        return Ok(false);
                    };
                    (Term::Binary(own.to_vec()), behind)
                }
                SegmentKind::Integer => {
                    let bits = size.unwrap_or(8);
                    let (0, 1..=15) = (bits % 8, bits / 8) else {
                        return Err(too_much("segments are whole bytes, 15 at most"));
                    };
                    let Some((own, behind)) = rest.split_at_checked(bits / 8) else {
                        return Ok(false);
                    };
                    let value = own.iter().fold(0, |sum, byte| sum << 8 | i128::from(*byte));
                    (Term::Int(value), behind)
                }
                SegmentKind::Utf8 => {
                    let text = String::from_utf8_lossy(rest.get(..4).unwrap_or(rest));
                    let Some(c) = text.chars().next().filter(|c| *c != '\u{fffd}') else {
                        return Ok(false);
                    };
                    (Term::Int(u32::from(c).into()), &rest[c.len_utf8()..])
                }
            };
            if !self.matches(&segment.value, &own, bindings)? {
                return Ok(false);
            }
            rest = behind;
        }
        Ok(rest.is_empty())
    }
}

fn bad_arity(fun: &Term, arguments: &[Term]) -> Raised {
    let called = Term::Tuple(vec![fun.clone(), Term::List(arguments.to_vec())]);
    Raised::error(Term::pair("badarity", called))
}

/// The lowest bits of a number, highest byte first. `None` if those are no whole bytes, or too many.
fn integer_bytes(value: i128, bits: usize, into: &mut Vec<u8>) -> Option<()> {
    if !bits.is_multiple_of(8) || bits > 128 {
        return None;
    }
    let all = value.to_be_bytes();
    into.extend_from_slice(&all[all.len() - bits / 8..]);
    Some(())
}

fn unary(operator: &str, operand: Term) -> Value {
    match (operator, &operand) {
        ("-", Term::Int(value)) => checked(value.checked_neg()),
        ("-", Term::Float(value)) => Ok(Term::Float(-value)),
        ("+", Term::Int(_) | Term::Float(_)) => Ok(operand),
        ("bnot", Term::Int(value)) => Ok(Term::Int(!value)),
        ("not", Term::Atom(text)) if text == "true" => Ok(Term::bool(false)),
        ("not", Term::Atom(text)) if text == "false" => Ok(Term::bool(true)),
        ("not", _) => Err(Raised::in_function(
            Term::atom("badarg"),
            "erlang",
            operator,
            &[operand],
        )),
        _ => Err(Raised::in_function(
            Term::atom("badarith"),
            "erlang",
            operator,
            &[operand],
        )),
    }
}

fn checked(value: Option<i128>) -> Value {
    value
        .map(Term::Int)
        .ok_or(Raised::TooMuch("numbers have at most 127 bits"))
}

fn real(value: &Term) -> Option<f64> {
    match value {
        Term::Int(value) => Some(*value as f64),
        Term::Float(value) => Some(*value),
        _ => None,
    }
}

fn binary_operator(operator: &'static str, left: Term, right: Term) -> Value {
    match operator {
        "==" => return Ok(Term::bool(equal(&left, &right))),
        "/=" => return Ok(Term::bool(!equal(&left, &right))),
        "=:=" => return Ok(Term::bool(left == right)),
        "=/=" => return Ok(Term::bool(left != right)),
        "<" => return Ok(Term::bool(compare(&left, &right) == Ordering::Less)),
        ">" => return Ok(Term::bool(compare(&left, &right) == Ordering::Greater)),
        "=<" => return Ok(Term::bool(compare(&left, &right) != Ordering::Greater)),
        ">=" => return Ok(Term::bool(compare(&left, &right) != Ordering::Less)),
        "++" => {
            if let (Term::List(left), Term::List(right)) = (&left, &right) {
                return Ok(Term::List([&left[..], right].concat()));
            }
        }
        "--" => {
            if let (Term::List(left), Term::List(right)) = (&left, &right) {
                return lists::subtract(left, right);
            }
        }
        "and" | "or" | "xor" => {
            let truth = |term: &Term| match term {
                Term::Atom(text) => text.parse::<bool>().ok(),
                _ => None,
            };
            if let (Some(left), Some(right)) = (truth(&left), truth(&right)) {
                return Ok(Term::bool(match operator {
                    "and" => left && right,
                    "or" => left || right,
                    _ => left != right,
                }));
            }
        }
        _ => return arithmetic(operator, &left, &right),
    }
    let arguments = [left, right];
    Err(Raised::in_function(
        Term::atom("badarg"),
        "erlang",
        operator,
        &arguments,
    ))
}

fn arithmetic(operator: &str, left: &Term, right: &Term) -> Value {
    let bad = || {
        let arguments = [left.clone(), right.clone()];
        Raised::in_function(Term::atom("badarith"), "erlang", operator, &arguments)
    };
    if let (Term::Int(a), Term::Int(b)) = (left, right) {
        let (a, b) = (*a, *b);
        let shift = |by: i128| u32::try_from(by.min(SHIFT_MAX)).unwrap_or_default();
        match operator {
            "+" => return checked(a.checked_add(b)),
            "-" => return checked(a.checked_sub(b)),
            "*" => return checked(a.checked_mul(b)),
            "div" | "rem" | "/" if b == 0 => return Err(bad()),
            "div" => return checked(a.checked_div(b)),
            "rem" => return checked(a.checked_rem(b)),
            "band" => return Ok(Term::Int(a & b)),
            "bor" => return Ok(Term::Int(a | b)),
            "bxor" => return Ok(Term::Int(a ^ b)),
            "bsl" if b >= 0 => {
                let shifted = a.checked_mul(1_i128 << shift(b));
                return checked(shifted.filter(|_| b <= SHIFT_MAX));
            }
            "bsr" if b >= 0 => return Ok(Term::Int(a >> shift(b))),
            "bsl" | "bsr" => return Err(bad()),
            _ => {}
        }
    }
    let (Some(a), Some(b)) = (real(left), real(right)) else {
        return Err(bad());
    };
    let value = match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" if b != 0.0 => a / b,
        _ => return Err(bad()),
    };
    if value.is_finite() {
        Ok(Term::Float(value))
    } else {
        Err(bad())
    }
}
