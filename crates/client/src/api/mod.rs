//! The API's requests, by what they are about.

mod archive;
mod containers;
mod exec;
mod images;
mod networks;
mod output;
mod secrets;
mod system;
mod volumes;

pub use containers::{
    AttachQuery, ListContainersQuery, LogsQuery, RemoveContainerQuery, WaitCondition,
};
pub use images::{CommitQuery, ImportQuery};
pub use secrets::SecretKind;
pub use system::EventsQuery;
