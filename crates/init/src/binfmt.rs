//! Interpreters of foreign programs (the kernel's admin-guide/binfmt-misc.rst).

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use coracle_guest::Binfmt;
use rustix::mount::MountFlags;

use crate::error::{During, Result, invalid};

const DIR: &str = "/proc/sys/fs/binfmt_misc";

/// Registers one; one of that name is replaced.
pub(crate) fn register(binfmt: &Binfmt) -> Result<()> {
    let line = line(binfmt)?;
    let register = Path::new(DIR).join("register");
    if !register.exists() {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("binfmt_misc", DIR, "binfmt_misc", flags, None)
            .during(|| "mount binfmt_misc")?;
    }
    match write(&Path::new(DIR).join(&binfmt.name), "-1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.during(|| format!("replace the interpreter {}", binfmt.name))?,
    }
    write(&register, &line).during(|| format!("register the interpreter {}", binfmt.name))
}

/// In one call, or it isn't understood; and no file can be made there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

fn line(binfmt: &Binfmt) -> Result<String> {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let name = &binfmt.name;
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_name) {
        return Err(invalid(format!("{name:?} is no interpreter's name")));
    }
    if matches!(name.as_str(), "register" | "status") {
        return Err(invalid(format!("an interpreter can't be called {name}")));
    }
    let path = &binfmt.interpreter;
    if !path.starts_with('/') || path.contains([':', '\n', '\0']) || path.len() > 127 {
        return Err(invalid(format!("{path:?} is no interpreter's path")));
    }
    if !binfmt.flags.chars().all(|flag| "POCF".contains(flag)) {
        return Err(invalid(format!(
            "{:?} are no flags of binfmt_misc",
            binfmt.flags
        )));
    }
    if binfmt.magic.is_empty() || !binfmt.mask.is_empty() && binfmt.mask.len() != binfmt.magic.len()
    {
        return Err(invalid("the magic and its mask differ in length"));
    }
    let escape = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("\\x{b:02x}")).collect() };
    let (magic, mask) = (escape(&binfmt.magic), escape(&binfmt.mask));
    let (offset, flags) = (binfmt.offset, &binfmt.flags);
    Ok(format!(":{name}:M:{offset}:{magic}:{mask}:{path}:{flags}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_kernels() {
        let mut binfmt = Binfmt {
            name: "qemu-aarch64".into(),
            offset: 0,
            magic: b"\x7fELF".to_vec(),
            mask: vec![0xff; 4],
            interpreter: "/usr/bin/qemu-aarch64-static".into(),
            flags: "F".into(),
        };
        assert_eq!(
            line(&binfmt).unwrap(),
            ":qemu-aarch64:M:0:\\x7f\\x45\\x4c\\x46:\\xff\\xff\\xff\\xff:/usr/bin/qemu-aarch64-static:F"
        );
        binfmt.name = "../x".into();
        assert!(line(&binfmt).is_err());
    }
}
