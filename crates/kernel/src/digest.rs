//! SHA-256, as `sha256:` and 64 digits.

use std::io::{self, Read};

use ring::digest::{Context, SHA256};

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// A digest being made.
pub(crate) struct Digester(Context);

impl Digester {
    pub(crate) fn new() -> Digester {
        Digester(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> String {
        let digits: String = self
            .0
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("sha256:{digits}")
    }
}

pub(crate) fn of(bytes: &[u8]) -> String {
    let mut digester = Digester::new();
    digester.update(bytes);
    digester.finish()
}

pub(crate) fn of_reader(mut source: impl Read) -> io::Result<String> {
    let mut digester = Digester::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(count) => digester.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
