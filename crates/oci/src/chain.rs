//! Names of layer stacks (image-spec, config.md, "Layer ChainID").

use crate::Digest;

/// The chain id of every prefix of a stack of layers, bottom first:
/// the first is the first diff id, each next `sha256(previous + " " + diff id)`.
///
/// Two images whose n-th chain ids are equal have the same n lowest layers.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut ids: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match ids.last() {
            None => diff_id.clone(),
            Some(below) => Digest::sha256(format!("{below} {diff_id}").as_bytes()),
        };
        ids.push(id);
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_covers_the_ones_below() {
        let layers: Vec<Digest> = [b"a", b"b", b"c"]
            .iter()
            .map(|l| Digest::sha256(*l))
            .collect();
        let ids = chain_ids(&layers);
        assert_eq!(ids[0], layers[0]);
        assert_eq!(
            ids[1],
            Digest::sha256(format!("{} {}", layers[0], layers[1]).as_bytes())
        );
        assert_eq!(
            ids[2],
            Digest::sha256(format!("{} {}", ids[1], layers[2]).as_bytes())
        );
        assert!(chain_ids(&[]).is_empty());
    }
}
