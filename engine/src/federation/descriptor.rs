//! What a node says of itself to its peers: who it is, where it is, which tables it offers and under which rules.
//!
//! A descriptor is a JWT signed by the node's key. Peers keep the last one they verified; a lower sequence number (an old one
//! played back) and one whose time is over are refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_flight::{IpcMessage, SchemaAsIpc};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use kanon_planner::facts::{PrivatePolicy, Protection};
use kanon_privacy::policy::{Access, ColumnRole, DominancePercent, MinCohort};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::identity::{Fingerprint, Identity, PublicKey};
use super::offered_private::OfferedPrivate;
use super::ticket::CLOCK_SKEW_SECONDS;
use crate::error::{Error, Result, Sqlstate};

/// The version of what nodes say to one another. Nodes of different versions do not ask each other.
pub const PROTOCOL: u32 = 2;
/// The Flight action that answers with the node's descriptor.
pub const DESCRIPTOR_ACTION: &str = "kanon.descriptor";
/// How long a descriptor is good for, in seconds.
pub const VALID_SECONDS: i64 = 600;

const DESCRIPTOR_TYPE: &str = "kanon-descriptor+jwt";
/// The longest descriptor that is looked at, in bytes.
const MAX_BYTES: usize = 16 << 20;
/// The longest node id, in bytes.
const MAX_ID_BYTES: usize = 63;

/// Where a node can be reached, as `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Endpoints {
    /// For the PostgreSQL protocol.
    pub pg: Option<String>,
    /// For Flight SQL.
    pub flight: Option<String>,
    /// For HTTP.
    pub http: Option<String>,
}

/// Who is protected by an offered table, and how: what a coordinator needs to plan. The site decides by its own policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedUnit {
    /// The column that names the unit.
    pub column: String,
    /// The kind of unit.
    pub kind: String,
    /// Whether the steward says that every unit has at most one row.
    pub unique: bool,
    /// The least number of units behind anything released.
    pub min_cohort: MinCohort,
    /// The share of a sum that its two largest units may not reach.
    pub dominance_percent: DominancePercent,
}

/// A table that peers may ask about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedTable {
    /// Its name in the site's schema `public`.
    pub name: String,
    /// Its columns: an Arrow IPC schema message in Base64, without metadata.
    pub columns: String,
    /// What it is for.
    pub description: Option<String>,
    /// What its columns are for.
    #[serde(default)]
    pub column_descriptions: BTreeMap<String, String>,
    /// What may leave the site.
    pub access: Access,
    /// Who is protected; `None` for open tables only.
    pub unit: Option<OfferedUnit>,
    /// Roles of columns that have one.
    #[serde(default)]
    pub roles: BTreeMap<String, ColumnRole>,
    /// The rules of private access; `None` for another access.
    #[serde(default)]
    pub private: Option<OfferedPrivate>,
}

/// A node, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its id: the name of its schema at its peers.
    #[serde(rename = "iss")]
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// The institution behind it.
    pub institution: String,
    /// Where it is.
    pub endpoints: Endpoints,
    /// Its public key: 32 bytes in Base64.
    pub key: String,
    /// SHA-256 of the key, as peers pin it.
    pub fingerprint: String,
    /// What it offers, by name.
    pub tables: Vec<OfferedTable>,
    /// SHA-256 of the tables and their rules.
    pub policy_digest: String,
    /// The version of its program.
    pub version: String,
    /// See [`PROTOCOL`].
    pub protocol: u32,
    /// Grows with every descriptor of the node.
    pub sequence: u64,
    /// When it was made, in seconds of Unix time.
    #[serde(rename = "iat")]
    pub valid_from: i64,
    /// When it ends, in seconds of Unix time.
    #[serde(rename = "exp")]
    pub valid_until: i64,
}

impl OfferedTable {
    /// The text for [`OfferedTable::columns`]. Metadata stays behind: files carry statistics in it.
    ///
    /// # Errors
    /// XX000 for a schema that cannot be written.
    pub fn encode_columns(schema: &Schema) -> Result<String> {
        let fields: Vec<Field> =
            schema.fields().iter().map(|f| f.as_ref().clone().with_metadata(Default::default())).collect();
        let bare = Schema::new(fields);
        let message: IpcMessage =
            SchemaAsIpc::new(&bare, &IpcWriteOptions::default()).try_into().map_err(Error::internal)?;
        Ok(BASE64_STANDARD.encode(&message.0))
    }

    /// Its columns.
    ///
    /// # Errors
    /// 08P01 if they cannot be read.
    pub fn schema(&self) -> Result<SchemaRef> {
        let bytes = BASE64_STANDARD.decode(&self.columns).map_err(|_| malformed())?;
        // Arrow panics at types that there are not.
        let read = std::panic::catch_unwind(|| Schema::try_from(IpcMessage(bytes.into())));
        let schema = read.map_err(|_| malformed())?.map_err(|_| malformed())?;
        Ok(Arc::new(schema))
    }

