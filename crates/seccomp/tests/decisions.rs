//! What compiled programs decide, by an interpreter of BPF, against a direct reading of the
//! profile.
#![allow(clippy::unwrap_used, missing_docs)]

mod bpf;

use bpf::Data;
use bpf::run;
use coracle_seccomp::Error;
use coracle_seccomp::Machine;
use coracle_seccomp::compile_for;
use coracle_seccomp::default_profile;
use coracle_seccomp::parse_profile;
use oci_spec::runtime::Capabilities;
use oci_spec::runtime::Capability;
use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::LinuxSeccompOperator as Op;
use proptest::prelude::*;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL_PROCESS: u32 = 0x8000_0000;

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;

/// Numbers by name.
type Names = std::collections::HashMap<&'static str, u32>;

/// The tables that the compiler looks names up in, with libseccomp's names.
fn names(arch: u32) -> Names {
    let mut names = table(arch);
    if arch == AARCH64 {
        let number = names.remove("fstatat").unwrap();
        names.insert("newfstatat", number);
    }
    names
}

fn table(arch: u32) -> Names {
    macro_rules! of {
        ($table:ident) => {
            syscalls::$table::Sysno::iter()
                .map(|call| (call.name(), call.id() as u32))
                .collect()
        };
    }
    match arch {
        X86_64 => of!(x86_64),
        X86 => of!(x86),
        AARCH64 => of!(aarch64),
        _ => of!(arm),
    }
}

fn number(arch: u32, name: &str) -> u32 {
    names(arch)[name]
}

fn caps(names: &[Capability]) -> Capabilities {
    names.iter().copied().collect()
}

