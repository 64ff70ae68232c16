//! The least that is a kernel, a module, a package: for tests and for fuzzing.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Write;

use coracle_archive::{Entry, Kind, TarWriter};
use flate2::Compression;
use flate2::write::GzEncoder;

/// An ELF header, with program or section headers right after it.
fn elf(kind: u16, segments: u16, sections: u16) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    for field in [kind, 62, 1, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(0x100_0000_u64.to_le_bytes());
    for table in [segments, sections] {
        bytes.extend(if table > 0 { 64_u64 } else { 0 }.to_le_bytes());
    }
    bytes.extend([0; 4]);
    for field in [64, 56, segments, 64, sections, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes
}

/// A kernel that says nothing but its release; its one program header is of type `segment`.
pub fn program(segment: u32, notes: &[u8], text: &str) -> Vec<u8> {
    let mut bytes = elf(2, 1, 0);
    bytes.extend(segment.to_le_bytes());
    bytes.extend(4_u32.to_le_bytes());
    for field in [120, 0, 0, notes.len() as u64, notes.len() as u64, 4] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(notes);
    bytes.extend(text.bytes());
    bytes
}

/// A kernel with a PVH note behind another one.
pub fn vmlinux(release: &str) -> Vec<u8> {
    let mut notes = Vec::new();
    for (owner, kind) in [(&b"GNU\0"[..], 3_u32), (b"Xen\0", 18)] {
        for field in [4, 8, kind] {
            notes.extend(field.to_le_bytes());
        }
        notes.extend(owner);
        notes.extend([0; 8]);
    }
    let text = format!("Linux version %s Linux version {release} (nobody@nowhere)");
    program(4, &notes, &text)
}

/// A static program.
pub fn init() -> Vec<u8> {
    program(1, &[], "init")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// LZ4 as Linux packs it; all literal, so that no packer is needed.
pub fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x02, 0x21, 0x4c, 0x18];
    for piece in bytes.chunks(100_000) {
        let mut block = vec![0xf0_u8];
        let mut rest = piece.len() - 15;
        while rest >= 255 {
            block.push(255);
            rest -= 255;
        }
        block.push(rest as u8);
        block.extend(piece);
        out.extend((block.len() as u32).to_le_bytes());
        out.extend(block);
    }
    out
}

/// A bzImage with a payload: what is packed, and how long it is unpacked.
pub fn bzimage(release: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[0x1f1] = 1;
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    bytes[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
    bytes[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes[0x300..0x300 + release.len()].copy_from_slice(release.as_bytes());
    bytes.extend(payload);
    bytes
}

/// A payload with its length behind it, as the build appends it for all but gzip.
pub fn with_length(packed: &[u8], length: usize) -> Vec<u8> {
    [packed, &(length as u32).to_le_bytes()].concat()
}

/// A module with these records in its `.modinfo`.
pub fn module(records: &[&str]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let info: Vec<u8> = records
        .iter()
        .flat_map(|record| record.bytes().chain([0]))
        .collect();
    let mut bytes = elf(1, 0, 3);
    bytes[62] = 2; // where the names are
    let start = 64 + 3 * 64;
    let sections = [
        (0_u32, 0, 0),
        (1, start, info.len()),
        (10, start + info.len(), names.len()),
    ];
    for (name, offset, length) in sections {
        bytes.extend(name.to_le_bytes());
        bytes.extend([0; 20]);
        bytes.extend((offset as u64).to_le_bytes());
        bytes.extend((length as u64).to_le_bytes());
        bytes.extend([0; 24]);
    }
    bytes.extend(info);
    bytes.extend(names);
    bytes
}

/// A Debian package of these files.
pub fn package(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (path, contents) in files {
        let entry = Entry {
            path: format!("./{path}").into_bytes(),
            kind: Kind::File,
            mode: 0o644,
            size: contents.len() as u64,
            ..Entry::default()
        };
        tar.entry(&entry).unwrap();
        tar.data(contents).unwrap();
    }
    let data = gzip(&tar.finish().unwrap());
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, contents) in [("debian-binary", &b"2.0\n"[..]), ("data.tar.gz", &data)] {
        let length = contents.len();
        bytes.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n",
                0, 0, 0, 100_644
            )
            .bytes(),
        );
        bytes.extend(contents);
        if length % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// A package with all that a guest needs: some built in, some as modules of which one is packed.
pub fn whole_package(release: &str) -> Vec<u8> {
    let kernel = vmlinux(release);
    let boot = format!("boot/vmlinuz-{release}");
    let inside = |path: &str| format!("usr/lib/modules/{release}/{path}");
    let builtin = b"kernel/fs/ext4/ext4.ko\nkernel/fs/erofs/erofs.ko\nkernel/fs/fuse/fuse.ko\n\
                    kernel/drivers/char/virtio_console.ko\n";
    let ring = module(&["name=virtio_ring", "depends="]);
    let pci = module(&["depends=virtio-ring", "alias=pci:v00001AF4d*"]);
    let block = module(&["depends=virtio_ring,virtio_pci"]);
    let overlay = module(&["softdep=pre: check post: later", "depends="]);
    let check = gzip(&module(&["alias=check"]));
    package(&[
        (&boot, &bzimage(release, &gzip(&kernel))),
        (&inside("modules.builtin"), builtin),
        (&inside("kernel/drivers/block/virtio_blk.ko"), &block),
        (&inside("kernel/drivers/virtio/virtio_pci.ko"), &pci),
        (&inside("kernel/drivers/virtio/virtio_ring.ko"), &ring),
        (&inside("kernel/fs/overlayfs/overlay.ko"), &overlay),
        (&inside("kernel/lib/check-generic.ko.gz"), &check),
        (&inside("kernel/net/never.ko"), &module(&[])),
    ])
}
