//! What the library that has need of this one does with it.

use oci_spec::runtime::Process;

#[test]
fn affinities_of_execs_are_checked() {
    let read = |list: &str| {
        serde_json::from_value::<Process>(serde_json::json!({
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "execCPUAffinity": {"initial": list},
        }))
    };
    assert!(read("0-3,7").is_ok());
    let refused = read("0-3,").map_err(|error| error.to_string());
    assert_eq!(
        refused.err().as_deref(),
        Some("Invalid execCPUAffinity format: 0-3,")
    );
}
