//! Disks and network cards.

use std::os::fd::OwnedFd;

use super::{Bench, listed, tests};
use crate::error::Error;
use crate::spec::{Disk, MacAddr, Nic, Slot};

tests![
    a_cold_machine_s_disks_have_their_serials_and_sizes,
    a_clone_finds_its_own_disks_in_the_slots,
    slots_are_filled_while_it_runs,
    disks_come_and_go,
    disks_grow,
    network_cards_come_and_go,
    there_are_eight_places,
];

const MIB: u64 = 1 << 20;

async fn a_cold_machine_s_disks_have_their_serials_and_sizes(bench: &Bench<'_>) {
    let mut spec = bench.spec("colddisks");
    spec.root = Some(bench.disk("root", 3 * MIB, "the root", true));
    spec.layer = Some(bench.disk("layer", 5 * MIB, "the layer", false));
    spec.disks = vec![bench.disk("third", 7 * MIB, "the third", true)];
    let (_machine, mut talk) = bench.boot(spec).await;
    for (serial, bytes, read_only) in [
        ("root", 3 * MIB, true),
        ("layer", 5 * MIB, false),
        ("third", 7 * MIB, true),
    ] {
        let wanted = listed(serial, bytes, read_only);
        let found = |text: &str| text.contains(&wanted);
        talk.until("disks", found).await.unwrap();
        let read = talk.ask(&format!("read {serial}")).await.unwrap();
        assert_eq!(read, format!("the {serial}"));
    }
}

async fn a_clone_finds_its_own_disks_in_the_slots(bench: &Bench<'_>) {
    let template = bench.template().await;
    let mut spec = bench.spec("slots");
    spec.root = Some(bench.disk("root", 3 * MIB, "the root", true));
    spec.layer = Some(bench.disk("layer", 64 * MIB, "the layer", false));
    let (machine, mut talk) = bench.clone(&template, spec).await;
    for serial in ["root", "layer"] {
        let read = talk.ask(&format!("read {serial}")).await.unwrap();
        assert_eq!(read, format!("the {serial}"));
    }
    assert_eq!(talk.ask("write layer changed!!").await.unwrap(), "ok");
    assert_eq!(talk.ask("write root changed!!").await.unwrap(), "error");
    let image = std::fs::read(bench.dir.join("layer.img")).unwrap();
    assert!(image.starts_with(b"changed!!"));
    machine.resize_disk("layer", 80 * MIB).await.unwrap();
    let wanted = listed("layer", 80 * MIB, false);
    talk.until("disks", |text| text.contains(&wanted))
        .await
        .unwrap();
    assert!(machine.remove_disk("layer").await.is_err());
    assert!(machine.resize_disk("root", 80 * MIB).await.is_err());
    machine.kill().await.unwrap();
    // Another clone's slots are empty, and as large as ever.
    let (_machine, mut talk) = bench.clone(&template, bench.spec("empty")).await;
    let disks = talk.ask("disks").await.unwrap();
    assert!(disks.contains(&listed("layer", Slot::CLAIMED, false)));
    assert!(disks.contains(&listed("root", Slot::CLAIMED, true)));
}

async fn slots_are_filled_while_it_runs(bench: &Bench<'_>) {
    let template = bench.template().await;
    let mut spec = bench.spec("filled");
    spec.root = Some(bench.disk("root", MIB, "a root", true));
    spec.layer = Some(bench.disk("layer", MIB, "a layer", false));
    spec.console = Default::default();
    let (machine, mut talk) = bench.clone(&template, spec).await;
    assert_eq!(talk.ask("read root").await.unwrap(), "a root");
    assert_eq!(talk.ask("read layer").await.unwrap(), "a layer");
    let stranger = bench.disk("stranger", MIB, "", false);
    assert!(machine.fill_slot(stranger).await.is_err());
    for (serial, text, read_only) in [
        ("root", "the real root", true),
        ("layer", "the real layer", false),
    ] {
        let image = bench.image(&format!("filled-{serial}.img"), 64 * MIB, text);
        let disk = || Disk::open(&image, serial, read_only).unwrap();
        machine.fill_slot(disk()).await.unwrap();
        let read = talk.ask(&format!("read {serial}")).await.unwrap();
        assert_eq!(read, text);
        let again = machine.fill_slot(disk()).await.unwrap_err();
        assert!(matches!(again, Error::Invalid(_)), "{again}");
    }
    assert_eq!(talk.ask("write layer changed!!").await.unwrap(), "ok");
    let image = std::fs::read(bench.dir.join("filled-layer.img")).unwrap();
    assert!(image.starts_with(b"changed!!") && image.len() as u64 == 64 * MIB);
    machine.resize_disk("layer", 80 * MIB).await.unwrap();
    let wanted = listed("layer", 80 * MIB, false);
    talk.until("disks", |text| text.contains(&wanted))
        .await
        .unwrap();
    let console = bench.dir.join("told later");
    machine.log_console(&console).unwrap();
    assert!(console.exists());
}

