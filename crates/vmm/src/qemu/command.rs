//! QEMU's command line: the one place that knows which devices a machine has.
//!
//! Machines of one shape differ in descriptors, names and the generation only: what is in
//! [`shape`] must be equal for a template and its clones, and is part of the template's key.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::helper::FIRST_FD;
use crate::helper::filter::{RAM_PATH, Ram};
use crate::qemu::arch::Board;
use crate::spec::{Accelerator, Generation, ROOM, Shape, Slot};

/// How many disks and cards can be plugged in.
pub(crate) const PORTS: usize = 8;

/// The name of a port.
pub(crate) fn port(number: usize) -> String {
    format!("port{number}")
}

/// The name of a disk's node and device.
pub(crate) fn disk_id(serial: &str) -> String {
    format!("disk-{serial}")
}

/// A command line, with the descriptors that it names.
#[derive(Debug)]
pub(crate) struct CommandLine {
    pub(crate) args: Vec<String>,
    /// Found by QEMU from [`FIRST_FD`] up.
    pub(crate) fds: Vec<OwnedFd>,
}

impl CommandLine {
    fn new(program: &str) -> CommandLine {
        CommandLine {
            args: vec![program.into()],
            fds: Vec::new(),
        }
    }

    fn option(&mut self, option: &str, value: impl Into<String>) {
        self.args.extend([option.into(), value.into()]);
    }

    /// Hands a descriptor on; its number in QEMU.
    pub(crate) fn inherit(&mut self, fd: OwnedFd) -> usize {
        self.fds.push(fd);
        self.fds.len() - 1 + FIRST_FD as usize
    }

    /// Hands a descriptor on; the path by which QEMU opens it.
    fn fd_set(&mut self, fd: OwnedFd) -> String {
        let number = self.inherit(fd);
        self.option("-add-fd", format!("fd={number},set={number}"));
        format!("/dev/fdset/{number}")
    }
}

/// What a machine is started with.
#[derive(Debug)]
pub(crate) struct Parts<'s> {
    pub(crate) program: &'s Path,
    pub(crate) id: &'s str,
    pub(crate) shape: &'s Shape,
    pub(crate) ram: Ram,
    /// What QEMU is told of the memory's place.
    pub(crate) generation: Generation,
    /// Its control channel.
    pub(crate) control: OwnedFd,
    /// The guest's port.
    pub(crate) agent: OwnedFd,
    /// Where the console is written to.
    pub(crate) console: OwnedFd,
    /// The disks in the slots, in their order.
    pub(crate) slots: [Option<OwnedFd>; 2],
    /// Whether it continues a template rather than boots a kernel.
    pub(crate) incoming: bool,
}

