//! What the wire has, in the trait's terms.

pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod stats;
pub(crate) mod system;
