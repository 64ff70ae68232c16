//! `prune`: of containers, images, networks, volumes, and of everything.

use clap::Args;
use coracle_client::{Client, Filters};
use coracle_docker::human;
use coracle_docker::image::DeleteItem;

use super::filters;
use super::prompt::confirm;
use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::print;

/// A verb that has no more options than these two.
macro_rules! simple {
    ($name:ident, $warning:literal, $what:literal, $prune:ident) => {
        #[derive(Args, Debug)]
        pub(crate) struct $name {
            /// Filter: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
            #[arg(long, value_name = "KEY=VALUE")]
            filter: Vec<String>,
            /// Ask no questions
            #[arg(short = 'f', long)]
            force: bool,
        }

        impl Run for $name {
            async fn run(self, context: &Context) -> Result<u8> {
                let filters = filters(&self.filter)?;
                if !self.force {
                    confirm($warning, $what)?;
                }
                let (text, freed) = $prune(context.client().await?, &filters).await?;
                print(&text)?;
                freed.map_or(Ok(0), total)
            }
        }
    };
}

simple!(
    PruneContainersArgs,
    "This will remove all stopped containers.",
    "container prune",
    containers
);
simple!(
    PruneNetworksArgs,
    "This will remove all custom networks not used by at least one container.",
    "network prune",
    networks
);

#[derive(Args, Debug)]
pub(crate) struct PruneImagesArgs {
    /// All that no container uses, not only those without a name
    #[arg(short = 'a', long)]
    all: bool,
    /// Filter: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Ask no questions
    #[arg(short = 'f', long)]
    force: bool,
}

impl Run for PruneImagesArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let filters = filters(&self.filter)?;
        if !self.force {
            let warning = if self.all {
                "This will remove all images without at least one container associated to them."
            } else {
                "This will remove all dangling images."
            };
            confirm(warning, "image prune")?;
        }
        let (text, freed) = images(context.client().await?, filters, self.all).await?;
        print(&text)?;
        freed.map_or(Ok(0), total)
    }
}

#[derive(Args, Debug)]
pub(crate) struct PruneVolumesArgs {
    /// Those with names of the user's, too
    #[arg(short = 'a', long)]
    all: bool,
    /// Filter: label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Ask no questions
    #[arg(short = 'f', long)]
    force: bool,
}

impl Run for PruneVolumesArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let filters = filters(&self.filter)?;
        if !self.force {
            let warning = if self.all {
                "This will remove all local volumes not used by at least one container."
            } else {
                "This will remove anonymous local volumes not used by at least one container."
            };
            confirm(warning, "volume prune")?;
        }
        let (text, freed) = volumes(context.client().await?, filters, self.all).await?;
        print(&text)?;
        freed.map_or(Ok(0), total)
    }
}

#[derive(Args, Debug)]
pub(crate) struct PruneAllArgs {
    /// All images that no container uses, not only those without a name
    #[arg(short = 'a', long)]
    all: bool,
    /// Filter: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Ask no questions
    #[arg(short = 'f', long)]
    force: bool,
    /// Anonymous volumes, too
    #[arg(long)]
    volumes: bool,
}

impl Run for PruneAllArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let filters = filters(&self.filter)?;
        if !self.force {
            confirm(&self.warning(), "system prune")?;
        }
        let client = context.client().await?;
        let mut freed = 0;
        let mut show = |(text, bytes): (String, Option<u64>)| {
            freed += bytes.unwrap_or_default();
            print(&text)
        };
        show(containers(client, &filters).await?)?;
        show(networks(client, &filters).await?)?;
        if self.volumes {
            // Volumes have no time that they could be older than.
            let of_volumes = self.filter.iter().filter(|text| !text.starts_with("until"));
            let of_volumes: Vec<String> = of_volumes.cloned().collect();
            show(volumes(client, super::filters(&of_volumes)?, false).await?)?;
        }
        show(images(client, filters, self.all).await?)?;
        total(freed)
    }
}

impl PruneAllArgs {
    fn warning(&self) -> String {
        let mut warning =
            "This will remove:\n  - all stopped containers\n  - all networks not used \
                           by at least one container\n"
                .to_owned();
        if self.volumes {
            warning += "  - all anonymous volumes not used by at least one container\n";
        }
        warning += if self.all {
            "  - all images without at least one container associated to them\n"
        } else {
            "  - all dangling images\n"
        };
        warning
    }
}

fn total(freed: u64) -> Result<u8> {
    print(&format!("Total reclaimed space: {}\n", human::size(freed)))?;
    Ok(0)
}

/// A title and names, or nothing.
fn list(title: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: String = names.iter().map(|name| format!("{name}\n")).collect();
    format!("{title}:\n{names}\n")
}

async fn containers(client: &Client, filters: &Filters) -> Result<(String, Option<u64>)> {
    let pruned = client.prune_containers(filters).await?;
    let text = list("Deleted Containers", &pruned.containers_deleted);
    Ok((text, Some(pruned.space_reclaimed)))
}

/// Networks take no space.
async fn networks(client: &Client, filters: &Filters) -> Result<(String, Option<u64>)> {
    let pruned = client.prune_networks(filters).await?;
    Ok((list("Deleted Networks", &pruned.networks_deleted), None))
}

async fn volumes(
    client: &Client,
    mut filters: Filters,
    all: bool,
) -> Result<(String, Option<u64>)> {
    if all {
        filters.add("all", "true");
    }
    let pruned = client.prune_volumes(&filters).await?;
    let text = list("Deleted Volumes", &pruned.volumes_deleted);
    Ok((text, Some(pruned.space_reclaimed)))
}

async fn images(client: &Client, mut filters: Filters, all: bool) -> Result<(String, Option<u64>)> {
    filters.add("dangling", if all { "false" } else { "true" });
    let pruned = client.prune_images(&filters).await?;
    let lines: Vec<String> = pruned.images_deleted.iter().map(removal).collect();
    let text = list("Deleted Images", &lines);
    Ok((text, Some(pruned.space_reclaimed)))
}

/// What a removal did, in Docker's words.
pub(super) fn removal(item: &DeleteItem) -> String {
    if item.deleted.is_empty() {
        format!("Untagged: {}", item.untagged)
    } else {
        format!("Deleted: {}", item.deleted)
    }
}
