//! Translated code of a guest that idles, given back to the host.
//!
//! QEMU keeps what it translates until there is no room for more, and gives no page of it back. It
//! forgets all of it, and starts at the beginning again, after a debugger's single step, which is the one
//! way to have it do so from outside. So for one instruction of the guest we are its debugger. What is
//! forgotten is discarded while the machine stands still; whether it is forgotten QEMU is asked, and where
//! it isn't, as in a version that does it differently, nothing is touched.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::error::{Error, Result};
use crate::qemu::launch::channel;
use crate::qemu::machine::QemuMachine;
use crate::qemu::memory::Memory;
use crate::qemu::qmp::Qmp;
use crate::spec::{Accelerator, Shape};
use crate::trace;

/// Less than this is not worth the standstill, nor what the guest does next: an exec alone has 5 MiB.
const WORTH: u64 = 8 << 20;

/// What is kept at the beginning: by a piece of code there QEMU enters all other, and it is not translated
/// anew.
const ENTRY: u64 = 64 << 10;

/// The longest list of mappings that is read.
const MAX_MAPS: u64 = 4 << 20;

/// The most that a debugger is told.
const MAX_WORDS: usize = 4096;

/// How long a guest that sleeps may take to execute an instruction.
const STEP: Duration = Duration::from_secs(20);

/// How long one of its processors may, before another one is asked for it.
const TURN: Duration = Duration::from_secs(1);

/// What a debugger stops a machine with, and is told then; and what it is told after a step
/// (gdb's remote protocol, "Stop Reply Packets": SIGTRAP).
const BREAK: u8 = 3;
const STEPPED: &[u8] = b"05";

/// How long QEMU may take to forget.
const FORGET: Duration = Duration::from_secs(5);

/// The name of the connection in QEMU.
const DEBUGGER: &str = "debugger";

/// What QEMU has translated.
#[derive(Debug, PartialEq, Eq)]
struct Translated {
    bytes: u64,
    blocks: u64,
    /// How often all was forgotten.
    flushes: u64,
}

impl Translated {
    /// Reads the lines that are meant for people.
    fn parse(text: &str) -> Option<Translated> {
        let number = |name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.trim().split('/').next()?.parse().ok()
        };
        Some(Translated {
            bytes: number("gen code size ")?,
            blocks: number("TB count ")?,
            flushes: number("TB flush count ")?,
        })
    }

    async fn of(qmp: &Qmp) -> Result<Translated> {
        let answer = qmp.run("x-query-jit", json!({})).await?;
        let text = answer.get("human-readable-text").and_then(Value::as_str);
        text.and_then(Translated::parse)
            .ok_or_else(|| Error::Unsupported("QEMU doesn't tell what it has translated".into()))
    }
}

impl QemuMachine {
    /// Gives translated code back; whether there was enough.
    pub(super) async fn shed_code(&self) -> Result<bool> {
        if self.spec.shape.accelerator != Accelerator::Tcg {
            return Ok(false);
        }
        if !cfg!(target_arch = "x86_64") {
            return Err(Error::Unsupported(
                "pages of another process can be discarded on x86_64 only".into(),
            ));
        }
        // Nobody else stops the machine meanwhile, or lets it go on, or asks for another balloon.
        let still = Arc::clone(&self.still).lock_owned().await;
        let memory = Arc::clone(&self.memory).lock_owned().await;
        let before = Translated::of(&self.qmp).await?;
        if before.bytes < WORTH || !is_running(&self.qmp).await? {
            return Ok(false);
        }
        let (pid, shape) = (self.life.pid(), self.spec.shape.clone());
        let qmp = self.qmp.clone();
        // To its end, also if nobody waits for it any more: the machine must not stay where it stands.
        let shed = tokio::spawn(async move {
            let done = shed(&qmp, pid, &shape, &before, &memory).await;
            drop((still, memory));
            done
        });
        let done = shed.await;
        done.unwrap_or_else(|error| Err(Error::Unsupported(error.to_string())))?;
        Ok(true)
    }
}

async fn is_running(qmp: &Qmp) -> Result<bool> {
    let status = qmp.run("query-status", json!({})).await?;
    Ok(status.get("running").and_then(Value::as_bool) == Some(true))
}

/// A command that only people have.
async fn say(qmp: &Qmp, line: &str) -> Result<()> {
    let line = json!({"command-line": line});
    qmp.run("human-monitor-command", line).await.map(drop)
}

