//! `system df`.

use clap::Args;
use coracle_docker::human;
use coracle_docker::system::DiskUsageResponse;
use serde_json::Value;

use crate::app::Run;
use crate::commands::containers::cells;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{Column, Format, Row, Table, ago, print, row, short_id, yaml};

#[derive(Args, Debug)]
pub(crate) struct DfArgs {
    /// table, json, yaml, or a template
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
    /// One by one
    #[arg(short = 'v', long)]
    verbose: bool,
}

const COLUMNS: [Column; 5] = [
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

impl Run for DfArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let usage = context.client().await?.disk_usage().await?;
        if !self.verbose {
            format.show(&COLUMNS, &[], rows(&usage))?;
            return Ok(0);
        }
        let value = serde_json::to_value(&usage)
            .map_err(|error| Error::usage(format!("disk usage makes no sense: {error}")))?;
        match &format {
            Format::Table => print(&verbose(&usage))?,
            Format::Yaml => print(&yaml(&value))?,
            format => format.show_value(&value, String::new)?,
        }
        Ok(0)
    }
}

/// How many there are, how many are used, their size, and what of it could be freed.
struct Sum {
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

fn rows(usage: &DiskUsageResponse) -> Vec<Row> {
    let mut rows = vec![
        line("Images", images(usage)),
        line("Containers", containers(usage)),
        line("Local Volumes", volumes(usage)),
        line("Build Cache", build_cache(usage)),
    ];
    if !usage.templates.is_empty() {
        rows.push(line("VM Templates", templates(usage)));
    }
    if !usage.root_disks.is_empty() {
        rows.push(line("VM Root Disks", root_disks(usage)));
    }
    rows
}

fn line(kind: &str, sum: Sum) -> Row {
    let mut reclaimable = human::size(sum.reclaimable);
    if let Some(percent) = (u128::from(sum.reclaimable) * 100).checked_div(sum.size.into()) {
        reclaimable += &format!(" ({percent}%)");
    }
    row([
        ("Type", kind.into()),
        ("TotalCount", sum.total.to_string().into()),
        ("Active", sum.active.to_string().into()),
        ("Size", human::size(sum.size).into()),
        ("Reclaimable", reclaimable.into()),
    ])
}

fn images(usage: &DiskUsageResponse) -> Sum {
    let images = usage.images.as_deref().unwrap_or_default();
    let used = images.iter().filter(|image| image.containers > 0);
    let own = |image: &coracle_docker::image::ImageSummary| {
        let shared = u64::try_from(image.shared_size).unwrap_or_default();
        image.size.saturating_sub(shared)
    };
    let in_use: u64 = used.clone().map(own).sum();
    // These have a line of their own.
    let size = usage.layers_size.saturating_sub(root_disks(usage).size);
    Sum {
        total: images.len(),
        active: used.count(),
        size,
        reclaimable: size.saturating_sub(in_use),
    }
}

fn is_active(state: &str) -> bool {
    matches!(state, "running" | "paused" | "restarting")
}

fn containers(usage: &DiskUsageResponse) -> Sum {
    let containers = usage.containers.as_deref().unwrap_or_default();
    let size = |active: bool| -> u64 {
        let chosen = containers.iter().filter(|c| is_active(&c.state) == active);
        chosen.map(|c| c.size_rw.unwrap_or_default()).sum()
    };
    Sum {
        total: containers.len(),
        active: containers.iter().filter(|c| is_active(&c.state)).count(),
        size: size(true) + size(false),
        reclaimable: size(false),
    }
}

fn volumes(usage: &DiskUsageResponse) -> Sum {
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let mut sum = Sum {
        total: volumes.len(),
        active: 0,
        size: 0,
        reclaimable: 0,
    };
    for usage in volumes
        .iter()
        .filter_map(|volume| volume.usage_data.as_ref())
    {
        let size = u64::try_from(usage.size).unwrap_or_default();
        sum.size += size;
        if usage.ref_count > 0 {
            sum.active += 1;
        } else {
            sum.reclaimable += size;
        }
    }
    sum
}

fn templates(usage: &DiskUsageResponse) -> Sum {
    let all = usage.templates.iter();
    of_machines(all.map(|template| (template.size, template.in_use)))
}

/// They go with their images.
fn root_disks(usage: &DiskUsageResponse) -> Sum {
    of_machines(usage.root_disks.iter().map(|disk| (disk.size, disk.in_use)))
}

/// Of sizes, and whether each is used.
fn of_machines(all: impl Iterator<Item = (u64, bool)>) -> Sum {
    let mut sum = Sum {
        total: 0,
        active: 0,
        size: 0,
        reclaimable: 0,
    };
    for (size, in_use) in all {
        sum.total += 1;
        sum.size += size;
        if in_use {
            sum.active += 1;
        } else {
            sum.reclaimable += size;
        }
    }
    sum
}

fn build_cache(usage: &DiskUsageResponse) -> Sum {
    let records = usage.build_cache.as_deref().unwrap_or_default();
    let size = |record: &Value| {
        record
            .get("Size")
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    let on = |record: &&Value, key: &str| record.get(key).and_then(Value::as_bool) == Some(true);
    let owned = records.iter().filter(|record| !on(record, "Shared"));
    Sum {
        total: records.len(),
        active: records.iter().filter(|record| on(record, "InUse")).count(),
        size: owned.clone().map(size).sum(),
        reclaimable: owned.filter(|record| !on(record, "InUse")).map(size).sum(),
    }
}

fn verbose(usage: &DiskUsageResponse) -> String {
    let size = |bytes| human::size_with_precision(bytes, 3);
    let mut table = Table::new([
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    ]);
    for image in usage.images.iter().flatten() {
        let name = image
            .repo_tags
            .first()
            .map_or("<none>:<none>", String::as_str);
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, ""));
        let shared = u64::try_from(image.shared_size).unwrap_or_default();
        table.push([
            repository.to_owned(),
            tag.to_owned(),
            short_id(&image.id).to_owned(),
            ago(jiff::Timestamp::from_second(image.created).ok()),
            size(image.size),
            human::size(shared),
            human::size(image.size.saturating_sub(shared)),
            image.containers.to_string(),
        ]);
    }
    let images = table.render();
    let mut table = Table::new([
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "LOCAL VOLUMES",
        "SIZE",
        "CREATED",
        "STATUS",
        "NAMES",
    ]);
    for container in usage.containers.iter().flatten() {
        let cells = cells(container, false);
        let cell = |name: &str| cells.get(name).and_then(Value::as_str).unwrap_or_default();
        table.push([
            cell("ID").to_owned(),
            cell("Image").to_owned(),
            cell("Command").to_owned(),
            cell("LocalVolumes").to_owned(),
            size(container.size_rw.unwrap_or_default()),
            cell("RunningFor").to_owned(),
            cell("Status").to_owned(),
            cell("Names").to_owned(),
        ]);
    }
    let containers = table.render();
    let mut table = Table::new(["VOLUME NAME", "LINKS", "SIZE"]);
    for volume in usage.volumes.iter().flatten() {
        let usage = volume.usage_data.clone().unwrap_or_default();
        table.push([
            volume.name.clone(),
            usage.ref_count.to_string(),
            u64::try_from(usage.size).map_or("N/A".to_owned(), size),
        ]);
    }
    let volumes = table.render();
    let cache = human::size(build_cache(usage).size);
    let machines = machines(usage);
    format!(
        "Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}\nLocal Volumes \
         space usage:\n\n{volumes}\nBuild cache usage: {cache}\n{machines}"
    )
}

/// What virtual machines take beside their containers; nothing if there are none.
fn machines(usage: &DiskUsageResponse) -> String {
    let templates = usage.templates.iter();
    let disks = usage.root_disks.iter();
    let all = [
        (
            "Templates of virtual machines",
            "TEMPLATE",
            templates
                .map(|one| (&one.name, one.size, one.in_use))
                .collect::<Vec<_>>(),
        ),
        (
            "Images as disks of virtual machines",
            "LAYERS",
            disks.map(|one| (&one.name, one.size, one.in_use)).collect(),
        ),
    ];
    let mut text = String::new();
    for (title, heading, rows) in all {
        if rows.is_empty() {
            continue;
        }
        let mut table = Table::new([heading, "SIZE", "IN USE"]);
        for (name, bytes, in_use) in rows {
            table.push([
                short_id(name).to_owned(),
                human::size_with_precision(bytes, 3),
                in_use.to_string(),
            ]);
        }
        text += &format!("\n{title}:\n\n{}", table.render());
    }
    text
}
