//! The names of the verbs: Docker's, and those of Apple's `container` as aliases.

use super::{
    attach, commit, completion, cp, create, diff, events, exec, export, history, images, import,
    info, inspect, kill, load, login, logs, network, pause, port, prune, ps, pull, push, rename,
    restart, rm, rmi, run, save, secret, start, stats, stop, system, tag, top, update, version,
    volume, wait,
};
use crate::app::{Node, Nodes, group, verb};

/// The verbs in the help of all, by section.
pub(crate) const SECTIONS: [(&str, &[&str]); 4] = [
    (
        "Common commands",
        &[
            "run", "exec", "ps", "pull", "push", "images", "login", "logout", "version", "info",
        ],
    ),
    (
        "Management commands",
        &[
            "container",
            "image",
            "network",
            "volume",
            "secret",
            "config",
            "registry",
            "system",
        ],
    ),
    (
        "Containers",
        &[
            "attach", "commit", "cp", "create", "diff", "export", "inspect", "kill", "logs",
            "pause", "port", "rename", "restart", "rm", "start", "stats", "stop", "top", "unpause",
            "update", "wait",
        ],
    ),
    (
        "Images and more",
        &[
            "history",
            "import",
            "load",
            "rmi",
            "save",
            "tag",
            "events",
            "completion",
        ],
    ),
];

/// What is done to containers; each is a verb of its own too.
static ON_CONTAINERS: &[Node] = &[
    verb::<run::RunArgs>("run", "Create and run a new container"),
    verb::<create::CreateArgs>("create", "Create a container"),
    verb::<start::StartArgs>("start", "Start containers"),
    verb::<stop::StopArgs>("stop", "Stop containers"),
    verb::<kill::KillArgs>("kill", "Send containers a signal, SIGKILL by default"),
    verb::<restart::RestartArgs>("restart", "Stop and start containers"),
    verb::<pause::PauseArgs>("pause", "Freeze all processes of containers"),
    verb::<pause::UnpauseArgs>("unpause", "Let paused containers go on"),
    verb::<wait::WaitArgs>(
        "wait",
        "Wait for the end of containers, and print their exit codes",
    ),
    verb::<rename::RenameArgs>("rename", "Rename a container"),
    verb::<update::UpdateArgs>("update", "Change limits of containers"),
    verb::<logs::LogsArgs>("logs", "Show what a container wrote"),
    verb::<attach::AttachArgs>("attach", "Attach to a running container"),
    verb::<exec::ExecArgs>("exec", "Run a command in a running container"),
    verb::<top::TopArgs>("top", "Show the processes of a container"),
    verb::<stats::StatsArgs>("stats", "Show what containers use, live"),
    verb::<cp::CpArgs>("cp", "Copy files between here and a container").or(&["copy"]),
    verb::<diff::DiffArgs>("diff", "Show what a container changed in its file system"),
    verb::<export::ExportArgs>("export", "Write a container's file system as a tar archive"),
    verb::<commit::CommitArgs>("commit", "Make an image of a container's changes"),
    verb::<port::PortArgs>("port", "Show the published ports of a container"),
];

static CONTAINER: Nodes = &[
    ON_CONTAINERS,
    &[
        verb::<ps::PsArgs>("ls", "List containers").or(&["ps", "list"]),
        verb::<rm::RmArgs>("rm", "Remove containers").or(&["remove", "delete"]),
        verb::<inspect::InspectContainerArgs>("inspect", "Show all about containers"),
        verb::<prune::PruneContainersArgs>("prune", "Remove all containers that do not run"),
    ],
];

/// What is done to images; each is a verb of its own too.
static ON_IMAGES: &[Node] = &[
    verb::<pull::PullArgs>("pull", "Pull an image from a registry"),
    verb::<push::PushArgs>("push", "Push an image to a registry"),
    verb::<tag::TagArgs>("tag", "Give an image one more name"),
    verb::<history::HistoryArgs>("history", "Show how an image was made"),
    verb::<save::SaveArgs>("save", "Write images as a tar archive"),
    verb::<load::LoadArgs>("load", "Take in images of a tar archive"),
    verb::<import::ImportArgs>("import", "Make an image of a root file system"),
];

static IMAGE: Nodes = &[
    ON_IMAGES,
    &[
        verb::<images::ImagesArgs>("ls", "List images").or(&["list"]),
        verb::<rmi::RmiArgs>("rm", "Remove images").or(&["remove", "delete"]),
        verb::<inspect::InspectImageArgs>("inspect", "Show all about images"),
        verb::<prune::PruneImagesArgs>("prune", "Remove images that nothing uses"),
    ],
];

static NETWORK: Nodes = &[&[
    verb::<network::LsArgs>("ls", "List networks").or(&["list"]),
    verb::<inspect::InspectNetworkArgs>("inspect", "Show all about networks"),
    verb::<network::CreateArgs>("create", "Create a network"),
    verb::<network::RmArgs>("rm", "Remove networks").or(&["remove", "delete"]),
    verb::<network::ConnectArgs>("connect", "Put a container on a network"),
    verb::<network::DisconnectArgs>("disconnect", "Take a container off a network"),
    verb::<prune::PruneNetworksArgs>("prune", "Remove networks that nothing uses"),
]];

