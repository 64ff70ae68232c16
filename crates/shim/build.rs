//! How the static program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // It runs wherever it is put, so it has thousands of addresses to correct at its beginning: as a list
    // of 24 bytes for each a quarter of a megabyte, as a map of them 4 KiB. A linker without maps says so,
    // and makes the list.
    if is("CARGO_CFG_TARGET_ENV", "musl") && is("CARGO_CFG_TARGET_ARCH", "x86_64") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
