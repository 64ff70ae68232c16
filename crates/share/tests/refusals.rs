//! What is refused: changes of a read-only share, and what no kernel would send.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Share, able, own_mounts, path_fd, sh};
use coracle_share::{ServeOptions, serve};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

#[test]
fn a_read_only_share_is_not_changed() {
    if !able() {
        return;
    }
    own_mounts();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), "x").unwrap();
    let mut options = ServeOptions::default();
    options.read_only = true;
    let share = Share::new(source.path(), options);
    sh(
        &share.target,
        "test $(cat f) = x
         for c in 'touch f' 'touch g' 'mkdir d' 'rm f' 'mv f g' 'ln f g' 'ln -s f g' 'mkfifo p' \
                  'chmod 600 f' 'chown 1 f' 'truncate -s 0 f' 'rm -rf .'; do
           ! $c 2>/dev/null || { echo \"$c\"; exit 1; }
         done",
    );
    share.end();
    assert_eq!(fs::read_to_string(source.path().join("f")).unwrap(), "x");
}

#[test]
fn a_single_file_is_a_share() {
    if !able() {
        return;
    }
    own_mounts();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    fs::write(&file, "one").unwrap();
    let mut options = ServeOptions::default();
    options.cache = Duration::ZERO;
    let share = Share::new(&file, options);
    assert_eq!(fs::read_to_string(&share.target).unwrap(), "one");
    fs::write(&share.target, "two and more").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "two and more");
    fs::write(&file, "three").unwrap();
    assert_eq!(fs::read_to_string(&share.target).unwrap(), "three");
    let target = share.target.display();
    sh(
        Path::new("/"),
        &format!(
            "echo four >> {target}; chmod 640 {target}; cat {target}; ! rm {target} 2>/dev/null"
        ),
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "threefour\n");
    share.end();
}

/// The other end of a server, without a kernel.
struct Hostile {
    stream: UnixStream,
    server: JoinHandle<std::io::Result<()>>,
    unique: u64,
}

impl Hostile {
    fn new(source: &Path, options: ServeOptions) -> Hostile {
        let (host, stream) = UnixStream::pair().unwrap();
        let server = tokio::spawn(serve(host, path_fd(source), options));
        Hostile {
            stream,
            server,
            unique: 0,
        }
    }

    async fn with_init(source: &Path, options: ServeOptions) -> Hostile {
        let mut hostile = Hostile::new(source, options);
        let mut init = words(&[7, 38, 1 << 20, u32::MAX, u32::MAX]);
        init.resize(64, 0);
        assert_eq!(hostile.ask(26, 1, &init).await.0, 0);
        hostile
    }

    fn message(&mut self, opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
        self.unique += 1;
        let mut message = words(&[40 + body.len() as u32, opcode]);
        message.extend(self.unique.to_ne_bytes());
        message.extend(node.to_ne_bytes());
        message.extend([0; 16]);
        message.extend(body);
        message
    }

    /// The error (negative) and the body of the reply.
    async fn ask(&mut self, opcode: u32, node: u64, body: &[u8]) -> (i32, Vec<u8>) {
        let message = self.message(opcode, node, body);
        self.stream.write_all(&message).await.unwrap();
        let (unique, error, body) = self.hear().await;
        assert_eq!(unique, self.unique);
        (error, body)
    }

