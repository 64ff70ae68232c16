//! `top`.

use clap::Args;

use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Table, print};

#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Container, and options of ps(1)
    #[arg(
        value_name = "CONTAINER [PS OPTIONS]",
        required = true,
        trailing_var_arg = true
    )]
    words: Vec<String>,
}

impl Run for TopArgs {
    const OPERANDS: &'static str = "CONTAINER [PS OPTIONS]";

    async fn run(self, context: &Context) -> Result<u8> {
        let container = self.words.first().map_or("", String::as_str);
        let arguments = self.words.get(1..).unwrap_or_default().join(" ");
        let client = context.client().await?;
        let top = client.top_container(container, &arguments).await?;
        let mut table = Table::new(top.titles).with_min_width(20);
        for process in top.processes {
            table.push(process);
        }
        print(&table.render())?;
        Ok(0)
    }
}
