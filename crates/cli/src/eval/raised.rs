//! What ends an evaluation early: Erlang's errors, exits and throws, with the frames that RabbitMQ's tools show.

use crate::term::Term;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raised {
    /// `erlang:error(Reason)`, and where.
    Error {
        /// The reason.
        reason: Term,
        /// Innermost first.
        frames: Vec<Term>,
    },
    /// `exit(Reason)`
    Exit(Term),
    /// `throw(Value)`
    Throw(Term),
    /// More work, nesting or digits than an expression may have; it cannot be caught.
    TooMuch(&'static str),
    /// The node could not be asked; it cannot be caught.
    Failure(crate::Failure),
}

impl From<crate::Failure> for Raised {
    fn from(failure: crate::Failure) -> Self {
        Self::Failure(failure)
    }
}

/// `{Module,Function,Arguments,Where}`
pub(super) fn frame(module: &str, function: &str, arguments: Term, place: Term) -> Term {
    Term::Tuple(vec![
        Term::atom(module),
        Term::atom(function),
        arguments,
        place,
    ])
}

/// A frame of the evaluator that RabbitMQ has, since that is what scripts see.
fn evaluator(function: &str, arity: i64, line: i64) -> Term {
    let place = Term::List(vec![
        Term::pair("file", Term::characters("erl_eval.erl")),
        Term::pair("line", Term::int(line)),
    ]);
    frame("erl_eval", function, Term::int(arity), place)
}

/// The frame of a whole expression.
fn expression() -> Term {
    frame("erl_eval", "exprs", Term::int(2), Term::List(Vec::new()))
}

/// Where functions keep what is wrong with their arguments.
fn error_info(module: &str) -> Term {
    let errors = if module == "erlang" {
        "erl_erts_errors"
    } else {
        "erl_stdlib_errors"
    };
    let info = Term::Map(vec![(Term::atom("module"), Term::atom(errors))]);
    Term::List(vec![Term::pair("error_info", info)])
}

impl Raised {
    /// An error of an expression, in this function of the evaluator.
    fn of_expression(reason: Term, function: &str, arity: i64, line: i64) -> Self {
        Self::Error {
            reason,
            frames: vec![evaluator(function, arity, line), expression()],
        }
    }

    /// An error in a function.
    pub(super) fn in_function(
        reason: Term,
        module: &str,
        function: &str,
        arguments: &[Term],
    ) -> Self {
        let arguments = Term::List(arguments.to_vec());
        Self::Error {
            reason,
            frames: vec![
                frame(module, function, arguments, error_info(module)),
                evaluator("do_apply", 7, 1044),
                expression(),
            ],
        }
    }

    /// `erlang:error(Reason)`
    pub(super) fn error(reason: Term) -> Self {
        Self::of_expression(reason, "do_apply", 7, 1044)
    }

    pub(super) fn undefined(module: &str, function: &str, arguments: &[Term]) -> Self {
        let none = Term::List(Vec::new());
        let arguments = Term::List(arguments.to_vec());
        Self::Error {
            reason: Term::atom("undef"),
            frames: vec![
                frame(module, function, arguments, none),
                evaluator("do_apply", 7, 1044),
                expression(),
            ],
        }
    }

    pub(super) fn undefined_local(function: &str, arity: usize) -> Self {
        let none = Term::List(Vec::new());
        let arity = Term::Int(i128::try_from(arity).unwrap_or(i128::MAX));
        Self::Error {
            reason: Term::atom("undef"),
            frames: vec![
                frame("erl_eval", function, arity, none),
                evaluator("local_func", 8, 960),
                expression(),
            ],
        }
    }

    pub(super) fn unbound(variable: &str) -> Self {
        Self::Error {
            reason: Term::pair("unbound_var", Term::atom(variable)),
            frames: vec![evaluator("exprs", 2, 222)],
        }
    }

    pub(super) fn bad_match(value: Term) -> Self {
        Self::of_expression(Term::pair("badmatch", value), "expr", 6, 796)
    }

    pub(super) fn case_clause(value: Term) -> Self {
        Self::of_expression(Term::pair("case_clause", value), "case_clauses", 8, 1744)
    }

    pub(super) fn try_clause(value: Term) -> Self {
        Self::of_expression(Term::pair("try_clause", value), "try_clauses", 10, 1711)
    }

    pub(super) fn if_clause() -> Self {
        Self::of_expression(Term::atom("if_clause"), "if_clauses", 7, 1683)
    }

    pub(super) fn bad_fun(value: Term) -> Self {
        Self::of_expression(Term::pair("badfun", value), "do_apply", 7, 1044)
    }

    pub(super) fn bad_generator(value: Term) -> Self {
        Self::Error {
            reason: Term::pair("bad_generator", value),
            frames: vec![
                evaluator("eval_generate", 9, 1472),
                evaluator("eval_lc", 7, 1061),
                expression(),
            ],
        }
    }

    /// No clause of a function in an expression takes these arguments.
    pub(super) fn no_clause(arguments: Vec<Term>) -> Self {
        let none = Term::List(Vec::new());
        let name = "-inside-an-interpreted-fun-";
        Self::Error {
            reason: Term::atom("function_clause"),
            frames: vec![
                frame("erl_eval", name, Term::List(arguments), none),
                evaluator("eval_fun", 8, 1588),
                expression(),
            ],
        }
    }

    /// The class and reason that `catch` sees. `None` if it cannot be caught.
    pub(super) fn caught(&self) -> Option<(&'static str, Term, Term)> {
        match self {
            Self::Error { reason, frames } => {
                Some(("error", reason.clone(), Term::List(frames.clone())))
            }
            Self::Exit(reason) => Some(("exit", reason.clone(), Term::List(Vec::new()))),
            Self::Throw(value) => Some(("throw", value.clone(), Term::List(Vec::new()))),
            Self::TooMuch(_) | Self::Failure(_) => None,
        }
    }

    /// The function that is missing, if that is what is wrong.
    pub(crate) fn missing_function(&self) -> Option<String> {
        let Self::Error { reason, frames } = self else {
            return None;
        };
        let Some(Term::Tuple(frame)) = frames.first() else {
            return None;
        };
        let (Term::Atom(reason), [module, function, arguments, _]) = (reason, frame.as_slice())
        else {
            return None;
        };
        let arity = match arguments {
            Term::List(arguments) => arguments.len().to_string(),
            other => other.to_string(),
        };
        (reason == "undef").then(|| match module {
            Term::Atom(module) if module == "erl_eval" => format!("{function}/{arity}"),
            _ => format!("{module}:{function}/{arity}"),
        })
    }
}
