//! Peers that come and go while the node runs: what the node does for whoever invites, accepts, removes, or changes the configuration.
//!
//! Trust is added in an order in which nothing is half done: the log, the store, then memory. It is taken away in the other one.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use chrono::Utc;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::audit::entry::Decision;
use crate::config::TrustedNode;
use crate::error::{Error, Result, Sqlstate};
use crate::federation::identity::Fingerprint;
use crate::federation::invite::{self, Invite};
use crate::federation::tables;
use crate::limits::network;
use crate::node::Node;
use crate::store::{InviteUse, PinRecord, now};

/// Acceptances of one address, or of one network of 64 bits, that are looked at in a second.
const ACCEPTANCES_A_SECOND: NonZeroU32 = match NonZeroU32::new(5) {
    Some(rate) => rate,
    None => NonZeroU32::MIN,
};
/// Addresses whose rates are remembered before those at rest are let go of.
const MANY_ADDRESSES: usize = 1_000;

/// Bounds how often strangers may show invites.
pub(crate) struct Strangers(DefaultKeyedRateLimiter<IpAddr>);

impl Default for Strangers {
    fn default() -> Strangers {
        Strangers(RateLimiter::keyed(Quota::per_second(ACCEPTANCES_A_SECOND)))
    }
}

impl Strangers {
    /// # Errors
    /// 53300 if there are too many.
    fn admit(&self, from: IpAddr) -> Result<()> {
        if self.0.len() > MANY_ADDRESSES {
            self.0.retain_recent();
        }
        self.0.check_key(&network(from)).map_err(|_| {
            Error::new(Sqlstate::TooManyConnections, "too many invites were shown").hint("Try again in a second.")
        })
    }
}

impl Node {
    /// Pins the peers that the configuration names now, and those that came by invites; no others.
    ///
    /// # Errors
    /// 22023 for a configuration that cannot be; if the log or the store fails. Then the peers stay as they are, but that nobody stays trusted who is not to be.
    pub async fn pin_as_configured(self: &Arc<Self>, trusted: &[TrustedNode]) -> Result<()> {
        let done = self.federation.pin_as_configured(trusted, &self.audit, &self.catalog.snapshot()).await;
        self.follow_pins(done).await
    }

    /// Makes an invite that is good for so many seconds, and gives its token: it is shown only now.
    ///
    /// # Errors
    /// 55000 if others cannot reach this node, 54000 if there are too many; if the store fails.
    pub(crate) async fn invite(&self, seconds: i64, by: &str) -> Result<String> {
        let moment = Utc::now().timestamp();
        let expires_at = moment.saturating_add(seconds);
        let key = self.federation.identity().fingerprint;
        let (invite, hash) = Invite::new(self.site().as_str(), key, &self.flight_endpoint(), expires_at)?;
        let token = invite.token()?;
        self.store.add_invite(&hash, expires_at, by, moment).await?;
        Ok(token)
    }

    /// Accepts another node's invite: the two pin one another. Gives what to tell.
    ///
    /// # Errors
    /// 22023 for what is no invite, 28000 for one that is not good, 42710 if that node is a peer already, 08001 if it does not answer; if the log or the store fails.
    /// Unless the hint says otherwise, neither has pinned the other then.
    pub(crate) async fn accept_invite(self: &Arc<Self>, token: &str, by: &str) -> Result<String> {
        let invite = Invite::parse(token)?;
        let pin = invite.pin().ok_or_else(|| Error::internal("an invite without a place"))?;
        if invite.expires_at <= Utc::now().timestamp() {
            return Err(Error::new(Sqlstate::InvalidAuthorization, "the invite is over").hint("Ask for another one."));
        }
        self.federation.check_new(&pin.fingerprint, &invite.id)?;
        let endpoint = self.flight_endpoint();
        let acceptance = invite::accept(&invite, self.site().as_str(), self.federation.identity(), &endpoint)?;
        invite::send(&pin, acceptance).await?;
        let record = PinRecord {
            fingerprint: *pin.fingerprint.as_bytes(),
            node_id: invite.id.clone(),
            host: pin.host.clone(),
            port: pin.port,
            pinned_at: now(),
            pinned_by: by.to_owned(),
        };
        let done = self.federation.pin(record, &self.audit, &self.catalog.snapshot()).await;
        self.follow_pins(done).await.map_err(|error| {
            error.hint(format!(
                "Node \"{}\" has pinned this one already: accept the same invite again before it is over, or have its operator say SELECT kanon.remove_node('{}').",
                invite.id,
                self.site()
            ))
        })?;
        Ok(format!("node \"{}\" at {} and this node trust one another", invite.id, pin.authority()))
    }

    /// Takes in a node that shows an invite of this one. Whoever shows none is told one thing, whatever was wrong; the log says what.
    ///
    /// # Errors
    /// 28000 for whatever is no good invite; 42710 for a node whose key or id is not free; 53300 if too many are shown; if the log or the store fails.
    pub async fn answer_acceptance(self: &Arc<Self>, from: IpAddr, body: &[u8]) -> Result<Vec<u8>> {
        let turned_away = |rule: &'static str| self.audit.invite_refused(&from.to_string(), rule);
        self.federation.strangers().admit(from).inspect_err(|_| turned_away("too many invites were shown"))?;
        let moment = Utc::now().timestamp();
        let accepted =
            invite::read_acceptance(body, self.federation.identity().fingerprint, moment).map_err(|why| {
                turned_away(why);
                invite::refused()
            })?;
        let record = PinRecord {
            fingerprint: *accepted.pin.fingerprint.as_bytes(),
            node_id: accepted.id.clone(),
            host: accepted.pin.host.clone(),
            port: accepted.pin.port,
            pinned_at: now(),
            pinned_by: "an invite".to_owned(),
        };
        let snapshot = self.catalog.snapshot();
        let used = self.federation.take_in(&accepted, &record, moment, &self.audit, &snapshot).await;
        match used {
            Ok(InviteUse::First) => self.follow_pins(Ok(())).await?,
            Ok(InviteUse::Again) => {}
            Ok(InviteUse::Refused(why)) => {
                turned_away(why);
                return Err(invite::refused());
            }
            Err(error) => {
                let rule = format!("{}: {}", error.state.code(), error.message);
                self.audit.peer(&accepted.pin.to_string(), Decision::Refused, &rule).await?;
                return Err(error);
            }
        }
        Ok(self.site().as_str().as_bytes().to_vec())
    }

    /// Takes a peer's pin away: what is under way with it ends.
    ///
    /// # Errors
    /// 42704 if no peer is called so, 55000 if the configuration pins it; if the log or the store fails.
    pub(crate) async fn remove_node(self: &Arc<Self>, name: &str) -> Result<()> {
        let done = self.federation.unpin(name, &self.audit, &self.catalog.snapshot()).await;
        self.follow_pins(done).await
    }

    /// Ends the sessions of whoever came through a node that is no peer any more, and shows the tables of those that are.
    async fn follow_pins(self: &Arc<Self>, done: Result<()>) -> Result<()> {
        self.sessions.end_those(|principal| self.refuses(principal));
        done?;
        tables::refresh(self).await
    }

    /// Where peers reach this node.
    fn flight_endpoint(&self) -> String {
        self.config.flight_advertise.clone().unwrap_or_else(|| self.config.flight_listen.to_string())
    }

    /// Whose key a token of an invite names, for the log.
    pub(crate) fn inviter_of(token: &str) -> Option<Fingerprint> {
        Invite::parse(token).ok()?.pin().map(|pin| pin.fingerprint)
    }
}
