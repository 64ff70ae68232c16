//! Tests on plain files in place of a cgroup file system: what is written where.

use std::fs;
use std::path::Path;

use oci_spec::runtime::LinuxResources;
use tempfile::TempDir;

use crate::Cgroup;
use crate::Error;
use crate::Hierarchy;
use crate::IoEntry;
use crate::create;
use crate::limits;
use crate::limits::Fresh;

const V2_CONTROLLERS: &str = "cpuset cpu io memory hugetlb pids rdma\n";

/// Lays out files, and opens the cgroup that they are of.
type Make = fn(&[(&str, &str)]) -> (TempDir, Cgroup);

/// A v2 tree with one cgroup, with the given files.
fn v2(files: &[(&str, &str)]) -> (TempDir, Cgroup) {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("coracle/one");
    fs::create_dir_all(&dir).unwrap();
    for dir in [root.path(), &dir] {
        fs::write(dir.join("cgroup.controllers"), V2_CONTROLLERS).unwrap();
    }
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
    let cgroup = Cgroup::open(&hierarchy(&root, true), "coracle", "one").unwrap();
    (root, cgroup)
}

/// v1 hierarchies, all mounted together, with one cgroup.
fn v1(files: &[(&str, &str)]) -> (TempDir, Cgroup) {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("coracle/one");
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
    let cgroup = Cgroup::open(&hierarchy(&root, false), "coracle", "one").unwrap();
    (root, cgroup)
}

fn hierarchy(root: &TempDir, v2: bool) -> Hierarchy {
    let path = root.path().to_str().unwrap();
    let kind = match v2 {
        true => "cgroup2 cgroup2 rw",
        false => {
            "cgroup cgroup rw,cpu,cpuacct,cpuset,memory,blkio,pids,hugetlb,net_cls,net_prio,rdma"
        }
    };
    let mountinfo = format!("1 1 0:1 / {path} rw - {kind}\n");
    Hierarchy::detect(root.path(), &mountinfo).unwrap()
}

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

fn text(root: &TempDir, file: &str) -> String {
    fs::read_to_string(root.path().join("coracle/one").join(file)).unwrap()
}

/// Applies limits to a cgroup with these files, and checks what is in them then.
fn writes(make: Make, json: &str, before: &[(&str, &str)], after: &[(&str, &str)]) {
    let (root, cgroup) = make(before);
    cgroup.update(&resources(json)).unwrap();
    for (file, expected) in after {
        assert_eq!(text(&root, file), *expected, "{file} after {json}");
    }
}

fn refuses(make: Make, files: &[(&str, &str)], json: &str) -> Error {
    let (_root, cgroup) = make(files);
    cgroup.update(&resources(json)).unwrap_err()
}