static VOLUME: Nodes = &[&[
    verb::<volume::LsArgs>("ls", "List volumes").or(&["list"]),
    verb::<inspect::InspectVolumeArgs>("inspect", "Show all about volumes"),
    verb::<volume::CreateArgs>("create", "Create a volume"),
    verb::<volume::RmArgs>("rm", "Remove volumes").or(&["remove", "delete"]),
    verb::<prune::PruneVolumesArgs>("prune", "Remove volumes that nothing uses"),
]];

static SECRET: Nodes = &[&[
    verb::<secret::LsSecretArgs>("ls", "List secrets").or(&["list"]),
    verb::<inspect::InspectSecretArgs>("inspect", "Show all about secrets but their values"),
    verb::<secret::CreateSecretArgs>("create", "Create a secret of a file or standard input"),
    verb::<secret::RmSecretArgs>("rm", "Remove secrets").or(&["remove", "delete"]),
    verb::<secret::RotateKeyArgs>(
        "rotate-key",
        "Encrypt all secrets and configs under a new key",
    ),
]];

static CONFIG: Nodes = &[&[
    verb::<secret::LsConfigArgs>("ls", "List configs").or(&["list"]),
    verb::<inspect::InspectConfigArgs>("inspect", "Show all about configs"),
    verb::<secret::CreateConfigArgs>("create", "Create a config of a file or standard input"),
    verb::<secret::RmConfigArgs>("rm", "Remove configs").or(&["remove", "delete"]),
]];

static REGISTRY: Nodes = &[&[
    verb::<login::LoginArgs>("login", "Log in to a registry"),
    verb::<login::LogoutArgs>("logout", "Log out from a registry"),
]];

static KERNEL: Nodes = &[&[
    verb::<system::kernel::InstallArgs>("install", "Install a kernel"),
    verb::<system::kernel::LsArgs>("ls", "List kernels").or(&["list"]),
    verb::<inspect::InspectKernelArgs>("inspect", "Show all about kernels"),
    verb::<system::kernel::SetArgs>("set", "Choose the default kernel"),
    verb::<system::kernel::RmArgs>("rm", "Remove kernels").or(&["remove", "delete"]),
]];

static KEY: Nodes = &[&[
    verb::<system::key::CreateArgs>("create", "Make a key, and show its secret"),
    verb::<system::key::LsArgs>("list", "List keys").or(&["ls"]),
    verb::<system::key::RevokeArgs>("revoke", "Revoke keys, at once and for good").or(&["rm"]),
]];

static CERT: Nodes = &[&[verb::<system::cert::CreateArgs>(
    "create",
    "Make a certificate, and the authority that signs it",
)]];

static DNS: Nodes = &[&[
    verb::<system::dns::CreateArgs>("create", "Have the host's resolver find containers"),
    verb::<system::dns::ListArgs>(
        "list",
        "Show what is answered, and whether the resolver knows",
    )
    .or(&["ls"]),
    verb::<system::dns::DeleteArgs>("delete", "Undo create").or(&["rm", "remove"]),
]];

static SYSTEM: Nodes = &[&[
    verb::<system::StartArgs>("start", "Start the daemon"),
    verb::<system::StopArgs>("stop", "Stop the daemon; containers run on"),
    verb::<system::StatusArgs>("status", "Show whether the daemon runs"),
    verb::<info::InfoArgs>("info", "Show what the daemon is and has"),
    verb::<system::DfArgs>("df", "Show what takes space"),
    verb::<events::EventsArgs>("events", "Show events as they happen"),
    verb::<prune::PruneAllArgs>("prune", "Remove all that nothing uses"),
    verb::<system::LogsArgs>("logs", "Show what the daemon wrote"),
    group!("kernel", "Manage the kernels of virtual machines", KERNEL),
    group!("key", "Manage keys to the API over TCP", KEY),
    group!("cert", "Manage certificates for the API over TLS", CERT),
    group!("dns", "Manage names of containers on the host", DNS),
    verb::<system::LaunchArgs>("launch", "Become the daemon").hidden(),
]];

/// All of them.
pub(crate) static TOP: Nodes = &[
    ON_CONTAINERS,
    ON_IMAGES,
    &[
        verb::<ps::PsArgs>("ps", "List containers").or(&["ls", "list"]),
        verb::<rm::RmArgs>("rm", "Remove containers").or(&["delete"]),
        verb::<images::ImagesArgs>("images", "List images"),
        verb::<rmi::RmiArgs>("rmi", "Remove images"),
        verb::<inspect::InspectArgs>(
            "inspect",
            "Show all about containers, images, networks or volumes",
        ),
        verb::<login::LoginArgs>("login", "Log in to a registry"),
        verb::<login::LogoutArgs>("logout", "Log out from a registry"),
        verb::<events::EventsArgs>("events", "Show events as they happen"),
        verb::<info::InfoArgs>("info", "Show what the daemon is and has"),
        verb::<version::VersionArgs>("version", "Show versions of client and daemon"),
        verb::<completion::CompletionArgs>("completion", "Print completions for a shell"),
        verb::<completion::ManArgs>("man", "Write manual pages").hidden(),
        group!("container", "Manage containers", CONTAINER),
        group!("image", "Manage images", IMAGE),
        group!("network", "Manage networks", NETWORK),
        group!("volume", "Manage volumes", VOLUME),
        group!("secret", "Manage secrets", SECRET),
        group!("config", "Manage configs", CONFIG),
        group!("registry", "Manage logins", REGISTRY),
        group!("system", "Manage the daemon", SYSTEM),
    ],
];
