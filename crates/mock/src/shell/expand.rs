//! Words, as what they stand for.

use std::sync::{Arc, Mutex, PoisonError};

use super::arith;
use super::env::Sink;
use super::eval::Shell;
use super::lex::{Part, Word};

impl Shell {
    /// The fields of words, in order.
    pub(super) async fn fields(&mut self, words: &[Word]) -> Vec<String> {
        let mut fields = Vec::new();
        for word in words {
            self.field(word, &mut fields).await;
        }
        fields
    }

    /// A word as one text, not split.
    pub(super) async fn text(&mut self, word: &Word) -> String {
        let mut text = String::new();
        for part in word {
            text.push_str(&self.part(part).await);
        }
        text
    }

    async fn field(&mut self, word: &Word, fields: &mut Vec<String>) {
        let mut current: Option<String> = None;
        for part in word {
            if let Part::Var { name, quoted, .. } = part
                && name == "@"
                && *quoted
            {
                let mut args = self.args.iter().skip(1).cloned();
                if let Some(first) = args.next() {
                    current.get_or_insert_default().push_str(&first);
                }
                for arg in args {
                    fields.extend(current.take());
                    current = Some(arg);
                }
                continue;
            }
            let text = self.part(part).await;
            let whole = match part {
                Part::Text(..) => true,
                Part::Var { quoted, .. } | Part::Command(_, quoted) | Part::Arith(_, quoted) => {
                    *quoted
                }
            };
            if whole {
                current.get_or_insert_default().push_str(&text);
                continue;
            }
            if text.starts_with(char::is_whitespace) {
                fields.extend(current.take());
            }
            let mut pieces = text.split_whitespace().peekable();
            while let Some(piece) = pieces.next() {
                current.get_or_insert_default().push_str(piece);
                if pieces.peek().is_some() {
                    fields.extend(current.take());
                }
            }
            if text.ends_with(char::is_whitespace) {
                fields.extend(current.take());
            }
        }
        fields.extend(current);
    }

    async fn part(&mut self, part: &Part) -> String {
        match part {
            Part::Text(text, true) => text.clone(),
            Part::Text(text, false) => match text.strip_prefix('~') {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                    format!("{}{rest}", self.env.var("HOME").unwrap_or("/root"))
                }
                _ => text.clone(),
            },
            Part::Var { name, default, .. } => {
                let value = self.variable(name);
                match default {
                    Some(default) if value.is_empty() => default.clone(),
                    _ => value,
                }
            }
            Part::Arith(text, _) => {
                let var = |name: &str| self.variable(name).parse().unwrap_or(0);
                arith::value(text, &var).unwrap_or(0).to_string()
            }
            Part::Command(text, _) => {
                let buffer = Arc::new(Mutex::new(Vec::new()));
                let mut child = self.child();
                child.env.io.stdout = Sink::Buffer(buffer.clone());
                self.last = Box::pin(child.script(text)).await;
                let output =
                    std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
                String::from_utf8_lossy(&output)
                    .trim_end_matches('\n')
                    .to_owned()
            }
        }
    }

    fn variable(&self, name: &str) -> String {
        match name {
            "?" => self.last.to_string(),
            "$" => self.env.target.pid.to_string(),
            "!" => self.last_job.map(|pid| pid.to_string()).unwrap_or_default(),
            "#" => self.args.len().saturating_sub(1).to_string(),
            "@" | "*" => self.args.get(1..).unwrap_or_default().join(" "),
            name => match name.parse::<usize>() {
                Ok(n) => self.args.get(n).cloned().unwrap_or_default(),
                Err(_) => self.env.var(name).unwrap_or_default().to_owned(),
            },
        }
    }
}