#[test]
fn v2_memory() {
    let files = [
        ("memory.max", "max"),
        ("memory.swap.max", "max"),
        ("memory.low", "0"),
    ];
    writes(
        v2,
        r#"{"memory": {"limit": 1000, "swap": 3000, "reservation": 500}}"#,
        &files,
        &[
            ("memory.max", "1000"),
            ("memory.swap.max", "2000"),
            ("memory.low", "500"),
        ],
    );
    let swap = |json: &str, max: &str, expected: &str| {
        let before = [("memory.max", max), ("memory.swap.max", "7")];
        writes(v2, json, &before, &[("memory.swap.max", expected)]);
    };
    swap(r#"{"memory": {"limit": 1000, "swap": 1000}}"#, "max", "0");
    swap(r#"{"memory": {"limit": 1000, "swap": -1}}"#, "max", "max");
    swap(r#"{"memory": {"limit": 1000}}"#, "max", "7");
    swap(r#"{"memory": {"limit": -1}}"#, "max", "max");
    swap(r#"{"memory": {"swap": 1500}}"#, "1000", "500");
    swap(
        r#"{"memory": {"limit": 0, "swap": 0, "checkBeforeUpdate": true}}"#,
        "max",
        "7",
    );

    let less = refuses(v2, &files, r#"{"memory": {"limit": 1000, "swap": 999}}"#);
    assert!(matches!(less, Error::Invalid { .. }), "{less}");
    let alone = refuses(v2, &files, r#"{"memory": {"swap": 999}}"#);
    assert!(matches!(alone, Error::Invalid { .. }), "{alone}");
    let no_swap = [("memory.max", "max")];
    let missing = refuses(v2, &no_swap, r#"{"memory": {"limit": 1, "swap": 2}}"#);
    assert!(matches!(missing, Error::NoSwapLimit), "{missing}");
    let unlimited = r#"{"memory": {"limit": 1, "swap": -1}}"#;
    writes(v2, unlimited, &no_swap, &[("memory.max", "1")]);
    for (json, name) in [
        (r#"{"memory": {"swappiness": 1}}"#, "memory.swappiness"),
        (
            r#"{"memory": {"disableOOMKiller": true}}"#,
            "memory.disableOOMKiller",
        ),
        (r#"{"memory": {"kernel": 1}}"#, "memory.kernel"),
        (r#"{"memory": {"kernelTCP": 1}}"#, "memory.kernelTCP"),
        (
            r#"{"memory": {"useHierarchy": false}}"#,
            "memory.useHierarchy",
        ),
    ] {
        let error = refuses(v2, &files, json);
        assert!(
            matches!(&error, Error::Unsupported { limit, .. } if limit == name),
            "{error}"
        );
    }
    let used = [("memory.max", "max"), ("memory.current", "5000")];
    let json = r#"{"memory": {"limit": 1000, "checkBeforeUpdate": true}}"#;
    assert!(matches!(refuses(v2, &used, json), Error::Invalid { .. }));
}

#[test]
fn v2_cpu() {
    let files = [
        ("cpu.weight", "100"),
        ("cpu.max", "20000 100000"),
        ("cpu.max.burst", "0"),
        ("cpu.idle", "0"),
        ("cpuset.cpus", ""),
        ("cpuset.mems", ""),
    ];
    let check = |json: &str, after: &[(&str, &str)]| writes(v2, json, &files, after);
    check(
        r#"{"cpu": {"shares": 1024}}"#,
        &[("cpu.weight", "100"), ("cpu.max", "20000 100000")],
    );
    check(r#"{"cpu": {"shares": 2}}"#, &[("cpu.weight", "1")]);
    check(r#"{"cpu": {"quota": 5000}}"#, &[("cpu.max", "5000")]);
    check(
        r#"{"cpu": {"quota": -1, "period": 1000}}"#,
        &[("cpu.max", "max 1000")],
    );
    check(r#"{"cpu": {"period": 1000}}"#, &[("cpu.max", "20000 1000")]);
    check(
        r#"{"cpu": {"burst": 10, "idle": 1, "cpus": "0-3,5", "mems": "0"}}"#,
        &[
            ("cpu.max.burst", "10"),
            ("cpu.idle", "1"),
            ("cpuset.cpus", "0-3,5"),
            ("cpuset.mems", "0"),
        ],
    );
    check(
        r#"{"cpu": {"shares": 0, "quota": 0, "cpus": ""}}"#,
        &[("cpuset.cpus", "")],
    );
    let realtime = refuses(v2, &files, r#"{"cpu": {"realtimeRuntime": 10}}"#);
    assert!(matches!(realtime, Error::Unsupported { .. }), "{realtime}");
}

#[test]
fn v2_io() {
    let json = r#"{"blockIO": {
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}],
        "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 0}],
        "throttleReadIOPSDevice": [{"major": 8, "minor": 16, "rate": 7}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 8}]}}"#;
    let expected = "8:0 rbps=100 wbps=max\n8:16 riops=7 wiops=8\n";
    writes(v2, json, &[("io.max", "")], &[("io.max", expected)]);
    let weight = r#"{"blockIO": {"weight": 500}}"#;
    writes(
        v2,
        weight,
        &[("io.weight", "default 100")],
        &[("io.weight", "4950")],
    );
    let bfq = [("io.bfq.weight", ""), ("io.weight", "default 100")];
    writes(
        v2,
        weight,
        &bfq,
        &[("io.bfq.weight", "500"), ("io.weight", "default 100")],
    );
    let device = r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 10}]}}"#;
    writes(v2, device, &[("io.weight", "")], &[("io.weight", "8:0 1")]);
    let missing = refuses(v2, &[], weight);
    assert!(matches!(&missing, Error::Unavailable { limit, .. } if limit == "blockIO.weight"));
}

#[test]
fn v1_io() {
    let json = r#"{"blockIO": {"weight": 500,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100},
                                  {"major": 8, "minor": 16, "rate": 200}]}}"#;
    let files = [
        ("blkio.bfq.weight", ""),
        ("blkio.bfq.weight_device", ""),
        ("blkio.throttle.read_bps_device", ""),
    ];
    let after = [
        ("blkio.bfq.weight", "500"),
        ("blkio.bfq.weight_device", "8:0 10"),
        ("blkio.throttle.read_bps_device", "8:0 100\n8:16 200\n"),
    ];
    writes(v1, json, &files, &after);
}

#[test]
fn other_controllers() {
    let json = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
        "rdma": {"mlx5_1": {"hcaHandles": 3}}, "pids": {"limit": -1}}"#;
    let files = [
        ("hugetlb.2MB.max", ""),
        ("hugetlb.2MB.rsvd.max", ""),
        ("rdma.max", ""),
        ("pids.max", ""),
    ];
    let after = [
        ("hugetlb.2MB.max", "4194304"),
        ("hugetlb.2MB.rsvd.max", "4194304"),
        ("rdma.max", "mlx5_1 hca_handle=3 hca_object=max"),
        ("pids.max", "max"),
    ];
    writes(v2, json, &files, &after);
    let json = r#"{"hugepageLimits": [{"pageSize": "1GB", "limit": 4}],
        "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]}}"#;
    let files = [
        ("hugetlb.1GB.limit_in_bytes", ""),
        ("net_cls.classid", ""),
        ("net_prio.ifpriomap", ""),
    ];
    let after = [
        ("hugetlb.1GB.limit_in_bytes", "4"),
        ("net_cls.classid", "1048577"),
        ("net_prio.ifpriomap", "eth0 5"),
    ];
    writes(v1, json, &files, &after);
    let network = refuses(v2, &[], r#"{"network": {"classID": 1}}"#);
    assert!(
        matches!(
            network,
            Error::Unavailable {
                controller: "net_cls",
                ..
            }
        ),
        "{network}"
    );
    for size in ["2M", "../x", "MB", "2 MB", "2MBMB"] {
        let json = format!(r#"{{"hugepageLimits": [{{"pageSize": "{size}", "limit": 4}}]}}"#);
        assert!(
            matches!(refuses(v2, &[], &json), Error::Invalid { .. }),
            "{size}"
        );
    }
}

#[test]
fn unified_files() {
    let json = r#"{"unified": {"memory.high": "5", "io.max": "8:0 rbps=1"}}"#;
    let files = [("memory.high", ""), ("io.max", "")];
    writes(
        v2,
        json,
        &files,
        &[("memory.high", "5"), ("io.max", "8:0 rbps=1")],
    );
    for name in ["cgroup.procs", "../memory.max", "memory", "memory/max.x"] {
        let json = format!(r#"{{"unified": {{"{name}": "1"}}}}"#);
        assert!(
            matches!(refuses(v2, &[], &json), Error::Invalid { .. }),
            "{name}"
        );
    }
    let missing = refuses(v2, &[], r#"{"unified": {"memory.zswap.max": "1"}}"#);
    assert!(
        matches!(
            missing,
            Error::Unavailable {
                controller: "memory",
                ..
            }
        ),
        "{missing}"
    );
    let v1 = refuses(v1, &[], r#"{"unified": {"memory.high": "1"}}"#);
    assert!(matches!(v1, Error::Unsupported { .. }), "{v1}");
}

#[test]
fn a_missing_controller_is_named() {
    let (_root, mut cgroup) = v2(&[]);
    cgroup.v2_controllers = vec!["cpu".to_owned()];
    for (json, expected) in [
        (r#"{"memory": {"limit": 1}}"#, ("memory.limit", "memory")),
        (r#"{"memory": {"swap": 1}}"#, ("memory.swap", "memory")),
        (r#"{"cpu": {"cpus": "0"}}"#, ("cpu.cpus", "cpuset")),
        (r#"{"pids": {"limit": 1}}"#, ("pids.limit", "pids")),
        (
            r#"{"blockIO": {"weight": 100}}"#,
            ("blockIO.weight", "blkio"),
        ),
    ] {
        match limits::apply(&cgroup, &resources(json), Fresh::Yes) {
            Err(Error::Unavailable { limit, controller }) => {
                assert_eq!((limit.as_str(), controller), expected);
            }
            result => panic!("{json}: {result:?}"),
        }
    }
    let nothing =
        r#"{"memory": {}, "cpu": {}, "pids": {"limit": 0}, "blockIO": {}, "devices": []}"#;
    limits::apply(&cgroup, &resources(nothing), Fresh::Yes).unwrap();
}

#[test]
fn controllers_are_switched_on_from_the_top() {
    let root = TempDir::new().unwrap();
    let parent = root.path().join("a/b");
    fs::create_dir_all(&parent).unwrap();
    for dir in [root.path(), &root.path().join("a"), &parent] {
        fs::write(dir.join("cgroup.controllers"), V2_CONTROLLERS).unwrap();
        fs::write(dir.join("cgroup.subtree_control"), "memory\n").unwrap();
    }
    let control = |path: &Path| fs::read_to_string(path.join("cgroup.subtree_control")).unwrap();
    create::enable(&parent, root.path(), &["memory"]).unwrap();
    assert_eq!(control(root.path()), "memory\n");
    create::enable(&parent, root.path(), &["memory", "pids", "misc"]).unwrap();
    for dir in [root.path(), &root.path().join("a"), &parent] {
        assert_eq!(control(dir), "+pids", "{}", dir.display());
    }
}

#[test]
fn v2_statistics() {
    let (_root, cgroup) = v2(&[
        (
            "cpu.stat",
            "usage_usec 10\nuser_usec 7\nsystem_usec 3\nnr_periods 5\nnr_throttled 2\nthrottled_usec 9\n",
        ),
        ("memory.current", "1000\n"),
        ("memory.peak", "2000\n"),
        ("memory.max", "max\n"),
        ("memory.swap.current", "5\n"),
        ("memory.stat", "anon 1\nfile 600\ninactive_file 100\n"),
        (
            "memory.events",
            "low 0\nhigh 0\nmax 4\noom 3\noom_kill 2\noom_group_kill 0\n",
        ),
        ("pids.current", "3\n"),
        ("pids.max", "max\n"),
        (
            "io.stat",
            "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
        ),
        ("hugetlb.2MB.current", "2097152\n"),
        ("hugetlb.2MB.events", "max 6\n"),
        (
            "cpu.pressure",
            "some avg10=0.50 avg60=0.00 avg300=0.00 total=8\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        ),
    ]);
    let stats = cgroup.stats().unwrap();
    assert_eq!(
        (stats.cpu.total, stats.cpu.user, stats.cpu.system),
        (10_000, 7_000, 3_000)
    );
    assert_eq!((stats.cpu.periods, stats.cpu.throttled_periods), (5, 2));
    assert_eq!(stats.cpu.throttled_time, 9_000);
    let memory = stats.memory.unwrap();
    assert_eq!(
        (memory.usage, memory.max_usage, memory.limit),
        (1000, Some(2000), None)
    );
    assert_eq!(
        (memory.cache, memory.inactive_file, memory.swap),
        (600, 100, Some(5))
    );
    assert_eq!((memory.fail_count, memory.oom_kills), (3, 2));
    assert_eq!(memory.stat.len(), 3);
    assert_eq!(stats.pids.unwrap().current, 3);
    let entry = IoEntry {
        major: 8,
        minor: 0,
        op: "write".to_owned(),
        value: 2,
    };
    assert!(stats.io.service_bytes.contains(&entry));
    assert_eq!(stats.io.serviced.len(), 3);
    assert_eq!(
        (stats.hugetlb[0].usage, stats.hugetlb[0].fail_count),
        (2_097_152, 6)
    );
    assert_eq!(stats.cpu_pressure.unwrap().some.avg10, 50);
    assert_eq!(stats.io_pressure, None);
    assert_eq!(cgroup.oom_kill_count().unwrap(), 2);
}

#[test]
fn v1_block_statistics() {
    let (_root, cgroup) = v1(&[
        (
            "blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 4096\n8:0 Total 4096\nTotal 4096\n",
        ),
        ("blkio.throttle.io_serviced_recursive", ""),
        ("blkio.bfq.io_serviced_recursive", "8:0 Read 1\n"),
        ("cpuacct.usage", "1000\n"),
        ("cpuacct.stat", "user 3\nsystem 4\n"),
        ("cpuacct.usage_percpu", "400 600 \n"),
        ("hugetlb.2MB.usage_in_bytes", "7\n"),
    ]);
    let stats = cgroup.stats().unwrap();
    assert_eq!(stats.io.service_bytes.len(), 2);
    assert_eq!(stats.io.serviced.len(), 1);
    assert_eq!(
        (stats.cpu.total, stats.cpu.user, stats.cpu.system),
        (1000, 30_000_000, 40_000_000)
    );
    assert_eq!(stats.cpu.per_cpu, [400, 600]);
    assert_eq!(stats.hugetlb[0].page_size, "2MB");
    assert_eq!(stats.memory, None);
}

#[test]
fn v2_out_of_memory_events() {
    let (root, cgroup) = v2(&[("memory.events", "oom 0\noom_kill 0\n")]);
    let mut watcher = cgroup.oom_events().unwrap().unwrap();
    assert!(!watcher.read().unwrap().new);
    let file = root.path().join("coracle/one/memory.events");
    fs::write(&file, "oom 1\noom_kill 1\n").unwrap();
    let mut fds = [rustix::event::PollFd::new(
        &watcher,
        rustix::event::PollFlags::IN,
    )];
    let timeout = rustix::event::Timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };
    assert_eq!(rustix::event::poll(&mut fds, Some(&timeout)).unwrap(), 1);
    let oom = watcher.read().unwrap();
    assert!(oom.new && oom.kills == 1 && !oom.removed, "{oom:?}");
    fs::remove_file(&file).unwrap();
    assert!(watcher.read().unwrap().removed);
}

#[test]
fn features_of_v2() {
    let (root, cgroup) = v2(&[("memory.max", "max"), ("memory.swap.max", "max")]);
    let hierarchy = hierarchy(&root, true);
    // The sample is a cgroup right below the root.
    let parent = root.path().join("coracle");
    fs::write(parent.join("memory.max"), "max").unwrap();
    assert!(!hierarchy.features().swap_limit);
    fs::write(parent.join("memory.swap.max"), "max").unwrap();
    let features = hierarchy.features();
    assert!(features.swap_limit && features.memory_limit && features.cpuset && features.pids_limit);
    assert!(!features.oom_kill_disable && !features.cpu_realtime && !features.memory_swappiness);
    assert!(features.devices && !hierarchy.with_rootless(true).features().devices);
    drop(cgroup);
}

#[test]
fn delegation() {
    let (root, _cgroup) = v2(&[]);
    let hierarchy = hierarchy(&root, true);
    for dir in ["coracle", "coracle/one"] {
        for file in ["cgroup.procs", "cgroup.subtree_control"] {
            fs::write(root.path().join(dir).join(file), "").unwrap();
        }
    }
    let own = "1:name=x:/else\n0::/coracle/one\n";
    // The root of the tree has no such files here, so it counts as not ours.
    assert_eq!(hierarchy.delegated_to(own), Some("/coracle".to_owned()));
    assert_eq!(hierarchy.delegated_to("0::/elsewhere\n"), None);
    assert_eq!(hierarchy.delegated_to("0::/../x\n"), None);
    assert_eq!(hierarchy.delegated_to(""), None);
}
