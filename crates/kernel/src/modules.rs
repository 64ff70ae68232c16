//! Which modules a guest needs, and in what order they are loaded.
//!
//! A distribution's package has no `modules.dep` (that is made on the machine it is installed on),
//! so the dependencies come from where depmod has them from: each module's `.modinfo` section.

use std::collections::{BTreeMap, BTreeSet};

use crate::decompress::{self, Compression};
use crate::elf::{self, Elf};
use crate::error::{Error, Result};

/// The most bytes of a module, unpacked.
pub(crate) const MAX_MODULE: usize = 64 << 20;

/// The most modules that a kernel has.
pub(crate) const MAX_MODULES: usize = 20_000;

/// Without these, as modules or built in, there is no guest.
const NEEDED: [&str; 7] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "overlay",
    "erofs",
    "ext4",
    "fuse",
];

/// Taken where they are there: less works without, or a container may ask for it.
const WANTED: [&str; 9] = [
    "virtio_net",
    "virtio_balloon",
    "virtio_rng",
    "virtio_mem",
    "vmgenid",
    "af_packet",
    "binfmt_misc",
    "ipv6",
    "unix",
];

/// A module's name as the kernel has it: file names use `-` and `_` alike.
pub(crate) fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// A module's name by its path; None where it isn't one's path.
pub(crate) fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (stem, packing) = file.rsplit_once(".ko")?;
    let known = matches!(packing, "" | ".xz" | ".gz" | ".zst");
    let plain = !stem.is_empty()
        && stem.len() <= 100
        && stem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    (known && plain).then(|| canonical(stem))
}

/// Whether an alias is a name, not a pattern of devices.
fn is_plain(alias: &str) -> bool {
    !alias.contains(['*', '?', '[', ':'])
}

/// A module as the kernel loads it: not packed, an ELF file.
pub(crate) fn unpacked(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let bytes = match Compression::of(&bytes) {
        None => bytes,
        Some(compression) => decompress::to_memory(&bytes, compression, MAX_MODULE)
            .map_err(|error| Error::module(name, error.to_string()))?,
    };
    match Elf::parse(&bytes) {
        Some(elf) if elf.kind == elf::REL => Ok(bytes),
        _ => Err(Error::module(name, "it is no kernel module")),
    }
}

/// What a module says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModInfo {
    /// Must be loaded before it.
    pub(crate) depends: Vec<String>,
    /// Should be, where they are there; names or aliases.
    pub(crate) before: Vec<String>,
    /// Further names, those without wildcards.
    pub(crate) aliases: Vec<String>,
}

impl ModInfo {
    pub(crate) fn parse(name: &str, module: &[u8]) -> Result<ModInfo> {
        let section = Elf::parse(module)
            .and_then(|elf| elf.section(b".modinfo"))
            .ok_or_else(|| Error::module(name, "it has no .modinfo section"))?;
        let mut info = ModInfo::default();
        for record in section.split(|byte| *byte == 0) {
            let Some((key, value)) = std::str::from_utf8(record)
                .ok()
                .and_then(|record| record.split_once('='))
            else {
                continue;
            };
            match key {
                "depends" => info.depends.extend(
                    value
                        .split(',')
                        .filter(|name| !name.is_empty())
                        .map(canonical),
                ),
                "softdep" => {
                    let before = value.split("pre:").nth(1).unwrap_or_default();
                    let before = before.split("post:").next().unwrap_or_default();
                    info.before.extend(before.split_whitespace().map(canonical));
                }
                "alias" if is_plain(value) => {
                    info.aliases.push(canonical(value));
                }
                _ => {}
            }
        }
        Ok(info)
    }
}

/// All modules of a kernel by name.
#[derive(Default)]
pub(crate) struct Index {
    modules: BTreeMap<String, ModInfo>,
    /// Built into the kernel, with the further names of these.
    builtin: BTreeSet<String>,
}

impl Index {
    pub(crate) fn add(&mut self, name: String, info: ModInfo) -> Result<()> {
        if self.modules.len() >= MAX_MODULES {
            return Err(Error::module(&name, "there are too many modules"));
        }
        self.modules.insert(name, info);
        Ok(())
    }

    /// Takes the contents of `modules.builtin`: a path in each line.
    pub(crate) fn add_builtin(&mut self, list: &str) {
        self.builtin.extend(list.lines().filter_map(name_of));
    }

