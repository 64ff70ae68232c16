//! Processes in the guest, as processes of a sandbox.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::Marks;
use super::Running;
use super::from_guest;
use crate::ExitStatus;
use crate::Launched;
use crate::Process;
use crate::Result;
use crate::Streams;

/// SIGKILL: what a process gets whose machine dies.
const KILLED: ExitStatus = ExitStatus {
    code: 137,
    signal: Some(9),
};

pub(crate) fn streams(streams: Streams) -> coracle_guest::Streams {
    coracle_guest::Streams {
        stdin: streams.stdin,
        output: streams.output,
    }
}

/// A process that was started in the guest.
pub(crate) fn launched(
    running: Running,
    started: coracle_guest::Started,
    marks: Arc<Marks>,
) -> Launched {
    let process = Arc::new(VmProcess {
        pid: running.machine.pid(),
        process: started.process,
    });
    let exit = started.exit;
    Launched {
        process,
        stdin: started.stdin.map(|stdin| Box::new(stdin) as _),
        stdout: started.stdout.map(|stdout| Box::new(stdout) as _),
        stderr: started.stderr.map(|stderr| Box::new(stderr) as _),
        exit: Box::pin(async move {
            tokio::select! {
                biased;
                exited = exit => match exited {
                    Ok(exited) => {
                        marks.oom_killed.fetch_or(exited.oom_killed, Ordering::Relaxed);
                        ExitStatus {
                            code: exited.code,
                            signal: exited.signal,
                        }
                    }
                    Err(_) => KILLED,
                },
                _ = running.machine.wait() => KILLED,
            }
        }),
        warnings: started.warnings,
    }
}

/// A process in the guest. On this host there is the machine's.
struct VmProcess {
    pid: i32,
    process: coracle_guest::Process,
}

#[async_trait]
impl Process for VmProcess {
    fn pid(&self) -> i32 {
        self.pid
    }

    async fn kill(&self, signal: i32) -> Result<()> {
        self.process.kill(signal).await.map_err(from_guest)
    }

    async fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        self.process.resize(rows, cols).await.map_err(from_guest)
    }
}
