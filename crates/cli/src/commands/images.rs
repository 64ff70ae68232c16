//! `images`.

use clap::Args;
use coracle_docker::human;
use coracle_docker::image::ImageSummary;
use jiff::Timestamp;

use super::{filters, reference};
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{Column, Format, Row, ago, created_at, print, row, short_id};

const NONE: &str = "<none>";

#[derive(Args, Debug)]
pub(crate) struct ImagesArgs {
    /// Intermediate ones, too
    #[arg(short = 'a', long)]
    all: bool,
    /// With digests
    #[arg(long)]
    digests: bool,
    /// Filter: KEY=VALUE
    #[arg(short = 'f', long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, json, yaml, or a template
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// Show everything in full length
    #[arg(long)]
    no_trunc: bool,
    /// Show ids only
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Only images of this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Run for ImagesArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let mut filters = filters(&self.filter)?;
        if let Some(name) = &self.name {
            if filters.has("reference") {
                return Err(Error::usage(
                    "conflicting options: a name and --filter reference",
                ));
            }
            filters.add("reference", name);
        }
        let images = context
            .client()
            .await?
            .list_images(self.all, &filters)
            .await?;
        let digests = self.digests || self.format.contains(".Digest");
        let rows: Vec<Row> = images
            .iter()
            .flat_map(|image| self.rows(image, digests))
            .collect();
        if self.quiet {
            let ids = rows.iter().filter_map(|row| row.get("ID")?.as_str());
            print(&ids.map(|id| format!("{id}\n")).collect::<String>())?;
            return Ok(0);
        }
        let mut columns: Vec<Column> = vec![("Repository", "REPOSITORY"), ("Tag", "TAG")];
        if self.digests {
            columns.push(("Digest", "DIGEST"));
        }
        columns.extend([
            ("ID", "IMAGE ID"),
            ("CreatedSince", "CREATED"),
            ("Size", "SIZE"),
        ]);
        let further = [
            ("CreatedAt", "CREATED AT"),
            ("Containers", "CONTAINERS"),
            ("Digest", "DIGEST"),
        ];
        format.show(&columns, &further, rows)?;
        Ok(0)
    }
}

impl ImagesArgs {
    /// A row for each name; with digests a row for each pair of name and digest.
    fn rows(&self, image: &ImageSummary, digests: bool) -> Vec<Row> {
        let known = |name: &&String| !name.starts_with(NONE);
        let digest_of = |repository: &str| {
            let names = image.repo_digests.iter();
            names
                .map(|name| reference::split(name))
                .find(|name| name.repository == repository)
                .map_or(NONE, |name| name.tag)
        };
        let mut rows: Vec<Row> = Vec::new();
        for name in image.repo_tags.iter().filter(known) {
            let name = reference::split(name);
            let digest = if digests {
                digest_of(name.repository)
            } else {
                NONE
            };
            rows.push(self.row(image, name.repository, name.tag, digest));
        }
        if rows.is_empty() {
            for name in image.repo_digests.iter().filter(known) {
                let name = reference::split(name);
                rows.push(self.row(image, name.repository, NONE, name.tag));
                if !digests {
                    break;
                }
            }
        }
        if rows.is_empty() {
            rows.push(self.row(image, NONE, NONE, NONE));
        }
        rows
    }

    fn row(&self, image: &ImageSummary, repository: &str, tag: &str, digest: &str) -> Row {
        let created = Timestamp::from_second(image.created)
            .ok()
            .filter(|time| *time > Timestamp::UNIX_EPOCH);
        let id = if self.no_trunc {
            &image.id
        } else {
            short_id(&image.id)
        };
        let containers = match image.containers {
            count if count < 0 => "N/A".to_owned(),
            count => count.to_string(),
        };
        let shared = u64::try_from(image.shared_size);
        let shared = shared.map_or("N/A".to_owned(), |size| human::size_with_precision(size, 3));
        row([
            ("Repository", repository.into()),
            ("Tag", tag.into()),
            ("Digest", digest.into()),
            ("ID", id.into()),
            ("CreatedSince", ago(created).into()),
            ("CreatedAt", created_at(created).into()),
            ("Size", human::size_with_precision(image.size, 3).into()),
            ("VirtualSize", human::size(image.size).into()),
            ("SharedSize", shared.into()),
            ("UniqueSize", "N/A".into()),
            ("Containers", containers.into()),
        ])
    }
}
