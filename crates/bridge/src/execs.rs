//! Attached processes: a container's own, and further ones.

use std::time::Duration;

use bytes::Bytes;
use coracle_client::{Hijacked, HijackedReader, Query};
use coracle_docker::exec::ExecInspect;
use coracle_runtime::event::EventKind;
use coracle_runtime::exec::{Exec, ExecSpec, StartExec};
use coracle_runtime::io::{AttachOptions, Attached, StreamKind, TerminalSize};
use coracle_runtime::{Result, RuntimeError, Status};

use crate::error::{self, About};
use crate::names;
use crate::runtime::Bridge;
use crate::streams::{Input, after, output, piece};

/// Keys that nobody types: the engine must not take any for its own, for those that detach are looked
/// for before they come here.
const NO_KEYS: &str = "ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_";
/// Bytes of output that are held while an exec is seen to start.
const HELD: usize = 64 * 1024;
/// How long the end of an exec that ran is awaited on the bus; one that never ran has none.
const END: Duration = Duration::from_millis(500);

impl Bridge {
    pub(crate) async fn attach_container(
        &self,
        name: &str,
        options: AttachOptions,
    ) -> Result<Attached> {
        let container = self.inspect_container(name, false).await?;
        // Engines tell some of it only after they have handed over the connection.
        let why = match container.state.status {
            Status::Paused => Some("is paused, unpause the container before attach"),
            Status::Restarting => Some("is restarting, wait until the container is running"),
            _ => None,
        };
        if let Some(why) = why {
            return Err(RuntimeError::InvalidState(format!(
                "container {name} {why}"
            )));
        }
        let tty = container.config.tty;
        let request = Query::named("/containers/", &container.id, "/attach")
            .flag("stream", options.stream)
            .flag("logs", options.logs)
            .flag("stdin", options.stdin)
            .flag("stdout", options.stdout)
            .flag("stderr", options.stderr)
            .add("detachKeys", NO_KEYS);
        let attaching = self.client.hijack::<()>(&request, None);
        let hijacked = self.change(About::Thing, attaching).await?;
        let has_input = options.stdin && options.stream && container.config.open_stdin;
        Ok(self.attached(hijacked, tty, has_input))
    }

    fn attached(&self, hijacked: Hijacked, tty: bool, has_input: bool) -> Attached {
        let (reader, writer) = hijacked.split(tty);
        let host = self.client.host();
        if has_input {
            Attached {
                output: output(reader, host, ()),
                input: Some(Box::pin(writer) as Input),
                tty,
            }
        } else {
            // To close it would be a farewell, so it lives as long as the output.
            Attached {
                output: output(reader, host, writer),
                input: None,
                tty,
            }
        }
    }

    pub(crate) async fn resize_container(&self, name: &str, size: TerminalSize) -> Result<()> {
        let name = names::container(name)?;
        let resize = self.client.resize_container(name, size.rows, size.cols);
        self.change(About::Thing, resize).await
    }

    pub(crate) async fn create_exec(&self, container: &str, spec: ExecSpec) -> Result<String> {
        let container = names::container(container)?;
        let mut asked = spec.clone();
        if self.engine.minor < 42 {
            // It is set when it starts, below.
            asked.console_size = None;
        }
        let create = self.client.create_exec(container, &asked);
        let id = self.change(About::Thing, create).await?;
        self.specs.remember(&id, spec);
        Ok(id)
    }

    pub(crate) async fn inspect_exec(&self, id: &str) -> Result<Exec> {
        let found = self.ask(About::Thing, self.client.inspect_exec(names::exec(id)?));
        Ok(self.exec(found.await?))
    }

    fn exec(&self, found: ExecInspect) -> Exec {
        let spec = self.specs.get(&found.id).unwrap_or_else(|| {
            let process = found.process_config;
            ExecSpec {
                user: process.user,
                privileged: process.privileged,
                tty: process.tty,
                attach_stdin: found.open_stdin,
                attach_stdout: found.open_stdout,
                attach_stderr: found.open_stderr,
                cmd: std::iter::once(process.entrypoint)
                    .chain(process.arguments)
                    .collect(),
                ..ExecSpec::default()
            }
        });
        // Podman says 0 before it has run, too.
        let early = self.engine.podman && found.exit_code == Some(0) && !found.can_remove;
        let ended = !found.running && !early;
        Exec {
            id: found.id,
            container_id: found.container_id,
            spec,
            running: found.running,
            exit_code: found.exit_code.filter(|_| ended),
            pid: if found.running { found.pid } else { 0 },
        }
    }

