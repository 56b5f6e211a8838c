//! The Merkle tree over the log's entries (RFC 6962, section 2.1), of which only the perfect subtrees are kept: at most 64 hashes.

use sha2::{Digest as _, Sha256};

use super::entry::Hash;

/// The tree of a log of some size. Its leaves are the hashes of the entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Roots of perfect subtrees, the largest first: one for every bit of `size` that is set.
    subtrees: Vec<Hash>,
}

impl Tree {
    /// The tree of so many leaves with these subtrees, one after the other; `None` if they do not fit.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Tree> {
        let (subtrees, rest) = bytes.as_chunks::<32>();
        let fits = rest.is_empty() && subtrees.len() == usize::try_from(size.count_ones()).ok()?;
        fits.then(|| Tree { size, subtrees: subtrees.to_vec() })
    }

    /// The subtrees, one after the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.subtrees.concat()
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the hash of an entry as a leaf.
    pub fn push(&mut self, entry: &Hash) {
        let mut hash: Hash = Sha256::new().chain_update([0]).chain_update(entry).finalize().into();
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = parent(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev();
        match subtrees.next() {
            None => Sha256::digest([]).into(),
            Some(last) => subtrees.fold(*last, |right, left| parent(left, &right)),
        }
    }
}

fn parent(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962, section 2.1, word for word.
    fn of_the_rfc(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => Sha256::new().chain_update([0]).chain_update(leaf).finalize().into(),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                parent(&of_the_rfc(left), &of_the_rfc(right))
            }
        }
    }

    #[test]
    fn its_root_is_that_of_the_rfc() {
        let leaves: Vec<Hash> = (0..200_u8).map(|i| [i; 32]).collect();
        let mut tree = Tree::default();
        for size in 0..leaves.len() {
            assert_eq!(tree.root(), of_the_rfc(leaves.get(..size).unwrap_or_default()), "{size}");
            let kept = Tree::from_bytes(tree.size(), &tree.to_bytes());
            assert_eq!(kept.as_ref(), Some(&tree));
            leaves.get(size).into_iter().for_each(|leaf| tree.push(leaf));
        }
        assert!(Tree::from_bytes(3, &[0; 32]).is_none() && Tree::from_bytes(1, &[0; 33]).is_none());
    }
}
