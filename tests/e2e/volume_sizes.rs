//! Volumes with a size (`size=`): a file system in a file, mounted by a loop device.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use coracle_tests::{Daemon, leak, wait_until};

/// Makes a volume of a size.
#[track_caller]
fn create(d: &Daemon, name: &str, size: &str) {
    let size = format!("size={size}");
    assert_eq!(d.ok(&["volume", "create", "--opt", &size, name]), name);
}

/// A daemon, where the host has loop devices.
fn daemon() -> Option<Daemon> {
    if !std::path::Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: there are no loop devices; load the module loop");
        return None;
    }
    Daemon::start()
}

/// Mount points of volumes on this host.
fn mounts(d: &Daemon) -> Vec<PathBuf> {
    leak::mounts(&d.dir().join("data/volumes"))
}

/// Loop devices of a daemon's volumes.
pub(crate) fn devices(d: &Daemon) -> usize {
    let dir = d.dir().display().to_string();
    let all = fs::read_dir("/sys/block").unwrap().flatten();
    all.filter_map(|entry| fs::read_to_string(entry.path().join("loop/backing_file")).ok())
        .filter(|path| path.contains(&dir))
        .count()
}

fn image(d: &Daemon, name: &str) -> PathBuf {
    d.dir().join("data/volumes").join(name).join("disk.ext4")
}

#[track_caller]
fn until_free(d: &Daemon) {
    wait_until("no volume is mounted", || {
        mounts(d).is_empty() && devices(d) == 0
    });
}

const FILL: &str = "dd if=/dev/zero of=/v/large bs=1M count=40 2>&1; stat -c %s /v/large";

#[test]
fn full_for_who_writes_and_given_back() {
    let Some(d) = daemon() else { return };
    create(&d, "small", "16m");
    let inspected = d.ok(&["volume", "inspect", "-f", "{{json .Options}}", "small"]);
    assert_eq!(inspected, r#"{"size":"16m"}"#);
    assert_eq!((mounts(&d), devices(&d)), (vec![], 0), "nobody uses it");
    let flags = |name| ["--name", name, "-v", "small:/v"];
    d.sleeper(&flags("one"));
    d.sleeper(&flags("two"));
    assert_eq!((mounts(&d).len(), devices(&d)), (1, 1));
    let sh = |name: &str, script: &str| d.ok(&["exec", name, "sh", "-c", script]);
    assert_eq!(sh("one", "ls /v | wc -l; stat -c '%u %a' /v"), "0\n0 755");
    let free = sh("one", "df -P -m /v | tail -1 | awk '{print $4}'");
    assert!(["16", "17"].contains(&&*free), "{free} MiB are free");
    // All of it can be written, and not a megabyte more.
    let full = sh("one", FILL);
    assert!(full.contains("No space left on device"), "{full}");
    let written: u64 = full.lines().last().unwrap().parse().unwrap();
    assert!((16 << 20..17 << 20).contains(&written), "{written}");
    let more = "dd if=/dev/zero of=/v/more bs=1M count=1 2>&1 | grep -o 'No space.*'; \
                rm /v/more; echo x >/tmp/x && echo elsewhere";
    assert_eq!(
        sh("two", more),
        "No space left on device\nelsewhere",
        "in all that use it, and nowhere else"
    );
    sh("two", "sync");
    let blocks = || fs::metadata(image(&d, "small")).unwrap().blocks() * 512;
    assert!(blocks() > 16 << 20);
    let used = d.ok(&["system", "df", "-v", "--format", "{{json .Volumes}}"]);
    assert!(
        used.contains("\"Name\":\"small\"") && used.contains("MB\""),
        "{used}"
    );
    sh("two", "rm /v/large; sync");
    wait_until("the host has its space back", || blocks() < 6 << 20);
    assert_eq!(sh("one", "echo now >/v/file; cat /v/file"), "now");
    // What one is left with is there for others, and on the host.
    let mountpoint = d.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "small"]);
    assert_eq!(
        fs::read_to_string(format!("{mountpoint}/file")).unwrap(),
        "now\n"
    );
    d.fails(1, &["volume", "rm", "small"])
        .says("volume is in use");
    d.ok(&["rm", "-f", "one"]);
    assert_eq!(sh("two", "cat /v/file"), "now");
    d.ok(&["stop", "-t", "0", "two"]);
    until_free(&d);
    d.ok(&["start", "two"]);
    assert_eq!(sh("two", "cat /v/file"), "now");
    d.ok(&["rm", "-f", "two"]);
    d.ok(&["volume", "rm", "small"]);
    until_free(&d);
    assert!(!image(&d, "small").exists());
}

