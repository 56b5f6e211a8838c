//! Signed checkpoints: how large a log is and the root of its tree, in the words of C2SP tlog-checkpoint and signed-note.
//!
//! ```text
//! zurich                                          the node's id
//! 4711                                            how many entries
//! qINS1GRFhfM8QyAH4rbWqLeC3ZbyEWrm9vNBpE8NkX0=    the tree's root (RFC 6962), Base64
//!
//! — zurich Az3grlgtzPICa5OS8npVmf1Myq/5I…         Base64 of 4 bytes of the key's hash and the Ed25519 signature
//! ```

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use super::entry::Hash;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::identity::{Identity, PublicKey};

/// The longest note that is looked at, in bytes.
pub(crate) const MOST_BYTES: usize = 4_096;
/// The algorithm byte of Ed25519 in signed notes.
const ED25519_NOTE: u8 = 1;

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The node whose log it is.
    pub node_id: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed, with its last line feed.
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.node_id, self.size, BASE64_STANDARD.encode(self.root))
    }

    /// The signed note of it.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub(crate) fn sign(&self, identity: &Identity) -> Result<String> {
        let text = self.text();
        let mut signature = key_hash(&self.node_id, identity.public_key).to_vec();
        signature.extend_from_slice(&identity.sign(text.as_bytes())?);
        Ok(format!("{text}\n— {} {}\n", self.node_id, BASE64_STANDARD.encode(signature)))
    }

    /// Reads a signed note, and checks that the key signed it.
    ///
    /// # Errors
    /// 08P01 for what is none; 28000 if the key did not sign it.
    pub fn read(note: &str, key: PublicKey) -> Result<Checkpoint> {
        if note.len() > MOST_BYTES {
            return Err(malformed());
        }
        let (text, signatures) = note.split_once("\n\n").ok_or_else(malformed)?;
        let mut lines = text.split('\n');
        let (Some(node_id), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed());
        };
        let checkpoint = Checkpoint {
            node_id: node_id.to_owned(),
            size: size.parse().map_err(|_| malformed())?,
            root: BASE64_STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).ok_or_else(malformed)?,
        };
        // Also refuses another way to write the same, and lines that we do not know.
        if format!("{text}\n") != checkpoint.text() {
            return Err(malformed());
        }
        let hash = key_hash(node_id, key);
        let signed =
            signatures.lines().filter_map(|line| line.strip_prefix("— ")?.split_once(' ')).any(|(name, signature)| {
                let decoded = BASE64_STANDARD.decode(signature).unwrap_or_default();
                name == node_id
                    && decoded.split_first_chunk::<4>().is_some_and(|(of, signature)| {
                        let key = UnparsedPublicKey::new(&ED25519, key.as_bytes());
                        *of == hash && key.verify(format!("{text}\n").as_bytes(), signature).is_ok()
                    })
            });
        if !signed {
            return Err(Error::new(
                Sqlstate::InvalidAuthorization,
                format!("the checkpoint of \"{}\" is not signed by its node's key", node_id.escape_debug()),
            ));
        }
        Ok(checkpoint)
    }
}

/// The first four bytes of a key's hash, by which a signature names its key.
fn key_hash(name: &str, key: PublicKey) -> [u8; 4] {
    let hash: Hash = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519_NOTE])
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    let [a, b, c, d, ..] = hash;
    [a, b, c, d]
}

fn malformed() -> Error {
    Error::new(Sqlstate::ProtocolViolation, "what should be a checkpoint of an audit log is none")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::federation::identity;

    #[test]
    fn what_was_signed_is_read_and_nothing_else() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let identity = identity::ensure(dir.path()).unwrap();
        let other = identity::ensure(other.path()).unwrap();
        let checkpoint = Checkpoint { node_id: "zurich".into(), size: 4711, root: [7; 32] };
        let note = checkpoint.sign(&identity).unwrap();
        assert!(note.starts_with("zurich\n4711\n") && note.contains("\n\n— zurich "), "{note}");
        assert_eq!(Checkpoint::read(&note, identity.public_key).unwrap(), checkpoint);
        assert_eq!(Checkpoint::read(&note, other.public_key).unwrap_err().state, Sqlstate::InvalidAuthorization);
        // A witness may add its signature.
        let witnessed = format!("{note}— witness AAAA\n");
        assert_eq!(Checkpoint::read(&witnessed, identity.public_key).unwrap(), checkpoint);
        for (from, to) in
            [("4711", "4712"), ("4711", "04711"), ("zurich\n", "zurich \n"), ("\n\n", "\nmore\n\n"), ("— ", "- ")]
        {
            assert!(Checkpoint::read(&note.replacen(from, to, 1), identity.public_key).is_err(), "{from:?} {to:?}");
        }
        for bytes in 0..note.len() {
            let cut = String::from_utf8_lossy(note.as_bytes().get(..bytes).unwrap_or_default()).into_owned();
            if cut != note.trim_end() {
                assert!(Checkpoint::read(&cut, identity.public_key).is_err(), "{cut}");
            }
        }
    }
}
