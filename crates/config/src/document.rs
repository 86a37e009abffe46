//! What the documents say about keys, written from the schema.

use crate::schema::{self, Key, State, kind};
use crate::variables::{VARIABLES, VariableState};

/// The tables of `docs/configuration.md`, one for each area.
pub fn keys() -> String {
    let mut text = String::new();
    for (title, keys) in schema::areas() {
        text += &format!(
            "\n### {title}\n\n| key | values | default | state | meaning |\n|---|---|---|---|---|\n"
        );
        for key in keys.into_iter().flatten() {
            text += &row(key);
        }
    }
    text
}

fn row(key: &Key) -> String {
    let alias = key
        .alias
        .map(|alias| format!(", `{alias}`"))
        .unwrap_or_default();
    let default = if key.default.is_empty() {
        String::new()
    } else {
        format!("`{}`", key.default)
    };
    let (state, meaning) = match key.state {
        State::Honoured(_) | State::HonouredWhole(_) => ("yes".to_owned(), key.meaning),
        State::Accepted => ("no effect".to_owned(), key.meaning),
        State::Only(values, reason) => (format!("only {}", quoted(values)), reason),
        State::Refused(reason) => ("refused".to_owned(), reason),
    };
    let values = kind::describe(key.kind);
    format!(
        "| `{}`{alias} | {values} | {default} | {state} | {meaning} |\n",
        key.name
    )
}

/// The values in words.
fn quoted(values: &[&str]) -> String {
    let values = values.iter().map(|value| format!("`{value}`"));
    values.collect::<Vec<_>>().join(", ")
}

/// The table of variables.
pub fn variables() -> String {
    let mut text = "| variable | default | state | meaning |\n|---|---|---|---|\n".to_owned();
    for variable in VARIABLES {
        let state = match variable.state {
            VariableState::Honoured => "yes",
            VariableState::Accepted => "no effect",
            VariableState::Refused => "refused",
        };
        text += &format!(
            "| `{}` | {} | {state} | {} |\n",
            variable.name, variable.default, variable.meaning
        );
    }
    text
}

/// What a key or variable means, in a few lines for a terminal. `None` if there is none of that name.
pub fn explain(name: &str) -> Option<String> {
    if let Some(variable) = VARIABLES.iter().find(|variable| variable.name == name) {
        let state = match variable.state {
            VariableState::Honoured => "honoured",
            VariableState::Accepted => "accepted without effect",
            VariableState::Refused => "refused",
        };
        let mut text = format!("{name}: an environment variable\n  state    {state}\n");
        if !variable.default.is_empty() {
            text += &format!("  default  {}\n", variable.default.replace('`', ""));
        }
        return Some(text + &format!("  {}\n", variable.meaning.replace('`', "")));
    }
    let (key, _) = schema::find(name)?;
    let (state, meaning) = match key.state {
        State::Honoured(_) | State::HonouredWhole(_) => ("honoured".to_owned(), key.meaning),
        State::Accepted => (
            "accepted without effect: it tunes a runtime that is not here".to_owned(),
            key.meaning,
        ),
        State::Only(values, reason) => {
            let values = quoted(values).replace('`', "");
            (format!("refused, but for {values}"), reason)
        }
        State::Refused(reason) => ("refused".to_owned(), reason),
    };
    let mut text = format!("{}\n", key.name);
    if let Some(alias) = key.alias {
        text += &format!("  also     {alias}\n");
    }
    text += &format!("  values   {}\n", kind::describe(key.kind).replace('`', ""));
    if !key.default.is_empty() {
        text += &format!("  default  {}\n", key.default);
    }
    text += &format!("  state    {state}\n");
    if !key.env.is_empty() {
        text += &format!("  Erlang   {}\n", key.env);
    }
    if !meaning.is_empty() {
        text += &format!("  {}\n", meaning.replace('`', ""));
    }
    Some(text)
}

/// Names like this one, nearest first.
pub fn similar(name: &str) -> Vec<&'static str> {
    schema::similar(name)
}
