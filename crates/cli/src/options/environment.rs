//! Environment and labels, from options and files.

use std::path::{Path, PathBuf};

use clap::Args;
use coracle_docker::container::CreateBody;

use super::pairs;
use crate::config::read_bounded;
use crate::error::{Error, Result};

/// Most bytes of a file of variables or labels.
const MAX_FILE: u64 = 16 << 20;

#[derive(Args, Debug)]
#[command(next_help_heading = "Environment and labels")]
pub(super) struct EnvironmentOptions {
    /// Environment variable: KEY=VALUE, or KEY to pass on one's own
    #[arg(short = 'e', long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// File of environment variables, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Label: KEY[=VALUE]
    #[arg(short = 'l', long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// File of labels, one a line
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
}

impl EnvironmentOptions {
    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        body.config.env = environment(&self.env, &self.env_file)?;
        let mut labels = Vec::new();
        for path in &self.label_file {
            labels.extend(lines(path)?);
        }
        labels.extend_from_slice(&self.label);
        body.config.labels = pairs::parse("-l, --label", &labels)?;
        Ok(())
    }
}

/// Variables of the files, then of the options.
pub(crate) fn environment(options: &[String], files: &[PathBuf]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for path in files {
        for line in lines(path)? {
            if line.contains('=') {
                all.push(line);
            } else if let Ok(value) = std::env::var(&line) {
                all.push(format!("{line}={value}"));
            }
        }
    }
    for text in options {
        let (key, _) = pairs::split(text);
        if key.is_empty() {
            let why = "the variable's name is missing";
            return Err(Error::option("-e, --env", text, why));
        }
        match std::env::var(text) {
            // One that isn't set here takes the image's away.
            Ok(value) if !text.contains('=') => all.push(format!("{text}={value}")),
            _ => all.push(text.clone()),
        }
    }
    Ok(all)
}

/// The lines of a file that mean something (docker/cli, `opts/file.go`).
fn lines(path: &Path) -> Result<Vec<String>> {
    let bytes = read_bounded(path, MAX_FILE).map_err(|e| Error::io(path.display(), e))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let refuse = |number: usize, why: &str| {
        Error::usage(format!("{}, line {}: {why}", path.display(), number + 1))
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::usage(format!("{} is not UTF-8", path.display())))?;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, _) = pairs::split(line);
        if key.is_empty() {
            return Err(refuse(number, "the name is missing"));
        }
        if key.contains(char::is_whitespace) {
            return Err(refuse(
                number,
                &format!("the name {key:?} contains whitespaces"),
            ));
        }
        found.push(line.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn files_come_before_options() {
        let file = file("\u{feff}# comment\n\n A=1 2 \nPATH\nNOT_SET_ANYWHERE\r\nB=\r\n");
        let files = [file.path().to_owned()];
        let options = ["A=2".to_owned(), "ALSO_NOT_SET".to_owned()];
        let path = std::env::var("PATH").unwrap();
        assert_eq!(
            environment(&options, &files).unwrap(),
            [
                "A=1 2 ",
                &format!("PATH={path}"),
                "B=",
                "A=2",
                "ALSO_NOT_SET"
            ]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["=1", "a b=1"] {
            let file = file(text);
            let error = environment(&[], &[file.path().to_owned()]).unwrap_err();
            assert!(error.to_string().contains("line 1"), "{error}");
        }
        assert!(environment(&["=1".into()], &[]).is_err());
        assert!(environment(&[], &["/does/not/exist".into()]).is_err());
    }
}
