//! Commands of an operator's own: the file that `RABBITMQ_CLI_ALIASES_FILE` or `--aliases-file` names.
//!
//! ```text
//! # a line for each
//! lq = list_queues
//! lq_vhost = list_queues -p "my vhost" name messages
//! ```
//!
//! A command of the tools wins over an alias of its name.

use crate::arguments::Arguments;
use crate::{Tool, catalogue};
use std::fs::File;
use std::io::Read as _;

/// Largest file in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The words that an alias stands for, with the others around it. `None` if it is none.
///
/// # Errors
/// The file cannot be read; then there are no aliases.
pub(crate) fn expand(tool: Tool, arguments: &Arguments) -> Result<Option<Vec<String>>, String> {
    let Some(name) = &arguments.name else {
        return Ok(None);
    };
    if catalogue::find(tool, name).is_some() {
        return Ok(None);
    }
    let variable = || std::env::var("RABBITMQ_CLI_ALIASES_FILE").ok();
    let option = arguments.option("aliases-file").map(str::to_owned);
    let Some(path) = option.or_else(variable).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| format!("Error reading aliases file {path}: {error}"))?;
    let Some(meant) = find(&text, name) else {
        return Ok(None);
    };
    let at = arguments.raw.iter().position(|word| word == name);
    let mut words = arguments.raw.clone();
    if let Some(at) = at {
        words.splice(at..=at, meant);
    }
    Ok(Some(words))
}

/// What a file says that a name stands for.
fn find(text: &str, name: &str) -> Option<Vec<String>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .find(|(alias, _)| alias.trim() == name)
        .map(|(_, command)| words(command))
}

/// Words between blanks; quotes keep them together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_line_of_words() {
        let text = "# mine\nlq = list_queues\nlv = list_queues -p \"my vhost\" 'a b'\n";
        assert_eq!(find(text, "lq").unwrap(), ["list_queues"]);
        assert_eq!(
            find(text, "lv").unwrap(),
            ["list_queues", "-p", "my vhost", "a b"]
        );
        assert_eq!(find(text, "mine"), None);
    }
}
