//! The container that a spare machine is tried out with: it writes a dot and ends, on disks in memory and
//! on a network that leads nowhere. In all else it is what `docker run` makes of no options.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use coracle_archive::{Entry, Kind, TarWriter};
use coracle_disk::{ErofsOptions, Ext4Options, LayerReader, format_ext4, write_erofs};
use coracle_log::LogConfig;
use coracle_runtime::spec::{ContainerConfig, HostConfig, StringOrList};
use coracle_runtime::{Result, RuntimeError};
use coracle_spec::{Inputs, Namespace, Namespaces, ResolvedMount};
use coracle_task::{MachineConfig, MachineInterface, Rootfs, TaskConfig};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::config::Config;

/// The program's path in its image.
const PROGRAM: &str = "bin/true";

/// What is copied to the guest in place of the hosts file and its like: it is empty.
const NO_FILE: &str = "/dev/null";

/// What a spare is given.
pub(super) struct Rehearsal {
    pub(super) task: TaskConfig,
    /// The image's disk, the writable one, and the tap.
    pub(super) files: Vec<OwnedFd>,
}

/// Makes the first container of a machine of this shape. Blocks for some milliseconds.
pub(super) fn make(config: &Config, id: &str, mut machine: MachineConfig) -> Result<Rehearsal> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        RuntimeError::Internal(format!("cannot {what}: {error}"))
    };
    let mut files = vec![
        image().map_err(|error| failed("write the first image", &error))?,
        layer(config.machine.layer).map_err(|error| failed("make the first layer", &error))?,
    ];
    machine.copies = vec![NO_FILE.into()];
    machine.interfaces.clear();
    // Without one it is less of a rehearsal, and none the worse for that.
    if let Ok(tap) = coracle_network::tap::alone() {
        files.push(tap);
        machine.interfaces.push(interface());
    }
    let task = task(config, id, machine)?;
    Ok(Rehearsal { task, files })
}

/// A card with an address that nobody has (RFC 5737).
fn interface() -> MachineInterface {
    MachineInterface {
        tap: String::new(),
        mac: "02:42:c0:00:02:02".into(),
        name: "eth0".into(),
        mtu: 1500,
        addresses: vec![([192, 0, 2, 2].into(), 24)],
        gateway4: Some([192, 0, 2, 1].into()),
        gateway6: None,
    }
}

fn task(config: &Config, id: &str, machine: MachineConfig) -> Result<TaskConfig> {
    let container = ContainerConfig {
        cmd: Some(StringOrList(vec![format!("/{PROGRAM}")])),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
        ..Default::default()
    };
    let host_config = HostConfig {
        runtime: super::RUNTIME.into(),
        ..Default::default()
    };
    let mounts = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"]
        .map(|target| ResolvedMount::bind(PathBuf::from(NO_FILE), target, false));
    let spec = coracle_spec::build(&Inputs {
        config: &container,
        host_config: &host_config,
        hostname: id,
        namespaces: Namespaces {
            uts: Namespace::New,
            pid: Namespace::New,
            ipc: Namespace::New,
            cgroup: Namespace::New,
            network: Namespace::Host,
        },
        mounts: &mounts,
        host: &super::facts(config, &host_config),
    })?;
    Ok(TaskConfig {
        id: id.into(),
        spec,
        rootfs: Rootfs::Disks,
        terminal: false,
        console_size: None,
        open_stdin: false,
        stdin_once: false,
        user: None,
        groups: Vec::new(),
        init: config.init,
        cgroup_parent: config.cgroup_parent.clone(),
        cgroup_name: id.into(),
        log: LogConfig::none(),
        exit_file: PathBuf::new(),
        durable: false,
        ports: Vec::new(),
        published: Vec::new(),
        sockets: 0,
        machine: Some(Box::new(machine)),
    })
}

/// A file in memory.
fn memory(name: &str) -> std::io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)?.into())
}

