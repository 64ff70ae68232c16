//! `port`.

use clap::Args;

use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::print;

#[derive(Args, Debug)]
pub(crate) struct PortArgs {
    /// Container
    container: String,
    /// Only this port of it: PORT[/PROTOCOL]
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

impl Run for PortArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        let container = client.inspect_container(&self.container).await?;
        let wanted = self.port.as_deref().map(|port| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            format!("{number}/{protocol}")
        });
        let mut lines = Vec::new();
        for (port, ends) in &container.network_settings.ports {
            if wanted.as_ref().is_some_and(|wanted| wanted != port) {
                continue;
            }
            for end in ends.iter().flatten() {
                let ip = if end.host_ip.contains(':') {
                    format!("[{}]", end.host_ip)
                } else {
                    end.host_ip.clone()
                };
                lines.push((port, format!("{ip}:{}", end.host_port)));
            }
        }
        if let (Some(wanted), true) = (&wanted, lines.is_empty()) {
            return Err(Error::advice(
                format!("no public port '{wanted}' published for {}", self.container),
                format!("`coracle port {}` lists those that are", self.container),
            ));
        }
        let text = lines.iter().map(|(port, end)| match &wanted {
            Some(_) => format!("{end}\n"),
            None => format!("{port} -> {end}\n"),
        });
        print(&text.collect::<String>())?;
        Ok(0)
    }
}
