//! What is wrong with a profile.

/// Why a profile was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is larger than [`crate::MAX_PROFILE_SIZE`].
    #[error("seccomp profile of {size} bytes is too large, at most {max} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// Not JSON, or not of the profile format.
    #[error("decoding seccomp profile failed: {0}")]
    Json(#[from] serde_json::Error),
    /// There is no `defaultAction`.
    #[error("seccomp profile has no defaultAction")]
    NoDefaultAction,
    /// Both `architectures` and `archMap` are set.
    #[error(
        "both 'architectures' and 'archMap' are specified in the seccomp profile, use either \
         'architectures' or 'archMap'"
    )]
    BothArchitectures,
    /// A rule has both `name` and `names`.
    #[error(
        "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or \
         'names'"
    )]
    BothNames,
    /// No such action, or one that isn't supported.
    #[error("seccomp action {0:?} is not known")]
    UnknownAction(String),
    /// No such operator.
    #[error("seccomp operator {0:?} is not known")]
    UnknownOperator(String),
    /// No such architecture.
    #[error("seccomp architecture {0:?} is not known")]
    UnknownArchitecture(String),
    /// No such flag.
    #[error("seccomp flag {0:?} is not known")]
    UnknownFlag(String),
    /// `minKernel` isn't `major.minor`.
    #[error("minKernel {0:?} in the seccomp profile is not of the form \"major.minor\"")]
    BadKernelVersion(String),
    /// `SCMP_ACT_NOTIFY`, a `listenerPath` or a flag that belongs to them.
    #[error("{0} is not supported: system calls can't be handed to a seccomp agent")]
    NotifyUnsupported(&'static str),
    /// `errnoRet` or `defaultErrnoRet` with an action that has no use for it.
    #[error("errnoRet is set, but action {0} doesn't return a number")]
    ErrnoUnused(String),
    /// `errnoRet` doesn't fit.
    #[error("errnoRet {value} is out of range, at most {max} is possible")]
    ErrnoRange {
        /// What the profile says.
        value: u32,
        /// The largest possible.
        max: u32,
    },
    /// System calls have arguments 0 to 5.
    #[error("seccomp argument index {0} is out of range, arguments are 0 to 5")]
    ArgumentIndex(usize),
    /// The program would be longer than the kernel takes.
    #[error("seccomp profile is too complex: it needs more than {max} BPF instructions")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// There are no syscall tables for the machine that this runs on.
    #[error("seccomp filters are not supported on {0} machines")]
    UnsupportedMachine(&'static str),
}