    /// What the planner needs; `None` for an open table.
    ///
    /// # Errors
    /// 08P01 for a protected table that names no unit: it is never taken for an open one.
    pub fn protection(&self) -> Result<Option<Protection>> {
        match (self.access, &self.unit) {
            (Access::Open, None) => Ok(None),
            (Access::Open, Some(_)) | (_, None) => Err(malformed()),
            (access, Some(unit)) => Ok(Some(Protection {
                access,
                unit_column: unit.column.clone(),
                unit_kind: unit.kind.clone(),
                unit_unique: unit.unique,
                min_cohort: unit.min_cohort,
                dominance_percent: unit.dominance_percent,
            })),
        }
    }
}

impl OfferedTable {
    /// The rules of private access; `None` for another access.
    ///
    /// # Errors
    /// 08P01 for a table with private access and without rules, and for rules that cannot be.
    pub fn private(&self) -> Result<Option<PrivatePolicy>> {
        match (self.access, &self.private) {
            (Access::Private, Some(offered)) => offered.policy().map(Some).ok_or_else(malformed),
            (Access::Private, None) | (_, Some(_)) => Err(malformed()),
            (_, None) => Ok(None),
        }
    }
}

impl Descriptor {
    /// The key that signed it.
    pub fn public_key(&self) -> Option<PublicKey> {
        let raw = BASE64_STANDARD.decode(&self.key).ok()?;
        raw.try_into().ok().map(PublicKey::from_bytes)
    }
}

/// SHA-256 of offered tables and their rules, in hexadecimal digits.
pub fn policy_digest(tables: &[OfferedTable]) -> Result<String> {
    let text = serde_json::to_vec(tables).map_err(Error::internal)?;
    Ok(Fingerprint::from_bytes(Sha256::digest(text).into()).to_string())
}

/// Signs a descriptor with the node's key.
///
/// # Errors
/// XX000 if signing fails.
pub fn sign(identity: &Identity, descriptor: &Descriptor) -> Result<String> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(DESCRIPTOR_TYPE.to_owned());
    jsonwebtoken::encode(&header, descriptor, &identity.signing_key()).map_err(Error::internal)
}

/// A descriptor of the node whose key is pinned, signed by that key. Its time is not looked at: see [`accept`].
///
/// # Errors
/// 08P01 for whatever is not one, 28000 if another key signed it.
pub fn read(token: &str, pinned: Fingerprint) -> Result<Descriptor> {
    if token.len() > MAX_BYTES {
        return Err(malformed());
    }
    // The key is inside; it is looked at before the signature only to see whether it is the pinned one.
    let unverified: Descriptor = jsonwebtoken::dangerous::insecure_decode(token).map_err(|_| malformed())?.claims;
    let raw = BASE64_STANDARD.decode(&unverified.key).map_err(|_| malformed())?;
    let key = PublicKey::from_bytes(raw.try_into().map_err(|_| malformed())?);
    if key.fingerprint() != pinned {
        return Err(refused("is signed by a key that is not pinned"));
    }
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let data = jsonwebtoken::decode::<Descriptor>(token, &DecodingKey::from_ed_der(key.as_bytes()), &validation)
        .map_err(|_| refused("has no valid signature"))?;
    if data.header.typ.as_deref() != Some(DESCRIPTOR_TYPE) {
        return Err(malformed());
    }
    let descriptor = data.claims;
    if descriptor.fingerprint != pinned.to_string() || !is_node_id(&descriptor.id) {
        return Err(malformed());
    }
    for table in &descriptor.tables {
        table.schema()?;
        table.protection()?;
        table.private()?;
    }
    Ok(descriptor)
}

/// Whether a descriptor that was read may take the place of the one known, at `now` in seconds of Unix time.
///
/// # Errors
/// 28000 for one whose time is over or not come, and for one that is older than the one known.
pub fn accept(descriptor: &Descriptor, known_sequence: Option<u64>, now: i64) -> Result<()> {
    if now > descriptor.valid_until.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(refused("has expired").hint("Check the clocks of both nodes."));
    }
    if now < descriptor.valid_from.saturating_sub(CLOCK_SKEW_SECONDS) {
        return Err(refused("is not valid yet").hint("Check the clocks of both nodes."));
    }
    if known_sequence.is_some_and(|known| descriptor.sequence < known) {
        return Err(refused("is older than the one known"));
    }
    Ok(())
}

/// Whether text can be a node's id: it becomes a schema's name.
pub fn is_node_id(id: &str) -> bool {
    let reserved = ["public", "federation", "kanon", "pg_catalog", "information_schema"].contains(&id);
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    !reserved && id.len() <= MAX_ID_BYTES && id.starts_with(|c: char| c.is_ascii_lowercase()) && id.chars().all(letters)
}

