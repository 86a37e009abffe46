//! `rabbitmqctl eval`: Erlang expressions over a documented set of functions (`docs/eval.md`).
//!
//! There is no Erlang here: expressions are read ([`syntax`]) and evaluated ([`machine`]) in the tool, and what a function of
//! RabbitMQ's says comes through [`Facts`]. Nothing here knows a node or does I/O. Work, nesting and the size of numbers are
//! bounded, so that no expression runs away.

mod format;
mod functions;
mod lists;
mod machine;
mod raised;
mod syntax;

pub(crate) use format::text_of;
pub(crate) use functions::{argument_error, resource, resource_term};
pub(crate) use raised::Raised;

use crate::term::Term;
use machine::{Kept, Machine};
use syntax::Expr;

/// Where the functions are that there are, for whoever asks for another one.
pub(crate) const DOCUMENT: &str = "docs/eval.md";

/// Stack for nested calls; what is not used takes no memory.
const STACK_BYTES: usize = 64 << 20;

/// What a node knows, behind the names of RabbitMQ's functions.
pub(crate) trait Facts {
    /// Calls a function. `None` if there is none of that name with so many arguments.
    ///
    /// # Errors
    /// What the function raises.
    fn call(
        &mut self,
        module: &str,
        function: &str,
        arguments: &[Term],
    ) -> Option<Result<Term, Raised>>;

    /// Prints text, for `io:format`.
    fn print(&mut self, text: &str);
}

/// What the expressions of a shell leave for those behind them.
#[derive(Default)]
pub(crate) struct Session(Kept);

/// An expression that was read.
#[derive(Debug)]
pub(crate) struct Expression(Vec<Expr>);

