//! `system status`.

use clap::Args;
use serde_json::json;

use crate::app::Run;
use crate::context::Context;
use crate::daemon;
use crate::error::{Error, FAILURE, Result};
use crate::output::{Format, Style};

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// table, json, yaml, or a template
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
}

impl Run for StatusArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let address = context.address()?;
        let pid = match &address.place {
            Some(place) => daemon::running(place)?.map(|running| running.pid),
            None => None,
        };
        let asked = async {
            let client = context.client_if_up().await?;
            Ok::<_, Error>((client.version().await?, client.info().await?))
        };
        let (version, info, failure) = match asked.await {
            Ok((version, info)) => (Some(version.version), Some(info), None),
            Err(error) => (None, None, Some(error)),
        };
        let runtime = info.as_ref().map(|info| &info.default_runtime);
        let machines = info.as_ref().map(|info| &info.machines);
        let host = address.host.to_string();
        let log = address.place.map(|place| place.log.display().to_string());
        let value = json!({
            "Running": version.is_some(),
            "Host": host,
            "From": address.from,
            "Pid": pid,
            "Version": version,
            "Log": log,
            "DefaultRuntime": runtime,
            "Machines": machines,
        });
        format.show_value(&value, || {
            let style = Style::stdout();
            let state = match &version {
                Some(version) => format!("{} (version {version})", style.green("running")),
                None => style.red("not running"),
            };
            let mut shown = format!("daemon: {state}\nhost: {host} ({})\n", address.from);
            if let (Some(runtime), Some(machines)) = (runtime, machines) {
                shown += &format!("default runtime: {runtime}\n");
                shown += &match machines.accelerator.as_str() {
                    "" => format!("virtual machines: {}\n", machines.unavailable),
                    accelerator => format!(
                        "virtual machines: {accelerator} ({}), kernel {}\n",
                        machines.reason, machines.kernel
                    ),
                };
            }
            if let Some(pid) = pid {
                shown += &format!("pid: {pid}\n");
            }
            if let Some(log) = &log {
                shown += &format!("log: {log}\n");
            }
            shown
        })?;
        match failure {
            None => Ok(0),
            Some(error) => {
                let absent = matches!(&error, Error::Client(error) if error.is_no_daemon());
                if !absent {
                    error.report();
                }
                Ok(FAILURE)
            }
        }
    }
}
