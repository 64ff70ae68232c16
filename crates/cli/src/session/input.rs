//! Standard input, read by a thread of its own: reading can't be given up, and must not keep the
//! program from ending.

use std::io::{self, Read};

use tokio::sync::mpsc;

const CHUNK: usize = 32 * 1024;

/// Reads standard input; the channel closes at its end.
pub(crate) fn read() -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(2);
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            let mut buffer = vec![0; CHUNK];
            let mut stdin = io::stdin().lock();
            loop {
                let length = match stdin.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // A terminal that hung up has ended as well.
                    Err(_) => return,
                };
                let chunk = buffer.get(..length).unwrap_or_default().to_vec();
                if sender.blocking_send(chunk).is_err() {
                    return;
                }
            }
        })?;
    Ok(receiver)
}
