//! `import`.

use std::path::Path;

use clap::Args;
use coracle_client::ImportQuery;

use super::{reference, upload};
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::print;

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// Build instruction to apply, such as 'CMD sh'
    #[arg(short = 'c', long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment
    #[arg(short = 'm', long, value_name = "TEXT")]
    message: Option<String>,
    /// Platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Archive of a root file system, or - for standard input
    #[arg(value_name = "FILE|-")]
    source: String,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Run for ImportArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let archive = match self.source.as_str() {
            "-" => upload::from_stdin()?,
            url if url.starts_with("http://") || url.starts_with("https://") => {
                return Err(Error::advice(
                    "importing from a URL is not supported",
                    format!("curl -fL {url} | coracle import - NAME"),
                ));
            }
            path => upload::from_file(Path::new(path)).await?,
        };
        let name = reference::split(self.name.as_deref().unwrap_or_default());
        let query = ImportQuery {
            repository: name.repository.to_owned(),
            tag: name.tag.to_owned(),
            message: self.message.clone().unwrap_or_default(),
            changes: self.change.clone(),
            platform: self.platform.clone().unwrap_or_default(),
        };
        let client = context.client().await?;
        let mut lines = client.import_image(archive, &query).await?;
        // All that comes is the id of the image.
        while let Some(message) = lines.next().await? {
            if let Some(error) = message.error_detail {
                return Err(Error::usage(error.message));
            }
            if !message.status.is_empty() {
                print(&format!("{}\n", message.status))?;
            }
        }
        Ok(0)
    }
}
