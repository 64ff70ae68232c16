//! Text and actions, and the words of actions.

use super::{Result, fail};

/// Longest template that is read.
const MAX_LENGTH: usize = 64 * 1024;

/// Text, or the words of an action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Action(Vec<Word>),
}

/// A word of an action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Word {
    /// `.`, alone.
    Dot,
    /// `.Name`; `glued` where nothing is between it and the word before.
    Field {
        name: String,
        glued: bool,
    },
    /// `$name`, without the dollar.
    Variable(String),
    Name(String),
    Text(String),
    Number(String),
    Pipe,
    Open,
    Close,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

pub(crate) fn lex(text: &str) -> Result<Vec<Piece>> {
    if text.len() > MAX_LENGTH {
        return fail("it is too long");
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let (trim_before, body) = match after.strip_prefix("- ") {
            Some(body) => (true, body),
            None => (false, after),
        };
        push_text(&mut pieces, before, trim_next, trim_before);
        if let Some(comment) = body.strip_prefix("/*") {
            let Some((_, end)) = comment.split_once("*/") else {
                return fail("a comment has no end");
            };
            let (trim, end) = end_mark(end.trim_start_matches(' '), end)?;
            (trim_next, rest) = (trim, end);
            continue;
        }
        let (words, trim, end) = words(body)?;
        pieces.push(Piece::Action(words));
        (trim_next, rest) = (trim, end);
    }
    push_text(&mut pieces, rest, trim_next, false);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

fn end_mark<'a>(trimmed: &'a str, text: &'a str) -> Result<(bool, &'a str)> {
    if let Some(rest) = trimmed.strip_prefix("-}}") {
        return Ok((true, rest));
    }
    match text.strip_prefix("}}") {
        Some(rest) => Ok((false, rest)),
        None => fail("a comment must be the whole of its action"),
    }
}

/// The words up to `}}`, whether space after it is trimmed, and what follows.
fn words(mut rest: &str) -> Result<(Vec<Word>, bool, &str)> {
    let mut words = Vec::new();
    let mut glued = false;
    loop {
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((words, false, after));
        }
        if let Some(after) = rest.strip_prefix(" -}}") {
            return Ok((words, true, after));
        }
        let Some(first) = rest.chars().next() else {
            return fail("\"{{\" without \"}}\"");
        };
        if first.is_whitespace() {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            glued = false;
            continue;
        }
        let (word, length) = word(rest, first, glued)?;
        glued = matches!(
            word,
            Word::Field { .. } | Word::Variable(_) | Word::Close | Word::Dot
        );
        words.push(word);
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn word(rest: &str, first: char, glued: bool) -> Result<(Word, usize)> {
    Ok(match first {
        '|' => (Word::Pipe, 1),
        '(' => (Word::Open, 1),
        ')' => (Word::Close, 1),
        ',' => (Word::Comma, 1),
        ':' if rest.starts_with(":=") => (Word::Declare, 2),
        '=' => (Word::Assign, 1),
        '"' => string(rest)?,
        '`' => {
            let inner = rest.get(1..).unwrap_or_default();
            let Some((text, _)) = inner.split_once('`') else {
                return fail("a string has no end");
            };
            (Word::Text(text.to_owned()), text.len() + 2)
        }
        '.' => match name(rest.get(1..).unwrap_or_default()) {
            "" => (Word::Dot, 1),
            found => {
                let name = found.to_owned();
                (Word::Field { name, glued }, found.len() + 1)
            }
        },
        '$' => {
            let found = name(rest.get(1..).unwrap_or_default());
            (Word::Variable(found.to_owned()), found.len() + 1)
        }
        '0'..='9' | '-' | '+' => {
            let digits = rest
                .char_indices()
                .skip(1)
                .find(|(_, c)| !c.is_ascii_alphanumeric() && *c != '.')
                .map_or(rest.len(), |(at, _)| at);
            let text = rest.get(..digits).unwrap_or_default();
            (Word::Number(text.to_owned()), digits)
        }
        _ => match name(rest) {
            "" => return fail(format!("unexpected {first:?} in an action")),
            found => (Word::Name(found.to_owned()), found.len()),
        },
    })
}

/// The identifier that the text begins with.
fn name(text: &str) -> &str {
    let end = text
        .char_indices()
        .find(|(_, c)| !c.is_alphanumeric() && *c != '_')
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default()
}

fn string(text: &str) -> Result<(Word, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Word::Text(value), at + 1)),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, c @ ('"' | '\\' | '\''))) => value.push(c),
                Some((_, c)) => return fail(format!("unknown escape \"\\{c}\" in a string")),
                None => break,
            },
            c => value.push(c),
        }
    }
    fail("a string has no end")
}
