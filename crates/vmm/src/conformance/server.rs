//! Disks of servers. The server is `qemu-nbd`; without it the tests are skipped, and say so.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Bench, listed, tests};
use crate::NbdUri;
use crate::error::Error;
use crate::spec::{Disk, Source};

tests![
    disks_of_servers_come_and_go,
    a_server_that_comes_back_is_found_again,
    disks_of_servers_that_are_not_there_are_refused,
];

const MIB: u64 = 1 << 20;

/// A server of one image. Dropping it ends it.
struct Server {
    process: Child,
    socket: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(image: &Path, export: &str) -> Option<Server> {
        let socket = image.with_extension("sock");
        let _ = std::fs::remove_file(&socket);
        let started = Command::new("qemu-nbd")
            .args([
                "--persistent",
                "--format=raw",
                "--shared=4",
                "--export-name",
            ])
            .arg(export)
            .arg("--socket")
            .args([&socket, image])
            .stdin(Stdio::null())
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                println!("skipped: qemu-nbd can't be run: {error}; install qemu-utils");
                return None;
            }
        };
        let server = Server { process, socket };
        let deadline = Instant::now() + super::PATIENCE;
        while !server.socket.exists() {
            assert!(Instant::now() < deadline, "qemu-nbd does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(server)
    }

    fn disk(&self, serial: &str, export: &str, read_only: bool) -> Disk {
        disk(&self.socket, serial, export, read_only)
    }
}

fn disk(socket: &Path, serial: &str, export: &str, read_only: bool) -> Disk {
    let server = coracle_nbd::Server::Unix(socket.to_owned());
    let export = export.to_owned();
    Disk {
        source: Source::Nbd(NbdUri { server, export }),
        read_only,
        serial: serial.into(),
    }
}

async fn disks_of_servers_come_and_go(bench: &Bench<'_>) {
    let images = ["one", "two"].map(|name| bench.image(&format!("{name}.raw"), 9 * MIB, name));
    let [one, two] = images.each_ref().map(|image| Server::start(image, "a b/c"));
    let (Some(one), Some(two)) = (one, two) else {
        return;
    };
    let template = bench.template().await;
    let (machine, mut talk) = bench.clone(&template, bench.spec("servers")).await;
    for _ in 0..2 {
        machine
            .add_disk(one.disk("one", "a b/c", false))
            .await
            .unwrap();
        machine
            .add_disk(two.disk("two", "a b/c", true))
            .await
            .unwrap();
        for (serial, read_only) in [("one", false), ("two", true)] {
            let wanted = listed(serial, 9 * MIB, read_only);
            let found = |text: &str| text.contains(&wanted);
            talk.until("disks", found).await.unwrap();
            assert_eq!(talk.ask(&format!("read {serial}")).await.unwrap(), serial);
        }
        let again = machine.add_disk(one.disk("one", "a b/c", false)).await;
        assert!(matches!(again, Err(Error::Invalid(_))), "{again:?}");
        let grown = machine.resize_disk("one", 10 * MIB).await;
        assert!(matches!(grown, Err(Error::Unsupported(_))), "{grown:?}");
        assert_eq!(talk.ask("write one one").await.unwrap(), "ok");
        assert_eq!(talk.ask("write two changed!!").await.unwrap(), "error");
        for serial in ["one", "two"] {
            machine.remove_disk(serial).await.unwrap();
            let gone = |text: &str| !text.contains(serial);
            talk.until("disks", gone).await.unwrap();
        }
    }
    machine
        .add_disk(one.disk("one", "a b/c", false))
        .await
        .unwrap();
    let there = |text: &str| text.contains("one=");
    talk.until("disks", there).await.unwrap();
    assert_eq!(talk.ask("write one changed!!").await.unwrap(), "ok");
    let [one, two] = images.map(|image| std::fs::read(image).unwrap());
    assert!(one.starts_with(b"changed!!") && two.starts_with(b"two"));
}

async fn a_server_that_comes_back_is_found_again(bench: &Bench<'_>) {
    let image = bench.image("back.raw", 9 * MIB, "back");
    let mut server = Server::start(&image, "");
    let Some(first) = &server else {
        return;
    };
    let template = bench.template().await;
    let (machine, mut talk) = bench.clone(&template, bench.spec("back")).await;
    machine
        .add_disk(first.disk("back", "", false))
        .await
        .unwrap();
    let there = |text: &str| text.contains("back=");
    talk.until("disks", there).await.unwrap();
    for word in ["once", "twice"] {
        drop(server.take());
        server = Server::start(&image, "");
        let written = talk.ask(&format!("write back {word}")).await.unwrap();
        assert_eq!(written, "ok");
        assert!(std::fs::read(&image).unwrap().starts_with(word.as_bytes()));
    }
    // It goes though nobody serves it any more.
    drop(server);
    machine.remove_disk("back").await.unwrap();
}

async fn disks_of_servers_that_are_not_there_are_refused(bench: &Bench<'_>) {
    let image = bench.image("there.raw", MIB, "");
    let Some(server) = Server::start(&image, "there") else {
        return;
    };
    let template = bench.template().await;
    let (machine, mut talk) = bench.clone(&template, bench.spec("absent")).await;
    let nowhere = disk(&bench.dir.join("nowhere.sock"), "absent", "", false);
    let other = server.disk("absent", "another", false);
    for disk in [nowhere, other] {
        let error = machine.add_disk(disk).await.unwrap_err();
        assert!(matches!(error, Error::Server(_)), "{error}");
    }
    // One that says nothing keeps nobody waiting for long.
    let socket = bench.dir.join("silent.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let error = machine.add_disk(disk(&socket, "absent", "", false)).await;
    assert!(matches!(error, Err(Error::Timeout(_))), "{error:?}");
    let mut slot = server.disk("root", "there", true);
    assert!(machine.fill_slot(slot).await.is_err());
    slot = server.disk("absent", "there", true);
    machine.add_disk(slot).await.unwrap();
    let there = |text: &str| text.contains("absent=");
    talk.until("disks", there).await.unwrap();
}
