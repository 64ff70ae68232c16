//! `volume create`.

use clap::Args;
use coracle_docker::volume::VolumeCreateBody;

use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::options::pairs;
use crate::output::print;

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Driver
    #[arg(short = 'd', long, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// Label: KEY[=VALUE]
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Driver's option: KEY=VALUE
    #[arg(short = 'o', long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Room for files, as of --opt size=: 512m, 10g (local)
    #[arg(short = 's', long, value_name = "SIZE")]
    size: Option<String>,
    /// Name, as older versions had it
    #[arg(
        long = "name",
        value_name = "NAME",
        hide = true,
        conflicts_with = "name"
    )]
    named: Option<String>,
    /// Name; one is made up where there is none
    name: Option<String>,
}

impl Run for CreateArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let mut options = pairs("-o, --opt", &self.opt)?;
        if let Some(size) = self.size
            && options.insert("size".to_owned(), size).is_some()
        {
            return Err(Error::usage(
                "--size and --opt size= are the same: give one of them",
            ));
        }
        let body = VolumeCreateBody {
            name: self.name.or(self.named).unwrap_or_default(),
            driver: self.driver.clone(),
            driver_opts: options,
            labels: pairs("--label", &self.label)?,
        };
        let volume = context.client().await?.create_volume(&body).await?;
        print(&format!("{}\n", volume.name))?;
        Ok(0)
    }
}
