//! Options: honoured, or refused by name, and never dropped.

use super::super::Subject;
use super::super::support::{fails_saying, refused};
use crate::spec::{
    ContainerSpec, DeviceRequest, HealthConfig, HostConfig, LogConfig, RestartPolicy, StringOrList,
};

type Change = fn(&mut ContainerSpec);

/// Docker takes it, and nothing is checked; here the warnings tell.
pub(super) async fn an_unknown_health_check_is_told(s: Subject) {
    let mut spec = s.spec(&["true"]);
    spec.config.healthcheck = Some(HealthConfig {
        test: vec!["NOSUCH".into()],
        ..HealthConfig::default()
    });
    let created = s.runtime.create_container(spec).await.unwrap();
    let told = |warning: &String| warning.contains("healthcheck type 'NOSUCH'");
    assert!(created.warnings.iter().any(told), "{created:?}");
}

/// Each is refused, with a text that names the option, and leaves nothing.
pub(super) async fn bad_ones_are_refused_by_name(s: Subject) {
    let cases: [(&str, Change); 27] = [
        ("kernelmemory", |spec| spec.host.kernel_memory = 1 << 30),
        ("isolation", |spec| spec.host.isolation = "hyperv".into()),
        ("cpucount", |spec| spec.host.cpu_count = 2),
        ("storageopt", |spec| {
            spec.host.storage_opt.insert("nosuch".into(), "1".into());
        }),
        ("links", |spec| spec.host.links = vec!["a:b:c".into()]),
        ("devicerequests", |spec| {
            spec.host.device_requests = vec![DeviceRequest::default()]
        }),
        ("runtime", |spec| spec.host.runtime = "nosuch".into()),
        ("restart policy", |spec| {
            spec.host.restart_policy.name = "sometimes".into()
        }),
        ("restart policy", |spec| {
            spec.host.restart_policy = RestartPolicy {
                name: "always".into(),
                maximum_retry_count: 3,
            };
        }),
        ("autoremove", |spec| {
            spec.host.auto_remove = true;
            spec.host.restart_policy.name = "always".into();
        }),
        ("memory", |spec| spec.host.memory = 1024),
        ("memoryswap", |spec| spec.host.memory_swap = 1 << 30),
        ("cpu", |spec| spec.host.nano_cpus = 1_000_000_000_000_000),
        ("cpus", |spec| spec.host.cpuset_cpus = "x".into()),
        ("blkio", |spec| spec.host.blkio_weight = 5),
        ("oom", |spec| spec.host.oom_score_adj = 5000),
        ("shm", |spec| spec.host.shm_size = -1),
        ("ipc", |spec| spec.host.ipc_mode = "nosuch".into()),
        ("pid", |spec| spec.host.pid_mode = "nosuch".into()),
        ("uts", |spec| spec.host.uts_mode = "nosuch".into()),
        ("kernel.panic", |spec| {
            spec.host.sysctls.insert("kernel.panic".into(), "1".into());
        }),
        ("nosuch", |spec| spec.host.cap_add = vec!["NOSUCH".into()]),
        ("nosuch", |spec| {
            spec.host.security_opt = vec!["nosuch=1".into()]
        }),
        ("nosuch", |spec| {
            spec.host.log_config = LogConfig {
                driver: "nosuch".into(),
                ..LogConfig::default()
            };
        }),
        ("nosuch-opt", |spec| {
            spec.host
                .log_config
                .config
                .insert("nosuch-opt".into(), "1".into());
        }),
        ("signal", |spec| {
            spec.config.stop_signal = Some("NOSUCH".into())
        }),
        ("working directory", |spec| {
            spec.config.working_dir = "relative".into()
        }),
    ];
    for (words, change) in cases {
        let mut spec = s.spec(&["true"]);
        let name = spec.name.clone().unwrap();
        change(&mut spec);
        refused!(
            s.runtime.create_container(spec).await,
            InvalidArgument,
            words
        );
        refused!(s.runtime.inspect_container(&name, false).await, NotFound);
    }
}