#[test]
fn what_any_volume_can() {
    let Some(d) = daemon() else { return };
    // The image's content, with its owners.
    let build =
        "mkdir -p /data/sub; echo of-image >/data/sub/f; chown -R 33:7 /data; chmod 750 /data";
    d.ok(&[
        "run", "--name", "base", "--network", "none", "busybox", "sh", "-c", build,
    ]);
    d.ok(&["commit", "base", "filled"]);
    create(&d, "vol", "10m");
    let sh = |flags: &[&str], script: &str| {
        let line = [
            &["run", "--rm", "--network", "none"],
            flags,
            &["filled", "sh", "-c", script],
        ];
        d.ok(&line.concat())
    };
    let script =
        "stat -c '%u:%g %a' /data; cat /data/sub/f; grep ' /data ' /proc/mounts | cut -d' ' -f3";
    assert_eq!(sh(&["-v", "vol:/data"], script), "33:7 750\nof-image\next4");
    // A part; read-only.
    let part = "type=volume,source=vol,target=/p,volume-subpath=sub";
    assert_eq!(
        sh(&["--mount", part], "cat /p/f; echo more >/p/g"),
        "of-image"
    );
    let seen = sh(
        &["-v", "vol:/data:ro"],
        "cat /data/sub/g; touch /data/x 2>&1; true",
    );
    assert!(
        seen.starts_with("more\n") && seen.contains("Read-only"),
        "{seen}"
    );
    // With its options where it is used, and without a name.
    let mount = "type=volume,target=/data,volume-opt=size=2m";
    assert_eq!(
        sh(
            &["--mount", mount],
            "df -P -m /data | tail -1 | awk '{print $2}'"
        ),
        "2"
    );
    // A container that does not run.
    d.ok(&[
        "create", "--name", "still", "-v", "vol:/data", "filled", "true",
    ]);
    fs::write(d.dir().join("in"), "copied").unwrap();
    let own = d.dir().display().to_string();
    d.ok(&["cp", &format!("{own}/in"), "still:/data/sub/in"]);
    d.ok(&["cp", "still:/data/sub/in", &format!("{own}/out")]);
    assert_eq!(fs::read_to_string(d.dir().join("out")).unwrap(), "copied");
    let archive = format!("{own}/still.tar");
    d.ok(&["export", "-o", &archive, "still"]);
    assert!(fs::metadata(&archive).unwrap().len() > 0);
    until_free(&d);
    assert_eq!(
        sh(&["--volumes-from", "still"], "cat /data/sub/in"),
        "copied"
    );
    d.ok(&["rm", "still", "base"]);
    let pruned = d.ok(&["volume", "prune", "-f", "-a"]);
    assert!(
        pruned.contains("\nvol\n") && !pruned.contains("Total reclaimed space: 0B"),
        "{pruned}"
    );
    until_free(&d);
}

