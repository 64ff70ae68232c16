//! coracled: the daemon.

fn main() {}
