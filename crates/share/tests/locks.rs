//! Locks: within a guest, between guests, and with the host.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Share, able, own_mounts, sh};
use coracle_share::ServeOptions;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap()
}

/// Two shares of one directory, as two guests would have it.
fn two() -> (tempfile::TempDir, Share, Share) {
    own_mounts();
    let source = tempfile::tempdir().unwrap();
    let one = Share::new(source.path(), ServeOptions::default());
    let two = Share::new(source.path(), ServeOptions::default());
    (source, one, two)
}

#[test]
fn flock_holds_everywhere() {
    if !able() {
        return;
    }
    let (_source, one, two) = two();
    let (a, b, c) = (
        open(&one.at("f")),
        open(&two.at("f")),
        open(&one.on_host("f")),
    );
    let again = open(&one.at("f"));
    flock(&a, FlockOperation::LockExclusive).unwrap();
    for other in [&again, &b, &c] {
        assert_eq!(
            flock(other, FlockOperation::NonBlockingLockShared),
            Err(Errno::AGAIN)
        );
    }
    flock(&a, FlockOperation::LockShared).unwrap();
    flock(&b, FlockOperation::NonBlockingLockShared).unwrap();
    assert_eq!(
        flock(&c, FlockOperation::NonBlockingLockExclusive),
        Err(Errno::AGAIN)
    );
    drop(b);
    flock(&a, FlockOperation::Unlock).unwrap();
    retry(|| flock(&c, FlockOperation::NonBlockingLockExclusive).is_ok());
    // One waits for another's close, on the other guest and here.
    let path = two.at("f");
    let waiter = std::thread::spawn(move || flock(open(&path), FlockOperation::LockExclusive));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiter.is_finished());
    drop(c);
    waiter.join().unwrap().unwrap();
    drop((a, again));
    one.end();
    two.end();
}

