//! What queries may say.

use jiff::Timestamp;

use crate::wire::body;

body! {
    /// Nothing.
    pub struct Nothing {
        ;
    }

    /// A page of a list.
    pub struct PageQuery {
        ;
        /// Most items; 100 where not given.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000))]
        limit: Option<u16>,
        /// `nextCursor` of the page before.
        cursor: Option<String>,
    }

    /// Which containers.
    pub struct ContainersQuery {
        ;
        /// Most items; 100 where not given.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000))]
        limit: Option<u16>,
        /// `nextCursor` of the page before.
        cursor: Option<String>,
        /// In one of these states.
        status: Vec<String>,
        /// With all of these labels: `key` or `key=value`.
        label: Vec<String>,
        /// With this in its name.
        name: Option<String>,
        /// With their sizes, which takes longer.
        size: bool,
    }

    /// How to look at a container.
    pub struct ContainerQuery {
        ;
        /// With its sizes, which takes longer.
        size: bool,
    }

    /// How to remove a container.
    pub struct ContainerRemoveQuery {
        ;
        /// Even if it runs.
        force: bool,
        /// With its anonymous volumes.
        volumes: bool,
    }

    /// What to wait for.
    pub struct WaitQuery {
        ;
        /// `notRunning`, `nextExit`, `removed`.
        condition: Option<WaitFor>,
    }

    /// Which lines of a log.
    pub struct LogsQuery {
        ;
        /// Go on until the container stops.
        follow: bool,
        /// Standard output: yes, unless this says otherwise.
        stdout: Option<bool>,
        /// Standard error: yes, unless this says otherwise.
        stderr: Option<bool>,
        /// Instead of what it writes, what its machine's console said while it booted.
        boot: bool,
        /// Only the last so many.
        tail: Option<u32>,
        /// From this time on.
        since: Option<Timestamp>,
        /// Up to this time.
        until: Option<Timestamp>,
    }

    /// How to read statistics.
    pub struct StatsQuery {
        ;
        /// Every second, until the container is removed; else once.
        stream: bool,
    }

    /// How to list processes.
    pub struct TopQuery {
        ;
        /// Arguments of ps; `-ef` where none are given.
        args: Option<String>,
    }

    /// A path inside of a container.
    pub struct PathQuery {
        /// The path.
        path: String,
        ;
    }

    /// Where to extract to.
    pub struct ExtractQuery {
        /// A directory inside.
        path: String,
        ;
        /// Refuse to replace a directory by something else, or the other way round.
        keep_kinds: bool,
        /// Everything belongs to the container's user.
        own: bool,
    }

    /// How to remove a volume.
    pub struct ForceQuery {
        ;
        /// Even if it is not there.
        force: bool,
    }

    /// How to remove an image.
    pub struct ImageRemoveQuery {
        ;
        /// Even where stopped containers use it, or several names point to it.
        force: bool,
        /// Keep untagged parents.
        keep_parents: bool,
    }

    /// Which images to save.
    pub struct SaveQuery {
        ;
        /// Names or ids.
        name: Vec<String>,
    }

    /// Which events.
    pub struct EventsQuery {
        ;
        /// Go on with what happens: yes, unless this says otherwise.
        follow: Option<bool>,
        /// First those that are kept from this time on.
        since: Option<Timestamp>,
        /// First those that are kept after the one of this number.
        after: Option<u64>,
        /// Up to this time.
        until: Option<Timestamp>,
        /// Of one of these kinds: `container`, `image`, `network`, `volume` …
        kind: Vec<String>,
        /// One of these: `start`, `die` …
        action: Vec<String>,
        /// About this one: its id or name.
        actor: Option<String>,
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum WaitFor {
    /// Until it does not run, which may be now.
    #[default]
    NotRunning,
    /// Until it next ends.
    NextExit,
    /// Until it is removed.
    Removed,
}
