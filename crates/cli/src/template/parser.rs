//! From words to nodes.

use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::Value;

use super::lexer::{Piece, Word};
use super::syntax::{Base, Command, Node, Operand, Pipeline};
use super::{Result, fail};

/// Deepest nesting of blocks and parentheses.
const MAX_DEPTH: usize = 64;

pub(crate) fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>> {
    let mut pieces = pieces.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        End::Text => Ok(nodes),
        End::Block => fail("unexpected {{end}}"),
        End::Else(_) => fail("unexpected {{else}}"),
    }
}

/// What ended a block.
enum End {
    Text,
    Block,
    /// With the words after it.
    Else(Vec<Word>),
}

fn block(pieces: &mut IntoIter<Piece>, depth: usize) -> Result<(Vec<Node>, End)> {
    if depth > MAX_DEPTH {
        return fail("it is nested too deeply");
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let words = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(words) => words,
        };
        let Some(Word::Name(keyword)) = words.first().cloned() else {
            nodes.push(Node::Action(whole(words)?));
            continue;
        };
        let rest = || words.iter().skip(1).cloned().collect::<Vec<_>>();
        match keyword.as_str() {
            "end" => return Ok((nodes, End::Block)),
            "else" => return Ok((nodes, End::Else(rest()))),
            "break" => nodes.push(Node::Break),
            "continue" => nodes.push(Node::Continue),
            "if" => nodes.push(conditional(pieces, rest(), depth)?),
            "with" => {
                let value = whole(rest())?;
                let (body, otherwise) = bodies(pieces, depth)?;
                nodes.push(Node::With {
                    value,
                    body,
                    otherwise,
                });
            }
            "range" => {
                let values = whole(rest())?;
                let (body, otherwise) = bodies(pieces, depth)?;
                nodes.push(Node::Range {
                    values,
                    body,
                    otherwise,
                });
            }
            "define" | "template" | "block" => {
                return fail(format!("{{{{{keyword}}}}} is not supported"));
            }
            _ => nodes.push(Node::Action(whole(words)?)),
        }
    }
    Ok((nodes, End::Text))
}

fn conditional(pieces: &mut IntoIter<Piece>, words: Vec<Word>, depth: usize) -> Result<Node> {
    let mut arms = Vec::new();
    let mut condition = whole(words)?;
    loop {
        let (body, end) = block(pieces, depth + 1)?;
        arms.push((condition, body));
        match end {
            End::Text => return fail("{{if}} without {{end}}"),
            End::Block => {
                return Ok(Node::If {
                    arms,
                    otherwise: Vec::new(),
                });
            }
            End::Else(words) => match words.split_first() {
                None => {
                    let otherwise = last_block(pieces, depth)?;
                    return Ok(Node::If { arms, otherwise });
                }
                Some((Word::Name(name), rest)) if name == "if" => {
                    condition = whole(rest.to_vec())?;
                }
                Some(_) => return fail("{{else}} may only be followed by \"if\""),
            },
        }
    }
}

/// The body of `with` and `range`, and what is for nothing.
fn bodies(pieces: &mut IntoIter<Piece>, depth: usize) -> Result<(Vec<Node>, Vec<Node>)> {
    let (body, end) = block(pieces, depth + 1)?;
    match end {
        End::Text => fail("a block without {{end}}"),
        End::Block => Ok((body, Vec::new())),
        End::Else(words) if words.is_empty() => Ok((body, last_block(pieces, depth)?)),
        End::Else(_) => fail("unexpected words after {{else"),
    }
}

fn last_block(pieces: &mut IntoIter<Piece>, depth: usize) -> Result<Vec<Node>> {
    match block(pieces, depth + 1)? {
        (nodes, End::Block) => Ok(nodes),
        (_, End::Text) => fail("{{else}} without {{end}}"),
        (_, End::Else(_)) => fail("a second {{else}}"),
    }
}

type Words = Peekable<IntoIter<Word>>;

/// A pipeline that is all there is.
fn whole(words: Vec<Word>) -> Result<Pipeline> {
    if words.is_empty() {
        return fail("an empty action");
    }
    let mut words = words.into_iter().peekable();
    let pipeline = pipeline(&mut words, 0)?;
    match words.next() {
        None => Ok(pipeline),
        Some(word) => fail(format!("unexpected {}", shown(&word))),
    }
}

