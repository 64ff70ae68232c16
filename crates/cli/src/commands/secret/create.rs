//! `secret create` and `config create`.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use coracle_client::SecretKind;
use coracle_docker::secret::SecretSpecBody;

use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::options::pairs;
use crate::output::print;

/// More than the daemon takes; what is longer is refused by it.
const MAX: u64 = 1 << 20;

/// The verb for one kind.
macro_rules! create {
    ($name:ident, $kind:expr, $value:literal) => {
        #[derive(Args, Debug)]
        pub(crate) struct $name {
            /// Label: KEY[=VALUE]
            #[arg(short = 'l', long, value_name = "KEY[=VALUE]")]
            label: Vec<String>,
            #[arg(value_name = $value)]
            name: String,
            /// The value: a file, or - for standard input
            #[arg(value_name = "FILE|-")]
            file: String,
        }

        impl Run for $name {
            async fn run(self, context: &Context) -> Result<u8> {
                create(context, $kind, self.name, &self.file, &self.label).await
            }
        }
    };
}

create!(CreateSecretArgs, SecretKind::Secret, "SECRET");
create!(CreateConfigArgs, SecretKind::Config, "CONFIG");

async fn create(
    context: &Context,
    kind: SecretKind,
    name: String,
    file: &str,
    labels: &[String],
) -> Result<u8> {
    let spec = SecretSpecBody {
        name,
        labels: pairs("-l, --label", labels)?,
        data: STANDARD.encode(read(file)?),
        ..SecretSpecBody::default()
    };
    let id = context.client().await?.create_secret(kind, &spec).await?;
    print(&format!("{id}\n"))?;
    Ok(0)
}

fn read(file: &str) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    let read = match file {
        "-" => std::io::stdin().lock().take(MAX).read_to_end(&mut value),
        path => std::fs::File::open(path).and_then(|file| file.take(MAX).read_to_end(&mut value)),
    };
    read.map_err(|error| Error::io(file, error))?;
    Ok(value)
}
