//! Redirections.

use super::env::{Sink, Source};
use super::eval::Shell;
use super::parse::{How, Redirect};

impl Shell {
    /// Lets streams lead elsewhere; the error is what the shell says.
    pub(super) async fn redirect(&mut self, redirects: &[Redirect]) -> Result<(), String> {
        for redirect in redirects {
            let target = self.text(&redirect.target).await;
            let cwd = self.env.cwd.clone();
            let failed = |what: &str, error: crate::fs::FsError| {
                format!("sh: can't {what} {target}: {}", error.text().to_lowercase())
            };
            match redirect.how {
                How::Read => {
                    let content = self.env.world.fs().read(&cwd, &target);
                    let content = content.map_err(|error| failed("open", error))?;
                    self.env.io.stdin = Source::bytes(content);
                }
                How::Write | How::Append => {
                    let append = redirect.how == How::Append;
                    let mut fs = self.env.world.fs();
                    let made = fs
                        .write(&cwd, &target, b"", append)
                        .and_then(|()| fs.resolve(&cwd, &target, true));
                    drop(fs);
                    let path = made.map_err(|error| failed("create", error))?;
                    let sink = if path == "/dev/null" {
                        Sink::Null
                    } else {
                        Sink::File(path)
                    };
                    match redirect.fd {
                        1 => self.env.io.stdout = sink,
                        2 => self.env.io.stderr = sink,
                        fd => return Err(format!("sh: {fd}: bad file descriptor")),
                    }
                }
                How::Same => match (redirect.fd, target.as_str()) {
                    (1, "2") => self.env.io.stdout = self.env.io.stderr.clone(),
                    (2, "1") => self.env.io.stderr = self.env.io.stdout.clone(),
                    (1, "1") | (2, "2") => {}
                    _ => return Err(format!("sh: {target}: bad file descriptor")),
                },
            }
        }
        Ok(())
    }
}
