//! The rules on a small table. That the conformers follow them is what their conformance suite holds.

use std::collections::BTreeMap;

use coracle_oci::{Digest, Reference};

use super::*;

#[derive(Clone, Default)]
struct Table(BTreeMap<Digest, Image>);

#[derive(Clone, Default)]
struct Image {
    names: Vec<Reference>,
    parent: Option<Digest>,
}

impl Catalog for Table {
    type Image = ();

    fn ids(&self) -> impl Iterator<Item = &Digest> {
        self.0.keys()
    }

    fn contains(&self, id: &Digest) -> bool {
        self.0.contains_key(id)
    }

    fn named(&self, name: &Reference) -> Option<Digest> {
        let mut all = self.0.iter();
        all.find_map(|(id, image)| image.names.contains(name).then(|| id.clone()))
    }

    fn names(&self, id: &Digest) -> Vec<Reference> {
        self.0
            .get(id)
            .map(|image| image.names.clone())
            .unwrap_or_default()
    }

    fn has_children(&self, id: &Digest) -> bool {
        self.0
            .values()
            .any(|image| image.parent.as_ref() == Some(id))
    }

    fn untag(&mut self, id: &Digest, name: &Reference) {
        self.0
            .get_mut(id)
            .unwrap()
            .names
            .retain(|other| other != name);
    }

    fn take(&mut self, id: &Digest) -> Option<((), Option<Digest>)> {
        self.0.remove(id).map(|image| ((), image.parent))
    }
}

fn id(name: &str) -> Digest {
    Digest::sha256(name.as_bytes())
}

/// Images with their names, each made from the one before.
fn table(images: &[(&str, &[&str])]) -> Table {
    let mut table = Table::default();
    let mut parent = None;
    for (image, names) in images {
        let names = names
            .iter()
            .map(|name| Reference::parse_normalized(name).unwrap());
        let (names, own) = (names.collect(), id(image));
        table.0.insert(
            own.clone(),
            Image {
                names,
                parent: parent.replace(own),
            },
        );
    }
    table
}

/// What a removal did, or why it didn't: `-name`, and `x` for an image.
fn rmi(table: &mut Table, text: &str, force: bool, users: &[User]) -> String {
    let target = find(table, text).unwrap();
    let done = remove(table, &|_| users.to_vec(), &target, text, force, true);
    match done {
        Ok(steps) => {
            let steps = steps.iter().map(|step| match step {
                Step::Untagged(_, name) => format!("-{}", name.familiar()),
                Step::Deleted(..) => "x".into(),
            });
            steps.collect::<Vec<_>>().join(" ")
        }
        Err(conflict) => conflict.to_string(),
    }
}

fn user(running: bool) -> [User; 1] {
    let container = "0123456789abcdef".into();
    [User { container, running }]
}

#[test]
fn texts_name_images() {
    let all = table(&[("a", &["busybox", "far.test:5000/x:1"]), ("b", &[])]);
    let a = id("a");
    let by_name = |name: &str| Target::Name(a.clone(), Reference::parse_normalized(name).unwrap());
    assert_eq!(find(&all, "busybox"), Ok(by_name("busybox:latest")));
    assert_eq!(
        find(&all, "far.test:5000/x:1"),
        Ok(by_name("far.test:5000/x:1"))
    );
    for text in [a.as_str(), a.hex(), &a.hex()[..12], &a.as_str()[..15]] {
        assert_eq!(find(&all, text), Ok(Target::Id(a.clone())), "{text}");
    }
    for text in ["busybox:2", "sha512:ca", "0000000"] {
        assert!(
            matches!(find(&all, text), Err(FindError::None(_))),
            "{text}"
        );
    }
    assert!(matches!(find(&all, "No"), Err(FindError::Reference(_))));
    assert_eq!(
        find(&all, "sha256:").unwrap_err().to_string(),
        "invalid reference format"
    );
}

#[test]
fn the_start_of_several_ids_is_none_of_them() {
    let names: Vec<String> = (0..40).map(|number: u32| number.to_string()).collect();
    let images: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    let first = id("0");
    assert_eq!(
        find(&table(&images), &first.hex()[..1]),
        Err(FindError::Several(first.hex()[..1].to_owned()))
    );
}

#[test]
fn the_last_name_takes_its_image_and_nameless_parents_along() {
    let mut all = table(&[
        ("base", &["base"]),
        ("middle", &[]),
        ("top", &["top:1", "top:2"]),
    ]);
    assert_eq!(rmi(&mut all, "top:1", false, &[]), "-top:1");
    assert_eq!(rmi(&mut all, "top:2", false, &[]), "-top:2 x x");
    assert!(all.contains(&id("base")));
}

#[test]
fn names_by_digest_go_with_the_last_tag() {
    let by_digest = format!("a@{}", id("manifest"));
    let mut all = table(&[("a", &["a:1", "b:1", &by_digest])]);
    assert_eq!(
        rmi(&mut all, "a:1", false, &[]),
        format!("-a:1 -{by_digest}")
    );
    assert_eq!(rmi(&mut all, "b:1", false, &[]), "-b:1 x");
}

#[test]
fn what_is_used_stays() {
    let all = table(&[("a", &["a:1"])]);
    let own = id("a");
    let short = own.short();
    for (text, force, running, said) in [
        (
            "a:1",
            false,
            false,
            format!(
                "unable to remove repository reference \"a:1\" (must force) - container \
                 0123456789ab is using its referenced image {short}"
            ),
        ),
        (
            own.as_str(),
            false,
            false,
            format!(
                "unable to delete {short} (must be forced) - image is being used by stopped \
                 container 0123456789ab"
            ),
        ),
        (
            own.as_str(),
            true,
            true,
            format!(
                "unable to delete {short} (cannot be forced) - image is being used by running \
                 container 0123456789ab"
            ),
        ),
        (own.as_str(), true, false, "-a:1 x".into()),
        // The name goes, its image stays for the container.
        ("a:1", true, true, "-a:1".into()),
    ] {
        assert_eq!(
            rmi(&mut all.clone(), text, force, &user(running)),
            said,
            "{text} {force}"
        );
    }
}

#[test]
fn ids_of_several_repositories_and_of_parents_need_more() {
    let mut all = table(&[("a", &["a:1", "b:1"]), ("child", &["child"])]);
    let own = id("a");
    let short = own.short().to_owned();
    let said = rmi(&mut all, own.as_str(), true, &[]);
    let parent =
        format!("unable to delete {short} (cannot be forced) - image has dependent child images");
    assert_eq!(said, parent);
    rmi(&mut all, "child", false, &[]);
    let several = format!(
        "unable to delete {short} (must be forced) - image is referenced in multiple repositories"
    );
    assert_eq!(rmi(&mut all, own.as_str(), false, &[]), several);
    assert_eq!(rmi(&mut all, own.as_str(), true, &[]), "-a:1 -b:1 x");
}

#[test]
fn pruning_goes_name_by_name() {
    let all = table(&[("a", &["a:1", "b:1"]), ("b", &[])]);
    assert_eq!(targets(&all, &id("a")).len(), 2);
    assert_eq!(targets(&all, &id("b")), [Target::Id(id("b"))]);
}
