//! What the documents say about keys, written from the schema.

use crate::schema::{self, Key, State, kind};

/// The tables of `docs/configuration.md`, one for each area.
pub fn keys() -> String {
    let mut text = String::new();
    for (title, keys) in schema::areas() {
        text += &format!(
            "\n### {title}\n\n| key | values | default | state | meaning |\n|---|---|---|---|---|\n"
        );
        for key in keys {
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
        State::Honoured(_) => ("yes", key.meaning),
        State::Accepted => ("no effect", key.meaning),
        State::Refused(reason) => ("refused", reason),
    };
    let values = kind::describe(key.kind);
    format!(
        "| `{}`{alias} | {values} | {default} | {state} | {meaning} |\n",
        key.name
    )
}
