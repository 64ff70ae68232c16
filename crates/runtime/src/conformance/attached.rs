//! What is done with an attached process.

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::support::{all, soon};
use crate::io::{Attached, StreamKind};

/// What a process wrote, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) code: i32,
}

/// All that an attached process writes. The input is closed at once.
pub(super) async fn read(attached: Attached) -> Written {
    let Attached { output, input, .. } = attached;
    drop(input);
    let mut written = Written::default();
    for (stream, bytes) in all("the output", output).await {
        let text = String::from_utf8_lossy(&bytes);
        match stream {
            StreamKind::Stdout => written.stdout.push_str(&text),
            StreamKind::Stderr => written.stderr.push_str(&text),
        }
    }
    written
}

/// Reads an attached process' output until it holds some text; gives what was read.
pub(super) async fn read_until(attached: &mut Attached, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        match soon(&format!("{text:?} in the output"), attached.output.next()).await {
            Some(Ok((_, bytes))) => read.push_str(&String::from_utf8_lossy(&bytes)),
            Some(Err(error)) => panic!("the output ends with {error}"),
            None => panic!("the output ends before {text:?}: {read:?}"),
        }
    }
    read
}

/// Writes to an attached process.
pub(super) async fn write(attached: &mut Attached, bytes: &[u8]) {
    let input = attached.input.as_mut().expect("an input");
    soon("writing input", input.write_all(bytes))
        .await
        .expect("the input takes bytes");
    soon("writing input", input.flush())
        .await
        .expect("the input takes bytes");
}

/// Ends an attached process' input.
pub(super) async fn close(attached: &mut Attached) {
    let input = attached.input.as_mut().expect("an input");
    soon("closing the input", input.shutdown())
        .await
        .expect("the input can be closed");
}
