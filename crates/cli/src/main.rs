//! coracle: the command line.

fn main() {}
