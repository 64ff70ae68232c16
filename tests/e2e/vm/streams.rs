//! Standard streams, attach and logs.

use std::process::Command;
use std::time::Duration;

use coracle_tests::{Daemon, output, wait_until};

use super::{Guest, cases, run};

#[test]
fn streams() {
    run(cases![
        process_stdin, large_stdin_input, stdin_very_large, exec_large_stdin_input,
        stdin_explicit_close, stdin_binary_data, stdin_multiple_chunks,
        container_use_init_with_stdin, container_test_large_stdio_ingest,
        multiple_concurrent_processes_with_output_stress, container_attach, container_logs_follow,
        container_bootlog,
    ]);
}

/// Bytes of all values, that no compression makes less of.
fn noise(count: u32) -> Vec<u8> {
    (0..count)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

#[track_caller]
fn cat(d: &Daemon, flags: &[&str], data: &[u8]) {
    let line = [
        &["run", "--rm", "-i", "--network", "none"],
        flags,
        &["busybox", "cat"],
    ];
    let given = d.docker_in(&line.concat(), data).code(0);
    assert!(
        given.bytes == data,
        "{} of {}",
        given.bytes.len(),
        data.len()
    );
}

fn process_stdin(d: &Daemon) {
    cat(d, &[], b"hello from outside");
}

fn large_stdin_input(d: &Daemon) {
    cat(d, &[], &noise(3_000_000));
}

fn stdin_very_large(d: &Daemon) {
    let data = noise(32_000_000);
    let line = [
        "run", "--rm", "-i", "--network", "none", "busybox", "md5sum",
    ];
    let given = d.docker_in(&line, &data).code(0);
    let own = output::run(&mut Command::new("md5sum"), &data).code(0);
    assert_eq!(given.stdout, own.stdout);
}

fn exec_large_stdin_input(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    let data = noise(2_000_000);
    let given = d.docker_in(&["exec", "-i", &guest, "cat"], &data).code(0);
    assert!(
        given.bytes == data,
        "{} of {}",
        given.bytes.len(),
        data.len()
    );
}

fn stdin_explicit_close(d: &Daemon) {
    let line = [
        "run", "--rm", "-i", "--network", "none", "busybox", "sh", "-c",
    ];
    let script = "cat >/dev/null; echo closed; exit 4";
    let ended = d.docker_in(&[&line[..], &[script]].concat(), b"");
    assert_eq!((ended.code, ended.stdout.as_str()), (4, "closed\n"));
    // What is not asked for its input has none.
    assert_eq!(d.sh(&[], "cat; echo end"), "end");
}

fn stdin_binary_data(d: &Daemon) {
    let data: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    cat(d, &[], &data);
}

fn stdin_multiple_chunks(d: &Daemon) {
    use std::io::Write;
    use std::process::Stdio;
    let line = ["run", "--rm", "-i", "--network", "none", "busybox", "cat"];
    let mut command = d.docker_command(&line);
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = streams.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for number in 0..5 {
        writeln!(stdin, "chunk {number}").unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(stdin);
    let ended = output::finish(child, line.join(" "), Vec::new());
    assert_eq!(ended.ok(), "chunk 0\nchunk 1\nchunk 2\nchunk 3\nchunk 4");
}

fn container_use_init_with_stdin(d: &Daemon) {
    cat(d, &["--init"], b"through init");
}

fn container_test_large_stdio_ingest(d: &Daemon) {
    let script = "yes 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde | \
                  head -c 8388608; echo done >&2";
    let line = [
        "run", "--rm", "--network", "none", "busybox", "sh", "-c", script,
    ];
    let said = d.docker(&line).code(0);
    assert_eq!(
        (said.bytes.len(), said.stderr.as_str()),
        (8 << 20, "done\n")
    );
    assert!(said.bytes.chunks(64).all(|line| line.ends_with(b"cde\n")));
}

fn multiple_concurrent_processes_with_output_stress(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let guest = &guest;
            scope.spawn(move || {
                let script = format!("yes {number} | head -c 400000");
                let said = d.docker(&["exec", guest, "sh", "-c", &script]).code(0);
                assert_eq!(said.bytes.len(), 400_000);
                assert!(said.stdout.lines().all(|line| line == number.to_string()));
            });
        }
    });
}

fn container_attach(d: &Daemon) {
    let line = ["create", "-i", "--network", "none", "busybox", "sh", "-c"];
    let script = "read line; echo got $line; echo err >&2; exit 6";
    let guest = Guest::of(d, d.ok(&[&line[..], &[script]].concat()));
    let said = d.docker_in(&["start", "-ai", &guest], b"words\n");
    assert_eq!(said.code, 6, "{said}");
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("got words\n", "err\n")
    );
}

fn container_logs_follow(d: &Daemon) {
    let script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done; echo bad >&2";
    let guest = Guest::sh(d, &["--network", "none"], script);
    let said = d.docker(&["logs", "-f", &guest]).code(0);
    assert_eq!(said.stdout, "line 1\nline 2\nline 3\nline 4\nline 5\n");
    assert_eq!(said.stderr, "bad\n");
}

fn container_bootlog(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    let path = format!("data/containers/{}/boot.log", &*guest);
    let path = d.dir().join(path);
    wait_until("there is a log", || path.exists());
}