    /// Takes the contents of `modules.builtin.modinfo`: `NAME.KEY=VALUE` with a NUL after each.
    pub(crate) fn add_builtin_info(&mut self, info: &[u8]) {
        let aliases = info
            .split(|byte| *byte == 0)
            .filter_map(|record| std::str::from_utf8(record).ok()?.split_once(".alias="))
            .map(|(_module, alias)| alias)
            .filter(|alias| is_plain(alias));
        self.builtin.extend(aliases.map(canonical));
    }

    /// What a guest needs, in an order in which each module comes after those it depends on; `extra`
    /// are further ones that must be there.
    pub(crate) fn order(&self, extra: &[String]) -> Result<Vec<String>> {
        let extra: Vec<String> = extra.iter().map(|name| canonical(name)).collect();
        let mut missing = Vec::new();
        for name in NEEDED
            .iter()
            .copied()
            .chain(extra.iter().map(String::as_str))
        {
            if !self.modules.contains_key(name) && !self.builtin.contains(name) {
                missing.push(format!("module {name}"));
            }
        }
        if !missing.is_empty() {
            return Err(Error::Lacking(missing));
        }
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        let wanted = NEEDED.iter().chain(&WANTED).copied();
        for name in wanted.chain(extra.iter().map(String::as_str)) {
            self.visit(name, &mut seen, &mut order)?;
        }
        Ok(order)
    }

    /// Adds a module after those it depends on. Without recursion: the depth is a stranger's.
    fn visit(
        &self,
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) -> Result<()> {
        /// A module, and whether what it depends on has been added.
        type Step = (String, bool);
        let mut steps: Vec<Step> = vec![(name.to_owned(), false)];
        while let Some((name, ready)) = steps.pop() {
            if ready {
                order.push(name);
                continue;
            }
            let Some(info) = self.modules.get(&name) else {
                continue;
            };
            if !seen.insert(name.clone()) {
                continue;
            }
            for needed in &info.depends {
                if !self.modules.contains_key(needed) && !self.builtin.contains(needed) {
                    return Err(Error::module(
                        &name,
                        format!("it needs the module {needed}, which is not there"),
                    ));
                }
            }
            let before = info.before.iter().filter_map(|name| self.resolve(name));
            let first: Vec<Step> = before
                .chain(info.depends.iter().map(String::as_str))
                .map(|name| (name.to_owned(), false))
                .collect();
            steps.push((name, true));
            steps.extend(first.into_iter().rev());
        }
        Ok(())
    }

    /// The module of that name or alias.
    fn resolve<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if self.modules.contains_key(name) || self.builtin.contains(name) {
            return Some(name);
        }
        self.modules
            .iter()
            .find(|(_, info)| info.aliases.iter().any(|alias| alias == name))
            .map(|(module, _)| module.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_by_path() {
        for (path, name) in [
            ("kernel/drivers/virtio/virtio-rng.ko", Some("virtio_rng")),
            ("a.ko.xz", Some("a")),
            ("a.ko.zst", Some("a")),
            ("a.ko.bz2", None),
            ("a.o", None),
            (".ko", None),
            ("a/../b c.ko", None),
        ] {
            assert_eq!(name_of(path).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn a_builtin_alias_needs_no_module() {
        let mut index = Index::default();
        index.add_builtin_info(b"a.alias=crc32c\0a.alias=pci:v*\0a.license=GPL\0");
        assert_eq!(index.resolve("crc32c"), Some("crc32c"));
        assert_eq!(index.resolve("pci:v*"), None);
    }

    proptest! {
        /// Of any graph, circles too: each once, and those it needs first where there is no circle.
        #[test]
        fn any_graph(edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..40), circles: bool) {
            let name = |number: usize| format!("m{number}");
            let edges: Vec<_> = edges
                .into_iter()
                .filter(|(from, to)| circles || from > to)
                .collect();
            let mut index = Index::default();
            for module in 0..12 {
                let depends = edges.iter().filter(|(from, _)| *from == module);
                let info = ModInfo {
                    depends: depends.map(|(_, to)| name(*to)).collect(),
                    ..ModInfo::default()
                };
                index.add(name(module), info).unwrap();
            }
            for needed in NEEDED {
                index.builtin.insert(needed.to_owned());
            }
            let order = index.order(&[name(11), name(10)]).unwrap();
            let place = |module: usize| order.iter().position(|found| *found == name(module));
            prop_assert!(place(11).is_some() && place(10).is_some());
            let once: BTreeSet<&String> = order.iter().collect();
            prop_assert_eq!(once.len(), order.len());
            for (from, to) in edges {
                if let Some(at) = place(from) {
                    prop_assert!(circles || place(to).unwrap() < at);
                }
            }
        }
    }
}