/// An image with the program, open for reading alone.
fn image() -> std::io::Result<OwnedFd> {
    let file = memory("image")?;
    let layers = [
        program_layer().map_err(std::io::Error::other)?,
        crate::disks::points().map_err(std::io::Error::other)?,
    ];
    let mut open = |index: usize| -> std::io::Result<LayerReader<'_>> {
        let layer = layers.get(index).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(Box::new(layer.as_slice()))
    };
    let options = ErofsOptions::default();
    write_erofs(&file, layers.len(), &mut open, &options).map_err(std::io::Error::other)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(File::open(path)?.into())
}

fn layer(bytes: u64) -> std::io::Result<OwnedFd> {
    let file = memory("layer")?;
    format_ext4(&file, bytes, &Ext4Options::default()).map_err(std::io::Error::other)?;
    Ok(file.into())
}

fn program_layer() -> coracle_archive::Result<Vec<u8>> {
    let program = program();
    let mut tar = TarWriter::new(Vec::new());
    tar.entry(&Entry {
        path: PROGRAM.into(),
        link: Vec::new(),
        kind: Kind::File,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: program.len() as u64,
        mtime: Default::default(),
        device: (0, 0),
        xattrs: Vec::new(),
        sparse: None,
    })?;
    tar.data(&program)?;
    tar.finish()
}

/// `write(1, ".", 1)`, then `exit_group(0)`. The dot is the last byte.
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[
    0xb8, 1, 0, 0, 0, // mov eax, 1
    0xbf, 1, 0, 0, 0, // mov edi, 1
    0x48, 0x8d, 0x35, 0x10, 0, 0, 0, // lea rsi, [rip + 16]
    0xba, 1, 0, 0, 0, // mov edx, 1
    0x0f, 0x05, // syscall
    0x31, 0xff, // xor edi, edi
    0xb8, 231, 0, 0, 0, // mov eax, 231
    0x0f, 0x05, // syscall
    b'.',
];
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[
    0x20, 0x00, 0x80, 0xd2, // mov x0, 1
    0x01, 0x01, 0x00, 0x10, // adr x1, . + 32
    0x22, 0x00, 0x80, 0xd2, // mov x2, 1
    0x08, 0x08, 0x80, 0xd2, // mov x8, 64
    0x01, 0x00, 0x00, 0xd4, // svc 0
    0x00, 0x00, 0x80, 0xd2, // mov x0, 0
    0xc8, 0x0b, 0x80, 0xd2, // mov x8, 94
    0x01, 0x00, 0x00, 0xd4, // svc 0
    0x1f, 0x20, 0x03, 0xd5, // nop
    b'.',
];

/// A static program (elf(5)) of the guest's architecture, which is this host's.
fn program() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let machine: u16 = if cfg!(target_arch = "x86_64") {
        62
    } else {
        183
    };
    let length = HEADERS + CODE.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags
    put(&2u16.to_le_bytes());
    put(&machine.to_le_bytes());
    put(&1u32.to_le_bytes());
    put(&(BASE + HEADERS).to_le_bytes());
    put(&64u64.to_le_bytes());
    put(&0u64.to_le_bytes());
    put(&0u32.to_le_bytes());
    // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    for half in [64u16, 56, 1, 64, 0, 0] {
        put(&half.to_le_bytes());
    }
    // p_type (load), p_flags (read, execute), p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    put(&1u32.to_le_bytes());
    put(&5u32.to_le_bytes());
    for word in [0, BASE, BASE, length, length, 4096] {
        put(&word.to_le_bytes());
    }
    put(CODE);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_program_writes_a_dot_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("true");
        std::fs::write(&path, program()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = std::process::Command::new(&path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b".");
    }

    #[test]
    fn the_disks_are_as_those_of_containers() {
        use std::os::unix::fs::FileExt;
        let image = File::from(image().unwrap());
        let mut magic = [0; 4];
        image.read_exact_at(&mut magic, 1024).unwrap();
        assert_eq!(u32::from_le_bytes(magic), 0xe0f5_e1e2);
        // QEMU takes a descriptor only for what it is open for.
        let flags = rustix::fs::fcntl_getfl(&image).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::RDWR));
        let layer = File::from(layer(1 << 30).unwrap());
        assert!(coracle_disk::free_bytes(&layer).unwrap() > 900 << 20);
    }
}
