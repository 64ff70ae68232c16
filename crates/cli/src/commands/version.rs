//! `version`.

use clap::Args;
use coracle_docker::system::VersionResponse;
use serde_json::{Value, json};

use crate::app::Run;
use crate::context::Context;
use crate::error::{FAILURE, Result};
use crate::output::Format;

#[derive(Args, Debug)]
pub(crate) struct VersionArgs {
    /// table, json, yaml, or a template
    #[arg(
        short = 'f',
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
}

impl Run for VersionArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let mut client = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "ApiVersion": coracle_docker::API_VERSION,
            "DefaultAPIVersion": coracle_docker::API_VERSION,
            "Os": std::env::consts::OS,
            "Arch": architecture(),
        });
        let asked = async {
            let daemon = context.client().await?;
            let version = daemon.version().await?;
            Ok::<_, crate::error::Error>((version, daemon.api_version()))
        };
        let (server, failure) = match asked.await {
            Ok((server, spoken)) => {
                client["ApiVersion"] = spoken.into();
                (Some(server), None)
            }
            Err(error) => (None, Some(error)),
        };
        let all = json!({"Client": client, "Server": server});
        format.show_value(&all, || table(&client, server.as_ref()))?;
        match failure {
            None => Ok(0),
            Some(error) => {
                error.report();
                Ok(FAILURE)
            }
        }
    }
}

/// Go's name of this machine's architecture, as in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn table(client: &Value, server: Option<&VersionResponse>) -> String {
    let text = |key: &str| client.get(key).and_then(Value::as_str).unwrap_or_default();
    let line = |name: &str, value: &str| format!(" {:<18} {value}\n", format!("{name}:"));
    let mut shown = "Client:\n".to_owned();
    shown += &line("Version", text("Version"));
    shown += &line("API version", text("ApiVersion"));
    shown += &line("OS/Arch", &format!("{}/{}", text("Os"), text("Arch")));
    let Some(server) = server else {
        return shown;
    };
    shown += &format!("\nServer: {}\n", server.platform.name);
    for component in &server.components {
        shown += &format!(" {}:\n", component.name);
        shown += &line(" Version", &component.version);
        for (name, value) in &component.details {
            if !value.is_empty() {
                shown += &line(&format!(" {name}"), value);
            }
        }
    }
    shown
}
