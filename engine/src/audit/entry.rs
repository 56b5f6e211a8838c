//! One entry of the log, and its bytes.
//!
//! The encoding is canonical: one entry has one encoding, and no two entries share one. In order, without gaps:
//!
//! ```text
//! version           1 byte, 1
//! previous hash     32 bytes; zeros for the first entry
//! seq, at_ms        8 bytes each, big-endian
//! principal, home node, action, decision       text
//! peer, rule, statement                        optional text
//! epsilon, delta                               optional, 8 bytes: IEEE 754, big-endian
//! literals, result digest                      optional, 32 bytes: SHA-256
//! objects, sites                               lists of text
//! ```
//!
//! A text is its length in bytes (4 bytes, big-endian) and its UTF-8. An optional field is a byte 0, or a byte 1 and the field. A list is its
//! length (4 bytes, big-endian) and its texts. The entry's hash is the SHA-256 of all of it.

use sha2::{Digest as _, Sha256};

/// The version of the encoding.
const VERSION: u8 = 1;

/// A SHA-256.
pub type Hash = [u8; 32];

/// What was done, or asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A role logged in, or failed to.
    Login,
    /// Rows of open tables were asked for.
    Query,
    /// Aggregates of protected tables.
    Release,
    /// What was asked was refused.
    Refusal,
    /// CREATE ROLE.
    CreateRole,
    /// ALTER ROLE.
    AlterRole,
    /// DROP ROLE.
    DropRole,
    /// GRANT of a role or of SELECT.
    Grant,
    /// REVOKE of either.
    Revoke,
    /// Tables, columns, policies and budgets were changed.
    Policy,
    /// A peer: pinned, its checkpoints, its tickets.
    Peer,
    /// A key or token was made or revoked.
    Credential,
    /// A job.
    Job,
    /// The log was read by somebody who sees the entries of others.
    ReadLog,
}

impl Action {
    const ALL: [Action; 14] = [
        Action::Login,
        Action::Query,
        Action::Release,
        Action::Refusal,
        Action::CreateRole,
        Action::AlterRole,
        Action::DropRole,
        Action::Grant,
        Action::Revoke,
        Action::Policy,
        Action::Peer,
        Action::Credential,
        Action::Job,
        Action::ReadLog,
    ];

    /// As `kanon.audit_log` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Login => "login",
            Action::Query => "query",
            Action::Release => "release",
            Action::Refusal => "refusal",
            Action::CreateRole => "create_role",
            Action::AlterRole => "alter_role",
            Action::DropRole => "drop_role",
            Action::Grant => "grant",
            Action::Revoke => "revoke",
            Action::Policy => "policy",
            Action::Peer => "peer",
            Action::Credential => "credential",
            Action::Job => "job",
            Action::ReadLog => "read_log",
        }
    }

    fn parse(text: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It was about to be done: of changes, whose outcome is another entry.
    Asked,
    /// It was done.
    Allowed,
    /// It may not be done.
    Refused,
    /// It may be done, and failed.
    Failed,
}

impl Decision {
    const ALL: [Decision; 4] = [Decision::Asked, Decision::Allowed, Decision::Refused, Decision::Failed];