/// Closing is seen a moment later.
fn retry(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// fcntl(2) locks of another process: perl's fcntl, told by lines what to do.
struct Process(
    std::process::Child,
    std::io::BufReader<std::process::ChildStdout>,
);

const SCRIPT: &str = r#"use Fcntl qw(:DEFAULT :flock); $| = 1;
open(my $f, '+<', $ARGV[0]) or die; my %t = (r => F_RDLCK, w => F_WRLCK, u => F_UNLCK);
$SIG{ALRM} = sub {};
while (<STDIN>) {
    my ($how, $type, $start, $len) = split;
    if ($how eq 'close') { open(my $g, '<', $ARGV[0]); close($g); print "ok\n"; next }
    if ($how eq 'alarm') { require POSIX;
        POSIX::sigaction(POSIX::SIGALRM(), POSIX::SigAction->new(sub {})); alarm(1); next }
    my $lock = pack('s s x4 q q i x4', $t{$type}, 0, $start, $len, 0);
    my $cmd = $how eq 'get' ? F_GETLK : $how eq 'wait' ? F_SETLKW : F_SETLK;
    if (fcntl($f, $cmd, $lock)) {
        my ($t, $w, $s, $l, $p) = unpack('s s x4 q q i x4', $lock);
        print $how eq 'get' ? "$t $s $l $p\n" : "ok\n";
    } else { print $!{EINTR} ? "intr\n" : $!{EAGAIN} ? "again\n" : "error $!\n" }
}"#;

impl Process {
    fn new(path: &Path) -> Process {
        let mut child = Command::new("perl")
            .args(["-e", SCRIPT])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        Process(child, out)
    }

    fn tell(&mut self, line: &str) {
        use std::io::Write as _;
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn hear(&mut self) -> String {
        use std::io::BufRead as _;
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim().into()
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn ranges_are_locked_between_processes_guests_and_the_host() {
    if !able() {
        return;
    }
    let (_source, one, two) = two();
    fs::write(one.at("f"), "0123456789").unwrap();
    let mut a = Process::new(&one.at("f"));
    let mut b = Process::new(&one.at("f"));
    let mut other = Process::new(&two.at("f"));
    let mut host = Process::new(&one.on_host("f"));
    assert_eq!(a.ask("set w 2 3"), "ok");
    for process in [&mut b, &mut other, &mut host] {
        assert_eq!(process.ask("set r 4 1"), "again");
        assert_eq!(process.ask("set w 0 2"), "ok");
        assert_eq!(process.ask("set u 0 2"), "ok");
        assert_eq!(process.ask("set r 5 0"), "ok");
    }
    // The holder is known within the guest; b and a are its only ones.
    assert_eq!(b.ask("get w 0 5"), format!("1 2 3 {}", a.0.id()));
    assert!(other.ask("get w 0 5").starts_with("1 2 3 "));
    assert_eq!(a.ask("set w 2 8"), "again");
    // Any close of the file by the process gives its locks up, and only its own.
    assert_eq!(a.ask("close"), "ok");
    assert_eq!(b.ask("set w 2 3"), "ok");
    assert_eq!(a.ask("set r 2 1"), "again");
    drop(b);
    assert_eq!(a.ask("wait r 2 1"), "ok");
    drop((a, other, host));
    one.end();
    two.end();
}

#[test]
fn who_waits_is_served_and_may_be_interrupted() {
    if !able() {
        return;
    }
    let (_source, one, two) = two();
    fs::write(one.at("f"), "0123456789").unwrap();
    let mut holder = Process::new(&one.at("f"));
    assert_eq!(holder.ask("set w 0 0"), "ok");
    // More wait than there are threads, and everything else goes on.
    let mut waiters: Vec<_> = (0..20).map(|_| Process::new(&one.at("f"))).collect();
    for waiter in &mut waiters {
        waiter.tell("wait w 0 1");
    }
    let mut far = Process::new(&two.at("f"));
    far.tell("wait w 0 1");
    std::thread::sleep(Duration::from_millis(200));
    sh(
        &one.target,
        "for i in $(seq 20); do echo $i > g$i; done; rm g*",
    );
    let mut hasty = Process::new(&one.at("f"));
    hasty.tell("alarm");
    assert_eq!(hasty.ask("wait w 0 1"), "intr");
    assert_eq!(holder.ask("set u 0 0"), "ok");
    let turn = |process: &mut Process| {
        assert_eq!(process.hear(), "ok");
        assert_eq!(process.ask("set u 0 0"), "ok");
    };
    // Whoever gets it gives it back: all come to it only if it goes round.
    drop(hasty);
    std::thread::scope(|scope| {
        for waiter in waiters.iter_mut().chain([&mut far]) {
            scope.spawn(|| {
                assert_eq!(waiter.hear(), "ok");
                assert_eq!(waiter.ask("set u 0 0"), "ok");
            });
        }
    });
    assert_eq!(far.ask("set w 0 0"), "ok");
    holder.tell("wait w 0 0");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(far.ask("set u 0 0"), "ok");
    turn(&mut holder);
    drop((holder, waiters, far));
    one.end();
    two.end();
}

#[test]
fn a_share_that_ends_gives_its_locks_up() {
    if !able() {
        return;
    }
    let (_source, one, two) = two();
    let mine = open(&one.at("f"));
    flock(&mine, FlockOperation::LockExclusive).unwrap();
    let yours = open(&two.at("f"));
    assert_eq!(
        flock(&yours, FlockOperation::NonBlockingLockExclusive),
        Err(Errno::AGAIN)
    );
    // The machine is gone: its stream ends, whatever it had open.
    one.relay.abort();
    one.runtime.block_on(one.server).unwrap().unwrap();
    retry(|| flock(&yours, FlockOperation::NonBlockingLockExclusive).is_ok());
    // SAFETY: a write through a descriptor that this test owns.
    let written = unsafe { libc::write(mine.as_raw_fd(), b"x".as_ptr().cast(), 1) };
    assert_eq!(
        (written, std::io::Error::last_os_error().raw_os_error()),
        (-1, Some(libc::ENOTCONN))
    );
    drop((mine, yours));
    rustix::mount::unmount(&one.target, rustix::mount::UnmountFlags::DETACH).unwrap();
    two.end();
}
