//! One small process per container: its parent, its stdio, its logs, its exit status.

fn main() {}