    /// As `kanon.audit_log` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Asked => "asked",
            Decision::Allowed => "allowed",
            Decision::Refused => "refused",
            Decision::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Option<Decision> {
        Decision::ALL.into_iter().find(|decision| decision.as_str() == text)
    }
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The hash of the entry before; zeros for the first.
    pub previous: Hash,
    /// Its number, from 1.
    pub seq: u64,
    /// When it began, in milliseconds since 1970: how long something took is not told.
    pub at_ms: i64,
    /// Who asked: a role of its home node. Empty for a login of a role that there is not.
    pub principal: String,
    /// The node that knows it.
    pub home_node: String,
    /// The peer through which it came.
    pub peer: Option<String>,
    /// What.
    pub action: Action,
    /// To what: tables as `schema.name`, roles, nodes, addresses.
    pub objects: Vec<String>,
    /// What came of it.
    pub decision: Decision,
    /// Why: a SQLSTATE, or a constant text.
    pub rule: Option<String>,
    /// The statement with placeholders for its literals, without passwords.
    pub statement: Option<String>,
    /// SHA-256 of the sealed literals, which are kept beside the entry.
    pub literals: Option<Hash>,
    /// ε that was charged here.
    pub epsilon: Option<f64>,
    /// δ that was charged here.
    pub delta: Option<f64>,
    /// The sites that were asked.
    pub sites: Vec<String>,
    /// SHA-256 of a released answer with noise. Of exact answers there is none.
    pub result_digest: Option<Hash>,
}

impl Entry {
    /// `alice`, or `alice@cleveland` if it came through a peer: as [`crate::principal::Principal::display`].
    pub fn who(&self) -> String {
        match &self.peer {
            Some(_) => format!("{}@{}", self.principal, self.home_node),
            None => self.principal.clone(),
        }
    }

    /// Its canonical encoding: see the module.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.push(VERSION);
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.at_ms.to_be_bytes());
        for text in [&self.principal, &self.home_node] {
            put_text(&mut out, text);
        }
        put_text(&mut out, self.action.as_str());
        put_text(&mut out, self.decision.as_str());
        for text in [&self.peer, &self.rule, &self.statement] {
            put_optional(&mut out, text.as_deref(), put_text);
        }
        for number in [self.epsilon, self.delta] {
            put_optional(&mut out, number, |out, number| out.extend_from_slice(&number.to_be_bytes()));
        }
        for digest in [&self.literals, &self.result_digest] {
            put_optional(&mut out, digest.as_ref(), |out, digest| out.extend_from_slice(digest));
        }
        for list in [&self.objects, &self.sites] {
            put_length(&mut out, list.len());
            list.iter().for_each(|text| put_text(&mut out, text));
        }
        out
    }

    /// The entry of an encoding; `None` if it is not one, to the last byte.
    pub fn decode(bytes: &[u8]) -> Option<Entry> {
        let mut reader = Reader(bytes);
        if reader.array::<1>()? != [VERSION] {
            return None;
        }
        let entry = Entry {
            previous: reader.array()?,
            seq: u64::from_be_bytes(reader.array()?),
            at_ms: i64::from_be_bytes(reader.array()?),
            principal: reader.text()?,
            home_node: reader.text()?,
            action: Action::parse(&reader.text()?)?,
            decision: Decision::parse(&reader.text()?)?,
            peer: reader.optional(Reader::text)?,
            rule: reader.optional(Reader::text)?,
            statement: reader.optional(Reader::text)?,
            epsilon: reader.optional(|reader| reader.array().map(f64::from_be_bytes))?,
            delta: reader.optional(|reader| reader.array().map(f64::from_be_bytes))?,
            literals: reader.optional(Reader::array)?,
            result_digest: reader.optional(Reader::array)?,
            objects: reader.list()?,
            sites: reader.list()?,
        };
        reader.0.is_empty().then_some(entry)
    }
}

/// The hash of an entry, by its encoding.
pub fn hash_of(encoded: &[u8]) -> Hash {
    Sha256::digest(encoded).into()
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // Every text here is far shorter: see `said::MOST_TEXT` and the bounds of names.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_optional<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

/// What is left of an encoding.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    /// `None` for what is none; `Some(None)` for a field that is not there.
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.array()? {
            [0] => Some(None),
            [1] => read(self).map(Some),
            _ => None,
        }
    }

    fn list(&mut self) -> Option<Vec<String>> {
        let length = self.length()?;
        // A text takes four bytes at least: a length that lies does not make room.
        if length > self.0.len() / 4 {
            return None;
        }
        (0..length).map(|_| self.text()).collect()
    }
}