/// Writes the command line.
pub(crate) fn build(parts: Parts<'_>) -> Result<CommandLine> {
    let mut line = CommandLine::new(text(parts.program)?);
    let shape = parts.shape;
    line.option("-name", format!("{},debug-threads=off", parts.id));
    line.args
        .extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    line.option("-display", "none");
    line.option(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
    let size = shape.memory;
    match parts.ram {
        Ram::Anonymous => line.option("-object", format!("memory-backend-ram,id=ram,size={size}")),
        shared => {
            let share = if shared == Ram::Shared { "on" } else { "off" };
            line.option(
                "-object",
                format!("memory-backend-file,id=ram,size={size},mem-path={RAM_PATH},share={share}"),
            );
        }
    }
    let control = line.inherit(parts.control);
    line.option("-chardev", format!("socket,id=control,fd={control}"));
    line.option("-mon", "chardev=control,mode=control");
    let console = line.fd_set(parts.console);
    line.option(
        "-chardev",
        format!("file,id=console,path={console},append=on"),
    );
    line.option("-serial", "chardev:console");
    let agent = line.inherit(parts.agent);
    line.option("-chardev", format!("socket,id=agent,fd={agent}"));
    for (slot, file) in Slot::ALL.into_iter().zip(parts.slots) {
        let node = slot_node(&mut line, slot, file);
        line.option("-blockdev", node);
    }
    line.args.extend(self::shape(shape));
    if Board::of(shape.arch).generation {
        line.option("-device", format!("vmgenid,guid={}", parts.generation));
    }
    if parts.incoming {
        line.option("-incoming", "defer");
    } else {
        line.option("-kernel", text(&shape.kernel)?);
        line.option("-initrd", text(&shape.initrd)?);
        line.option("-append", shape.kernel_args.join(" "));
    }
    Ok(line)
}

/// The machine and its devices: what the guest sees, and so what must be the same in a clone.
pub(crate) fn shape(shape: &Shape) -> Vec<String> {
    let mut args = Vec::new();
    let mut option = |option: &str, value: String| args.extend([option.to_owned(), value]);
    let (accelerator, board) = (shape.accelerator, Board::of(shape.arch));
    option(
        "-machine",
        format!(
            "{},memory-backend=ram,dump-guest-core=off,mem-merge=off",
            board.machine
        ),
    );
    let limit = match accelerator {
        Accelerator::Tcg => format!(",tb-size={}", shape.code_cache >> 20),
        Accelerator::Kvm => String::new(),
    };
    option("-accel", format!("{accelerator}{limit}"));
    option("-cpu", board.cpu(accelerator).into());
    option("-smp", shape.cpus.to_string());
    // With addresses for memory that comes later.
    let most = (shape.memory + ROOM) >> 20;
    option("-m", format!("{}M,maxmem={most}M", shape.memory >> 20));
    // At fixed places, so that none moves when another comes or goes.
    option(
        "-device",
        "virtio-serial-pci,id=serial,addr=2.0,max_ports=2,disable-legacy=on".into(),
    );
    option(
        "-device",
        "virtserialport,bus=serial.0,nr=1,chardev=agent,name=agent".into(),
    );
    for (place, slot) in (3..).zip(Slot::ALL) {
        let (serial, id) = (slot.serial(), disk_id(slot.serial()));
        option(
            "-device",
            format!(
                "virtio-blk-pci,id=device-{id},addr={place}.0,drive={id},serial={serial},\
                 disable-legacy=on"
            ),
        );
    }
    option(
        "-device",
        // Pages that a guest has freed come back with what a template had there. A guest that counts on
        // zeroes or a pattern (init_on_free, page_poison) must not report any, and doesn't where the
        // device knows nothing of patterns.
        "virtio-balloon-pci,id=balloon,addr=5.0,free-page-reporting=on,page-poison=off,\
         deflate-on-oom=on,disable-legacy=on"
            .into(),
    );
    // Functions of one slot: eight slots would take longer to look through.
    for number in 0..PORTS {
        option(
            "-device",
            format!(
                "pcie-root-port,id={},chassis={},port={number},addr=8.{number},multifunction=on",
                port(number),
                number + 1
            ),
        );
    }
    args
}

/// A slot's disk, or what stands in for it in a template.
fn slot_node(line: &mut CommandLine, slot: Slot, file: Option<OwnedFd>) -> String {
    let id = disk_id(slot.serial());
    let read_only = if slot.read_only() { "on" } else { "off" };
    match file {
        None => format!(
            "driver=null-co,node-name={id},size={},read-zeroes=on,read-only={read_only}",
            Slot::CLAIMED
        ),
        Some(file) => {
            let path = line.fd_set(file);
            // Locks would be of no use: whoever gave the descriptor answers for its use.
            format!(
                "driver=file,node-name={id},filename={path},read-only={read_only},locking=off,\
                 discard=unmap"
            )
        }
    }
}

/// A path as QEMU takes it: its options are text, and cut at commas.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .filter(|path| !path.contains(|c: char| c == ',' || c.is_control()))
        .ok_or_else(|| {
            Error::Invalid(format!(
                "path {} has characters that QEMU doesn't take",
                path.display()
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Accelerator, Arch};
    use std::fs::File;

    fn parts<'s>(shape: &'s Shape, ram: Ram, incoming: bool, disks: bool) -> Parts<'s> {
        let fd = || OwnedFd::from(File::open("/dev/null").unwrap());
        Parts {
            program: Path::new("/usr/bin/qemu"),
            id: "m1",
            shape,
            ram,
            generation: Generation([7; 16]),
            control: fd(),
            agent: fd(),
            console: fd(),
            slots: [disks.then(fd), disks.then(fd)],
            incoming,
        }
    }

    fn a_shape() -> Shape {
        Shape {
            arch: Arch::HOST,
            kernel: "/k".into(),
            initrd: "/i".into(),
            kernel_args: vec!["quiet".into(), "panic=-1".into()],
            cpus: 2,
            memory: 256 << 20,
            accelerator: Accelerator::Tcg,
            code_cache: crate::spec::CODE_CACHE,
        }
    }

    #[test]
    fn a_boot_has_a_kernel_and_a_clone_has_none() {
        let shape = a_shape();
        let boot = build(parts(&shape, Ram::Shared, false, false)).unwrap();
        let clone = build(parts(&shape, Ram::Private, true, true)).unwrap();
        let joined = |line: &CommandLine| line.args.join(" ");
        assert!(joined(&boot).contains("-kernel /k -initrd /i -append quiet panic=-1"));
        assert!(joined(&boot).contains("share=on"));
        assert!(joined(&boot).contains("node-name=disk-layer,size=1099511627776"));
        assert!(joined(&clone).contains("share=off"));
        assert!(joined(&clone).ends_with("-incoming defer"));
        assert!(!joined(&clone).contains("-kernel"));
        assert_eq!((boot.fds.len(), clone.fds.len()), (3, 5));
        let devices = |line: &CommandLine| {
            let all = line.args.chunks(1).map(|arg| arg[0].clone());
            all.filter(|arg| arg.contains("virtio") || arg.contains("root-port"))
                .collect::<Vec<_>>()
        };
        assert_eq!(devices(&boot), devices(&clone));
        assert_eq!(devices(&boot).len(), 4 + PORTS);
    }

    #[test]
    fn descriptors_are_named_by_their_numbers() {
        let shape = a_shape();
        let line = build(parts(&shape, Ram::Anonymous, false, true)).unwrap();
        let joined = line.args.join(" ");
        assert!(joined.contains("socket,id=control,fd=3"));
        assert!(
            joined.contains(
                "-add-fd fd=4,set=4 -chardev file,id=console,path=/dev/fdset/4,append=on"
            )
        );
        assert!(joined.contains("socket,id=agent,fd=5"));
        assert!(joined.contains("node-name=disk-root,filename=/dev/fdset/6,read-only=on"));
        assert!(joined.contains("node-name=disk-layer,filename=/dev/fdset/7,read-only=off"));
    }

    #[test]
    fn only_emulation_keeps_code_and_not_without_end() {
        let mut shape = a_shape();
        let mut accelerator = |accelerator| {
            shape.accelerator = accelerator;
            let args = super::shape(&shape);
            let at = args.iter().position(|arg| arg == "-accel").unwrap();
            args[at + 1].clone()
        };
        assert_eq!(accelerator(Accelerator::Tcg), "tcg,tb-size=128");
        assert_eq!(accelerator(Accelerator::Kvm), "kvm");
        for (size, fits) in [(16, true), (2048, true), (4, false), (4096, false)] {
            shape.code_cache = size << 20;
            assert_eq!(shape.check().is_ok(), fits, "{size}");
        }
    }

    #[test]
    fn paths_can_not_add_options() {
        let mut shape = a_shape();
        shape.kernel = "/k,accel=kvm".into();
        assert!(build(parts(&shape, Ram::Anonymous, false, false)).is_err());
    }
}
