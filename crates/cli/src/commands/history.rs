//! `history`.

use clap::{ArgAction, Args};
use coracle_docker::human;
use coracle_docker::image::HistoryItem;
use jiff::Timestamp;

use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Column, Format, Row, ago, iso, print, row, short_id};

/// Longest instruction in a table.
const INSTRUCTION: usize = 45;

#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// table, json, yaml, or a template
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// Sizes and times for people
    #[arg(
        short = 'H',
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = true
    )]
    human: bool,
    /// Show everything in full length
    #[arg(long)]
    no_trunc: bool,
    /// Show ids only
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Image
    image: String,
}

const COLUMNS: [Column; 5] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

impl Run for HistoryArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let client = context.client().await?;
        let history = client.image_history(&self.image).await?;
        if self.quiet {
            let ids = history.iter().map(|step| format!("{}\n", self.id(step)));
            print(&ids.collect::<String>())?;
            return Ok(0);
        }
        let rows = history.iter().map(|step| self.row(step)).collect();
        let mut columns = COLUMNS;
        if !self.human
            && let Some((_, title)) = columns.get_mut(1)
        {
            *title = "CREATED AT";
        }
        format.show(&columns, &[("CreatedAt", "CREATED AT")], rows)?;
        Ok(0)
    }
}

impl HistoryArgs {
    fn id<'a>(&self, step: &'a HistoryItem) -> &'a str {
        match step.id.as_str() {
            "" => "<missing>",
            id if self.no_trunc || id.starts_with('<') => id,
            id => short_id(id),
        }
    }

    fn row(&self, step: &HistoryItem) -> Row {
        let created = Timestamp::from_second(step.created)
            .ok()
            .filter(|time| *time > Timestamp::UNIX_EPOCH);
        let mut by = step.created_by.replace('\t', " ");
        if !self.no_trunc && by.chars().count() > INSTRUCTION {
            by = by.chars().take(INSTRUCTION - 1).collect();
            by.push('…');
        }
        let size = if self.human {
            human::size_with_precision(step.size, 3)
        } else {
            step.size.to_string()
        };
        let since = if self.human {
            ago(created)
        } else {
            iso(created)
        };
        row([
            ("ID", self.id(step).into()),
            ("CreatedSince", since.into()),
            ("CreatedAt", iso(created).into()),
            ("CreatedBy", by.into()),
            ("Size", size.into()),
            ("Comment", step.comment.clone().into()),
        ])
    }
}
