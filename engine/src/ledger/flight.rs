//! Single flight: of identical releases that are asked at once, one is charged and computed, and the others wait for its answer.
//!
//! ```text
//! Flights::board ─┬─ Lead    the only one that may charge and compute ─┬─ Lead::land   all who wait have the answer
//!                 │                                                    └─ dropped      the one who has waited longest leads
//!                 └─ Landed  the answer of the one that led
//! ```
//!
//! Whoever goes away leaves: a lead that is dropped (an error, a cancel, a timeout) passes on to the next, who reserves again, since a
//! charge is never given back; one that waits and is dropped is not waited for. A flight is forgotten with the last who takes part in it;
//! what has an answer by then is found in the store.
//!
//! Waiting is for whoever holds no lead, or boards in the order of fingerprints: then nobody waits for one another in a circle. And a
//! lead is for computing that one release: what waits for anything else while it holds one may be waited for by just that.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ReleaseFingerprint;

/// The releases of a ledger that are being computed. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<ReleaseFingerprint, Entry>>>);

struct Entry {
    flight: Arc<Flight>,
    /// How many take part in it.
    seats: usize,
}

struct Flight {
    /// One permit: the lead. Closed when there is an answer, so that all who wait have it at once, whoever of them is slow to look.
    turn: Arc<Semaphore>,
    answer: OnceLock<Bytes>,
}

/// What boarding a flight came to.
pub(super) enum Boarded {
    /// This one is to charge and compute it, and nobody else is meanwhile.
    Lead(Lead),
    /// Somebody else has computed it meanwhile.
    Landed(Bytes),
}

/// The right to compute a release, alone.
pub(super) struct Lead {
    _turn: OwnedSemaphorePermit,
    seat: Seat,
}

/// A part in a flight: while there is one, the flight is known.
struct Seat {
    flights: Flights,
    fingerprint: ReleaseFingerprint,
    flight: Arc<Flight>,
}

impl Flights {
    /// Waits for the answer that somebody else is computing, or for the turn to compute it.
    pub(super) async fn board(&self, fingerprint: ReleaseFingerprint) -> Boarded {
        let seat = self.seat(fingerprint);
        match Arc::clone(&seat.flight.turn).acquire_owned().await {
            Ok(turn) => Boarded::Lead(Lead { _turn: turn, seat }),
            // Closed, and before that the answer was put there.
            Err(_) => Boarded::Landed(seat.flight.answer.wait().clone()),
        }
    }

    fn seat(&self, fingerprint: ReleaseFingerprint) -> Seat {
        let mut known = self.known();
        let entry = known.entry(fingerprint).or_insert_with(|| Entry {
            flight: Arc::new(Flight { turn: Arc::new(Semaphore::new(1)), answer: OnceLock::new() }),
            seats: 0,
        });
        entry.seats += 1;
        Seat { flights: self.clone(), fingerprint, flight: Arc::clone(&entry.flight) }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ReleaseFingerprint, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known().len()
    }

    /// How many take part in one.
    #[cfg(test)]
    pub(super) fn seats(&self, fingerprint: &ReleaseFingerprint) -> usize {
        self.known().get(fingerprint).map_or(0, |entry| entry.seats)
    }
}

impl Lead {
    /// Which release.
    pub(super) fn fingerprint(&self) -> ReleaseFingerprint {
        self.seat.fingerprint
    }

