//! Guest kernels.

use std::path::PathBuf;

use super::super::Subject;
use super::super::support::refused;
use crate::kernel::{Kernel, KernelSpec};

/// A file on the host, for as long as this lives.
struct Given(PathBuf);

impl Given {
    fn new(s: &Subject, contents: &[u8]) -> Given {
        let path = std::env::temp_dir().join(s.name());
        std::fs::write(&path, contents).unwrap();
        Given(path)
    }

    fn spec(&self, name: &str) -> KernelSpec {
        KernelSpec {
            name: name.to_owned(),
            path: self.0.to_str().unwrap().to_owned(),
            ..KernelSpec::default()
        }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The least that is a kernel: an ELF file for x86-64 with one program header, which is of notes, of
/// which one says where to enter it by PVH; and a release.
fn image(release: &str) -> Vec<u8> {
    let mut note = Vec::new();
    for field in [4_u32, 8, 18] {
        note.extend(field.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(0x100_0000_u64.to_le_bytes());
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    bytes.extend(0x100_0000_u64.to_le_bytes()); // entry
    bytes.extend(64_u64.to_le_bytes()); // program headers
    bytes.extend([0; 12]); // section headers, flags
    for field in [64_u16, 56, 1, 64, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([4, 0, 0, 0, 4, 0, 0, 0]); // PT_NOTE, readable
    for field in [120, 0, 0, note.len() as u64, note.len() as u64, 4] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(note);
    bytes.extend(format!("Linux version {release} (nobody@nowhere)").bytes());
    bytes
}

impl Subject {
    async fn kernels(&self) -> Vec<Kernel> {
        self.runtime.list_kernels().await.unwrap()
    }

    async fn default_kernel(&self) -> Option<String> {
        let kernels = self.kernels().await.into_iter();
        kernels
            .filter(|kernel| kernel.default)
            .map(|kernel| kernel.name)
            .next()
    }
}

/// One check, which runs alone: which is the default is the whole runtime's.
pub(super) async fn installed_chosen_and_removed(s: Subject) {
    if !s.can.kernels {
        return;
    }
    let before = s.default_kernel().await;
    let given = Given::new(&s, &image("6.1.0-check"));
    let (first, second) = (s.name(), s.name());
    let kernel = s.runtime.install_kernel(given.spec(&first)).await.unwrap();
    assert_eq!(
        (kernel.name.as_str(), kernel.release.as_str()),
        (first.as_str(), "6.1.0-check")
    );
    assert_eq!(
        (kernel.arch.as_str(), kernel.format.as_str()),
        ("x86_64", "pvh")
    );
    assert!(kernel.digest.starts_with("sha256:") && kernel.modules.is_empty());
    assert_eq!(kernel.default, before.is_none());
    assert_eq!(s.runtime.inspect_kernel(&first).await.unwrap(), kernel);
    assert!(s.kernels().await.contains(&kernel));
    refused!(
        s.runtime.install_kernel(given.spec(&first)).await,
        AlreadyExists,
        first
    );

    s.runtime.install_kernel(given.spec(&second)).await.unwrap();
    s.runtime.set_default_kernel(&second).await.unwrap();
    assert_eq!(s.default_kernel().await.as_ref(), Some(&second));
    let default = s.runtime.inspect_kernel("default").await.unwrap();
    assert_eq!((default.name.as_str(), default.default), (&*second, true));
    assert_eq!(default.digest, kernel.digest);
    refused!(
        s.runtime.remove_kernel(&second).await,
        InvalidState,
        "default"
    );

    s.runtime.remove_kernel(&first).await.unwrap();
    for result in [
        s.runtime.inspect_kernel(&first).await.map(drop),
        s.runtime.remove_kernel(&first).await,
        s.runtime.set_default_kernel(&first).await,
    ] {
        refused!(result, NotFound, "no such kernel");
    }
    if let Some(name) = before {
        s.runtime.set_default_kernel(&name).await.unwrap();
    }
    s.runtime.remove_kernel(&second).await.unwrap();
}

pub(super) async fn bad_ones_are_refused(s: Subject) {
    if !s.can.kernels {
        return;
    }
    let good = Given::new(&s, &image("6.1.0-check"));
    for name in ["a/b", "-a", "..", "default"] {
        let refusal = s.runtime.install_kernel(good.spec(name)).await;
        refused!(refusal, InvalidArgument, "name");
    }
    for (path, words) in [("nowhere", "absolute"), ("/no/such", "no such file")] {
        let spec = KernelSpec {
            path: path.into(),
            ..good.spec(&s.name())
        };
        let refusal = s.runtime.install_kernel(spec).await;
        refused!(refusal, InvalidArgument, words);
    }
    let spec = KernelSpec {
        kind: "bogus".into(),
        ..good.spec(&s.name())
    };
    refused!(
        s.runtime.install_kernel(spec).await,
        InvalidArgument,
        "bogus"
    );
    let spec = KernelSpec {
        modules: vec!["extra".into()],
        ..good.spec(&s.name())
    };
    refused!(
        s.runtime.install_kernel(spec).await,
        InvalidArgument,
        "extra"
    );
    let mut unbootable = image("6.1.0-check");
    unbootable.truncate(120);
    for contents in [
        b"nonsense".to_vec(),
        unbootable,
        b"!<arch>\nnonsense".to_vec(),
    ] {
        let bad = Given::new(&s, &contents);
        let refusal = s.runtime.install_kernel(bad.spec(&s.name())).await;
        refused!(refusal, InvalidArgument, "not a usable kernel");
    }
    let mark = s.mark.clone();
    let left = s.kernels().await;
    assert!(!left.iter().any(|kernel| kernel.name.starts_with(&mark)));
}