fn pipeline(words: &mut Words, depth: usize) -> Result<Pipeline> {
    if depth > MAX_DEPTH {
        return fail("it is nested too deeply");
    }
    let mut result = Pipeline::default();
    declaration(words, &mut result)?;
    loop {
        let mut operands = Vec::new();
        while let Some(operand) = operand(words, depth)? {
            operands.push(operand);
        }
        if operands.is_empty() {
            return fail("a value is missing");
        }
        result.commands.push(Command(operands));
        if words.next_if_eq(&Word::Pipe).is_none() {
            return Ok(result);
        }
    }
}

/// `$x :=`, `$x =`, `$i, $x :=`.
fn declaration(words: &mut Words, result: &mut Pipeline) -> Result<()> {
    let ahead: Vec<Word> = words.clone().take(4).collect();
    match ahead.as_slice() {
        [
            Word::Variable(name),
            mark @ (Word::Declare | Word::Assign),
            ..,
        ] => {
            result.variables.push(name.clone());
            result.assign = *mark == Word::Assign;
            words.nth(1);
        }
        [
            Word::Variable(key),
            Word::Comma,
            Word::Variable(value),
            Word::Declare,
        ] => {
            result.variables = vec![key.clone(), value.clone()];
            words.nth(3);
        }
        [Word::Variable(_), Word::Comma, ..] => return fail("\":=\" is missing after variables"),
        _ => {}
    }
    Ok(())
}

fn operand(words: &mut Words, depth: usize) -> Result<Option<Operand>> {
    let base = match words.peek() {
        None | Some(Word::Pipe | Word::Close) => return Ok(None),
        Some(Word::Dot) => Base::Dot,
        Some(Word::Field { name, .. }) => {
            let fields = vec![name.clone()];
            words.next();
            return Ok(Some(with_fields(words, Base::Dot, fields)));
        }
        Some(Word::Variable(name)) => Base::Variable(name.clone()),
        Some(Word::Name(name)) => match name.as_str() {
            "true" => Base::Constant(Value::Bool(true)),
            "false" => Base::Constant(Value::Bool(false)),
            "nil" => Base::Constant(Value::Null),
            name => Base::Function(name.to_owned()),
        },
        Some(Word::Text(text)) => Base::Constant(Value::String(text.clone())),
        Some(Word::Number(text)) => Base::Constant(number(text)?),
        Some(Word::Open) => {
            words.next();
            let inner = pipeline(words, depth + 1)?;
            if words.next() != Some(Word::Close) {
                return fail("\"(\" without \")\"");
            }
            return Ok(Some(with_fields(words, Base::Pipeline(inner), Vec::new())));
        }
        Some(word) => return fail(format!("unexpected {}", shown(word))),
    };
    words.next();
    Ok(Some(match base {
        Base::Dot | Base::Variable(_) => with_fields(words, base, Vec::new()),
        base => Operand {
            base,
            fields: Vec::new(),
        },
    }))
}

fn with_fields(words: &mut Words, base: Base, mut fields: Vec<String>) -> Operand {
    while let Some(Word::Field { name, .. }) =
        words.next_if(|word| matches!(word, Word::Field { glued: true, .. }))
    {
        fields.push(name);
    }
    Operand { base, fields }
}

fn number(text: &str) -> Result<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Ok(number.into());
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number.into()),
        _ => fail(format!("{text:?} is no number")),
    }
}

fn shown(word: &Word) -> String {
    match word {
        Word::Dot => "\".\"".to_owned(),
        Word::Field { name, .. } => format!("\".{name}\""),
        Word::Variable(name) => format!("\"${name}\""),
        Word::Name(text) | Word::Text(text) | Word::Number(text) => format!("{text:?}"),
        Word::Pipe => "\"|\"".to_owned(),
        Word::Open => "\"(\"".to_owned(),
        Word::Close => "\")\"".to_owned(),
        Word::Comma => "\",\"".to_owned(),
        Word::Declare => "\":=\"".to_owned(),
        Word::Assign => "\"=\"".to_owned(),
    }
}
