//! `completion` and, hidden, `man`: made from the same tree of verbs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use crate::app::{self, Run};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::print;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// Shell
    shell: For,
}

impl Run for CompletionArgs {
    async fn run(self, _: &Context) -> Result<u8> {
        let shell = match self.shell {
            For::Bash => Shell::Bash,
            For::Elvish => Shell::Elvish,
            For::Fish => Shell::Fish,
            For::Powershell => Shell::PowerShell,
            For::Zsh => Shell::Zsh,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut app::command(), "coracle", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(0)
    }
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Directory to write to
    directory: PathBuf,
}

impl Run for ManArgs {
    async fn run(self, _: &Context) -> Result<u8> {
        let failed = |error| Error::io(self.directory.display(), error);
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        clap_mangen::generate_to(app::command(), &self.directory).map_err(failed)?;
        Ok(0)
    }
}
