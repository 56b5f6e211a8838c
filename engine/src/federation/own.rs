//! What this node says of itself.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use kanon_planner::facts::Placement;

use super::descriptor::{self, Descriptor, Endpoints, OfferedTable, OfferedUnit, PROTOCOL, VALID_SECONDS};
use super::identity::Identity;
use super::offered_private::OfferedPrivate;
use crate::catalog::{Snapshot, Table};
use crate::config::Config;
use crate::error::Result;
use crate::store::Store;

const SEQUENCE_KEY: &str = "descriptor_sequence";

/// Makes the node's own descriptor when it is asked for, and keeps it until tables change or half of its time is over.
pub(super) struct OwnDescriptor {
    id: String,
    name: String,
    institution: String,
    endpoints: Endpoints,
    store: Store,
    state: Mutex<State>,
}

struct State {
    sequence: u64,
    snapshot_version: u64,
    renew_at: i64,
    token: Option<String>,
}

impl OwnDescriptor {
    pub(super) async fn new(config: &Config, store: &Store) -> Result<OwnDescriptor> {
        let saved = store.setting(SEQUENCE_KEY).await?;
        let sequence = saved.and_then(|b| String::from_utf8(b).ok()).and_then(|t| t.parse().ok()).unwrap_or(0);
        let endpoint = |advertised: &Option<String>, listen: Option<std::net::SocketAddr>| {
            advertised.clone().or_else(|| listen.map(|address| address.to_string()))
        };
        Ok(OwnDescriptor {
            id: config.node_id.clone(),
            name: config.node_name.clone(),
            institution: config.institution.clone(),
            endpoints: Endpoints {
                pg: endpoint(&config.pg_advertise, Some(config.pg_listen)),
                flight: endpoint(&config.flight_advertise, Some(config.flight_listen)),
                http: endpoint(&config.http_advertise, config.http_listen),
            },
            store: store.clone(),
            state: Mutex::new(State { sequence, snapshot_version: 0, renew_at: 0, token: None }),
        })
    }

    pub(super) async fn token(&self, identity: &Identity, snapshot: &Snapshot) -> Result<String> {
        let now = Utc::now();
        let sequence = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(token) = &state.token
                && state.snapshot_version == snapshot.version
                && now.timestamp() < state.renew_at
            {
                return Ok(token.clone());
            }
            // Time, so that a node whose store was lost goes on from there; and never back, whatever the clock does.
            state.sequence = (state.sequence + 1).max(u64::try_from(now.timestamp_millis()).unwrap_or(0));
            state.sequence
        };
        // Remembered before anybody sees it.
        self.store.set_setting(SEQUENCE_KEY, sequence.to_string().as_bytes()).await?;
        let descriptor = self.describe(identity, snapshot, sequence, now.timestamp())?;
        let token = descriptor::sign(identity, &descriptor)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.sequence == sequence {
            state.snapshot_version = snapshot.version;
            state.renew_at = now.timestamp() + VALID_SECONDS / 2;
            state.token = Some(token.clone());
        }
        Ok(token)
    }

    fn describe(&self, identity: &Identity, snapshot: &Snapshot, sequence: u64, now: i64) -> Result<Descriptor> {
        let tables =
            snapshot.tables.iter().filter(|t| is_offered(t)).map(|t| offered(t)).collect::<Result<Vec<_>>>()?;
        Ok(Descriptor {
            id: self.id.clone(),
            name: self.name.clone(),
            institution: self.institution.clone(),
            endpoints: self.endpoints.clone(),
            key: BASE64_STANDARD.encode(identity.public_key.as_bytes()),
            fingerprint: identity.fingerprint.to_string(),
            policy_digest: descriptor::policy_digest(&tables)?,
            tables,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            sequence,
            valid_from: now,
            valid_until: now + VALID_SECONDS,
        })
    }
}

/// The node's own tables from which something may be answered.
fn is_offered(table: &Table) -> bool {
    table.schema_name == "public" && table.facts.placement == Placement::Local && table.facts.closed.is_none()
}

fn offered(table: &Table) -> Result<OfferedTable> {
    let protection = table.facts.protection.as_ref();
    Ok(OfferedTable {
        name: table.name.clone(),
        columns: OfferedTable::encode_columns(&table.schema)?,
        description: table.description.clone(),
        column_descriptions: table.column_descriptions.clone(),
        access: protection.map_or(kanon_privacy::policy::Access::Open, |p| p.access),
        unit: protection.map(|p| OfferedUnit {
            column: p.unit_column.clone(),
            kind: p.unit_kind.clone(),
            // What the steward declared, not what a scan found: whether it holds is the site's secret.
            unique: table.policy.unit_unique,
            min_cohort: p.min_cohort,
            dominance_percent: p.dominance_percent,
        }),
        roles: table.facts.roles.clone(),
        private: table.facts.private.as_ref().map(OfferedPrivate::from),
    })
}
