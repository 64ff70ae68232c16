//! Tokens, as commands.

use super::lex::{Syntax, Token, Word, is_name, lex, plain};

/// Commands one after the other; `true` where one runs in the background.
pub(crate) type List = Vec<(AndOr, bool)>;

/// Pipelines joined by `&&` (`true`) and `||`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AndOr {
    pub(crate) first: Pipeline,
    pub(crate) rest: Vec<(bool, Pipeline)>,
}

/// Commands joined by `|`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pipeline {
    pub(crate) negated: bool,
    pub(crate) commands: Vec<Command>,
}

/// A command with its redirections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) body: Body,
    pub(crate) redirects: Vec<Redirect>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    /// `{ … }`.
    Group(List),
    /// `( … )`.
    Subshell(List),
    If {
        branches: Vec<(List, List)>,
        otherwise: List,
    },
    /// Ends when its condition fails; with `until`, when it holds.
    While {
        condition: List,
        body: List,
        until: bool,
    },
    For {
        name: String,
        words: Vec<Word>,
        body: List,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) fd: u32,
    pub(crate) how: How,
    pub(crate) target: Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Read,
    Write,
    Append,
    /// To where another descriptor goes.
    Same,
}

/// Reads a script.
pub(crate) fn parse(text: &str) -> Result<List, Syntax> {
    let mut parser = Parser {
        tokens: lex(text)?,
        at: 0,
    };
    let list = parser.list(&[])?;
    match parser.peek() {
        None => Ok(list),
        Some(token) => Err(unexpected(token)),
    }
}

fn unexpected(token: &Token) -> Syntax {
    let text = match token {
        Token::Word(word) => plain(word).unwrap_or("word").to_owned(),
        Token::Op(op) => (*op).to_owned(),
        Token::Fd(fd) => fd.to_string(),
    };
    Syntax(format!("unexpected \"{text}\""))
}

