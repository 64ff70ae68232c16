//! The shell: runs what was parsed.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use super::env::{Env, Sink, Source};
use super::lookup;
use super::parse::{AndOr, Body, Command, List, Pipeline, parse};
use super::{SIGNALLED, builtins};
use crate::process::Input;

/// What a command says of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Next(i32),
    /// Leave the loop.
    Break,
    /// Go on with the loop.
    Continue,
    /// Leave the shell.
    Exit(i32),
}

/// A background command.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) pid: i32,
    pub(super) handle: JoinHandle<i32>,
}

/// A shell.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(super) env: Env,
    /// `$0`, `$1` …
    pub(super) args: Vec<String>,
    pub(super) last: i32,
    pub(super) jobs: Vec<Job>,
    pub(super) last_job: Option<i32>,
    /// `set -e`.
    pub(super) errexit: bool,
    /// There is nothing but one simple command: the shell becomes it, as ash does.
    last_command: bool,
}

impl Shell {
    pub(super) fn new(env: Env, argv: &[String]) -> Self {
        let args = argv.iter().take(1).cloned().collect();
        Self {
            env,
            args,
            last: 0,
            jobs: Vec::new(),
            last_job: None,
            errexit: false,
            last_command: false,
        }
    }

    /// `sh [-e] [-c TEXT [NAME ARG…] | FILE [ARG…]]`; else reads commands from its input.
    pub(super) async fn main(mut self, argv: &[String]) -> i32 {
        let mut rest = argv.get(1..).unwrap_or_default();
        let mut command = false;
        while let Some(option) = rest.first().filter(|word| word.starts_with('-')) {
            command |= option.contains('c');
            self.errexit |= option.contains('e');
            rest = rest.get(1..).unwrap_or_default();
        }
        if command {
            let Some((text, args)) = rest.split_first() else {
                return self.env.fail(2, "sh: -c requires an argument").await;
            };
            if !args.is_empty() {
                self.args = args.to_vec();
            }
            self.last_command = parse(text).is_ok_and(|list| match list.as_slice() {
                [(and_or, false)] => is_simple(and_or),
                _ => false,
            });
            return self.script(&text.clone()).await;
        }
        if let Some(file) = rest.first() {
            let content = self.env.world.fs().read(&self.env.cwd, file);
            return match content {
                Ok(content) => {
                    self.args = rest.to_vec();
                    let text = String::from_utf8_lossy(&content).into_owned();
                    self.script(&text).await
                }
                Err(error) => {
                    let text = format!("sh: can't open '{file}': {}", error.text());
                    self.env.fail(2, text).await
                }
            };
        }
        self.interactive().await
    }

    /// Runs a script; gives the exit code.
    pub(super) async fn script(&mut self, text: &str) -> i32 {
        match parse(text) {
            Err(error) => {
                self.env
                    .fail(2, format!("sh: syntax error: {}", error.0))
                    .await
            }
            Ok(list) => match self.list(&list).await {
                Flow::Next(code) | Flow::Exit(code) => code,
                Flow::Break | Flow::Continue => self.last,
            },
        }
    }

    /// Runs line by line what it reads.
    async fn interactive(&mut self) -> i32 {
        let prompt = self.env.tty.is_some();
        loop {
            if prompt {
                let text = format!("{} # ", self.env.cwd);
                self.env.err(text).await;
            }
            let stdin = self.env.io.stdin.clone();
            let Some(line) = stdin.line().await else {
                return self.last;
            };
            let text = String::from_utf8_lossy(&line).into_owned();
            let flow = match parse(&text) {
                Err(error) => Flow::Next(
                    self.env
                        .fail(2, format!("sh: syntax error: {}", error.0))
                        .await,
                ),
                Ok(list) => self.list(&list).await,
            };
            match flow {
                Flow::Exit(code) => return code,
                Flow::Next(code) => self.last = code,
                Flow::Break | Flow::Continue => {}
            }
        }
    }