fn malformed() -> Error {
    Error::new(Sqlstate::ProtocolViolation, "the node's descriptor cannot be read")
}

fn refused(why: &str) -> Error {
    Error::new(Sqlstate::InvalidAuthorization, format!("the node's descriptor {why}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use datafusion::arrow::datatypes::DataType;

    use super::*;
    use crate::federation::identity;

    fn table() -> OfferedTable {
        let field =
            Field::new("age", DataType::Int32, true).with_metadata([("min".to_owned(), "17".to_owned())].into());
        let schema =
            Schema::new_with_metadata(vec![field], [("pandas".to_owned(), "{\"stop\": 303}".to_owned())].into());
        OfferedTable {
            name: "patients".to_owned(),
            columns: OfferedTable::encode_columns(&schema).unwrap(),
            description: None,
            column_descriptions: BTreeMap::new(),
            access: Access::Cohort,
            unit: Some(OfferedUnit {
                column: "patient_id".to_owned(),
                kind: "patient".to_owned(),
                unique: true,
                min_cohort: MinCohort::try_from(10).unwrap(),
                dominance_percent: DominancePercent::default(),
            }),
            roles: [("age".to_owned(), ColumnRole::Measure)].into(),
            private: None,
        }
    }

    fn descriptor(identity: &Identity) -> Descriptor {
        Descriptor {
            id: "zurich".to_owned(),
            name: "Zurich".to_owned(),
            institution: "University Hospital".to_owned(),
            endpoints: Endpoints::default(),
            key: BASE64_STANDARD.encode(identity.public_key.as_bytes()),
            fingerprint: identity.fingerprint.to_string(),
            tables: vec![table()],
            policy_digest: String::new(),
            version: "0.1.0".to_owned(),
            protocol: PROTOCOL,
            sequence: 7,
            valid_from: 1_000_000,
            valid_until: 1_000_600,
        }
    }

    #[test]
    fn what_was_signed_is_read_and_carries_no_metadata_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity::ensure(dir.path()).unwrap();
        let token = sign(&identity, &descriptor(&identity)).unwrap();
        let read = read(&token, identity.fingerprint).unwrap();
        assert_eq!(read, descriptor(&identity));
        let schema = read.tables[0].schema().unwrap();
        assert!(schema.metadata().is_empty() && schema.field(0).metadata().is_empty());
        assert_eq!(read.tables[0].protection().unwrap().unwrap().unit_column, "patient_id");
    }

    #[test]
    fn only_the_pinned_key_s_descriptor_is_read() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [ours, other] = dirs.each_ref().map(|dir| identity::ensure(dir.path()).unwrap());
        let token = sign(&other, &descriptor(&other)).unwrap();
        assert!(read(&token, ours.fingerprint).is_err());
        // Names the pinned key, but another one signed.
        let forged = sign(&other, &descriptor(&ours)).unwrap();
        let error = read(&forged, ours.fingerprint).unwrap_err();
        assert!(error.message.contains("signature"), "{error}");
        for garbage in ["", "a.b.c", "..", "no token"] {
            assert!(read(garbage, ours.fingerprint).is_err());
        }
    }

    #[test]
    fn a_protected_table_without_its_unit_is_never_taken_for_open() {
        let dir = tempfile::tempdir().unwrap();
        let identity = identity::ensure(dir.path()).unwrap();
        let mut described = descriptor(&identity);
        described.tables[0].unit = None;
        assert!(read(&sign(&identity, &described).unwrap(), identity.fingerprint).is_err());
        // Nor a private one without its rules.
        let mut described = descriptor(&identity);
        described.tables[0].access = Access::Private;
        assert!(read(&sign(&identity, &described).unwrap(), identity.fingerprint).is_err());
        described.tables[0].private = Some(OfferedPrivate::default());
        assert!(read(&sign(&identity, &described).unwrap(), identity.fingerprint).is_ok());
    }

    #[test]
    fn old_and_expired_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let described = descriptor(&identity::ensure(dir.path()).unwrap());
        accept(&described, None, 1_000_100).unwrap();
        accept(&described, Some(7), 1_000_659).unwrap();
        assert!(accept(&described, Some(8), 1_000_100).unwrap_err().message.contains("older"));
        assert!(accept(&described, None, 1_000_661).unwrap_err().message.contains("expired"));
        assert!(accept(&described, None, 999_939).unwrap_err().message.contains("not valid yet"));
    }

    #[test]
    fn ids_that_would_hide_a_schema_are_refused() {
        for bad in ["", "public", "federation", "kanon", "pg_catalog", "Zurich", "a.b", "1a", &"a".repeat(64)] {
            assert!(!is_node_id(bad), "{bad}");
        }
        assert!(is_node_id("long_beach") && is_node_id("site-2"));
    }
}