pub(super) async fn nothing_to_run(s: Subject) {
    let mut spec = s.spec(&[]);
    spec.config.entrypoint = Some(StringOrList(vec![String::new()]));
    // With an entry point that is cleared the image's command still counts.
    let created = s.runtime.create_container(spec).await;
    match created {
        Ok(_) => {}
        Err(crate::RuntimeError::InvalidArgument(text)) => {
            assert!(text.contains("no command specified"), "{text}");
        }
        Err(other) => panic!("{other:?}"),
    }
}

pub(super) async fn references_to_what_is_not_there(s: Subject) {
    let cases: [(&str, Change); 4] = [
        ("no such container", |spec| {
            spec.host.network_mode = "container:nosuch".into()
        }),
        ("no such container", |spec| {
            spec.host.pid_mode = "container:nosuch".into()
        }),
        ("no such container", |spec| {
            spec.host.volumes_from = vec!["nosuch".into()]
        }),
        ("not found", |spec| {
            spec.host.network_mode = "nosuch-network".into()
        }),
    ];
    for (words, change) in cases {
        let mut spec = s.spec(&["true"]);
        change(&mut spec);
        // Some are looked up when it is made, some when it starts.
        let result = match s.runtime.create_container(spec).await {
            Ok(created) => s.runtime.start_container(&created.id).await.map(drop),
            Err(error) => Err(error),
        };
        refused!(result, NotFound, words);
    }
}

/// What every container gets, and what it is asked to have.
pub(super) async fn environment_directory_and_host_name(s: Subject) {
    let mut spec = s.sh("echo $A-$B-$HOSTNAME-$HOME-$(pwd)-$(hostname); echo $PATH");
    spec.config.env = vec!["A=1".into(), "B=two words".into()];
    spec.config.working_dir = "/some/where".into();
    spec.config.hostname = "named".into();
    let (_, written) = s.output(spec).await;
    let mut lines = written.stdout.lines();
    assert_eq!(
        lines.next(),
        Some("1-two words-named-/root-/some/where-named"),
        "{written:?}"
    );
    assert!(
        lines.next().is_some_and(|path| path.contains("/bin")),
        "{written:?}"
    );
}

pub(super) async fn entry_point_and_command(s: Subject) {
    let mut spec = s.spec(&["b", "c"]);
    spec.config.entrypoint = Some(StringOrList(vec!["echo".into(), "a".into()]));
    let (id, written) = s.output(spec).await;
    assert_eq!(written.stdout, "a b c\n");
    let container = s.inspect(&id).await;
    assert_eq!(container.path, "echo");
    assert_eq!(container.args, ["a", "b", "c"]);
}

pub(super) async fn users(s: Subject) {
    for (user, expected) in [
        ("", "0:0"),
        ("nobody", "65534:65534"),
        ("1234", "1234:0"),
        ("nobody:daemon", "65534:1"),
        ("5:6", "5:6"),
    ] {
        let mut spec = s.sh("echo $(id -u):$(id -g)");
        spec.config.user = user.into();
        let (_, written) = s.output(spec).await;
        assert_eq!(
            written.stdout,
            format!("{expected}\n"),
            "{user:?}: {written:?}"
        );
    }
    let mut spec = s.spec(&["true"]);
    spec.config.user = "nosuch".into();
    let id = s.create(spec).await;
    fails_saying(
        "unable to find user nosuch",
        s.runtime.start_container(&id).await,
    );
}

pub(super) async fn a_read_only_root(s: Subject) {
    let mut spec = s.sh("touch /file || exit 3");
    spec.host.readonly_rootfs = true;
    assert_eq!(s.run(spec).await.1, 3);
    let mut spec = s.sh("touch /scratch/file || exit 3");
    spec.host.readonly_rootfs = true;
    spec.host.tmpfs.insert("/scratch".into(), String::new());
    assert_eq!(s.run(spec).await.1, 0);
}

pub(super) async fn defaults_are_shown(s: Subject) {
    let mut spec = s.spec(&["true"]);
    spec.host = HostConfig::default();
    let id = s.create(spec).await;
    let host = s.inspect(&id).await.host_config;
    assert_eq!(host.network_mode, "bridge");
    assert_eq!(host.ipc_mode, "private");
    assert_eq!(host.log_config.driver, "json-file");
    assert_eq!(host.shm_size, 64 << 20);
    assert!(!host.runtime.is_empty());
}
