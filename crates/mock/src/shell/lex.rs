//! Shell text, as tokens.

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text as it is; `true` where it was quoted.
    Text(String, bool),
    /// A variable, with what stands for it where it is not set; `true` where it was quoted.
    Var {
        name: String,
        default: Option<String>,
        quoted: bool,
    },
    /// The output of a command.
    Command(String, bool),
    /// The value of an expression.
    Arith(String, bool),
}

/// A word, before it is expanded.
pub(crate) type Word = Vec<Part>;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(Word),
    /// An operator: `;`, `&`, `&&`, `|`, `||`, `(`, `)`, `<`, `>`, `>>`, `>&`; a line's end is `;`.
    Op(&'static str),
    /// The number before a redirection.
    Fd(u32),
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Syntax(pub(crate) String);

const OPS: [&str; 14] = [
    "&&", "||", ">>", ">&", "<<", ";;", ";", "&", "|", "(", ")", "<", ">", "\n",
];

pub(crate) fn lex(text: &str) -> Result<Vec<Token>, Syntax> {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
    };
    let mut tokens = Vec::new();
    loop {
        while lexer.peek().is_some_and(|c| c == ' ' || c == '\t') || lexer.rest("\\\n") {
            lexer.at += if lexer.peek() == Some('\\') { 2 } else { 1 };
        }
        let Some(c) = lexer.peek() else {
            return Ok(tokens);
        };
        if c == '#' {
            while lexer.peek().is_some_and(|c| c != '\n') {
                lexer.at += 1;
            }
            continue;
        }
        if let Some(op) = OPS.into_iter().find(|op| lexer.rest(op)) {
            lexer.at += op.chars().count();
            match op {
                "<<" | ";;" => return Err(Syntax(format!("unexpected \"{op}\""))),
                "\n" => tokens.push(Token::Op(";")),
                op => tokens.push(Token::Op(op)),
            }
            continue;
        }
        let next = lexer.chars.get(lexer.at + 1);
        if let (Some(digit), Some('<' | '>')) = (c.to_digit(10), next) {
            tokens.push(Token::Fd(digit));
            lexer.at += 1;
            continue;
        }
        tokens.push(Token::Word(lexer.word()?));
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn rest(&self, text: &str) -> bool {
        text.chars()
            .enumerate()
            .all(|(n, c)| self.chars.get(self.at + n) == Some(&c))
    }

    fn word(&mut self) -> Result<Word, Syntax> {
        let mut word = Word::new();
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    self.at += 1;
                    let text = self.until('\'')?;
                    word.push(Part::Text(text, true));
                }
                '"' => {
                    self.at += 1;
                    self.quoted(&mut word)?;
                }
                '\\' => {
                    self.at += 1;
                    if let Some(c) = self.take().filter(|c| *c != '\n') {
                        word.push(Part::Text(c.to_string(), true));
                    }
                }
                '$' => word.push(self.dollar(false)?),
                '`' => {
                    self.at += 1;
                    let text = self.until('`')?;
                    word.push(Part::Command(text, false));
                }
                c => {
                    self.at += 1;
                    push(&mut word, c, false);
                }
            }
        }
        Ok(word)
    }

    fn until(&mut self, end: char) -> Result<String, Syntax> {
        let mut text = String::new();
        loop {
            match self.take() {
                None => return Err(Syntax(format!("unterminated quoted string ({end})"))),
                Some(c) if c == end => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    fn quoted(&mut self, word: &mut Word) -> Result<(), Syntax> {
        // Even an empty one is a word.
        word.push(Part::Text(String::new(), true));
        loop {
            match self.peek() {
                None => return Err(Syntax("unterminated quoted string".into())),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('\\') => {
                    self.at += 1;
                    match self.take() {
                        Some('\n') | None => {}
                        Some(c @ ('"' | '\\' | '$' | '`')) => push(word, c, true),
                        Some(c) => {
                            push(word, '\\', true);
                            push(word, c, true);
                        }
                    }
                }
                Some('$') => word.push(self.dollar(true)?),
                Some('`') => {
                    self.at += 1;
                    let text = self.until('`')?;
                    word.push(Part::Command(text, true));
                }
                Some(c) => {
                    self.at += 1;
                    push(word, c, true);
                }
            }
        }
    }

    fn dollar(&mut self, quoted: bool) -> Result<Part, Syntax> {
        self.at += 1;
        let var = |name: String| Part::Var {
            name,
            default: None,
            quoted,
        };
        match self.peek() {
            Some('(') if self.rest("((") => {
                self.at += 2;
                let text = self.nested(2)?;
                Ok(Part::Arith(text, quoted))
            }
            Some('(') => {
                self.at += 1;
                let text = self.nested(1)?;
                Ok(Part::Command(text, quoted))
            }
            Some('{') => {
                self.at += 1;
                let text = self.until('}')?;
                let (name, default) = match text.split_once(":-") {
                    Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
                    None => (text, None),
                };
                if !is_name(&name) && name.len() != 1 {
                    return Err(Syntax("bad substitution".into()));
                }
                Ok(Part::Var {
                    name,
                    default,
                    quoted,
                })
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self
                    .peek()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                {
                    name.push(c);
                    self.at += 1;
                }
                Ok(var(name))
            }
            Some(c) if c.is_ascii_digit() || "?$!#@*".contains(c) => {
                self.at += 1;
                Ok(var(c.to_string()))
            }
            _ => Ok(Part::Text("$".into(), quoted)),
        }
    }

    /// The text up to the closing parentheses.
    fn nested(&mut self, closing: usize) -> Result<String, Syntax> {
        let mut text = String::new();
        let mut depth = 0;
        let mut quote = None;
        while let Some(c) = self.take() {
            match (c, quote) {
                ('(', None) => depth += 1,
                (')', None) if depth == 0 => {
                    if closing == 2 && self.take() != Some(')') {
                        break;
                    }
                    return Ok(text);
                }
                (')', None) => depth -= 1,
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                _ => {}
            }
            text.push(c);
        }
        Err(Syntax("missing \")\"".into()))
    }
}

/// Whether it can be a variable's name.
pub(crate) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn push(word: &mut Word, c: char, quoted: bool) {
    match word.last_mut() {
        Some(Part::Text(text, q)) if *q == quoted => text.push(c),
        _ => word.push(Part::Text(c.to_string(), quoted)),
    }
}

/// A word that is the same however it is expanded.
pub(crate) fn plain(word: &Word) -> Option<&str> {
    match word.as_slice() {
        [Part::Text(text, false)] => Some(text),
        _ => None,
    }
}