    pub(crate) async fn start_exec(&self, id: &str, start: StartExec) -> Result<Option<Attached>> {
        let exec = self.inspect_exec(id).await?;
        // Engines tell these in the process's output.
        if exec.running {
            return Err(RuntimeError::InvalidState(format!(
                "Error: Exec command {id} is already running"
            )));
        }
        if exec.exit_code.is_some() {
            return Err(RuntimeError::InvalidState(format!(
                "Error: Exec command {id} has already run"
            )));
        }
        let tty = exec.spec.tty;
        if start.detach {
            let starting = self.client.start_exec_detached(id, tty);
            self.change(About::Thing, starting).await?;
            return Ok(None);
        }
        let size = start
            .size
            .map(|size| [size.rows, size.cols])
            .or(exec.spec.console_size)
            .filter(|_| tty && self.engine.minor >= 42);
        let starting = self.client.start_exec(id, tty, size);
        let hijacked = self.ask(About::Thing, starting).await?;
        let (mut reader, writer) = hijacked.split(tty);
        let first = self.until_started(id, &mut reader).await;
        self.events.catch_up().await;
        let first = first?;
        let host = self.client.host();
        let (rest, input) = if exec.spec.attach_stdin {
            (output(reader, host, ()), Some(Box::pin(writer) as Input))
        } else {
            (output(reader, host, writer), None)
        };
        Ok(Some(Attached {
            output: after(first, rest),
            input,
            tty,
        }))
    }

    /// Engines hand over the connection first and start then. Gives the output so far once it runs or
    /// has run, else why it doesn't.
    async fn until_started(
        &self,
        id: &str,
        reader: &mut HijackedReader,
    ) -> Result<Vec<(StreamKind, Bytes)>> {
        let mut held = Held::default();
        let mut pause = Duration::from_millis(1);
        loop {
            let exec = self.inspect_exec(id).await?;
            match exec.exit_code {
                // dockerd says that it runs before it has a process.
                _ if exec.running && exec.pid > 0 => return Ok(held.pieces),
                _ if exec.running => {}
                Some(code) if code != 0 && !self.has_run(id, code, &mut held, reader).await => {
                    held.read_to_end(reader).await;
                    let text = held.text();
                    return Err(match code {
                        _ if error::is_state(&text) => RuntimeError::InvalidState(text),
                        126 | 127 => RuntimeError::InvalidArgument(text),
                        _ => RuntimeError::Backend(text),
                    });
                }
                Some(_) => return Ok(held.pieces),
                None if held.ended => return Err(RuntimeError::InvalidState(held.text())),
                None => {}
            }
            tokio::select! {
                read = held.read(reader), if held.wants_more() => read?,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_millis(50)),
            }
        }
    }

    /// Whether an exec that failed ran at all: of one that could not be started no end is told.
    async fn has_run(
        &self,
        id: &str,
        code: i32,
        held: &mut Held,
        reader: &mut HijackedReader,
    ) -> bool {
        if self.engine.podman {
            // It doesn't tell which exec has ended; but how its failures begin.
            held.read_to_end(reader).await;
            return !((125..=127).contains(&code) && held.text().starts_with("Error: "));
        }
        let mut events = self
            .events
            .bus()
            .subscribe(Some(jiff::Timestamp::UNIX_EPOCH));
        self.events.catch_up().await;
        let told = async {
            while let Some(event) = events.next().await {
                let of = event.attributes.get("execID").map(String::as_str);
                if event.kind == EventKind::Container
                    && event.action == "exec_die"
                    && of == Some(id)
                {
                    return;
                }
            }
        };
        tokio::time::timeout(END, told).await.is_ok()
    }

    pub(crate) async fn detach_exec(&self, id: &str) -> Result<()> {
        let exec = self.inspect_exec(id).await?;
        let container = self.inspect_container(&exec.container_id, false).await?;
        let mut attributes = container.config.labels;
        attributes.insert("image".to_owned(), container.config.image);
        attributes.insert("name".to_owned(), container.name);
        attributes.insert("execID".to_owned(), exec.id);
        let bus = self.events.bus();
        bus.publish(
            EventKind::Container,
            "exec_detach",
            container.id,
            attributes,
        );
        Ok(())
    }

    pub(crate) async fn resize_exec(&self, id: &str, size: TerminalSize) -> Result<()> {
        let id = names::exec(id)?;
        let resize = self.client.resize_exec(id, size.rows, size.cols);
        self.ask(About::Thing, resize).await
    }
}

/// Output that is held back.
#[derive(Default)]
struct Held {
    pieces: Vec<(StreamKind, Bytes)>,
    length: usize,
    ended: bool,
}

impl Held {
    fn wants_more(&self) -> bool {
        !self.ended && self.length < HELD
    }

    /// Reads one more piece. Safe to drop.
    async fn read(&mut self, reader: &mut HijackedReader) -> Result<()> {
        match reader.next().await {
            Ok(Some(item)) => {
                let item = piece(item)?;
                self.length += item.1.len();
                self.pieces.push(item);
            }
            // A connection that breaks has nothing more to say either; the exec's state tells the rest.
            Ok(None) | Err(_) => self.ended = true,
        }
        Ok(())
    }

    async fn read_to_end(&mut self, reader: &mut HijackedReader) {
        let reading = async { while self.wants_more() && self.read(reader).await.is_ok() {} };
        // What failed is told already; its text alone is not waited for long.
        let _ = tokio::time::timeout(END, reading).await;
    }

    fn text(&self) -> String {
        let bytes: Vec<&[u8]> = self.pieces.iter().map(|(_, bytes)| &**bytes).collect();
        let text = String::from_utf8_lossy(&bytes.concat()).trim().to_owned();
        if text.is_empty() {
            "the engine did not start it, and does not say why".to_owned()
        } else {
            text
        }
    }
}