    /// Gives the answer, which is in the store, to all who wait.
    pub(super) fn land(self, answer: Bytes) {
        // There is no other: only a lead puts one there, and there is one at a time, none after an answer.
        let _ = self.seat.flight.answer.set(answer);
        self.seat.flight.turn.close();
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lead").field(&self.seat.fingerprint).finish()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut known = self.flights.known();
        if let Some(entry) = known.get_mut(&self.fingerprint) {
            entry.seats = entry.seats.saturating_sub(1);
            if entry.seats == 0 {
                known.remove(&self.fingerprint);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::poll;

    use super::*;

    const ONE: ReleaseFingerprint = ReleaseFingerprint([1; 32]);
    const TWO: ReleaseFingerprint = ReleaseFingerprint([2; 32]);

    async fn lead(flights: &Flights, fingerprint: ReleaseFingerprint) -> Lead {
        match flights.board(fingerprint).await {
            Boarded::Lead(lead) => lead,
            Boarded::Landed(_) => panic!("there is an answer"),
        }
    }

    fn answer(boarded: Boarded) -> Bytes {
        match boarded {
            Boarded::Landed(answer) => answer,
            Boarded::Lead(_) => panic!("there is no answer"),
        }
    }

    #[tokio::test]
    async fn all_who_wait_have_the_answer_of_the_one_who_leads() {
        let flights = Flights::default();
        let first = lead(&flights, ONE).await;
        let mut waiting: Vec<_> = (0..63).map(|_| Box::pin(flights.board(ONE))).collect();
        for one in &mut waiting {
            assert!(poll!(one.as_mut()).is_pending());
        }
        // Another release is another flight.
        drop(lead(&flights, TWO).await);
        assert_eq!((flights.len(), flights.seats(&ONE)), (1, 64));
        first.land(Bytes::from_static(b"42"));
        // Who comes before all have left has it too, though none of those who came first has looked yet.
        assert_eq!(answer(flights.board(ONE).await), "42");
        for one in waiting {
            assert_eq!(answer(one.await), "42");
        }
        assert_eq!(flights.len(), 0, "it is forgotten with the last");
        drop(lead(&flights, ONE).await);
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn a_lead_that_is_dropped_passes_on_to_who_has_waited_longest() {
        let flights = Flights::default();
        let first = lead(&flights, ONE).await;
        let mut second = Box::pin(flights.board(ONE));
        let mut third = Box::pin(flights.board(ONE));
        let mut fourth = Box::pin(flights.board(ONE));
        assert!(poll!(second.as_mut()).is_pending() && poll!(third.as_mut()).is_pending());
        assert!(poll!(fourth.as_mut()).is_pending());
        drop(first);
        // The second has its turn and goes away before it looks.
        drop(second);
        let Boarded::Lead(lead) = third.await else { panic!("nobody has computed it") };
        assert!(poll!(fourth.as_mut()).is_pending(), "one leads at a time");
        lead.land(Bytes::from_static(b"42"));
        assert_eq!(answer(fourth.await), "42");
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn who_is_cancelled_while_waiting_leaves() {
        let flights = Flights::default();
        let first = lead(&flights, ONE).await;
        for _ in 0..3 {
            let mut waiting = Box::pin(flights.board(ONE));
            assert!(poll!(waiting.as_mut()).is_pending());
            assert_eq!(flights.seats(&ONE), 2);
            drop(waiting);
            assert_eq!(flights.seats(&ONE), 1);
        }
        // One that was never polled takes no part.
        drop(flights.board(ONE));
        assert_eq!(flights.seats(&ONE), 1);
        drop(first);
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn with_many_who_fail_and_go_away_one_leads_at_a_time_and_nobody_hangs() {
        let flights = Flights::default();
        let leading = Arc::new(AtomicUsize::new(0));
        let landed = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..200_u64)
            .map(|number| {
                let (flights, leading, landed) = (flights.clone(), Arc::clone(&leading), Arc::clone(&landed));
                tokio::spawn(async move {
                    let work = async {
                        match flights.board(ONE).await {
                            Boarded::Landed(_) => {}
                            Boarded::Lead(lead) => {
                                assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two lead");
                                tokio::task::yield_now().await;
                                leading.fetch_sub(1, Ordering::SeqCst);
                                if number % 5 == 4 {
                                    landed.fetch_add(1, Ordering::SeqCst);
                                    lead.land(Bytes::from_static(b"42"));
                                }
                            }
                        }
                    };
                    if number % 3 == 0 {
                        // Polled once at most, and gone.
                        let _ = poll!(Box::pin(flights.board(ONE)));
                    } else {
                        tokio::time::timeout(Duration::from_secs(60), work).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(landed.load(Ordering::SeqCst) > 0);
        assert_eq!(flights.len(), 0);
    }
}
