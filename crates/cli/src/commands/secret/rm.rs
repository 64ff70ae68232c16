//! `secret rm` and `config rm`.

use clap::Args;
use coracle_client::SecretKind;

use crate::app::Run;
use crate::commands::each::each_name;
use crate::context::Context;
use crate::error::Result;

/// The verb for one kind.
macro_rules! remove {
    ($name:ident, $kind:expr, $value:literal) => {
        #[derive(Args, Debug)]
        pub(crate) struct $name {
            /// Names or ids
            #[arg(value_name = $value, required = true)]
            names: Vec<String>,
        }

        impl Run for $name {
            async fn run(self, context: &Context) -> Result<u8> {
                let client = context.client().await?;
                each_name(&self.names, |name| client.remove_secret($kind, name)).await
            }
        }
    };
}

remove!(RmSecretArgs, SecretKind::Secret, "SECRET");
remove!(RmConfigArgs, SecretKind::Config, "CONFIG");
