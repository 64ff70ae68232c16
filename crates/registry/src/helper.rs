//! Credential helpers: programs called `docker-credential-<name>`
//! (docker/docker-credential-helpers, "Development").

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::auth::credentials::Credentials;
use crate::error::Error;
use crate::error::Result;
use crate::refusal::clean;

/// Bytes that a helper may print.
const OUTPUT_BYTES: u64 = 1 << 20;
/// A helper may talk to a cloud or wait for a smart card, but not forever.
const PATIENCE: Duration = Duration::from_secs(60);
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// How helpers say that they don't know a server.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A credential helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    program: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper {
    /// The helper `docker-credential-<name>`. Names with anything but letters, digits, `.`, `_`
    /// and `-` are refused.
    pub fn new(name: &str) -> Result<Self> {
        let valid = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(valid) {
            let name = clean(name);
            return Err(Error::credentials(format!(
                "invalid credential helper name {name:?}"
            )));
        }
        Ok(Self {
            program: format!("docker-credential-{name}"),
        })
    }

    /// The credentials for a server, if the helper has any.
    pub async fn get(&self, server: &str) -> Result<Option<Credentials>> {
        let output = match self.run("get", server.as_bytes()).await? {
            Ok(output) => output,
            Err(text) if text.contains(NOT_FOUND) => return Ok(None),
            Err(text) => return Err(self.failed("get", &text)),
        };
        // The parser's own message could quote the secret.
        let entry: Entry = serde_json::from_slice(&output)
            .map_err(|_| self.failed("get", "its output is not valid"))?;
        let mut credentials = if entry.username == TOKEN_USER {
            Credentials::identity(entry.secret)
        } else {
            Credentials::basic(entry.username, entry.secret)
        };
        credentials.server_address = server.to_owned();
        Ok(Some(credentials).filter(|c| !c.is_empty()))
    }

    /// Hands credentials to the helper for keeping.
    pub async fn store(&self, server: &str, credentials: &Credentials) -> Result<()> {
        let (username, secret) = if credentials.identity_token.is_empty() {
            (credentials.username.clone(), credentials.password.clone())
        } else {
            (TOKEN_USER.to_owned(), credentials.identity_token.clone())
        };
        let entry = Entry {
            server_url: server.to_owned(),
            username,
            secret,
        };
        let input =
            serde_json::to_vec(&entry).map_err(|error| Error::credentials(error.to_string()))?;
        self.run("store", &input)
            .await?
            .map_err(|text| self.failed("store", &text))?;
        Ok(())
    }

    /// Makes the helper forget a server.
    pub async fn erase(&self, server: &str) -> Result<()> {
        match self.run("erase", server.as_bytes()).await? {
            Err(text) if !text.contains(NOT_FOUND) => Err(self.failed("erase", &text)),
            _ => Ok(()),
        }
    }

    /// The servers that the helper knows, with the user's name for each.
    pub async fn list(&self) -> Result<BTreeMap<String, String>> {
        let output = self
            .run("list", b"")
            .await?
            .map_err(|text| self.failed("list", &text))?;
        serde_json::from_slice(&output).map_err(|_| self.failed("list", "its output is not valid"))
    }

    fn failed(&self, verb: &str, text: &str) -> Error {
        Error::credentials(format!("{} {verb} failed: {}", self.program, clean(text)))
    }

    /// Runs the helper; `Ok(Err(text))` is its own failure, with what it said.
    async fn run(&self, verb: &str, input: &[u8]) -> Result<std::result::Result<Vec<u8>, String>> {
        let work = self.run_to_end(verb, input);
        // Dropping the future kills the helper.
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(result) => result.map_err(|error| self.failed(verb, &error.to_string())),
            Err(_) => Err(self.failed(verb, "it did not end in time")),
        }
    }

    async fn run_to_end(
        &self,
        verb: &str,
        input: &[u8],
    ) -> std::io::Result<std::result::Result<Vec<u8>, String>> {
        let mut child = Command::new(&self.program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A helper that doesn't read its input still has its say.
                let _ = stdin.write_all(input).await;
            }
        };
        let read = async {
            let mut output = Vec::new();
            if let Some(stdout) = stdout {
                stdout
                    .take(OUTPUT_BYTES + 1)
                    .read_to_end(&mut output)
                    .await?;
            }
            Ok::<_, std::io::Error>(output)
        };
        let ((), output) = tokio::join!(write, read);
        let output = output?;
        if output.len() as u64 > OUTPUT_BYTES {
            return Ok(Err("its output is too long".into()));
        }
        let status = child.wait().await?;
        Ok(if status.success() {
            Ok(output)
        } else {
            // Helpers print their error on standard output.
            Err(format!(
                "{status}: {}",
                clean(&String::from_utf8_lossy(&output))
            ))
        })
    }
}
