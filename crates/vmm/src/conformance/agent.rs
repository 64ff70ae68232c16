//! The tests' guest: process 1, answers lines on the port `agent`. Compiled by itself, for the
//! guest's architecture, with nothing but the standard library.

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr;
use std::thread::sleep;
use std::time::Duration;

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn reboot(how: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
const FINIT_MODULE: c_long = 313;
#[cfg(target_arch = "aarch64")]
const FINIT_MODULE: c_long = 273;

/// `O_NONBLOCK`
const NONBLOCK: c_int = 0o4000;

const POWER_OFF: c_int = 0x4321_fedc;
const RESTART: c_int = 0x0123_4567;

const BLOCKS: &str = "/sys/block";
const CARDS: &str = "/sys/class/net";
const PORTS: &str = "/sys/class/virtio-ports";

fn mount_at(kind: &str) {
    let target = match kind {
        "devtmpfs" => c"/dev",
        "sysfs" => c"/sys",
        _ => c"/proc",
    };
    let kind = CString::new(kind).unwrap();
    // SAFETY: the texts end with a zero, and there is no data.
    unsafe {
        mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            0,
            ptr::null(),
        )
    };
}

fn load_modules() {
    for name in names("/modules") {
        let path = Path::new("/modules").join(name);
        let done = File::open(&path).map(|file| {
            // SAFETY: an open file, an empty text of parameters, no flags.
            unsafe { syscall(FINIT_MODULE, file.as_raw_fd(), c"".as_ptr(), 0) }
        });
        if !matches!(done, Ok(0)) {
            println!("{}: {}", path.display(), io::Error::last_os_error());
        }
    }
}

/// What is in a directory, in order.
fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// A file's text, or an empty one.
fn text(dir: &str, name: &str, file: &str) -> String {
    let path = Path::new(dir).join(name).join(file);
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim_end().to_owned()
}

/// The node of the device whose file says so.
fn node(dir: &str, file: &str, says: &str) -> Option<PathBuf> {
    let found = names(dir)
        .into_iter()
        .find(|name| text(dir, name, file) == says);
    found.map(|name| Path::new("/dev").join(name))
}

fn open_port() -> Option<File> {
    for _ in 0..10_000 {
        let path = node(PORTS, "name", "agent");
        let file = path.and_then(|path| OpenOptions::new().read(true).write(true).open(path).ok());
        if file.is_some() {
            return file;
        }
        sleep(Duration::from_millis(1));
    }
    None
}

fn disks() -> String {
    let disk = |name: String| {
        let field = |file| text(BLOCKS, &name, file);
        let listed = name.starts_with("vd");
        listed.then(|| format!("{}={},{} ", field("serial"), field("size"), field("ro")))
    };
    names(BLOCKS).into_iter().filter_map(disk).collect()
}

fn cards() -> String {
    let card = |name: String| (name != "lo").then(|| text(CARDS, &name, "address") + " ");
    names(CARDS).into_iter().filter_map(card).collect()
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the kernel has said that it is a copy of another, and has made its random numbers anew.
fn reseeded() -> io::Result<bool> {
    let mut options = OpenOptions::new();
    let mut log = options.read(true).custom_flags(NONBLOCK).open("/dev/kmsg")?;
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => return Ok(false),
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                if text.contains("reseeded due to virtual machine fork") {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // Overwritten meanwhile: the next one is there.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error),
        }
    }
}

/// A field of `/proc/meminfo`, in bytes.
fn memory(field: &str) -> String {
    let all = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = all.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u64>().ok());
    (kilobytes.unwrap_or_default() * 1024).to_string()
}

fn read_disk(serial: &str) -> io::Result<String> {
    let path = node(BLOCKS, "serial", serial).ok_or(io::ErrorKind::NotFound)?;
    let mut bytes = [0; 16];
    File::open(path)?.read_exact(&mut bytes)?;
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn write_disk(order: &str) -> io::Result<String> {
    let (serial, text) = order.split_once(' ').ok_or(io::ErrorKind::InvalidInput)?;
    let path = node(BLOCKS, "serial", serial).ok_or(io::ErrorKind::NotFound)?;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync_all()?;
    Ok("ok".into())
}

/// Uses and gives back so many MiB.
fn touch(mebibytes: &str) -> io::Result<String> {
    let size: usize = mebibytes.parse().map_err(io::Error::other)?;
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(size << 20)
        .map_err(io::Error::other)?;
    memory.resize(size << 20, 0x5a_u8);
    std::hint::black_box(&memory);
    Ok("ok".into())
}

fn restart(how: c_int) -> io::Result<String> {
    // SAFETY: a number.
    unsafe { reboot(how) };
    Err(io::Error::last_os_error())
}

fn answer(line: &str) -> io::Result<String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    Ok(match word {
        "ping" => "pong".into(),
        "disks" => disks(),
        "nics" => cards(),
        "random" => random()?,
        "memory" => memory("MemTotal"),
        "free" => memory("MemFree"),
        "generation" => match Path::new("/sys/bus/acpi/drivers/vmgenid").exists() {
            true => "yes".into(),
            false => "no".into(),
        },
        "reseeded" => match reseeded()? {
            true => "yes".into(),
            false => "no".into(),
        },
        "read" => read_disk(rest)?,
        "write" => write_disk(rest)?,
        "touch" => touch(rest)?,
        "off" => restart(POWER_OFF)?,
        "reboot" => restart(RESTART)?,
        "panic" => std::process::exit(1),
        _ => "what?".into(),
    })
}

fn main() {
    for kind in ["devtmpfs", "sysfs", "proc"] {
        mount_at(kind);
    }
    load_modules();
    let Some(mut port) = open_port() else {
        println!("agent: there is no port");
        return;
    };
    println!("agent: port {}", port.as_raw_fd());
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        // Nothing comes while nobody is at the other end.
        if !matches!(port.read(&mut byte), Ok(1)) {
            sleep(Duration::from_millis(1));
            continue;
        }
        if byte != *b"\n" {
            line.extend((line.len() < 255).then_some(byte[0]));
            continue;
        }
        let answer = answer(&String::from_utf8_lossy(&line)).unwrap_or_else(|_| "error".into());
        line.clear();
        let answer = answer + "\n";
        let mut rest = answer.as_bytes();
        while !rest.is_empty() {
            match port.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(_) => sleep(Duration::from_millis(1)),
            }
        }
    }
}