    async fn hear(&mut self) -> (u64, i32, Vec<u8>) {
        let length = self.stream.read_u32_le().await.unwrap() as usize;
        let error = self.stream.read_i32_le().await.unwrap();
        let unique = self.stream.read_u64_le().await.unwrap();
        assert!((16..=(2 << 20)).contains(&length));
        let mut body = vec![0; length - 16];
        self.stream.read_exact(&mut body).await.unwrap();
        (unique, error, body)
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_ne_bytes()).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn names_that_lead_out_are_refused() {
    let outer = tempfile::tempdir().unwrap();
    let source = outer.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(outer.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink("..", source.join("up")).unwrap();
    runtime().block_on(async {
        let mut hostile = Hostile::with_init(&source, ServeOptions::default()).await;
        for name in [
            &b"..\0"[..],
            b".\0",
            b"\0",
            b"",
            b"../secret\0",
            b"up/secret\0",
            b"/etc\0",
            b"secret",
        ] {
            assert_eq!(hostile.ask(1, 1, name).await.0, -libc::EINVAL, "{name:?}");
            let mut make = words(&[0o755, 0]);
            make.extend(name);
            assert_eq!(hostile.ask(9, 1, &make).await.0, -libc::EINVAL, "{name:?}");
            let mut rename = longs(&[1]);
            rename.extend(b"up\0");
            rename.extend(name);
            assert_eq!(
                hostile.ask(12, 1, &rename).await.0,
                -libc::EINVAL,
                "{name:?}"
            );
            assert_eq!(hostile.ask(10, 1, name).await.0, -libc::EINVAL, "{name:?}");
            assert_eq!(hostile.ask(11, 1, name).await.0, -libc::EINVAL, "{name:?}");
        }
        let long = [vec![b'a'; 256], vec![0]].concat();
        assert_eq!(hostile.ask(1, 1, &long).await.0, -libc::ENAMETOOLONG);
        // A link is no directory, and can't be opened; nor made to be one by creating "over" it.
        let (error, entry) = hostile.ask(1, 1, b"up\0").await;
        assert_eq!(error, 0);
        let link = u64::from_ne_bytes(entry[..8].try_into().unwrap());
        assert_eq!(hostile.ask(1, link, b"secret\0").await.0, -libc::ENOTDIR);
        assert_eq!(
            hostile.ask(27, link, &words(&[0, 0])).await.0,
            -libc::ENOTDIR
        );
        assert_eq!(hostile.ask(14, link, &words(&[2, 0])).await.0, -libc::ENXIO);
        let mut create = words(&[0o102, 0o644, 0, 0]);
        create.extend(b"up\0");
        assert_eq!(hostile.ask(35, 1, &create).await.0, -libc::ENXIO);
        // Nodes and handles that never were.
        for node in [0, 99, u64::MAX] {
            assert_eq!(hostile.ask(1, node, b"f\0").await.0, -libc::ESTALE);
            assert_eq!(hostile.ask(3, node, &longs(&[0, 0])).await.0, -libc::ESTALE);
        }
        let read = [longs(&[77, 0]), words(&[u32::MAX, 0, 0, 0, 0, 0])].concat();
        assert_eq!(hostile.ask(15, 1, &read).await.0, -libc::EBADF);
        assert_eq!(
            hostile.ask(18, 1, &longs(&[u64::MAX, 0, 0])).await.0,
            -libc::EBADF
        );
        // The root is never forgotten; counts may be any.
        let forget = hostile.message(2, 1, &longs(&[u64::MAX]));
        hostile.stream.write_all(&forget).await.unwrap();
        let many = [words(&[u32::MAX, 0]), longs(&[1, u64::MAX, link, u64::MAX])].concat();
        let many = hostile.message(42, 0, &many);
        hostile.stream.write_all(&many).await.unwrap();
        assert_eq!(hostile.ask(3, 1, &longs(&[0, 0])).await.0, 0);
        assert_eq!(hostile.ask(3, link, &longs(&[0, 0])).await.0, -libc::ESTALE);
        drop(hostile.stream);
        hostile.server.await.unwrap().unwrap();
    });
}

#[test]
fn a_read_only_server_refuses_whatever_the_guest_mounted() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), "x").unwrap();
    runtime().block_on(async {
        let mut options = ServeOptions::default();
        options.read_only = true;
        let mut hostile = Hostile::with_init(source.path(), options).await;
        let entry = hostile.ask(1, 1, b"f\0").await.1;
        let file = u64::from_ne_bytes(entry[..8].try_into().unwrap());
        let name = |head: Vec<u8>| [head, b"g\0h\0".to_vec()].concat();
        let requests: [(u32, u64, Vec<u8>); 15] = [
            (4, file, vec![0; 88]),
            (6, 1, name(vec![])),
            (8, 1, name(words(&[0o100644, 0, 0, 0]))),
            (9, 1, name(words(&[0, 0]))),
            (10, 1, b"f\0".to_vec()),
            (11, 1, b"f\0".to_vec()),
            (12, 1, name(longs(&[1]))),
            (45, 1, name(longs(&[1, 0]))),
            (13, 1, name(longs(&[file]))),
            (14, file, words(&[1, 0])),
            (14, file, words(&[0o1000, 0])),
            (35, 1, name(words(&[0, 0, 0, 0]))),
            (51, 1, name(words(&[2, 0, 0, 0]))),
            (
                21,
                file,
                [words(&[1, 0, 0, 0]), b"user.a\0v".to_vec()].concat(),
            ),
            (24, file, b"user.a\0".to_vec()),
        ];
        for (opcode, node, body) in requests {
            assert_eq!(
                hostile.ask(opcode, node, &body).await.0,
                -libc::EROFS,
                "{opcode}"
            );
        }
    });
    assert_eq!(fs::read_dir(source.path()).unwrap().count(), 1);
}

