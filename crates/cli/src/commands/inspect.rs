//! `inspect`: of anything, or of one kind.

use clap::{Args, ValueEnum};
use coracle_client::{Client, Query};
use serde_json::Value;

use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, FAILURE, Result};
use crate::output::{indent, print, yaml};
use crate::template::Template;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Container,
    Image,
    Network,
    Volume,
    Secret,
    Config,
    #[value(skip)]
    Kernel,
}

impl Kind {
    /// Those that `inspect` looks through.
    const ALL: [Self; 4] = [Self::Container, Self::Image, Self::Network, Self::Volume];

    fn query(self, name: &str, size: bool) -> Query {
        match self {
            Self::Container => Query::named("/containers/", name, "/json").flag("size", size),
            Self::Image => Query::named("/images/", name, "/json"),
            Self::Network => Query::named("/networks/", name, ""),
            Self::Volume => Query::named("/volumes/", name, ""),
            Self::Secret => Query::named("/secrets/", name, ""),
            Self::Config => Query::named("/configs/", name, ""),
            Self::Kernel => Query::named("/api/v1/kernels/", name, ""),
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// json, yaml, or a template
    #[arg(
        short = 'f',
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// With sizes of containers
    #[arg(short = 's', long)]
    size: bool,
    /// What the names are of
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    /// Names or ids
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Run for InspectArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let kinds = match self.kind {
            Some(kind) => vec![kind],
            None => Kind::ALL.to_vec(),
        };
        inspect(context, &kinds, &self.names, &self.format, self.size).await
    }
}

/// The verb for one kind.
macro_rules! of_one_kind {
    ($name:ident, $kind:expr, $value:literal) => {
        #[derive(Args, Debug)]
        pub(crate) struct $name {
            /// json, yaml, or a template
            #[arg(
                short = 'f',
                long,
                value_name = "FORMAT",
                default_value = "",
                hide_default_value = true
            )]
            format: String,
            /// Names or ids
            #[arg(value_name = $value, required = true)]
            names: Vec<String>,
        }

        impl Run for $name {
            async fn run(self, context: &Context) -> Result<u8> {
                inspect(context, &[$kind], &self.names, &self.format, false).await
            }
        }
    };
}

of_one_kind!(InspectImageArgs, Kind::Image, "IMAGE");
of_one_kind!(InspectVolumeArgs, Kind::Volume, "VOLUME");
of_one_kind!(InspectSecretArgs, Kind::Secret, "SECRET");
of_one_kind!(InspectConfigArgs, Kind::Config, "CONFIG");
of_one_kind!(InspectKernelArgs, Kind::Kernel, "KERNEL");

#[derive(Args, Debug)]
pub(crate) struct InspectContainerArgs {
    /// json, yaml, or a template
    #[arg(
        short = 'f',
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// With sizes
    #[arg(short = 's', long)]
    size: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    names: Vec<String>,
}

impl Run for InspectContainerArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let kinds = [Kind::Container];
        inspect(context, &kinds, &self.names, &self.format, self.size).await
    }
}

#[derive(Args, Debug)]
pub(crate) struct InspectNetworkArgs {
    /// json, yaml, or a template
    #[arg(
        short = 'f',
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// More about it, where the daemon has more
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Names or ids
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,
}

impl Run for InspectNetworkArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        // The verbose form is about swarms; where there is none, both are the same.
        let _ = self.verbose;
        inspect(context, &[Kind::Network], &self.names, &self.format, false).await
    }
}

async fn inspect(
    context: &Context,
    kinds: &[Kind],
    names: &[String],
    format: &str,
    size: bool,
) -> Result<u8> {
    let template = match format {
        "" | "json" | "yaml" => None,
        text => Some(Template::parse(text)?),
    };
    let client = context.client().await?;
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match find(client, kinds, name, size).await {
            Ok(json) => found.push(json),
            Err(error) => failures.push(error),
        }
    }
    let text = match (&template, format) {
        (Some(template), _) => {
            let mut text = String::new();
            for json in &found {
                text.push_str(&template.render(&parse(json)?)?);
                text.push('\n');
            }
            text
        }
        (None, "json") => lines(&found),
        (None, "yaml") => {
            let values = found.iter().map(|json| parse(json));
            yaml(&Value::Array(values.collect::<Result<_>>()?))
        }
        (None, _) => array(&found),
    };
    print(&text)?;
    for error in &failures {
        error.report();
    }
    Ok(if failures.is_empty() { 0 } else { FAILURE })
}

/// Of the first kind that has one of that name.
async fn find(client: &Client, kinds: &[Kind], name: &str, size: bool) -> Result<bytes::Bytes> {
    for kind in kinds {
        match client.get_raw(&kind.query(name, size)).await {
            Err(error) if error.is_not_found() && kinds.len() > 1 => {}
            Ok(json) if *kind == Kind::Kernel => return pascal_case(&json),
            other => return Ok(other?),
        }
    }
    Err(Error::advice(
        format!("no such object: {name}"),
        "`coracle ps -a`, `images`, `network ls` and `volume ls` list what there is",
    ))
}

/// The native API's answer with names as Docker writes them, which all that `inspect` shows has.
fn pascal_case(json: &[u8]) -> Result<bytes::Bytes> {
    fn renamed(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| {
                    let mut letters = name.chars();
                    let first = letters.next().map(|first| first.to_ascii_uppercase());
                    let name = first.into_iter().chain(letters).collect();
                    (name, renamed(value))
                });
                Value::Object(fields.collect())
            }
            Value::Array(items) => items.into_iter().map(renamed).collect(),
            other => other,
        }
    }
    let text = renamed(parse(json)?).to_string();
    Ok(text.into())
}

fn parse(json: &[u8]) -> Result<Value> {
    serde_json::from_slice(json)
        .map_err(|error| Error::usage(format!("the daemon's answer makes no sense: {error}")))
}

fn lines(found: &[bytes::Bytes]) -> String {
    let lines = found.iter().map(|json| String::from_utf8_lossy(json));
    lines.map(|line| format!("{}\n", line.trim())).collect()
}

/// All of them in an array, as Docker shows them.
fn array(found: &[bytes::Bytes]) -> String {
    if found.is_empty() {
        return "[]\n".to_owned();
    }
    let items: Vec<String> = found
        .iter()
        .map(|json| format!("    {}", indent(json, 1)))
        .collect();
    format!("[\n{}\n]\n", items.join(",\n"))
}
