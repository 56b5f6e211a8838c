//! Literals of statements, sealed: whoever has the store alone cannot read them.
//!
//! AES-256-GCM (NIST SP 800-38D) under a key of its own, in a file beside the store, with a random nonce for each and the entry's number as associated
//! data.

use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Error, Result, Sqlstate};
use crate::federation::identity;

const KEY_FILE: &str = "audit.key";

/// The key of sealed literals.
pub(crate) struct Sealer {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Sealer {
    /// With the key in a node's folder, which is made on the first call.
    ///
    /// # Errors
    /// 58000 if it cannot be read or written, if others may read it, or if it is none.
    pub(crate) fn of_folder(dir: &Path) -> Result<Sealer> {
        let path = dir.join(KEY_FILE);
        let random = SystemRandom::new();
        let mut new = [0; 32];
        random.fill(&mut new).map_err(|_| Error::internal("no random numbers"))?;
        let key = identity::ensure_secret(&path, &new)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| {
            Error::new(Sqlstate::SystemError, format!("key file \"{}\" does not hold 32 bytes", path.display()))
                .hint("Restore it from a backup: without it the literals in the audit log cannot be read.")
        })?;
        Ok(Sealer { key: LessSafeKey::new(key), random })
    }

    /// Seals the literals of an entry.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub(crate) fn seal(&self, seq: u64, literals: &str) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| Error::internal("no random numbers"))?;
        let mut sealed = literals.as_bytes().to_vec();
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(seq.to_be_bytes()), &mut sealed)
            .map_err(|_| Error::internal("literals that cannot be sealed"))?;
        let mut out = nonce.to_vec();
        out.extend_from_slice(&sealed);
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// The literals of an entry; `None` for what was not sealed for it with this key.
    pub(crate) fn open(&self, seq: u64, sealed: &[u8]) -> Option<String> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let aad = Aad::from(seq.to_be_bytes());
        let open = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut sealed).ok()?;
        String::from_utf8(open.to_vec()).ok()
    }
}