#[test]
fn daemons_come_and_go() {
    let Some(mut d) = daemon() else { return };
    create(&d, "vol", "10m");
    create(&d, "old", "10m");
    d.sleeper(&["--name", "runs", "-v", "vol:/v"]);
    d.sleeper(&["--name", "ends", "-v", "old:/v"]);
    let sh = |d: &Daemon, script: &str| d.ok(&["exec", "runs", "sh", "-c", script]);
    sh(&d, "echo kept >/v/file");
    d.ok(&["exec", "ends", "sh", "-c", "echo kept >/v/file"]);
    let pid: i32 = d.inspect("ends", "{{.State.Pid}}").parse().unwrap();
    // Killed: what runs goes on, what ended meanwhile is unmounted, and nothing is mounted twice.
    d.kill();
    leak::kill(pid, rustix::process::Signal::KILL);
    d.spawn();
    d.until("ends", "{{.State.Status}}", "exited");
    wait_until("one is mounted", || {
        (mounts(&d).len(), devices(&d)) == (1, 1)
    });
    assert_eq!(sh(&d, "cat /v/file"), "kept");
    assert_eq!(
        d.sh(&["-v", "vol:/v"], "cat /v/file; echo two >/v/file"),
        "kept"
    );
    assert_eq!(sh(&d, "cat /v/file"), "two");
    // Somebody's unmounting takes it from nobody.
    let place = mounts(&d).remove(0);
    rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(
        d.sh(&["-v", "vol:/v"], "cat /v/file; echo three >/v/file"),
        "two"
    );
    assert_eq!((sh(&d, "cat /v/file"), devices(&d)), ("three".into(), 1));
    d.crash();
    assert_eq!(sh(&d, "cat /v/file"), "three");
    assert_eq!(mounts(&d), [place], "by the next daemon");
    assert_eq!(d.sh(&["-v", "old:/v"], "cat /v/file"), "kept");
    // A volume that was removed as the daemon died.
    d.ok(&["rm", "-f", "runs", "ends"]);
    until_free(&d);
    d.sleeper(&["--name", "last", "-v", "vol:/v"]);
    let pid: i32 = d.inspect("last", "{{.State.Pid}}").parse().unwrap();
    d.kill();
    leak::kill(pid, rustix::process::Signal::KILL);
    let volumes = d.dir().join("data/volumes");
    fs::rename(volumes.join("vol"), volumes.join(".vol")).unwrap();
    d.spawn();
    wait_until("it is cleared away", || !volumes.join(".vol").exists());
    until_free(&d);
    d.ok(&["rm", "last"]);
}

#[test]
fn refused() {
    let Some(d) = daemon() else { return };
    let refused = |options: &[&str], text: &str| {
        let options = options.iter().flat_map(|option| ["-o", *option]);
        let line: Vec<_> = ["volume", "create"]
            .into_iter()
            .chain(options)
            .chain(["bad"])
            .collect();
        d.docker(&line).code(1).says(text);
    };
    refused(&["size="], "create bad: invalid size: ''");
    refused(&["size=many"], "create bad: invalid size: 'many'");
    refused(&["size=10x"], "create bad: invalid suffix: 'x'");
    refused(&["size=-1"], "create bad: invalid size: '-1'");
    refused(&["size=4k"], "a volume's is between 1m and 8t");
    refused(&["size=9t"], "a volume's is between 1m and 8t");
    refused(&["size=1g", "type=tmpfs", "device=tmpfs"], "o=size=");
    assert_eq!(d.ok(&["volume", "ls", "-q"]), "");
    create(&d, "unlimited", "0");
    d.sh(&["-v", "unlimited:/v"], "echo >/v/x");
    assert_eq!(
        (d.ok(&["volume", "ls", "-q"]), devices(&d)),
        ("unlimited".into(), 0)
    );
    // Large ones take no more of the host than is in them.
    create(&d, "large", "1t");
    assert!(fs::metadata(image(&d, "large")).unwrap().blocks() * 512 < 64 << 20);
    let free: u64 = d
        .sh(
            &["-v", "large:/v"],
            "df -P -m /v | tail -1 | awk '{print $4}'",
        )
        .parse()
        .unwrap();
    assert!(free >= 1 << 20, "{free}");
}
