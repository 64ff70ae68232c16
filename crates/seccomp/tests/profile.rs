//! Docker's profile file format.
#![allow(clippy::unwrap_used, missing_docs)]

use coracle_seccomp::Error;
use coracle_seccomp::MAX_PROFILE_SIZE;
use coracle_seccomp::Machine;
use coracle_seccomp::compile_for;
use coracle_seccomp::parse_profile;
use oci_spec::runtime::Arch;
use oci_spec::runtime::Capabilities;
use oci_spec::runtime::Capability;
use oci_spec::runtime::LinuxSeccomp;
use proptest::prelude::*;

fn parse(json: serde_json::Value) -> Result<LinuxSeccomp, Error> {
    parse_with(json, &[], Machine::X86_64)
}

fn parse_with(
    json: serde_json::Value,
    caps: &[Capability],
    machine: Machine,
) -> Result<LinuxSeccomp, Error> {
    let caps: Capabilities = caps.iter().copied().collect();
    parse_profile(json.to_string().as_bytes(), &caps, machine)
}

fn names(profile: &LinuxSeccomp) -> Vec<&str> {
    let calls = profile.syscalls().iter().flatten();
    calls
        .flat_map(|call| call.names())
        .map(String::as_str)
        .collect()
}

#[test]
fn filters() {
    let json = serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "comment": "members that Docker doesn't know are ignored",
        "syscalls": [
            {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}},
            {"names": ["b"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}},
            {"names": ["c"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
            {"names": ["d"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
            {"names": ["e"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "3.2"}},
            {"names": ["f"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "999.0"}},
            {"names": ["g"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "3.2"}},
            {"name": "h", "action": "SCMP_ACT_ALLOW", "args": null, "includes": {}, "excludes": {}},
            {"names": ["i"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_NO_SUCH"]}},
        ],
    });
    let of = |caps: &[Capability], machine| {
        let profile = parse_with(json.clone(), caps, machine).unwrap();
        names(&profile).concat()
    };
    assert_eq!(of(&[], Machine::X86_64), "bceh");
    assert_eq!(of(&[Capability::SysAdmin], Machine::X86_64), "ceh");
    let both = [Capability::SysAdmin, Capability::Chown];
    assert_eq!(of(&both, Machine::Aarch64), "adeh");
}

#[test]
fn architectures() {
    let map = serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]},
            {"architecture": "SCMP_ARCH_X86_64",
             "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null},
        ],
    });
    let profile = parse(map).unwrap();
    let expected = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
    assert_eq!(profile.architectures().as_deref(), Some(&expected[..]));

    let all = "NATIVE X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 \
               MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 \
               M68K SH SHEB";
    let all: Vec<_> = all
        .split_whitespace()
        .map(|name| format!("SCMP_ARCH_{name}"))
        .collect();
    let json = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": all});
    let profile = parse(json).unwrap();
    assert_eq!(profile.architectures().as_ref().unwrap().len(), all.len());
    compile_for(&profile, Machine::X86_64).unwrap();

    // What goes to the launcher is JSON by the OCI specification.
    let text = serde_json::to_string(&profile).unwrap();
    assert_eq!(
        serde_json::from_str::<LinuxSeccomp>(&text).unwrap(),
        profile
    );
}

#[test]
fn refusals() {
    let error = |json| parse(json).unwrap_err();
    let rule = |rule: serde_json::Value| serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]});
    assert!(matches!(
        error(serde_json::json!({})),
        Error::NoDefaultAction
    ));
    assert!(matches!(error(serde_json::json!([])), Error::Json(_)));
    let json = serde_json::json!({"defaultAction": "SCMP_ACT_MAYBE"});
    assert!(matches!(error(json), Error::UnknownAction(name) if name == "SCMP_ACT_MAYBE"));
    let json = rule(serde_json::json!({"names": ["read"], "action": "allow"}));
    assert!(matches!(error(json), Error::UnknownAction(_)));
    let json = rule(
        serde_json::json!({"names": ["read"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_XX"}]}),
    );
    assert!(matches!(error(json), Error::UnknownOperator(_)));
    let json = rule(
        serde_json::json!({"names": ["read"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}),
    );
    assert!(matches!(error(json), Error::ArgumentIndex(6)));
    let json = rule(serde_json::json!({"names": ["a"], "name": "b", "action": "SCMP_ACT_ALLOW"}));
    assert!(matches!(error(json), Error::BothNames));
    let json = rule(
        serde_json::json!({"names": ["a"], "action": "SCMP_ACT_ALLOW",
        "includes": {"minKernel": "four"}}),
    );
    assert!(matches!(error(json), Error::BadKernelVersion(_)));
    let json = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "flags": ["X"]});
    assert!(matches!(error(json), Error::UnknownFlag(_)));
    let json = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]});
    assert!(matches!(error(json), Error::BothArchitectures));
    let big = vec![b' '; MAX_PROFILE_SIZE + 1];
    let big = parse_profile(&big, &Capabilities::new(), Machine::X86_64);
    assert!(matches!(big, Err(Error::TooLarge { .. })));
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(text in r#"[\[\]{}:,"0-9a-zA-Z_ ]{0,200}"#) {
        let _ = parse_profile(text.as_bytes(), &Capabilities::new(), Machine::X86_64);
    }
}
