//! A stream of bytes, sealed in chunks: nothing of it can be read, changed, left out, put elsewhere or cut off unseen without the operator's key.
//!
//! ```text
//! header   "kanon backup 1\n", 1 byte: how the key is derived, 32 bytes: salt
//! chunk    4 bytes, big-endian: length; AES-256-GCM of at most 64 KiB, with its tag of 16 bytes
//! ```
//!
//! The key of a file is derived from the operator's with the file's salt (HKDF-SHA256 of a key of 32 bytes, PBKDF2-HMAC-SHA256 of a passphrase), so that a nonce may
//! be a counter: 7 zero bytes, the chunk's number (4 bytes, big-endian), and 1 for the last chunk, 0 for any other. The header is authenticated with every chunk. (This is
//! the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015.)

use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, pbkdf2};

const MAGIC: &[u8] = b"kanon backup 1\n";
const SALT_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 1 + SALT_BYTES;
/// What is sealed at once.
const CHUNK_BYTES: usize = 64 << 10;
const TAG_BYTES: usize = 16;
/// OWASP's number for PBKDF2-HMAC-SHA256.
const ITERATIONS: u32 = 600_000;
/// The shortest passphrase.
const LEAST_CHARACTERS: usize = 12;

/// What the operator keeps to open backups with.
pub(super) enum Secret {
    /// 32 random bytes.
    Key([u8; 32]),
    /// Words.
    Passphrase(String),
}

impl Secret {
    /// A key of 32 bytes, or of 64 hexadecimal digits.
    pub(super) fn of_key_file(path: &Path) -> Result<Secret> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) {
            return Ok(Secret::Key(key));
        }
        let text = String::from_utf8(bytes).unwrap_or_default();
        key_of_hex(text.trim()).map(Secret::Key).ok_or_else(|| {
            anyhow!(
                "{} holds no key: 32 bytes, or 64 hexadecimal digits, as `openssl rand -out backup.key 32` writes them",
                path.display()
            )
        })
    }

    /// The first line of a file.
    pub(super) fn of_passphrase_file(path: &Path) -> Result<Secret> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let passphrase = text.lines().next().unwrap_or_default().trim().to_owned();
        if passphrase.chars().count() < LEAST_CHARACTERS {
            bail!("the passphrase in {} has fewer than {LEAST_CHARACTERS} characters", path.display());
        }
        Ok(Secret::Passphrase(passphrase))
    }

    fn kind(&self) -> u8 {
        match self {
            Secret::Key(_) => 0,
            Secret::Passphrase(_) => 1,
        }
    }

    /// The key of the file with this salt.
    fn derive(&self, salt: &[u8]) -> Result<LessSafeKey> {
        let mut key = [0; 32];
        match self {
            Secret::Key(secret) => {
                let expanded = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
                let expanded = expanded.expand(&[b"kanon backup"], &AES_256_GCM);
                let key = expanded.map(UnboundKey::from).map_err(|_| anyhow!("the key cannot be used"))?;
                return Ok(LessSafeKey::new(key));
            }
            Secret::Passphrase(words) => {
                let iterations = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, words.as_bytes(), &mut key);
            }
        }
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| anyhow!("the passphrase cannot be used"))?;
        Ok(LessSafeKey::new(key))
    }
}

fn key_of_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut key = [0; 32];
    for (byte, place) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(place..place + 2)?, 16).ok()?;
    }
    Some(key)
}