#[test]
fn what_is_no_message_ends_the_server() {
    let source = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        for length in [0, 39, (1 << 20) + (16 << 10) + 1, u32::MAX] {
            let mut hostile = Hostile::new(source.path(), ServeOptions::default());
            let mut message = words(&[length]);
            message.resize(40, 0);
            hostile.stream.write_all(&message).await.unwrap();
            let error = hostile.server.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        }
        for length in [1, 39, 50] {
            let mut hostile = Hostile::new(source.path(), ServeOptions::default());
            let message = hostile.message(1, 1, &[0; 20]);
            hostile.stream.write_all(&message[..length]).await.unwrap();
            drop(hostile.stream);
            let error = hostile.server.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        }
        // Nothing goes before INIT, and INIT goes once.
        let mut hostile = Hostile::new(source.path(), ServeOptions::default());
        assert_eq!(hostile.ask(3, 1, &longs(&[0, 0])).await.0, -libc::EIO);
        assert_eq!(
            hostile.ask(26, 1, &words(&[6, 1, 0, 0])).await.0,
            -libc::EPROTO
        );
        let mut hostile = Hostile::with_init(source.path(), ServeOptions::default()).await;
        assert_eq!(
            hostile.ask(26, 1, &words(&[7, 38, 0, 0])).await.0,
            -libc::EINVAL
        );
        assert_eq!(hostile.ask(9999, 1, &[]).await.0, -libc::ENOSYS);
    });
}

#[test]
fn what_the_guest_may_hold_is_bounded() {
    let source = tempfile::tempdir().unwrap();
    for i in 0..100 {
        fs::write(source.path().join(format!("{i}")), "").unwrap();
    }
    runtime().block_on(async {
        let mut options = ServeOptions::default();
        (options.max_nodes, options.max_files) = (50, 32);
        let mut hostile = Hostile::with_init(source.path(), options).await;
        let mut errors = Vec::new();
        for i in 0..100 {
            errors.push(hostile.ask(1, 1, format!("{i}\0").as_bytes()).await.0);
        }
        assert_eq!(errors.iter().filter(|&&error| error == 0).count(), 49);
        assert!(
            errors
                .iter()
                .all(|error| [0, -libc::ENFILE].contains(error))
        );
        let open = async |hostile: &mut Hostile| hostile.ask(14, 2, &words(&[0, 0])).await.0;
        for _ in 0..16 {
            assert_eq!(open(&mut hostile).await, 0);
        }
        assert_eq!(open(&mut hostile).await, -libc::ENFILE);
    });
}

/// Any bytes as the body of any request: a reply comes, and nothing else happens.
#[test]
fn random_requests_are_answered() {
    let source = tempfile::tempdir().unwrap();
    let inside = source.path().join("source");
    fs::create_dir_all(inside.join("d")).unwrap();
    fs::write(inside.join("f"), "x").unwrap();
    fs::write(source.path().join("outside"), "untouched").unwrap();
    let number = prop_oneof![0u32..8, Just(u32::MAX), any::<u32>()];
    let name = prop_oneof![
        Just("f\0"),
        Just("d\0"),
        Just("..\0"),
        Just("f\0g\0"),
        Just("../x\0")
    ];
    let body = (
        prop::collection::vec(number, 0..24),
        name,
        prop::collection::vec(any::<u8>(), 0..20),
    )
        .prop_map(|(numbers, name, tail)| [words(&numbers), name.into(), tail].concat());
    let request = (prop_oneof![1u32..54, any::<u32>()], 0u64..6, body);
    let requests = prop::collection::vec(request, 1..60);
    let runtime = runtime();
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&requests, |requests| {
        runtime.block_on(async {
            let mut options = ServeOptions::default();
            options.devices = false;
            let mut hostile = Hostile::with_init(&inside, options).await;
            for (opcode, node, body) in requests {
                // These have no reply, or not yet.
                if matches!(opcode, 2 | 36 | 42 | 33) {
                    let message = hostile.message(opcode, node, &body);
                    hostile.stream.write_all(&message).await.unwrap();
                    if opcode == 33 {
                        let interrupt = longs(&[hostile.unique]);
                        let message = hostile.message(36, 0, &interrupt);
                        hostile.stream.write_all(&message).await.unwrap();
                        hostile.hear().await;
                    }
                } else {
                    hostile.ask(opcode, node, &body).await;
                }
            }
            drop(hostile.stream);
            let _ = hostile.server.await.unwrap();
        });
        Ok(())
    });
    result.unwrap();
    assert_eq!(
        fs::read_to_string(source.path().join("outside")).unwrap(),
        "untouched"
    );
    assert_eq!(fs::read_dir(source.path()).unwrap().count(), 2);
}
