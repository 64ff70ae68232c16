//! What a request came to.

use coracle_runtime::container as domain;

use crate::wire::answer;

answer! {
    /// What a creation gave.
    pub struct ContainerCreated {
        /// The new container's id.
        id: String,
        /// What the user should know.
        warnings: Vec<String>,
    }

    /// Whether a request changed anything, or it was so already.
    pub struct Changed {
        /// Whether it did.
        changed: bool,
    }

    /// How a container ended.
    pub struct ExitStatus {
        /// The exit code; 128 plus the signal for a killed one.
        exit_code: i32,
        /// What went wrong with the run, where something did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }

    /// A container's processes.
    pub struct Processes {
        /// Column titles.
        titles: Vec<String>,
        /// A row a process.
        processes: Vec<Vec<String>>,
    }

    /// What a prune removed.
    pub struct Pruned {
        /// Ids or names.
        deleted: Vec<String>,
        /// Bytes freed.
        space_reclaimed: u64,
    }

    /// What an update left to be said.
    pub struct Updated {
        /// What the user should know.
        warnings: Vec<String>,
    }
}

impl From<domain::Created> for ContainerCreated {
    fn from(created: domain::Created) -> Self {
        Self {
            id: created.id,
            warnings: created.warnings,
        }
    }
}

impl From<domain::Changed> for Changed {
    fn from(domain::Changed(changed): domain::Changed) -> Self {
        Self { changed }
    }
}

impl From<domain::ExitStatus> for ExitStatus {
    fn from(status: domain::ExitStatus) -> Self {
        Self {
            exit_code: status.code,
            error: status.error,
        }
    }
}

impl From<domain::Top> for Processes {
    fn from(top: domain::Top) -> Self {
        Self {
            titles: top.titles,
            processes: top.processes,
        }
    }
}

impl From<domain::Pruned> for Pruned {
    fn from(pruned: domain::Pruned) -> Self {
        Self {
            deleted: pruned.deleted,
            space_reclaimed: pruned.space_reclaimed,
        }
    }
}