fn nonce(chunk: u32, is_last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let (_, counted) = bytes.split_at_mut(7);
    let number = chunk.to_be_bytes();
    for (byte, value) in counted.iter_mut().zip(number.iter().chain(&[u8::from(is_last)])) {
        *byte = *value;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// Seals what is written to it.
pub(super) struct Sealer<W: Write> {
    out: W,
    key: LessSafeKey,
    header: Vec<u8>,
    buffer: Vec<u8>,
    chunk: u32,
}

impl<W: Write> Sealer<W> {
    /// Begins a file.
    pub(super) fn new(mut out: W, secret: &Secret) -> Result<Sealer<W>> {
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| anyhow!("no random numbers"))?;
        let mut header = MAGIC.to_vec();
        header.push(secret.kind());
        header.extend_from_slice(&salt);
        out.write_all(&header)?;
        Ok(Sealer { out, key: secret.derive(&salt)?, header, buffer: Vec::with_capacity(CHUNK_BYTES), chunk: 0 })
    }

    /// More of it.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            // A full buffer is sealed once more comes: only then it is not the last one.
            if self.buffer.len() == CHUNK_BYTES {
                self.seal(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Its end.
    pub(super) fn finish(mut self) -> Result<W> {
        self.seal(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn seal(&mut self, is_last: bool) -> Result<()> {
        let mut chunk = std::mem::take(&mut self.buffer);
        self.key
            .seal_in_place_append_tag(nonce(self.chunk, is_last), Aad::from(&self.header), &mut chunk)
            .map_err(|_| anyhow!("a part of the backup cannot be sealed"))?;
        self.out.write_all(&u32::try_from(chunk.len())?.to_be_bytes())?;
        self.out.write_all(&chunk)?;
        self.chunk = self.chunk.checked_add(1).context("a backup cannot be so large")?;
        Ok(())
    }
}

/// Opens what a [`Sealer`] sealed, as a reader.
pub(super) struct Opener<R: Read> {
    input: R,
    key: LessSafeKey,
    header: Vec<u8>,
    opened: Vec<u8>,
    taken: usize,
    chunk: u32,
    is_over: bool,
}

impl<R: Read> Opener<R> {
    /// Reads a header.
    pub(super) fn new(mut input: R, secret: &Secret) -> Result<Opener<R>> {
        let mut header = vec![0; HEADER_BYTES];
        input.read_exact(&mut header).context("this is no backup of a node")?;
        let (magic, rest) = header.split_at(MAGIC.len());
        let (kind, salt) = rest.split_at(1);
        if magic != MAGIC {
            bail!("this is no backup of a node");
        }
        if kind != [secret.kind()] {
            bail!("the backup was made with {}", if kind == [0] { "a key file" } else { "a passphrase" });
        }
        let key = secret.derive(salt)?;
        Ok(Opener { input, key, header, opened: Vec::new(), taken: 0, chunk: 0, is_over: false })
    }

    /// Exactly so many bytes.
    pub(super) fn read_exact(&mut self, out: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            let Some(rest) = out.get_mut(filled..) else { break };
            match self.read(rest)? {
                0 => bail!("the backup ends too early"),
                read => filled += read,
            }
        }
        Ok(())
    }

    /// Some bytes; none at the end, which is then known to be that.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        while self.taken == self.opened.len() {
            if self.is_over {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let left = self.opened.get(self.taken..).unwrap_or_default();
        let count = left.len().min(out.len());
        for (to, from) in out.iter_mut().zip(left) {
            *to = *from;
        }
        self.taken += count;
        Ok(count)
    }

    fn next_chunk(&mut self) -> Result<()> {
        let damaged = || anyhow!("the backup is damaged, or the key is not the one that it was made with");
        let mut length = [0; 4];
        self.input.read_exact(&mut length).context("the backup is cut off")?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        if !(TAG_BYTES..=CHUNK_BYTES + TAG_BYTES).contains(&length) {
            return Err(damaged());
        }
        let mut chunk = vec![0; length];
        self.input.read_exact(&mut chunk).context("the backup is cut off")?;
        // Which of the two it is, is only known by trying: the last one has another nonce.
        for is_last in [false, true] {
            let mut tried = chunk.clone();
            let opened = self.key.open_in_place(nonce(self.chunk, is_last), Aad::from(&self.header), &mut tried);
            let Ok(count) = opened.map(|opened| opened.len()) else { continue };
            tried.truncate(count);
            (self.opened, self.taken, self.is_over) = (tried, 0, is_last);
            self.chunk = self.chunk.checked_add(1).ok_or_else(damaged)?;
            if is_last && self.input.read(&mut [0])? > 0 {
                bail!("something stands behind the end of the backup");
            }
            return Ok(());
        }
        Err(damaged())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    const KEY: Secret = Secret::Key([7; 32]);

    fn sealed(bytes: &[u8], secret: &Secret) -> Vec<u8> {
        let mut sealer = Sealer::new(Vec::new(), secret).unwrap();
        bytes.chunks(10_007).for_each(|part| sealer.write(part).unwrap());
        sealer.finish().unwrap()
    }

    fn opened(sealed: &[u8], secret: &Secret) -> Result<Vec<u8>> {
        let mut opener = Opener::new(sealed, secret)?;
        let (mut all, mut part) = (Vec::new(), [0; 5_003]);
        loop {
            match opener.read(&mut part)? {
                0 => return Ok(all),
                count => all.extend_from_slice(&part[..count]),
            }
        }
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    #[test]
    fn what_was_sealed_is_opened() {
        for count in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 17] {
            let sealed = sealed(&bytes(count), &KEY);
            assert_eq!(opened(&sealed, &KEY).unwrap(), bytes(count), "{count}");
            assert_ne!(sealed, self::sealed(&bytes(count), &KEY), "another salt each time");
        }
        let words = Secret::Passphrase("correct horse battery".to_owned());
        assert_eq!(opened(&sealed(b"x", &words), &words).unwrap(), b"x");
        assert!(opened(&sealed(b"x", &words), &KEY).unwrap_err().to_string().contains("with a passphrase"));
        assert!(opened(&sealed(b"x", &KEY), &Secret::Key([8; 32])).is_err());
    }

    #[test]
    fn what_was_changed_is_not() {
        let whole = sealed(&bytes(3 * CHUNK_BYTES + 100), &KEY);
        let length = 4 + CHUNK_BYTES + TAG_BYTES;
        let chunk = |i: usize| HEADER_BYTES + i * length..HEADER_BYTES + (i + 1) * length;
        // Cut off, at the end of a chunk and elsewhere.
        for end in [HEADER_BYTES, chunk(0).end, chunk(2).end, whole.len() - 1, whole.len() - 50, 10] {
            assert!(opened(&whole[..end], &KEY).is_err(), "{end}");
        }
        // Two chunks the other way round, one twice, one left out, the last one alone.
        let (head, tail) = (&whole[..HEADER_BYTES], &whole[chunk(2).end..]);
        let of = |order: &[usize]| {
            let chunks = order.iter().flat_map(|i| whole[chunk(*i)].to_vec());
            head.iter().copied().chain(chunks).chain(tail.iter().copied()).collect::<Vec<u8>>()
        };
        assert!(opened(&of(&[0, 1, 2]), &KEY).is_ok());
        for order in [&[1, 0, 2][..], &[0, 0, 2], &[0, 2], &[], &[0, 1, 2, 2]] {
            assert!(opened(&of(order), &KEY).is_err(), "{order:?}");
        }
        let more = [whole.clone(), vec![0]].concat();
        assert!(opened(&more, &KEY).unwrap_err().to_string().contains("behind the end"));
        for at in [20, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 5, whole.len() - 1] {
            let mut bent = whole.clone();
            bent[at] ^= 1;
            assert!(opened(&bent, &KEY).is_err(), "{at}");
        }
    }
}
