//! One peer: its pin, its connection, what it last said of itself, and whether it answers.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_flight::Action;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use governor::clock::{Clock as _, MonotonicClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use kanon_planner::facts::SiteId;
use rand::Rng as _;
use tokio::sync::watch;

use super::connect::{self, PeerService, is_untrusted};
use super::descriptor::{self, DESCRIPTOR_ACTION, Descriptor, PROTOCOL};
use super::identity::Identity;
use super::pin::Pin;
use super::tls;
use super::wire::describe;
use crate::error::{Error, Result, Sqlstate};

/// How often a peer that answers is asked for its descriptor.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long the answer may take.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// How soon a peer that does not answer is asked again: doubled each time, from the first to the second.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_millis(1500);

/// Whether a peer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerStatus {
    /// Not asked yet.
    Unknown,
    /// It answered the last time.
    Up,
    /// It did not.
    Down,
    /// Its key, or its descriptor, is not the one trusted; or it does not trust ours.
    Untrusted,
    /// It speaks another version of the protocol.
    VersionMismatch,
    /// This node's operator suspended it: it is not asked.
    Suspended,
}

/// A peer at one moment, for `kanon.nodes`.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Where it is and which key it must show.
    pub pin: Pin,
    /// The id that its invite told, if it came by one.
    pub invited_as: Option<String>,
    /// Whether the configuration pins it; else the store does.
    pub configured: bool,
    /// Whether it answers.
    pub status: PeerStatus,
    /// When it last answered.
    pub last_seen: Option<DateTime<Utc>>,
    /// How long its last answer took.
    pub latency: Option<Duration>,
    /// What it last said of itself.
    pub descriptor: Option<Arc<Descriptor>>,
}

/// How this node stands to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is asked, and answered.
    Peer,
    /// Neither, for now.
    Suspended,
    /// Its pin is gone, for good.
    Removed,
}

/// A pinned peer.
pub(super) struct Peer {
    pub(super) pin: Pin,
    /// The id that its invite told.
    pub(super) invited_as: Option<String>,
    /// Whether the configuration pins it.
    configured: AtomicBool,
    service: PeerService,
    state: Mutex<State>,
    /// Whoever waits for it is told.
    standing: watch::Sender<Standing>,
    /// How often its tickets are taken, where that is bounded.
    rate: Mutex<Option<(NonZeroU32, DefaultDirectRateLimiter)>>,
}

struct State {
    status: PeerStatus,
    last_seen: Option<DateTime<Utc>>,
    latency: Option<Duration>,
    descriptor: Option<Arc<Descriptor>>,
    /// The token of the descriptor, to see cheaply that nothing changed.
    token: String,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("pin", &self.pin).finish_non_exhaustive()
    }
}

/// What a check found.
pub(super) enum Checked {
    /// The same descriptor as before.
    Same,
    /// A new one, which was verified but not yet taken.
    New(Arc<Descriptor>, String),
}

/// Why a check failed, for the status and the log.
pub(super) struct CheckFailed {
    pub(super) status: PeerStatus,
    pub(super) why: String,
}

impl Peer {
    pub(super) fn new(pin: Pin, invited_as: Option<String>, identity: &Identity) -> Result<Peer> {
        let service = connect::channel(&pin, tls::client_config(identity, pin.fingerprint)?)?;
        let state = State {
            status: PeerStatus::Unknown,
            last_seen: None,
            latency: None,
            descriptor: None,
            token: String::new(),
        };
        let (state, standing) = (Mutex::new(state), watch::Sender::new(Standing::Peer));
        Ok(Peer {
            pin,
            configured: AtomicBool::new(invited_as.is_none()),
            invited_as,
            service,
            state,
            standing,
            rate: Mutex::default(),
        })
    }

    pub(super) fn is_configured(&self) -> bool {
        self.configured.load(Ordering::Relaxed)
    }

    /// Whether the configuration pins it from now on.
    pub(super) fn set_configured(&self, configured: bool) {
        self.configured.store(configured, Ordering::Relaxed);
    }

    pub(super) fn is_suspended(&self) -> bool {
        *self.standing.borrow() == Standing::Suspended
    }

    pub(super) fn suspend(&self, suspended: bool) {
        let wanted = if suspended { Standing::Suspended } else { Standing::Peer };
        self.standing.send_if_modified(|known| match *known {
            Standing::Removed => false,
            _ => std::mem::replace(known, wanted) != wanted,
        });
    }

    /// Its pin is gone: what is under way to it ends.
    pub(super) fn remove(&self) {
        self.standing.send_replace(Standing::Removed);
    }

    /// Takes one ticket of so many a second, of which one second's worth may come at once.
    ///
    /// # Errors
    /// 53300 if there are too many, with when to try again.
    pub(super) fn admit(&self, most: NonZeroU32) -> Result<()> {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if rate.as_ref().is_none_or(|(known, _)| *known != most) {
            *rate = Some((most, RateLimiter::direct(Quota::per_second(most))));
        }
        let Some((_, limiter)) = rate.as_ref() else { return Ok(()) };
        limiter.check().map_err(|until| {
            let wait = until.wait_time_from(MonotonicClock.now()).as_millis().max(1);
            Error::new(Sqlstate::TooManyConnections, format!("this site takes {most} statements a second of that node"))
                .hint(format!("Try again in {wait} ms."))
        })
    }