    /// A shell for a part of the script that changes nothing of this one.
    pub(super) fn child(&self) -> Self {
        Self {
            env: self.env.clone(),
            args: self.args.clone(),
            last: self.last,
            jobs: Vec::new(),
            last_job: None,
            errexit: self.errexit,
            last_command: false,
        }
    }

    pub(super) fn list<'a>(&'a mut self, list: &'a List) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            for (and_or, background) in list {
                if *background {
                    self.background(and_or.clone());
                    continue;
                }
                match self.and_or(and_or).await {
                    Flow::Next(code) => self.last = code,
                    other => return other,
                }
                if let Some(flow) = self.traps().await {
                    return flow;
                }
                if self.errexit && self.last != 0 {
                    return Flow::Exit(self.last);
                }
            }
            Flow::Next(self.last)
        })
    }

    /// Runs the actions of signals that came.
    pub(super) async fn traps(&mut self) -> Option<Flow> {
        while let Some(action) = self.env.target.pending() {
            let Ok(list) = parse(&action) else { continue };
            let last = self.last;
            match self.list(&list).await {
                Flow::Next(_) => self.last = last,
                other => return Some(other),
            }
        }
        None
    }

    fn background(&mut self, and_or: AndOr) {
        let mut child = self.child();
        child.env.io.stdin = Source::Null;
        let argv = ["sh".to_owned()];
        let process = self
            .env
            .world
            .processes
            .add(self.env.target.pid, &argv, false);
        let target = process.target.clone();
        child.env.target = target.clone();
        child.last_command = is_simple(&and_or);
        let pid = target.pid;
        let handle = tokio::spawn(async move {
            // Its place in the table goes with it.
            let _process = process;
            tokio::select! {
                biased;
                number = target.died() => SIGNALLED + number,
                flow = child.and_or(&and_or) => match flow {
                    Flow::Next(code) | Flow::Exit(code) => code,
                    Flow::Break | Flow::Continue => 0,
                },
            }
        });
        self.jobs.push(Job { pid, handle });
        self.last_job = Some(pid);
        self.last = 0;
    }

    async fn and_or(&mut self, and_or: &AndOr) -> Flow {
        let mut flow = self.pipeline(&and_or.first).await;
        for (and, pipeline) in &and_or.rest {
            let Flow::Next(code) = flow else { return flow };
            self.last = code;
            if (code == 0) == *and {
                flow = self.pipeline(pipeline).await;
            }
        }
        flow
    }

    async fn pipeline(&mut self, pipeline: &Pipeline) -> Flow {
        let flow = match pipeline.commands.as_slice() {
            [command] => self.command(command).await,
            commands => Flow::Next(self.pipe(commands).await),
        };
        match flow {
            Flow::Next(code) if pipeline.negated => Flow::Next(i32::from(code == 0)),
            flow => flow,
        }
    }

    /// All at once, each reading what the one before writes; the last one's exit code counts.
    async fn pipe(&mut self, commands: &[Command]) -> i32 {
        let mut running = Vec::new();
        let mut stdin = self.env.io.stdin.clone();
        for (n, command) in commands.iter().enumerate() {
            let mut child = self.child();
            let before = std::mem::replace(&mut stdin, Source::Null);
            let reads = if n == 0 { None } else { Some(before.clone()) };
            child.env.io.stdin = before;
            let mut writes = None;
            if n + 1 < commands.len() {
                let pipe = Arc::new(Input::default());
                child.env.io.stdout = Sink::Pipe(pipe.clone());
                stdin = Source::Input(pipe.clone());
                writes = Some(pipe);
            }
            running.push(async move {
                let flow = child.command(command).await;
                if let Some(pipe) = writes {
                    pipe.close();
                }
                // Who writes to it finds nobody there any more.
                if let Some(Source::Input(pipe)) = reads {
                    pipe.close();
                }
                match flow {
                    Flow::Next(code) | Flow::Exit(code) => code,
                    Flow::Break | Flow::Continue => 0,
                }
            });
        }
        futures_util::future::join_all(running)
            .await
            .pop()
            .unwrap_or_default()
    }

    fn command<'a>(&'a mut self, command: &'a Command) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let io = self.env.io.clone();
            if let Err(text) = self.redirect(&command.redirects).await {
                self.env.io = io;
                return Flow::Next(self.env.fail(1, text).await);
            }
            let flow = self.body(&command.body).await;
            self.env.io = io;
            flow
        })
    }

    async fn body(&mut self, body: &Body) -> Flow {
        match body {
            Body::Simple { assignments, words } => {
                let fields = self.fields(words).await;
                let mut values = Vec::new();
                for (name, word) in assignments {
                    values.push((name, self.text(word).await));
                }
                if fields.is_empty() {
                    for (name, value) in values {
                        self.env.set(name, value);
                    }
                    return Flow::Next(if words.is_empty() && !assignments.is_empty() {
                        self.last
                    } else {
                        0
                    });
                }
                let before = self.env.vars.clone();
                let temporary = !values.is_empty();
                for (name, value) in values {
                    self.env.vars.insert(name.clone(), (value, true));
                }
                let flow = match builtins::run(self, &fields).await {
                    Some(flow) => flow,
                    None => Flow::Next(self.external(fields).await),
                };
                if temporary {
                    self.env.vars = before;
                }
                flow
            }
            Body::Group(list) => self.list(list).await,
            Body::Subshell(list) => match self.child().list(list).await {
                Flow::Next(code) | Flow::Exit(code) => Flow::Next(code),
                Flow::Break | Flow::Continue => Flow::Next(0),
            },
            Body::If {
                branches,
                otherwise,
            } => {
                for (condition, body) in branches {
                    match self.condition(condition).await {
                        Flow::Next(0) => return self.list(body).await,
                        Flow::Next(_) => {}
                        other => return other,
                    }
                }
                self.last = 0;
                self.list(otherwise).await
            }
            Body::While {
                condition,
                body,
                until,
            } => {
                loop {
                    match self.condition(condition).await {
                        Flow::Next(code) if (code == 0) != *until => {}
                        Flow::Next(_) => return Flow::Next(0),
                        other => return other,
                    }
                    match self.list(body).await {
                        Flow::Break => return Flow::Next(0),
                        Flow::Exit(code) => return Flow::Exit(code),
                        Flow::Next(_) | Flow::Continue => {}
                    }
                    // A loop of nothing but built-in commands must leave others their turn.
                    tokio::task::yield_now().await;
                }
            }
            Body::For { name, words, body } => {
                for value in self.fields(words).await {
                    self.env.set(name, value);
                    match self.list(body).await {
                        Flow::Break => break,
                        Flow::Exit(code) => return Flow::Exit(code),
                        Flow::Next(_) | Flow::Continue => {}
                    }
                }
                Flow::Next(self.last)
            }
        }
    }

    /// A list whose failure does not end the shell.
    async fn condition(&mut self, list: &List) -> Flow {
        let errexit = std::mem::replace(&mut self.errexit, false);
        let flow = self.list(list).await;
        self.errexit = errexit;
        flow
    }

    /// Runs a program as a process of its own, and waits for it.
    async fn external(&mut self, argv: Vec<String>) -> i32 {
        if self.last_command {
            return self.exec(argv).await;
        }
        let process = self
            .env
            .world
            .processes
            .add(self.env.target.pid, &argv, false);
        let mut env = self.env.clone();
        env.vars.retain(|_, (_, exported)| *exported);
        super::run(env, argv, process).await
    }

    /// Becomes another program.
    pub(super) async fn exec(&mut self, argv: Vec<String>) -> i32 {
        let mut env = self.env.clone();
        env.vars.retain(|_, (_, exported)| *exported);
        env.target.became(&argv);
        Box::pin(lookup::execute(env, argv)).await
    }
}

/// Whether it is but one command, that is no list.
fn is_simple(and_or: &AndOr) -> bool {
    match and_or.first.commands.as_slice() {
        [
            Command {
                body: Body::Simple { .. },
                ..
            },
        ] => and_or.rest.is_empty() && !and_or.first.negated,
        _ => false,
    }
}
