//! Runs a bundle (a directory with `config.json` and its root file system), as `crun run` does:
//!
//!     launch BUNDLE [ROUNDS [CONTROL_GROUP_DIRECTORY...]]
//!
//! With a number of rounds it tells how long one takes, from the call to the exit status, beside a
//! bare fork and exec of the same program on the host.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use coracle_launcher::{InitRequest, Rootfs, Stdio, create, run_if_helper};
use oci_spec::runtime::Spec;
use rustix::process::{WaitId, WaitIdOptions, waitid};

fn main() -> ExitCode {
    run_if_helper();
    let mut args = std::env::args().skip(1);
    let (bundle, rounds) = (args.next(), args.next());
    let groups: Vec<_> = args.map(PathBuf::from).collect();
    let bundle = bundle.unwrap_or_else(|| ".".into());
    match launch(&bundle, rounds.as_deref(), &groups) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("launch: {error}");
            ExitCode::from(125)
        }
    }
}

fn launch(
    bundle: &str,
    rounds: Option<&str>,
    groups: &[PathBuf],
) -> Result<u8, Box<dyn std::error::Error>> {
    let bundle = Path::new(bundle).canonicalize()?;
    let mut spec = Spec::load(bundle.join("config.json"))?;
    spec.canonicalize_rootfs(&bundle)?;
    let root = spec.root().as_ref().map(|root| root.path().clone());
    let Some(rounds) = rounds else {
        return run(&spec, &root.unwrap_or_default(), groups, true).map(|(code, _)| code);
    };
    let root = root.unwrap_or_default();
    let rounds: usize = rounds.parse()?;
    let mut ours = Vec::new();
    let mut created = Vec::new();
    let mut bare = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let (_, half) = run(&spec, &root, groups, false)?;
        ours.push(start.elapsed());
        created.push(half);
        let start = Instant::now();
        Command::new("/bin/busybox").arg("true").status()?;
        bare.push(start.elapsed());
    }
    eprintln!(
        "median of {rounds}: launch {:?} (of which create {:?}), bare fork and exec {:?}",
        median(&mut ours),
        median(&mut created),
        median(&mut bare)
    );
    Ok(0)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn run(
    spec: &Spec,
    root: &Path,
    groups: &[PathBuf],
    verbose: bool,
) -> Result<(u8, Duration), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let created = create(&InitRequest {
        id: "example".into(),
        spec: spec.clone(),
        text: None,
        process_differs: false,
        filter: None,
        rootfs: Rootfs::Bind(root.into()),
        cgroup: Some(groups.to_vec()),
        user: None,
        groups: Vec::new(),
        default_home: true,
        init: false,
        die_with_caller: false,
        handed: None,
        stdio: Stdio {
            stdin: Some(rustix::stdio::stdin().try_clone_to_owned()?),
            stdout: Some(rustix::stdio::stdout().try_clone_to_owned()?),
            stderr: Some(rustix::stdio::stderr().try_clone_to_owned()?),
        },
    })?;
    if verbose {
        for warning in created.warnings() {
            eprintln!("launch: warning: {warning}");
        }
    }
    let half = start.elapsed();
    let process = created.start()?;
    let status = waitid(
        WaitId::PidFd(std::os::fd::AsFd::as_fd(&process.pidfd)),
        WaitIdOptions::EXITED,
    )?;
    let code = status
        .and_then(|status| status.exit_status())
        .unwrap_or(255);
    Ok((u8::try_from(code).unwrap_or(255), half))
}