impl Expression {
    /// Reads an expression with its full stop.
    ///
    /// # Errors
    /// It is none, in RabbitMQ's words.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        syntax::parse(text).map(Self)
    }

    /// Evaluates it, with `_1`, `_2` … standing for these arguments.
    ///
    /// # Errors
    /// What it raises.
    pub(crate) fn evaluate(
        &self,
        arguments: &[String],
        facts: &mut (dyn Facts + Send),
    ) -> Result<Term, Raised> {
        self.evaluate_in(&mut Session(Kept::of_arguments(arguments)), facts)
    }

    /// Evaluates it with the variables of a session, which has those of this expression behind it, unless it fails.
    ///
    /// # Errors
    /// What it raises.
    pub(crate) fn evaluate_in(
        &self,
        session: &mut Session,
        facts: &mut (dyn Facts + Send),
    ) -> Result<Term, Raised> {
        // Nesting is bounded, and this is enough for it whatever the caller's stack has left.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("eval".to_owned())
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || Machine::new(facts).run(&self.0, &mut session.0));
            match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(_) => Err(Raised::TooMuch("the system has no thread for it")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretty::pretty;

    /// A node that knows one function and keeps what is printed.
    #[derive(Default)]
    struct Sample(String);

    impl Facts for Sample {
        fn call(
            &mut self,
            module: &str,
            function: &str,
            arguments: &[Term],
        ) -> Option<Result<Term, Raised>> {
            match (module, function, arguments) {
                ("erlang", "node", []) => Some(Ok(Term::atom("rabbit@localhost"))),
                _ => None,
            }
        }

        fn print(&mut self, text: &str) {
            self.0.push_str(text);
        }
    }

    fn outcome(text: &str) -> Result<Term, Raised> {
        let arguments = ["first".to_owned()];
        let read = Expression::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        read.evaluate(&arguments, &mut Sample::default())
    }

    fn value(text: &str) -> String {
        match outcome(text) {
            Ok(value) => pretty(&value),
            Err(Raised::Error { reason, .. }) => format!("error: {}", reason.inspect()),
            Err(raised) => format!("{raised:?}"),
        }
    }

    /// As `rabbitmqctl eval` of RabbitMQ 4.3.6 prints them.
    #[test]
    fn expressions_have_the_values_that_they_have_in_erlang() {
        for (text, expected) in [
            ("node().", "rabbit@localhost"),
            ("X = 5, Y = X * 2, {X, Y}.", "{5,10}"),
            ("_1.", "<<\"first\">>"),
            ("\"abc\".", "\"abc\""),
            ("[97,98].", "\"ab\""),
            ("\"\".", "[]"),
            ("<<1,2,3>>.", "<<1,2,3>>"),
            ("#{a => 1, <<\"b\">> => [x]}.", "#{a => 1,<<\"b\">> => [x]}"),
            ("1.0e10.", "1.0e10"),
            ("10 div 3.", "3"),
            ("10 / 4.", "2.5"),
            ("0.1 + 0.2.", "0.30000000000000004"),
            ("[X || X <- [1,2,3,4], X rem 2 =:= 0].", "[2,4]"),
            ("[{K, V} || K := V <- #{a => 1}].", "[{a,1}]"),
            ("case 3 of 1 -> a; _ -> b end.", "b"),
            ("if 1 > 2 -> a; true -> b end.", "b"),
            ("F = fun(X) -> X + 1 end, F(3).", "4"),
            (
                "F = fun G(0) -> 0; G(N) when N > 0 -> N + G(N - 1) end, F(10).",
                "55",
            ),
            ("lists:map(fun(X) -> X * 2 end, [1,2]).", "[2,4]"),
            ("lists:map(fun erlang:abs/1, [-1]).", "[1]"),
            ("lists:foldl(fun(X, A) -> X + A end, 0, [1,2,3]).", "6"),
            ("a < 1.", "false"),
            ("1 == 1.0 andalso 1 =/= 1.0.", "true"),
            ("[1|[2,3]].", "[1,2,3]"),
            ("[1,2,3] -- [2].", "[1,3]"),
            ("\"a\" ++ \"b\".", "\"ab\""),
            ("M = #{a => 1}, M#{b => 2}.", "#{a => 1,b => 2}"),
            ("#{a := X} = #{a => 5}, X.", "5"),
            ("<<A:8, B/binary>> = <<\"abc\">>, {A,B}.", "{97,<<\"bc\">>}"),
            ("[H | T] = [1,2], {H, T}.", "{1,[2]}"),
            ("try 1/0 catch _:E -> E end.", "badarith"),
            (
                "try throw(x) catch Y -> {caught, Y} after ok end.",
                "{caught,x}",
            ),
            ("catch throw(x).", "x"),
            ("{'EXIT', {badarith, _}} = (catch 1/0), ok.", "ok"),
            ("5 bsl 2.", "20"),
            ("length([1,2]).", "2"),
            ("proplists:get_value(b, [{a,1},{b,2}]).", "2"),
            (
                "rabbit_misc:r(<<\"/\">>, queue, <<\"q\">>).",
                "{resource,<<\"/\">>,queue,<<\"q\">>}",
            ),
            (
                "io_lib:format(\"~s ~w ~b~n\", [\"a\", <<\"b\">>, 3]).",
                "\"a <<98>> 3\\n\"",
            ),
            ("begin a, b end.", "b"),
            ("'hello world'.", "'hello world'"),
            ("string:tokens(\"a,b\", \",\").", "[\"a\",\"b\"]"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_are_those_of_rabbitmq() {
        let shown = |text: &str| match outcome(text) {
            Err(Raised::Error { reason, frames }) => {
                Term::Tuple(vec![reason, Term::List(frames)]).inspect()
            }
            other => format!("{other:?}"),
        };
        for (text, expected) in [
            (
                "foo:bar().",
                "{:undef, [{:foo, :bar, [], []}, {:erl_eval, :do_apply, 7, [file: ~c\"erl_eval.erl\", line: 1044]}, {:erl_eval, :exprs, 2, []}]}",
            ),
            (
                "foo().",
                "{:undef, [{:erl_eval, :foo, 0, []}, {:erl_eval, :local_func, 8, [file: ~c\"erl_eval.erl\", line: 960]}, {:erl_eval, :exprs, 2, []}]}",
            ),
            (
                "X + 1.",
                "{{:unbound_var, :X}, [{:erl_eval, :exprs, 2, [file: ~c\"erl_eval.erl\", line: 222]}]}",
            ),
            (
                "1/0.",
                "{:badarith, [{:erlang, :/, [1, 0], [error_info: %{module: :erl_erts_errors}]}, {:erl_eval, :do_apply, 7, [file: ~c\"erl_eval.erl\", line: 1044]}, {:erl_eval, :exprs, 2, []}]}",
            ),
            (
                "{a,b} = {a,c}.",
                "{{:badmatch, {:a, :c}}, [{:erl_eval, :expr, 6, [file: ~c\"erl_eval.erl\", line: 796]}, {:erl_eval, :exprs, 2, []}]}",
            ),
            (
                "case 3 of 1 -> a end.",
                "{{:case_clause, 3}, [{:erl_eval, :case_clauses, 8, [file: ~c\"erl_eval.erl\", line: 1744]}, {:erl_eval, :exprs, 2, []}]}",
            ),
            (
                "F = fun(1) -> a end, F(2).",
                "{:function_clause, [{:erl_eval, :\"-inside-an-interpreted-fun-\", [2], []}, {:erl_eval, :eval_fun, 8, [file: ~c\"erl_eval.erl\", line: 1588]}, {:erl_eval, :exprs, 2, []}]}",
            ),
            (
                "maps:get(a, #{b => 1}).",
                "{{:badkey, :a}, [{:maps, :get, [:a, %{b: 1}], [error_info: %{module: :erl_stdlib_errors}]}, {:erl_eval, :do_apply, 7, [file: ~c\"erl_eval.erl\", line: 1044]}, {:erl_eval, :exprs, 2, []}]}",
            ),
            (
                "erlang:error(boom).",
                "{:boom, [{:erl_eval, :do_apply, 7, [file: ~c\"erl_eval.erl\", line: 1044]}, {:erl_eval, :exprs, 2, []}]}",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn a_missing_function_is_named() {
        let missing = |text: &str| outcome(text).unwrap_err().missing_function();
        assert_eq!(missing("foo:bar(1).").as_deref(), Some("foo:bar/1"));
        assert_eq!(missing("foo().").as_deref(), Some("foo/0"));
        assert_eq!(missing("1/0."), None);
    }

    #[test]
    fn a_session_keeps_variables_and_functions() {
        let mut session = Session::default();
        let mut next = |text: &str| {
            let read = Expression::read(text).unwrap();
            read.evaluate_in(&mut session, &mut Sample::default())
        };
        assert_eq!(next("X = 2.").unwrap(), Term::int(2));
        next("F = fun(Y) -> X * Y end.").unwrap();
        assert_eq!(next("F(21).").unwrap(), Term::int(42));
        assert!(next("Z = 1, Z / 0.").is_err());
        assert!(next("Z.").is_err(), "what failed left nothing");
        assert_eq!(next("X.").unwrap(), Term::int(2));
    }

    #[test]
    fn nothing_runs_away() {
        for text in [
            "F = fun G(N) -> G(N + 1) end, F(0).",
            "F = fun G(X) -> [G(X)] end, F(0).",
            "lists:seq(1, 1000000000000).",
            "lists:duplicate(1000000000000, x).",
            "lists:foldl(fun(_, A) -> [A] end, [], lists:seq(1, 100000)).",
            "lists:foldl(fun(_, A) -> A ++ A end, [1], lists:seq(1, 100)).",
            "lists:foldl(fun(_, A) -> A * A end, 2, lists:seq(1, 100)).",
            "1 bsl 1000000000.",
            "[lists:sum(lists:seq(1, 10000)) || _ <- lists:seq(1, 100000)].",
        ] {
            assert!(matches!(outcome(text), Err(Raised::TooMuch(_))), "{text}");
        }
    }

    #[test]
    fn limits_cannot_be_caught() {
        let text = "try lists:seq(1, 1000000000000) catch _:_ -> caught end.";
        assert!(matches!(outcome(text), Err(Raised::TooMuch(_))));
    }

    #[test]
    fn output_is_printed_as_it_comes() {
        let mut sample = Sample::default();
        let text =
            "io:format(\"hi ~p~n\", [x]), io:format(\"~-4s|~4s|~3.10.0b\", [\"a\", \"b\", 7]).";
        Expression::read(text)
            .unwrap()
            .evaluate(&[], &mut sample)
            .unwrap();
        assert_eq!(sample.0, "hi x\na   |   b|007");
    }
}