fn oci(json: serde_json::Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

/// The decision, read off the profile (but for calls that x86 multiplexes).
fn direct(profile: &LinuxSeccomp, table: &Names, data: &Data) -> u32 {
    let narrow = matches!(data.arch, X86 | ARM);
    let mask = if narrow { 0xffff_ffff } else { u64::MAX };
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let name = table.iter().find(|(_, nr)| **nr == data.number);
    let mut first_match = None;
    let mut known = Vec::new();
    for call in profile.syscalls().iter().flatten() {
        let action = call.action().as_u32(call.errno_ret());
        let numbers = call.names().iter();
        known.extend(numbers.filter_map(|name| table.get(name.as_str()).copied()));
        let Some((name, _)) = name else { continue };
        if action == default || !call.names().iter().any(|other| other == name) {
            continue;
        }
        let args = call.args().clone().unwrap_or_default();
        if args.is_empty() {
            return action;
        }
        let holds = |arg: &oci_spec::runtime::LinuxSeccompArg| {
            let (have, value) = (data.args[arg.index()], arg.value() & mask);
            match arg.op() {
                Op::ScmpCmpNe => have != value,
                Op::ScmpCmpLt => have < value,
                Op::ScmpCmpLe => have <= value,
                Op::ScmpCmpEq => have == value,
                Op::ScmpCmpGe => have >= value,
                Op::ScmpCmpGt => have > value,
                Op::ScmpCmpMaskedEq => have & value == arg.value_two().unwrap_or(0) & mask,
            }
        };
        let mut indexes: Vec<_> = args.iter().map(|arg| arg.index()).collect();
        indexes.sort();
        indexes.dedup();
        let matches = match indexes.len() == args.len() {
            true => args.iter().all(holds),
            false => args.iter().any(holds),
        };
        if matches && first_match.is_none() {
            first_match = Some(action);
        }
    }
    if let Some(action) = first_match {
        return action;
    }
    let permissive = matches!(default >> 16, 0x7fff | 0x7ffc | 0x7ff0);
    match known.iter().max() {
        Some(last) if !permissive && data.number > *last => ENOSYS,
        _ => default,
    }
}

#[test]
fn default_profile_decides_every_call_of_every_abi() {
    let all = [
        caps(&[]),
        caps(&[Capability::SysAdmin]),
        caps(&[Capability::SysPtrace, Capability::SysTime, Capability::Bpf]),
    ];
    let json = include_bytes!("../src/default.json");
    for (machine, arches) in [
        (Machine::X86_64, [X86_64, X86]),
        (Machine::Aarch64, [AARCH64, ARM]),
    ] {
        for caps in &all {
            let profile = parse_profile(json, caps, machine).unwrap();
            let program = compile_for(&profile, machine).unwrap();
            assert!(program.filter.len() < 800, "{}", program.filter.len());
            for arch in arches {
                let table = names(arch);
                let mut slowest = 0;
                for number in (0..480).chain([0x3fff_ffff, u32::MAX]) {
                    for args in [[0; 6], [40; 6], [0x1_0000_0028; 6], [0x7e02_0000; 6]] {
                        let args = match arch {
                            X86 | ARM => args.map(|arg| arg & 0xffff_ffff),
                            _ => args,
                        };
                        let data = Data { number, arch, args };
                        let (got, steps) = run(&program.filter, &data);
                        assert_eq!(got, direct(&profile, &table, &data), "{data:x?}");
                        slowest = slowest.max(steps);
                    }
                }
                assert!(slowest < 64, "{slowest} instructions for one call");
            }
            let foreign = Data {
                number: 0,
                arch: 0x1234,
                args: [0; 6],
            };
            assert_eq!(run(&program.filter, &foreign).0, KILL_PROCESS);
        }
    }
}

#[test]
fn names_of_the_default_profile_are_known_somewhere() {
    let json: serde_json::Value =
        serde_json::from_slice(include_bytes!("../src/default.json")).unwrap();
    let tables = [X86_64, X86, AARCH64, ARM].map(names);
    // Of other machines, ARM's private calls, and calls newer than the tables.
    let elsewhere = [
        "riscv_flush_icache",
        "riscv_hwprobe",
        "s390_pci_mmio_read",
        "s390_pci_mmio_write",
        "s390_runtime_instr",
        "swapcontext",
        "sync_file_range2",
        "breakpoint",
        "cacheflush",
        "set_tls",
        "umount",
    ];
    for rule in json["syscalls"].as_array().unwrap() {
        for name in rule["names"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let known = tables.iter().any(|table| table.contains_key(name));
            assert!(known || elsewhere.contains(&name), "{name}");
        }
    }
}

#[test]
fn default_profile_rules() {
    let plain = compile_for(&default_profile(&caps(&[])).unwrap(), Machine::X86_64).unwrap();
    let admin = default_profile(&caps(&[Capability::SysAdmin])).unwrap();
    let admin = compile_for(&admin, Machine::X86_64).unwrap();
    let ask = |program: &coracle_seccomp::Program, name: &str, arg: u64| {
        let mut args = [0; 6];
        args[0] = arg;
        let data = Data {
            number: number(X86_64, name),
            arch: X86_64,
            args,
        };
        run(&program.filter, &data).0
    };
    assert_eq!(ask(&plain, "read", 0), ALLOW);
    assert_eq!(ask(&plain, "mount", 0), EPERM);
    assert_eq!(ask(&admin, "mount", 0), ALLOW);
    assert_eq!(ask(&plain, "io_uring_setup", 0), EPERM);
    assert_eq!(ask(&plain, "clone3", 0), ENOSYS);
    assert_eq!(ask(&admin, "clone3", 0), ALLOW);
    assert_eq!(ask(&plain, "clone", 17), ALLOW);
    assert_eq!(ask(&plain, "clone", 0x1000_0000), EPERM);
    assert_eq!(ask(&plain, "socket", 2), ALLOW);
    assert_eq!(ask(&plain, "socket", 38), EPERM);
    assert_eq!(ask(&plain, "socket", 40), EPERM);
    assert_eq!(ask(&plain, "socket", 0x1_0000_0028), EPERM);
    assert_eq!(ask(&plain, "socket", 45), ALLOW);
    assert_eq!(ask(&plain, "personality", 8), ALLOW);
    assert_eq!(ask(&plain, "personality", 4), EPERM);
    assert_eq!(ask(&plain, "personality", 0xffff_ffff), ALLOW);
    assert_eq!(ask(&plain, "ptrace", 0), ALLOW);
}

#[test]
fn x32_is_a_table_of_its_own() {
    let profile = default_profile(&caps(&[])).unwrap();
    let program = compile_for(&profile, Machine::X86_64).unwrap();
    let ask = |number: u32| {
        let data = Data {
            number: number | 0x4000_0000,
            arch: X86_64,
            args: [0; 6],
        };
        run(&program.filter, &data).0
    };
    assert_eq!(ask(0), ALLOW);
    assert_eq!(ask(520), ALLOW, "execve");
    assert_eq!(ask(59), EPERM, "x86_64's execve");
    assert_eq!(ask(165), EPERM, "mount");
    assert_eq!(ask(2000), ENOSYS);

    let without = oci(serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
    }));
    let program = compile_for(&without, Machine::X86_64).unwrap();
    let ask = |number| {
        run(
            &program.filter,
            &Data {
                number,
                arch: X86_64,
                args: [0; 6],
            },
        )
        .0
    };
    assert_eq!(ask(0x4000_0000), KILL_PROCESS);
    assert_eq!(ask(0xffff_fffe), KILL_PROCESS);
    assert_eq!(ask(u32::MAX), ALLOW);
    assert_eq!(ask(0x3fff_ffff), ALLOW);
    let x86 = Data {
        number: 0,
        arch: X86,
        args: [0; 6],
    };
    assert_eq!(run(&program.filter, &x86).0, KILL_PROCESS);
}

#[test]
fn x86_multiplexers_follow_the_direct_calls() {
    let profile = oci(serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["bind"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO",
             "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]},
            {"names": ["shmget"], "action": "SCMP_ACT_KILL_PROCESS"},
        ],
    }));
    let program = compile_for(&profile, Machine::X86_64).unwrap();
    let ask = |name: &str, arg: u64| {
        let data = Data {
            number: number(X86, name),
            arch: X86,
            args: [arg, 0, 0, 0, 0, 0],
        };
        run(&program.filter, &data).0
    };
    assert_eq!(ask("socketcall", 2), EPERM);
    assert_eq!(ask("socketcall", 1), EPERM);
    assert_eq!(ask("socketcall", 3), ALLOW);
    assert_eq!(ask("ipc", 23), KILL_PROCESS);
    assert_eq!(ask("ipc", 1), ALLOW);
}