async fn shed(
    qmp: &Qmp,
    pid: i32,
    shape: &Shape,
    before: &Translated,
    memory: &Memory,
) -> Result<()> {
    let pages = code(pid, shape.code_cache)?;
    // Where that is not allowed nothing is to be forgotten in vain.
    discard(pid, pages.start..pages.start).await?;
    let (ours, theirs) = channel()?;
    let fd = json!({"fdname": DEBUGGER});
    qmp.run_with("getfd", fd, Some(theirs.as_fd())).await?;
    drop(theirs);
    let socket = json!({"addr": {"type": "fd", "data": {"str": DEBUGGER}}, "server": false});
    let chardev = json!({"id": DEBUGGER, "backend": {"type": "socket", "data": socket}});
    qmp.run("chardev-add", chardev).await?;
    let mut debugger = Debugger::new(ours);
    let done = async {
        // From here on the machine stands still, but for the step.
        say(qmp, &format!("gdbserver chardev:{DEBUGGER}")).await?;
        let stepped = async {
            // One that sleeps wakes up by what it knows already; which of its processors does, it decides.
            for cpu in (1..=shape.cpus).cycle() {
                debugger.step(cpu).await?;
                let value = json!({"value": memory.balloon});
                let _it_wakes_up_some_time = qmp.run("balloon", value).await;
                if debugger.stepped(TURN).await? {
                    break;
                }
            }
            Ok(())
        };
        let stepped = tokio::time::timeout(STEP, stepped).await;
        stepped.unwrap_or_else(|_| Err(Error::Timeout("a step of the guest's".into())))?;
        forgotten(qmp, before).await?;
        discard(pid, pages).await
    }
    .await;
    // Whatever came of it. A machine that still runs must not stop at the step that it was to make.
    let mut left = qmp.run("stop", json!({})).await.map(drop);
    left = left.and(say(qmp, "gdbserver none").await);
    left = left.and(qmp.run("cont", json!({})).await.map(drop));
    // It has gone with the debugger, if there was one.
    let gone = json!({"id": DEBUGGER});
    let _it_has_gone = qmp.run("chardev-remove", gone).await;
    done.and(left)
}

async fn discard(pid: i32, pages: Range<u64>) -> Result<()> {
    let discarded = tokio::task::spawn_blocking(move || trace::discard(pid, pages)).await;
    let discarded = discarded.unwrap_or_else(|error| Err(error.into()));
    discarded.map_err(Error::io("discarding translated code"))
}