async fn disks_come_and_go(bench: &Bench<'_>) {
    let template = bench.template().await;
    let (machine, mut talk) = bench.clone(&template, bench.spec("disks")).await;
    for round in 0..3 {
        let name = format!("data-{round}");
        let disk = bench.disk(&name, 9 * MIB, "some data", false);
        machine.add_disk(disk).await.unwrap();
        let wanted = listed(&name, 9 * MIB, false);
        talk.until("disks", |text| text.contains(&wanted))
            .await
            .unwrap();
        let read = talk.ask(&format!("read {name}")).await.unwrap();
        assert_eq!(read, "some data");
        let again = bench.disk(&name, MIB, "", false);
        let error = machine.add_disk(again).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        machine.remove_disk(&name).await.unwrap();
        let gone = |text: &str| !text.contains(&name);
        talk.until("disks", gone).await.unwrap();
    }
    let error = machine.remove_disk("data-1").await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    for bad in ["", "a,b", "layer", "longer-than-twenty-characters"] {
        let image = bench.image("bad.img", MIB, "");
        let mut disk = crate::Disk::open(&image, "fine", false).unwrap();
        disk.serial = bad.into();
        assert!(machine.add_disk(disk).await.is_err(), "{bad}");
    }
}

async fn disks_grow(bench: &Bench<'_>) {
    let template = bench.template().await;
    let (machine, mut talk) = bench.clone(&template, bench.spec("grow")).await;
    let disk = bench.disk("grows", 2 * MIB, "", false);
    machine.add_disk(disk).await.unwrap();
    machine.resize_disk("grows", 6 * MIB).await.unwrap();
    let wanted = listed("grows", 6 * MIB, false);
    talk.until("disks", |text| text.contains(&wanted))
        .await
        .unwrap();
    for bytes in [MIB, 7 * MIB + 1] {
        let error = machine.resize_disk("grows", bytes).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
    assert!(machine.resize_disk("other", 8 * MIB).await.is_err());
}

/// A tap of a network namespace that only this thread's descriptor keeps.
fn tap() -> Option<OwnedFd> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a tap needs root");
        return None;
    }
    let made = std::thread::spawn(|| {
        crate::sys::unshare(crate::sys::NEWNET)?;
        crate::sys::make_tap("tap0")
    });
    match made.join().unwrap() {
        Ok(tap) => Some(tap),
        Err(error) => {
            println!("skipped: no tap can be made here: {error}");
            None
        }
    }
}

async fn network_cards_come_and_go(bench: &Bench<'_>) {
    let (Some(first), Some(second)) = (tap(), tap()) else {
        return;
    };
    let template = bench.template().await;
    let macs = [1, 2].map(|last| MacAddr([2, 0, 0, 0, 0, last]));
    let mut spec = bench.spec("nics");
    spec.nics = vec![Nic {
        tap: first,
        mac: macs[0],
    }];
    let (machine, mut talk) = bench.clone(&template, spec).await;
    machine
        .add_nic(Nic {
            tap: second,
            mac: macs[1],
        })
        .await
        .unwrap();
    for mac in macs {
        let mac = mac.to_string();
        talk.until("nics", |text| text.contains(&mac))
            .await
            .unwrap();
    }
    machine.remove_nic(macs[0]).await.unwrap();
    let gone = macs[0].to_string();
    talk.until("nics", |text| !text.contains(&gone))
        .await
        .unwrap();
    assert!(machine.remove_nic(macs[0]).await.is_err());
    // What is no tap is refused, and its place stays free.
    let file = bench.image("notap", 1, "");
    let nic = Nic {
        tap: std::fs::File::open(file).unwrap().into(),
        mac: macs[0],
    };
    assert!(machine.add_nic(nic).await.is_err());
    assert_eq!(talk.ask("ping").await.unwrap(), "pong");
}

async fn there_are_eight_places(bench: &Bench<'_>) {
    let template = bench.template().await;
    let (machine, mut talk) = bench.clone(&template, bench.spec("eight")).await;
    let name = |number: u32| format!("disk{number}");
    for number in 0..8 {
        let disk = bench.disk(&name(number), MIB, "", true);
        machine.add_disk(disk).await.unwrap();
    }
    let disk = bench.disk(&name(8), MIB, "", true);
    let error = machine.add_disk(disk).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    let all = |text: &str| (0..8).all(|number| text.contains(&name(number)));
    talk.until("disks", all).await.unwrap();
    machine.remove_disk("disk3").await.unwrap();
    let disk = bench.disk(&name(8), MIB, "", true);
    machine.add_disk(disk).await.unwrap();
    talk.until("disks", |text| text.contains("disk8"))
        .await
        .unwrap();
}
