//! `create`, and the part of `run` that is the same.

use std::io::Write;

use clap::Args;
use coracle_client::Client;
use coracle_docker::container::{CreateBody, CreateResponse};

use super::pull::pull;
use super::reference;
use crate::app::Run;
use crate::commands::system::kernel::install_file as install_kernel;
use crate::context::Context;
use crate::error::{Error, NOT_RUN, Result};
use crate::options::{ContainerOptions, KERNEL, OPERANDS, Pull};
use crate::output::{print, warn};
use crate::session;

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    options: ContainerOptions,
}

impl Run for CreateArgs {
    const OPERANDS: &'static str = OPERANDS;

    async fn run(self, context: &Context) -> Result<u8> {
        match self.create(context).await {
            Ok(()) => Ok(0),
            Err(error) => {
                error.report();
                Ok(error.run_code(NOT_RUN))
            }
        }
    }
}

impl CreateArgs {
    async fn create(self, context: &Context) -> Result<()> {
        let mut body = self.options.body()?;
        let created = create(context, &self.options, &mut body).await?;
        print(&format!("{}\n", created.id))
    }
}

/// Creates a container, with its image pulled where that's asked for, and its id written to a file.
pub(super) async fn create(
    context: &Context,
    options: &ContainerOptions,
    body: &mut CreateBody,
) -> Result<CreateResponse> {
    body.host_config.console_size = Some(session::size().unwrap_or_default());
    let file = options
        .config
        .cidfile
        .as_deref()
        .map(IdFile::open)
        .transpose()?;
    let image = options.image();
    let platform = options.config.platform();
    if options.config.pull == Pull::Always {
        pull(context, image, false, &platform, options.config.quiet).await?;
    }
    if let Some(file) = options.kernel_file() {
        let kernel = install_kernel(context, file).await?;
        let annotations = &mut body.host_config.annotations;
        annotations.insert(KERNEL.to_owned(), kernel);
    }
    let name = options.config.name.as_deref().unwrap_or_default();
    let client: &Client = context.client().await?;
    let created = match client.create_container(name, &platform, body).await {
        Err(error) if error.is_no_such_image() && options.config.pull == Pull::Missing => {
            if !options.config.quiet {
                let name = reference::split(image).or_latest();
                warn(format_args!("Unable to find image '{name}' locally"));
            }
            pull(context, image, false, &platform, options.config.quiet).await?;
            client.create_container(name, &platform, body).await?
        }
        other => other?,
    };
    for warning in &created.warnings {
        warn(format_args!("WARNING: {warning}"));
    }
    if let Some(file) = file {
        file.write(&created.id)?;
    }
    Ok(created)
}

/// The file that the id is written to: made before there is a container, and taken away where there
/// will be none.
struct IdFile {
    file: std::fs::File,
    path: std::path::PathBuf,
    written: bool,
}

impl IdFile {
    fn open(path: &std::path::Path) -> Result<Self> {
        let opened = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path);
        let file = opened.map_err(|error| {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                return Error::advice(
                    format!("container ID file found: {}", path.display()),
                    "make sure the other container isn't running, or delete the file",
                );
            }
            Error::io(format_args!("--cidfile {}", path.display()), error)
        })?;
        Ok(Self {
            file,
            path: path.to_owned(),
            written: false,
        })
    }

    fn write(mut self, id: &str) -> Result<()> {
        self.file
            .write_all(id.as_bytes())
            .map_err(|error| Error::io(self.path.display(), error))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.written {
            // It is ours, and empty; that it stays harms nobody.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
