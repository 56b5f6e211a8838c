//! What is known of the nodes of the federation: `kanon.nodes`.

use super::descriptor::Descriptor;
use super::{PeerInfo, PeerStatus};
use crate::config::Config;

/// Whether a node can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// It is known of, but its key is not pinned.
    Untrusted,
    /// It is suspended here: it is not asked, and what it asks is refused.
    Suspended,
}

impl NodeState {
    /// As `kanon.nodes` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Up => "up",
            NodeState::Down => "down",
            NodeState::Untrusted => "untrusted",
            NodeState::Suspended => "suspended",
        }
    }
}

/// A row of `kanon.nodes`.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatus {
    /// Its id.
    pub node_id: String,
    /// Its name for people.
    pub name: Option<String>,
    /// Who runs it.
    pub institution: Option<String>,
    /// `host:port` for the PostgreSQL protocol.
    pub pg_endpoint: Option<String>,
    /// `host:port` for Flight SQL.
    pub flight_endpoint: Option<String>,
    /// `host:port` for HTTP.
    pub http_endpoint: Option<String>,
    /// Whether it can be asked.
    pub status: NodeState,
    /// The version it runs.
    pub version: Option<String>,
    /// When it last answered, in microseconds since 1970 in UTC.
    pub last_seen_us: Option<i64>,
    /// How long its last answer to a greeting took, in milliseconds.
    pub latency_ms: Option<f64>,
    /// SHA-256 of its public key, as peers pin it.
    pub fingerprint: Option<String>,
}

impl NodeStatus {
    /// This node itself.
    pub fn own(config: &Config, fingerprint: Option<String>) -> NodeStatus {
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let pg = config.pg_advertise.clone().unwrap_or_else(|| config.pg_listen.to_string());
        let flight = config.flight_advertise.clone().unwrap_or_else(|| config.flight_listen.to_string());
        NodeStatus {
            node_id: config.node_id.clone(),
            name: filled(&config.node_name),
            institution: filled(&config.institution),
            pg_endpoint: Some(pg),
            flight_endpoint: Some(flight),
            http_endpoint: config.http_advertise.clone().or_else(|| config.http_listen.map(|a| a.to_string())),
            status: NodeState::Up,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            last_seen_us: Some(chrono::Utc::now().timestamp_micros()),
            latency_ms: Some(0.0),
            fingerprint,
        }
    }

    /// A peer.
    pub(crate) fn of_peer(peer: &PeerInfo) -> NodeStatus {
        let said = peer.descriptor.as_deref();
        let text = |of: fn(&Descriptor) -> &str| said.map(|d| of(d).to_owned()).filter(|text| !text.is_empty());
        NodeStatus {
            // A peer that never answered is known by what its invite told, or by its place.
            node_id: said
                .map_or_else(|| peer.invited_as.clone().unwrap_or_else(|| peer.pin.authority()), |d| d.id.clone()),
            name: text(|d| &d.name),
            institution: text(|d| &d.institution),
            pg_endpoint: said.and_then(|d| d.endpoints.pg.clone()),
            flight_endpoint: Some(peer.pin.authority()),
            http_endpoint: said.and_then(|d| d.endpoints.http.clone()),
            status: match peer.status {
                PeerStatus::Up => NodeState::Up,
                PeerStatus::Untrusted => NodeState::Untrusted,
                PeerStatus::Suspended => NodeState::Suspended,
                PeerStatus::Unknown | PeerStatus::Down | PeerStatus::VersionMismatch => NodeState::Down,
            },
            version: text(|d| &d.version),
            last_seen_us: peer.last_seen.map(|at| at.timestamp_micros()),
            latency_ms: peer.latency.map(|took| took.as_secs_f64() * 1000.0),
            fingerprint: Some(peer.pin.fingerprint.to_string()),
        }
    }
}
