//! Checking a log against itself and against checkpoints: a pure function over entries, one at a time, in little memory.
//!
//! It finds a byte that was changed in any field, entries that were left out, put in or exchanged, and an end that was cut off; and with the checkpoints that peers
//! hold also a log that was written anew with the node's own key.

use super::checkpoint::Checkpoint;
use super::entry::{Entry, Hash, hash_of};
use super::tree::Tree;
use sha2::{Digest as _, Sha256};

/// An entry as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Its number in the store.
    pub seq: i64,
    /// Who, as the store's index has it.
    pub who: String,
    /// Its canonical encoding.
    pub entry: Vec<u8>,
    /// Its literals, sealed.
    pub literals: Option<Vec<u8>>,
    /// Its hash.
    pub hash: Vec<u8>,
}

/// Where the store says that the log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How many entries.
    pub size: i64,
    /// The last one's hash; zeros if there is none.
    pub hash: Vec<u8>,
    /// The perfect subtrees of its tree.
    pub tree: Vec<u8>,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether all is as it was written.
    pub ok: bool,
    /// The first entry that is not, or is missing. Of a checkpoint that does not fit, the first entry that no earlier one vouches for.
    pub first_bad_seq: Option<u64>,
    /// What was found, for people.
    pub detail: String,
}

/// A checkpoint to check against, and who has it.
#[derive(Debug, Clone)]
struct Witness {
    checkpoint: Checkpoint,
    whose: String,
}

/// A check under way.
#[derive(Debug, Clone)]
pub struct Verifier {
    previous: Hash,
    tree: Tree,
    /// By size, those that are still to come last.
    witnesses: Vec<Witness>,
    next_witness: usize,
    /// The size of the last checkpoint that fits.
    vouched: u64,
    bad: Option<(u64, String)>,
}

impl Default for Verifier {
    fn default() -> Self {
        Verifier::new(Vec::new())
    }
}

impl Verifier {
    /// Against these checkpoints, whose signatures were checked, each with who has it.
    pub fn new(checkpoints: Vec<(Checkpoint, String)>) -> Verifier {
        let mut witnesses: Vec<Witness> =
            checkpoints.into_iter().map(|(checkpoint, whose)| Witness { checkpoint, whose }).collect();
        witnesses.sort_by_key(|witness| witness.checkpoint.size);
        let mut verifier =
            Verifier { previous: [0; 32], tree: Tree::default(), witnesses, next_witness: 0, vouched: 0, bad: None };
        verifier.hear_witnesses();
        verifier
    }

    /// The next entry in the order of their numbers. `false` once something is wrong: what follows then tells no more.
    pub fn push(&mut self, stored: &Stored) -> bool {
        if self.bad.is_some() {
            return false;
        }
        match self.check(stored) {
            Ok(hash) => {
                self.previous = hash;
                self.tree.push(&hash);
                self.hear_witnesses();
            }
            Err(found) => self.bad = Some((self.tree.size() + 1, found)),
        }
        self.bad.is_none()
    }

    fn check(&self, stored: &Stored) -> Result<Hash, String> {
        let seq = self.tree.size() + 1;
        if u64::try_from(stored.seq) != Ok(seq) {
            return Err(format!("entry {seq} is missing: entry {} stands where it should", stored.seq));
        }
        let hash = hash_of(&stored.entry);
        let entry = Entry::decode(&stored.entry).ok_or_else(|| format!("entry {seq} cannot be read"))?;
        if hash.as_slice() != stored.hash.as_slice() {
            return Err(format!("entry {seq} is not the one that was written: its hash is another"));
        }
        if entry.previous != self.previous {
            return Err(format!("entry {seq} does not follow the entry before it"));
        }
        if entry.seq != seq {
            return Err(format!("entry {seq} was written as entry {}", entry.seq));
        }
        if entry.who() != stored.who {
            return Err(format!("entry {seq} is filed under \"{}\", who did not make it", stored.who.escape_debug()));
        }
        let literals: Option<Hash> = stored.literals.as_ref().map(|literals| Sha256::digest(literals).into());
        if literals != entry.literals {
            return Err(format!("the literals of entry {seq} are not those that were written"));
        }
        Ok(hash)
    }

    /// Compares the tree with the checkpoints of its size.
    fn hear_witnesses(&mut self) {
        while let Some(witness) = self.witnesses.get(self.next_witness)
            && witness.checkpoint.size == self.tree.size()
        {
            if witness.checkpoint.root != self.tree.root() {
                let size = witness.checkpoint.size;
                let found = format!(
                    "the first {size} entries are not those of the checkpoint of that size that {} has: the log was written anew, or forked",
                    witness.whose
                );
                self.bad = Some((self.vouched + 1, found));
                return;
            }
            self.vouched = self.tree.size();
            self.next_witness += 1;
        }
    }

    /// There are no more entries. `end` is where the store says that the log ends.
    pub fn finish(self, end: Option<&End>) -> Verdict {
        let size = self.tree.size();
        if let Some((seq, detail)) = self.bad {
            return Verdict { ok: false, first_bad_seq: Some(seq), detail };
        }
        let bad = |detail: String| Verdict { ok: false, first_bad_seq: Some(size + 1), detail };
        if let Some(witness) = self.witnesses.last()
            && witness.checkpoint.size > size
        {
            let more = witness.checkpoint.size;
            return bad(format!(
                "the log has {size} entries and had {more}: {} has a checkpoint of that size",
                witness.whose
            ));
        }
        if let Some(end) = end
            && (u64::try_from(end.size) != Ok(size)
                || end.hash.as_slice() != self.previous.as_slice()
                || end.tree != self.tree.to_bytes())
        {
            return bad(format!("the log ends after entry {size}, and the store says after entry {}", end.size));
        }
        let detail = match self.vouched {
            0 => format!("{size} entries are as they were written; no checkpoint was there to check them against"),
            vouched => {
                format!("{size} entries are as they were written; {vouched} of them stand in signed checkpoints")
            }
        };
        Verdict { ok: true, first_bad_seq: None, detail }
    }
}
