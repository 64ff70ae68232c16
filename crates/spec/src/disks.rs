//! Volumes that are disks of a network block device server (`device=nbd://…`), for virtual machines.

use coracle_nbd::Uri;

use crate::{SpecError, VolumeBacking};

/// What is not mounted: the container gets the disk itself, as a device.
pub const RAW: &str = "block";

/// Flags of mount(8).
const FLAGS: [&str; 20] = [
    "defaults",
    "ro",
    "rw",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "lazytime",
    "sync",
    "async",
    "dirsync",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "suid",
    "nosuid",
];
/// Options of ext4(5) that do no more than they say. `errors=panic` would end the machine.
const EXT4: [&str; 14] = [
    "barrier",
    "nobarrier",
    "data=journal",
    "data=ordered",
    "data=writeback",
    "delalloc",
    "nodelalloc",
    "discard",
    "nodiscard",
    "errors=continue",
    "errors=remount-ro",
    "journal_checksum",
    "noload",
    "norecovery",
];

/// Checks a volume whose device is meant to be such a disk.
pub(crate) fn disk(
    kind: &str,
    device: &str,
    words: Vec<String>,
) -> Result<VolumeBacking, SpecError> {
    let uri: Uri = device
        .parse()
        .map_err(|error| SpecError::invalid(format!("invalid option: device: {error}")))?;
    let own: &[&str] = match kind {
        "ext4" => &EXT4,
        "erofs" | RAW => &[],
        other => {
            return Err(SpecError::invalid(format!(
                "invalid option: type={other:?} is not supported for the disk of an NBD server: use \
                 ext4, erofs, or {RAW} for the device itself"
            )));
        }
    };
    let is_known = |word: &str| match kind {
        RAW => matches!(word, "ro" | "rw" | "defaults"),
        _ => FLAGS.contains(&word) || own.contains(&word) || is_commit(kind, word),
    };
    if let Some(unknown) = words.iter().find(|word| !is_known(word)) {
        return Err(SpecError::invalid(format!(
            "invalid option: o={unknown:?} is not supported with type={kind} of an NBD server"
        )));
    }
    let last = words
        .iter()
        .rev()
        .find(|word| matches!(word.as_str(), "ro" | "rw"));
    // An EROFS is never written to.
    let read_only = kind == "erofs" || last.is_some_and(|word| word == "ro");
    let mut options = words;
    options.retain(|word| !matches!(word.as_str(), "ro" | "rw" | "defaults"));
    Ok(VolumeBacking::Disk {
        uri,
        kind: kind.to_owned(),
        options,
        read_only,
    })
}

/// `commit=SECONDS` of an ext4: up to an hour.
fn is_commit(kind: &str, word: &str) -> bool {
    let seconds = word.strip_prefix("commit=").filter(|_| kind == "ext4");
    let digits = seconds.filter(|seconds| seconds.bytes().all(|b| b.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse::<u32>().ok())
        .is_some_and(|seconds| (1..=3600).contains(&seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, device: &str, o: &str) -> Result<VolumeBacking, String> {
        let pairs = [("type", kind), ("device", device), ("o", o)];
        let options = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        VolumeBacking::parse(&options.into()).map_err(|error| error.to_string())
    }

    #[test]
    fn disks_of_servers() {
        let Ok(VolumeBacking::Disk {
            uri,
            kind,
            options,
            read_only,
        }) = parse("ext4", "nbd://server/data", "noatime,ro,commit=9")
        else {
            panic!("not a disk");
        };
        assert_eq!(uri.to_string(), "nbd://server:10809/data");
        assert_eq!((kind.as_str(), read_only), ("ext4", true));
        assert_eq!(options, ["noatime", "commit=9"]);
        let is_read_only = |kind, o| match parse(kind, "nbd://h/", o) {
            Ok(VolumeBacking::Disk { read_only, .. }) => read_only,
            other => panic!("{other:?}"),
        };
        assert!(is_read_only("erofs", "") && is_read_only("block", "ro"));
        assert!(!is_read_only("ext4", "ro,rw") && !is_read_only("block", ""));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (kind, device, o, reason) in [
            ("xfs", "nbd://h/", "", "type=\"xfs\""),
            ("", "nbd://h/", "", "type=\"\""),
            ("ext4", "nbds://h/", "", "TLS"),
            ("ext4", "nbd://h:x/", "", "port"),
            ("ext4", "nbd+unix:///x", "", "socket=PATH"),
            ("ext4", "nbd://h/", "errors=panic", "errors=panic"),
            ("ext4", "nbd://h/", "commit=-1", "commit=-1"),
            ("ext4", "nbd://h/", "commit=9999", "commit=9999"),
            ("ext4", "nbd://h/", "journal_dev=1", "journal_dev=1"),
            ("ext4", "nbd://h/", "X-coracle.disk", "X-coracle.disk"),
            ("erofs", "nbd://h/", "discard", "discard"),
            ("block", "nbd://h/", "noatime", "noatime"),
        ] {
            let error = parse(kind, device, o).unwrap_err();
            assert!(error.contains(reason), "{kind} {device} {o}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(o in "[a-z=,0-9]{0,32}", device in "nbd(\\+unix)?://\\PC{0,24}") {
            let _ = parse("ext4", &device, &o);
        }
    }
}