    /// Waits until it is to be asked. Whether that will ever be.
    pub(super) async fn until_asked(&self) -> bool {
        let mut standing = self.standing.subscribe();
        let found = standing.wait_for(|standing| *standing != Standing::Suspended).await;
        found.is_ok_and(|standing| *standing == Standing::Peer)
    }

    /// Waits until it is not to be asked, and tells why.
    pub(super) async fn until_halted(&self) -> Standing {
        let mut standing = self.standing.subscribe();
        let found = standing.wait_for(|standing| *standing != Standing::Peer).await.map(|standing| *standing);
        match found {
            Ok(standing) => standing,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until its pin is gone.
    pub(super) async fn until_removed(&self) {
        if self.standing.subscribe().wait_for(|standing| *standing == Standing::Removed).await.is_err() {
            std::future::pending().await
        }
    }

    /// What it said of itself, for a peer of the same key at another place.
    pub(super) fn hand_on(&self, other: &Peer) {
        let (descriptor, token) = {
            let state = self.state();
            (state.descriptor.clone(), state.token.clone())
        };
        if let Some(descriptor) = descriptor {
            other.take(descriptor, token);
        }
    }

    /// A handle on the kept connection.
    pub(super) fn service(&self) -> PeerService {
        self.service.clone()
    }

    pub(super) fn descriptor(&self) -> Option<Arc<Descriptor>> {
        self.state().descriptor.clone()
    }

    pub(super) fn site(&self) -> Option<SiteId> {
        self.descriptor().map(|d| SiteId::new(d.id.clone()))
    }

    pub(super) fn info(&self) -> PeerInfo {
        let state = self.state();
        PeerInfo {
            pin: self.pin.clone(),
            invited_as: self.invited_as.clone(),
            configured: self.is_configured(),
            status: if self.is_suspended() { PeerStatus::Suspended } else { state.status },
            last_seen: state.last_seen,
            latency: state.latency,
            descriptor: state.descriptor.clone(),
        }
    }

    /// Takes a descriptor as the peer's.
    pub(super) fn take(&self, descriptor: Arc<Descriptor>, token: String) {
        let mut state = self.state();
        state.descriptor = Some(descriptor);
        state.token = token;
    }

    /// Notes how a check ended. Whether the status changed.
    pub(super) fn note(&self, status: PeerStatus, latency: Option<Duration>) -> bool {
        let mut state = self.state();
        let changed = state.status != status;
        state.status = status;
        if status == PeerStatus::Up {
            state.last_seen = Some(Utc::now());
            state.latency = latency;
        }
        changed
    }

    /// Asks the peer for its descriptor.
    pub(super) async fn check(&self) -> Result<(Checked, Duration), CheckFailed> {
        let began = Instant::now();
        let token = match tokio::time::timeout(CHECK_TIMEOUT, self.ask()).await {
            Ok(answer) => answer?,
            Err(_) => return Err(CheckFailed { status: PeerStatus::Down, why: "no answer in time".to_owned() }),
        };
        let latency = began.elapsed();
        let untrusted = |error: Error| CheckFailed { status: PeerStatus::Untrusted, why: error.to_string() };
        let known = {
            let state = self.state();
            if state.token == token
                && let Some(known) = &state.descriptor
                && descriptor::accept(known, None, Utc::now().timestamp()).is_ok()
            {
                return Ok((Checked::Same, latency));
            }
            state.descriptor.as_ref().map(|d| d.sequence)
        };
        let read = descriptor::read(&token, self.pin.fingerprint).map_err(untrusted)?;
        if read.protocol != PROTOCOL {
            let why = format!("protocol {} instead of {PROTOCOL}", read.protocol);
            return Err(CheckFailed { status: PeerStatus::VersionMismatch, why });
        }
        descriptor::accept(&read, known, Utc::now().timestamp()).map_err(untrusted)?;
        Ok((Checked::New(Arc::new(read), token), latency))
    }

    async fn ask(&self) -> Result<String, CheckFailed> {
        let body = self.act(DESCRIPTOR_ACTION, Vec::new()).await?;
        String::from_utf8(body)
            .map_err(|_| CheckFailed { status: PeerStatus::Untrusted, why: "a descriptor that is no text".to_owned() })
    }

    /// What it answers to an action.
    pub(super) async fn act(&self, action: &str, body: Vec<u8>) -> Result<Vec<u8>, CheckFailed> {
        let failed = |status: tonic::Status| {
            let untrusted = is_untrusted(&status);
            CheckFailed {
                status: if untrusted { PeerStatus::Untrusted } else { PeerStatus::Down },
                why: describe(&status),
            }
        };
        let action = Action { r#type: action.to_owned(), body: body.into() };
        let mut answers = self.service().do_action(action).await.map_err(failed)?.into_inner();
        let answer = answers.try_next().await.map_err(failed)?;
        Ok(answer.map(|a| a.body.to_vec()).unwrap_or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When to ask a peer again after `failures` failures in a row, with jitter so that nodes do not ask in step.
pub(super) fn next_check(failures: u32) -> Duration {
    let base = match failures {
        0 => CHECK_INTERVAL,
        n => RETRY_FIRST.saturating_mul(1 << (n - 1).min(8)).min(RETRY_LAST),
    };
    base.mul_f64(rand::rng().random_range(0.8..1.2))
}