#[test]
fn an_unconditional_rule_wins_over_conditional_ones() {
    let profile = oci(serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_TRAP",
             "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
            {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
            {"names": ["read"], "action": "SCMP_ACT_LOG"},
        ],
    }));
    let program = compile_for(&profile, Machine::X86_64).unwrap();
    let data = Data {
        number: 0,
        arch: X86_64,
        args: [1; 6],
    };
    assert_eq!(run(&program.filter, &data).0, 0x0005_0005);
}

#[test]
fn refusals() {
    let with = |json| compile_for(&oci(json), Machine::X86_64).unwrap_err();
    let json = serde_json::json!({"defaultAction": "SCMP_ACT_NOTIFY"});
    assert!(matches!(
        with(json),
        Error::NotifyUnsupported("SCMP_ACT_NOTIFY")
    ));
    let json = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"});
    assert!(matches!(
        with(json),
        Error::NotifyUnsupported("listenerPath")
    ));
    let json = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096});
    assert!(matches!(with(json), Error::ErrnoRange { value: 4096, .. }));
    let json = serde_json::json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1});
    assert!(matches!(with(json), Error::ErrnoUnused(_)));
    let json = serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                      "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}],
    });
    assert!(matches!(with(json), Error::ArgumentIndex(6)));
    let rules: Vec<_> = (0..3000)
        .map(|value| {
            serde_json::json!({"names": ["read"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]})
        })
        .collect();
    let json = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules});
    assert!(matches!(with(json), Error::TooLong { max: 4096 }));
}

/// Calls and values that are close to each other, so that rules overlap and jumps get long.
fn rule() -> impl Strategy<Value = serde_json::Value> {
    let names = prop::sample::subsequence(
        vec![
            "read", "write", "openat", "clone", "ioctl", "futex", "statx", "getpid", "nope",
        ],
        1..4,
    );
    let actions = prop::sample::select(vec![
        ("SCMP_ACT_ALLOW", None),
        ("SCMP_ACT_ERRNO", None),
        ("SCMP_ACT_ERRNO", Some(13)),
        ("SCMP_ACT_KILL", None),
        ("SCMP_ACT_KILL_THREAD", None),
        ("SCMP_ACT_KILL_PROCESS", None),
        ("SCMP_ACT_TRAP", None),
        ("SCMP_ACT_TRACE", Some(7)),
        ("SCMP_ACT_LOG", None),
    ]);
    let args = prop::collection::vec((0..3usize, value(), value(), 0..7usize), 0..4);
    (names, actions, args).prop_map(|(names, (action, errno), args)| {
        let ops = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
        let args: Vec<_> = args
            .into_iter()
            .map(|(index, value, two, op)| {
                serde_json::json!({"index": index, "value": value, "valueTwo": two,
                                   "op": format!("SCMP_CMP_{}", ops[op])})
            })
            .collect();
        serde_json::json!({"names": names, "action": action, "errnoRet": errno, "args": args})
    })
}

fn value() -> impl Strategy<Value = u64> {
    let words = prop::sample::select(vec![0u64, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]);
    (words.clone(), words).prop_map(|(high, low)| high << 32 | low)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn programs_decide_as_profiles_read(
        rules in prop::collection::vec(rule(), 0..60),
        default in prop::sample::select(vec![
            "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS",
        ]),
        calls in prop::collection::vec(([value(), value(), value()], 0..500u32), 40),
    ) {
        let profile = oci(serde_json::json!({
            "defaultAction": default,
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_ARM"],
            "syscalls": rules,
        }));
        for (machine, arches) in [
            (Machine::X86_64, [X86_64, X86]),
            (Machine::Aarch64, [AARCH64, ARM]),
        ] {
            let program = match compile_for(&profile, machine) {
                Ok(program) => program,
                Err(Error::TooLong { .. }) => continue,
                Err(error) => panic!("{error}"),
            };
            for arch in arches {
                let table = names(arch);
                let mut numbers: Vec<u32> = ["read", "write", "openat", "clone", "ioctl",
                    "futex", "statx", "getpid"].iter().map(|name| number(arch, name)).collect();
                for (args, other) in &calls {
                    numbers.push(*other);
                    for &number in &numbers {
                        let mut data = Data {
                            number, arch, args: [args[0], args[1], args[2], 0, 0, 0],
                        };
                        if matches!(arch, X86 | ARM) {
                            data.args = data.args.map(|arg| arg & 0xffff_ffff);
                        }
                        prop_assert_eq!(
                            run(&program.filter, &data).0,
                            direct(&profile, &table, &data),
                            "{:x?}", data
                        );
                    }
                    numbers.pop();
                }
            }
        }
    }
}
