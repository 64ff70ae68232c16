//! `coracle-init`: process 1 of a virtual machine. See the library.

#![forbid(unsafe_code)]

fn main() {
    coracle_launcher::run_if_helper();
    coracle_init::main();
}
