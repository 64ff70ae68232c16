//! Guest kernels and their packages.

use coracle_kernel::{Format, Image, Package};

/// An image parses or is refused; what is booted directly is an ELF file.
pub fn kernel_image(data: &[u8]) {
    if let Ok(image) = Image::parse(data.to_vec()) {
        assert!(!image.release.is_empty());
        assert!(image.format != Format::Pvh || image.bytes.starts_with(b"\x7fELF"));
    }
}

/// A package is looked through or refused; of the modules that it names, each comes once.
pub fn kernel_package(data: &[u8]) {
    let Ok(dir) = crate::scratch() else { return };
    let path = dir.path().join("package");
    if std::fs::write(&path, data).is_err() {
        return;
    }
    let Ok(package) = Package::open(&path) else {
        return;
    };
    if let Ok(mut modules) = package.modules(&[]) {
        let count = modules.len();
        modules.sort();
        modules.dedup();
        assert_eq!(modules.len(), count);
    }
}
