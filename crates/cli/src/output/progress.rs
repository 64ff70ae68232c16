//! Progress of long operations on images: bars on a terminal, plain lines off it. On standard error.

use std::collections::HashMap;
use std::io::IsTerminal;

use coracle_client::Lines;
use coracle_docker::progress::ProgressMessage;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::stdio::{harmless, warn};
use crate::error::Result;

/// Most bars at once; what is more is told in lines.
const MAX_BARS: usize = 256;
const BAR: &str = "{prefix}: {msg} [{bar:30}] {bytes}/{total_bytes}";
const LINE: &str = "{prefix}: {msg}";

/// What an operation said besides its progress.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Lines for the user that are results (`Loaded image: …`).
    pub(crate) results: Vec<String>,
    /// Results for machines.
    pub(crate) aux: Vec<Value>,
}

/// Shows progress.
pub(crate) struct Progress {
    quiet: bool,
    bars: Option<(MultiProgress, HashMap<String, ProgressBar>)>,
}

impl Progress {
    /// Bars on a terminal, lines off it, nothing where `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = !quiet && std::io::stderr().is_terminal();
        Self {
            quiet,
            bars: terminal.then(|| {
                let target = ProgressDrawTarget::stderr_with_hz(10);
                (MultiProgress::with_draw_target(target), HashMap::new())
            }),
        }
    }

    /// Follows an operation to its end. The error that ends one is this function's.
    pub(crate) async fn follow(&mut self, lines: &mut Lines<ProgressMessage>) -> Result<Shown> {
        let mut shown = Shown::default();
        while let Some(message) = lines.next().await? {
            let message = ProgressMessage {
                status: harmless(&message.status),
                id: harmless(&message.id),
                stream: harmless(&message.stream),
                ..message
            };
            if let Some(error) = &message.error_detail {
                return Err(failure(&error.message));
            }
            if !message.error.is_empty() {
                return Err(failure(&message.error));
            }
            if let Some(aux) = message.aux {
                shown.aux.push(aux);
            } else if message.stream.is_empty() {
                self.step(&message);
            } else {
                shown.results.push(message.stream);
            }
        }
        Ok(shown)
    }

    fn step(&mut self, message: &ProgressMessage) {
        if self.quiet || message.status.is_empty() {
            return;
        }
        let detail = message.progress_detail.unwrap_or_default();
        let counted = detail.current > 0 || detail.total > 0;
        if let Some((all, bars)) = &mut self.bars
            && message.progress_detail.is_some()
            && (bars.contains_key(&message.id) || bars.len() < MAX_BARS)
        {
            let bar = bars.entry(message.id.clone()).or_insert_with(|| {
                // Styled before it is drawn for the first time.
                let bar = ProgressBar::no_length().with_prefix(message.id.clone());
                bar.set_style(style(LINE));
                all.add(bar)
            });
            bar.set_style(style(if detail.total > 0 { BAR } else { LINE }));
            bar.set_message(message.status.clone());
            if detail.total > 0 {
                bar.set_length(detail.total);
                bar.set_position(detail.current);
            }
            bar.tick();
            return;
        }
        if counted {
            return;
        }
        let line = if message.id.is_empty() {
            message.status.clone()
        } else {
            format!("{}: {}", message.id, message.status)
        };
        match &mut self.bars {
            Some((_, bars)) if bars.contains_key(&message.id) => {
                if let Some(bar) = bars.get(&message.id) {
                    bar.set_style(style(LINE));
                    bar.set_message(message.status.clone());
                    bar.tick();
                }
            }
            Some((all, _)) => {
                // A terminal that is gone is no reason to stop.
                let _ = all.println(line);
            }
            None => warn(line),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((_, bars)) = &self.bars {
            for bar in bars.values() {
                bar.abandon();
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are those above, and good.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn failure(message: &str) -> crate::error::Error {
    coracle_client::Error::Operation {
        message: message.to_owned(),
    }
    .into()
}