/// Waits until QEMU has nothing translated any more, which it hasn't while the machine stands still.
async fn forgotten(qmp: &Qmp, before: &Translated) -> Result<()> {
    let begun = Instant::now();
    loop {
        let now = Translated::of(qmp).await?;
        if now.blocks == 0 && now.flushes != before.flushes {
            break;
        }
        if begun.elapsed() > FORGET {
            return Err(Error::Unsupported(
                "QEMU doesn't forget what it has translated".into(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    match is_running(qmp).await? {
        true => Err(Error::Unsupported("the machine doesn't stand still".into())),
        false => Ok(()),
    }
}

/// The conversation of gdb's remote protocol.
struct Debugger {
    stream: UnixStream,
    /// What was said since it was last told something.
    said: Vec<u8>,
}

impl Debugger {
    fn new(stream: UnixStream) -> Debugger {
        Debugger {
            stream,
            said: Vec::new(),
        }
    }

    async fn send(&mut self, packet: &str) -> Result<()> {
        self.said.clear();
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        // With the receipt of the answer before.
        let packet = format!("+${packet}#{sum:02x}");
        self.write(packet.as_bytes()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = self.stream.write_all(bytes).await;
        sent.map_err(Error::io("telling QEMU's debugger"))
    }

    /// Takes what is said until a packet of this beginning has come, and so many bytes of what follows.
    async fn hear(&mut self, beginning: &[u8], more: usize) -> Result<&[u8]> {
        while self.said.len() < MAX_WORDS {
            let mut windows = self.said.windows(beginning.len() + more);
            if let Some(at) = windows.position(|window| window.starts_with(beginning)) {
                let start = at + beginning.len();
                return Ok(self.said.get(start..start + more).unwrap_or_default());
            }
            let byte = self.stream.read_u8().await;
            self.said
                .push(byte.map_err(Error::io("listening to QEMU's debugger"))?);
        }
        Err(Error::Protocol("the debugger says too much".into()))
    }

    /// Has a processor of the guest, counted from 1, execute one instruction, whatever that is: also one that
    /// answers an interrupt, which a processor that sleeps has next.
    async fn step(&mut self, cpu: u32) -> Result<()> {
        for packet in ["Qqemu.sstep=1", &format!("Hc{cpu:x}")] {
            self.send(packet).await?;
            self.hear(b"$OK#", 0).await?;
        }
        self.send("s").await
    }

    /// Whether it has, within this time; else the machine is stopped without.
    async fn stepped(&mut self, limit: Duration) -> Result<bool> {
        let stopped = tokio::time::timeout(limit, self.hear(b"$T", STEPPED.len())).await;
        if stopped.is_err() {
            // Of no effect where it has stopped meanwhile.
            self.write(&[BREAK]).await?;
        }
        Ok(self.hear(b"$T", STEPPED.len()).await? == STEPPED)
    }
}

/// Where the translated code of a process is, but for its beginning: in mappings of such a size in all,
/// with gaps of forbidden pages, that can be written and executed, as nothing else in QEMU can.
fn code(pid: i32, size: u64) -> Result<Range<u64>> {
    let failed = || Error::io("reading the machine's mappings");
    let file = File::open(format!("/proc/{pid}/maps")).map_err(failed())?;
    let mut found: Option<Range<u64>> = None;
    let mut is_whole = true;
    // Where the mappings before this one are without another kind between them.
    let mut joined = None;
    for line in BufReader::new(file.take(MAX_MAPS)).lines() {
        let line = line.map_err(failed())?;
        let Some((place, mode)) = mapping(&line) else {
            joined = None;
            continue;
        };
        if mode == "rwxp" {
            found = match found {
                None => Some(place.clone()),
                Some(before) => {
                    is_whole &= joined == Some(place.start);
                    Some(before.start..place.end)
                }
            };
            joined = Some(place.end);
        } else {
            joined = joined.filter(|end| *end == place.start).map(|_| place.end);
        }
    }
    let place = found.filter(|place| is_whole && place.end - place.start <= size);
    let place = place.map(|place| place.start.saturating_add(ENTRY)..place.end);
    place
        .filter(|place| !place.is_empty())
        .ok_or_else(|| Error::Unsupported("QEMU's translated code isn't found".into()))
}

/// The place and mode of a mapping that has no file, if it is executed or forbidden.
fn mapping(line: &str) -> Option<(Range<u64>, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let mode = fields.next()?;
    let anonymous = fields.nth(2)? == "0" && fields.next().is_none();
    if !anonymous || !matches!(mode, "rwxp" | "---p") {
        return None;
    }
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(start)?..number(end)?, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_translated_is_read() {
        let text = "Translation buffer state:\n\
            gen code size       30642675/134212608\n\
            TB count            55911\n\
            cross page TB count 172 (0%)\n\n\
            Statistics:\nTB flush count      3\nTB invalidate count 9\n";
        let read = Translated {
            bytes: 30_642_675,
            blocks: 55_911,
            flushes: 3,
        };
        assert_eq!(Translated::parse(text), Some(read));
        for other in [
            "",
            "TB count 1\n",
            "gen code size x/1\nTB count 1\nTB flush count 1",
        ] {
            assert_eq!(Translated::parse(other), None, "{other}");
        }
    }

    #[test]
    fn only_pages_without_a_file_that_are_executed_are_code() {
        let (code, gap) = (
            "7f0000000000-7f00003ff000 rwxp 00000000 00:00 0 ",
            "7f00003ff000-7f0000400000 ---p 00000000 00:00 0",
        );
        let place = 0x7f00_0000_0000..0x7f00_003f_f000;
        assert_eq!(mapping(code), Some((place, "rwxp")));
        assert_eq!(mapping(gap).unwrap().1, "---p");
        for other in [
            "7f00003ff000-7f0000400000 rw-p 00000000 00:00 0",
            "7f00003ff000-7f0000400000 rwxp 00000000 fe:00 12 /usr/lib/x.so",
            "7ffd00000000-7ffd00001000 rwxp 00000000 00:00 0 [stack]",
            "",
        ] {
            assert_eq!(mapping(other), None, "{other}");
        }
    }

    #[test]
    fn a_process_without_code_has_none() {
        let own = std::process::id() as i32;
        assert!(matches!(code(own, 1 << 30), Err(Error::Unsupported(_))));
        assert!(code(i32::MAX, 1 << 30).is_err());
    }
}
