//! `commit`.

use clap::{ArgAction, Args};
use coracle_client::CommitQuery;

use super::reference;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::print;

#[derive(Args, Debug)]
pub(crate) struct CommitArgs {
    /// Author
    #[arg(short = 'a', long, value_name = "AUTHOR")]
    author: Option<String>,
    /// Build instruction to apply, such as 'ENV A=1'
    #[arg(short = 'c', long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment
    #[arg(short = 'm', long, value_name = "TEXT")]
    message: Option<String>,
    /// Pause the container meanwhile
    #[arg(
        short = 'p',
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = true
    )]
    pause: bool,
    /// Container
    container: String,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Run for CommitArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let name = reference::split(self.name.as_deref().unwrap_or_default());
        let query = CommitQuery {
            container: self.container.clone(),
            repository: name.repository.to_owned(),
            tag: name.tag.to_owned(),
            comment: self.message.clone().unwrap_or_default(),
            author: self.author.clone().unwrap_or_default(),
            changes: self.change.clone(),
            no_pause: !self.pause,
        };
        let id = context.client().await?.commit_container(&query).await?;
        print(&format!("{id}\n"))?;
        Ok(0)
    }
}