/// Words that end a list.
const RESERVED: [&str; 8] = ["then", "elif", "else", "fi", "do", "done", "}", "in"];

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Some(Token::Op(found)) if *found == op)
    }

    fn is_word(&self, text: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(word)) if plain(word) == Some(text))
    }

    fn expect(&mut self, text: &str) -> Result<(), Syntax> {
        while self.is_op(";") && text != ";" {
            self.at += 1;
        }
        if self.is_word(text) || self.is_op(text) {
            self.at += 1;
            return Ok(());
        }
        Err(match self.peek() {
            None => Syntax(format!("unexpected end of file (expecting \"{text}\")")),
            Some(token) => unexpected(token),
        })
    }

    /// Up to one of the words in `ends`, `)` or the end.
    fn list(&mut self, ends: &[&str]) -> Result<List, Syntax> {
        let mut list = List::new();
        loop {
            while self.is_op(";") {
                self.at += 1;
            }
            let done = self.peek().is_none()
                || self.is_op(")")
                || ends.iter().any(|end| self.is_word(end));
            if done {
                return Ok(list);
            }
            let and_or = self.and_or()?;
            let background = self.is_op("&");
            if background {
                self.at += 1;
            } else if !self.is_op(";") && !self.is_op(")") && self.peek().is_some() {
                return Err(self.peek().map_or(Syntax(String::new()), unexpected));
            }
            list.push((and_or, background));
        }
    }

    fn and_or(&mut self) -> Result<AndOr, Syntax> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            let and = self.is_op("&&");
            if !and && !self.is_op("||") {
                return Ok(AndOr { first, rest });
            }
            self.at += 1;
            while self.is_op(";") {
                self.at += 1;
            }
            rest.push((and, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, Syntax> {
        let negated = self.is_word("!");
        if negated {
            self.at += 1;
        }
        let mut commands = vec![self.command()?];
        while self.is_op("|") {
            self.at += 1;
            commands.push(self.command()?);
        }
        Ok(Pipeline { negated, commands })
    }

    fn command(&mut self) -> Result<Command, Syntax> {
        let word = match self.peek() {
            Some(Token::Word(word)) => plain(word).unwrap_or_default().to_owned(),
            Some(Token::Op("(")) => "(".to_owned(),
            _ => String::new(),
        };
        let body = match word.as_str() {
            "(" => {
                self.at += 1;
                let list = self.list(&[])?;
                self.expect(")")?;
                Body::Subshell(list)
            }
            "{" => {
                self.at += 1;
                let list = self.list(&["}"])?;
                self.expect("}")?;
                Body::Group(list)
            }
            "if" => self.if_command()?,
            "while" | "until" => {
                self.at += 1;
                let condition = self.list(&["do"])?;
                let body = self.do_group()?;
                Body::While {
                    condition,
                    body,
                    until: word == "until",
                }
            }
            "for" => self.for_command()?,
            reserved if RESERVED.contains(&reserved) => {
                return Err(Syntax(format!("unexpected \"{reserved}\"")));
            }
            _ => return self.simple(),
        };
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(Command { body, redirects })
    }

    fn do_group(&mut self) -> Result<List, Syntax> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn if_command(&mut self) -> Result<Body, Syntax> {
        let mut branches = Vec::new();
        let mut otherwise = List::new();
        self.at += 1;
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            let body = self.list(&["elif", "else", "fi"])?;
            branches.push((condition, body));
            if self.is_word("elif") {
                self.at += 1;
                continue;
            }
            if self.is_word("else") {
                self.at += 1;
                otherwise = self.list(&["fi"])?;
            }
            self.expect("fi")?;
            return Ok(Body::If {
                branches,
                otherwise,
            });
        }
    }

    fn for_command(&mut self) -> Result<Body, Syntax> {
        self.at += 1;
        let name = match self.peek() {
            Some(Token::Word(word)) => plain(word).filter(|name| is_name(name)).map(str::to_owned),
            _ => None,
        };
        let name = name.ok_or_else(|| Syntax("bad for loop variable".into()))?;
        self.at += 1;
        self.expect("in")?;
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.peek() {
            words.push(word.clone());
            self.at += 1;
        }
        let body = self.do_group()?;
        Ok(Body::For { name, words, body })
    }

    fn simple(&mut self) -> Result<Command, Syntax> {
        let mut assignments = Vec::new();
        let mut words = Vec::new();
        let mut redirects = Vec::new();
        loop {
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            let Some(Token::Word(word)) = self.peek() else {
                break;
            };
            match assignment(word).filter(|_| words.is_empty()) {
                Some(assignment) => assignments.push(assignment),
                None => words.push(word.clone()),
            }
            self.at += 1;
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(match self.peek() {
                None => Syntax("unexpected end of file".into()),
                Some(token) => unexpected(token),
            });
        }
        Ok(Command {
            body: Body::Simple { assignments, words },
            redirects,
        })
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, Syntax> {
        let (fd, at) = match self.peek() {
            Some(Token::Fd(fd)) => (Some(*fd), self.at + 1),
            _ => (None, self.at),
        };
        let (how, default) = match self.tokens.get(at) {
            Some(Token::Op("<")) => (How::Read, 0),
            Some(Token::Op(">")) => (How::Write, 1),
            Some(Token::Op(">>")) => (How::Append, 1),
            Some(Token::Op(">&")) => (How::Same, 1),
            _ => return Ok(None),
        };
        let Some(Token::Word(target)) = self.tokens.get(at + 1) else {
            return Err(Syntax("redirection without a target".into()));
        };
        let redirect = Redirect {
            fd: fd.unwrap_or(default),
            how,
            target: target.clone(),
        };
        self.at = at + 2;
        Ok(Some(redirect))
    }
}

/// `name=value`.
fn assignment(word: &Word) -> Option<(String, Word)> {
    use super::lex::Part;
    let (first, rest) = word.split_first()?;
    let Part::Text(text, false) = first else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    if !is_name(name) {
        return None;
    }
    let mut parts = vec![Part::Text(value.to_owned(), false)];
    parts.extend(rest.iter().cloned());
    Some((name.to_owned(), parts))
}
