//! Random names for what a client comes back for. Bounded in number and in time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use kanon_engine::error::{Error, Result, Sqlstate};
use rand::Rng as _;

/// What was used within this time does not make room for others.
const IN_USE: Duration = Duration::from_secs(60);

/// 256 random bits, as text.
pub(crate) fn random_name() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Values by random name.
pub(crate) struct Handles<T> {
    most: usize,
    idle: Duration,
    in_use: Duration,
    entries: Mutex<HashMap<String, Entry<T>>>,
}

struct Entry<T> {
    owner: String,
    value: Arc<T>,
    used: Instant,
}

impl<T> Handles<T> {
    /// At most `most`, each forgotten when it was not used for `idle`.
    pub(crate) fn new(most: usize, idle: Duration) -> Self {
        Handles { most, idle, in_use: IN_USE, entries: Mutex::default() }
    }

    /// Keeps a role's value and names it. Clients seldom say that they are done: where there is no room, what was unused for longest makes
    /// it. Nobody has more than half of the room.
    ///
    /// # Errors
    /// 53300 if there are too many and all were used within the last minute.
    pub(crate) fn insert(&self, owner: &str, value: Arc<T>) -> Result<String> {
        let name = random_name();
        self.insert_as(name.clone(), owner, value)?;
        Ok(name)
    }

    /// As [`Handles::insert`], by a name that the client has already: gives the value that is kept, which is another if somebody was faster.
    ///
    /// # Errors
    /// As [`Handles::insert`].
    pub(crate) fn insert_as(&self, name: String, owner: &str, value: Arc<T>) -> Result<Arc<T>> {
        let mut entries = self.lock();
        let share = self.most.div_ceil(2);
        if entries.len() >= share {
            entries.retain(|_, entry| entry.used.elapsed() < self.idle);
        }
        if entries.len() >= share && entries.values().filter(|entry| entry.owner == owner).count() >= share {
            self.make_room(&mut entries, |entry| entry.owner == owner)?;
        }
        if entries.len() >= self.most {
            self.make_room(&mut entries, |_| true)?;
        }
        let new = Entry { owner: owner.to_owned(), value, used: Instant::now() };
        Ok(Arc::clone(&entries.entry(name).or_insert(new).value))
    }

    /// Forgets the one of these that was unused for longest.
    fn make_room(&self, entries: &mut HashMap<String, Entry<T>>, of: impl Fn(&Entry<T>) -> bool) -> Result<()> {
        let oldest = entries.iter().filter(|(_, entry)| of(entry)).min_by_key(|(_, entry)| entry.used);
        let oldest = oldest.filter(|(_, entry)| entry.used.elapsed() >= self.in_use).map(|(name, _)| name.clone());
        match oldest.and_then(|name| entries.remove(&name)) {
            Some(_) => Ok(()),
            None => Err(Error::new(Sqlstate::TooManyConnections, "too many sessions or statements are open")),
        }
    }

    /// The value of a name; it is used now.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<T>> {
        let mut entries = self.lock();
        let entry = entries.get_mut(name)?;
        if entry.used.elapsed() >= self.idle {
            entries.remove(name);
            return None;
        }
        entry.used = Instant::now();
        Some(Arc::clone(&entry.value))
    }

    /// Forgets the values of which this is not true.
    pub(crate) fn retain(&self, of: impl Fn(&T) -> bool) {
        self.lock().retain(|_, entry| of(&entry.value));
    }

    /// Forgets a name. Its value, if it had one.
    pub(crate) fn remove(&self, name: &str) -> Option<Arc<T>> {
        let entry = self.lock().remove(name)?;
        (entry.used.elapsed() < self.idle).then_some(entry.value)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn bounded_in_number_and_time() {
        let handles = Handles::new(2, Duration::from_millis(50));
        let first = handles.insert("ana", Arc::new(1)).unwrap();
        handles.insert("ben", Arc::new(2)).unwrap();
        assert_eq!(handles.insert("eva", Arc::new(3)).unwrap_err().state, Sqlstate::TooManyConnections);
        assert_eq!(handles.get(&first).as_deref(), Some(&1));
        std::thread::sleep(Duration::from_millis(60));
        assert!(handles.get(&first).is_none());
        handles.insert("eva", Arc::new(3)).unwrap();
    }

    #[test]
    fn what_was_unused_for_longest_makes_room() {
        let mut handles = Handles::new(2, Duration::from_secs(3600));
        handles.in_use = Duration::from_millis(50);
        let first = handles.insert("ana", Arc::new(1)).unwrap();
        let second = handles.insert("ben", Arc::new(2)).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        handles.get(&first).unwrap();
        let third = handles.insert("eva", Arc::new(3)).unwrap();
        assert!(handles.get(&second).is_none());
        assert!(handles.get(&first).is_some() && handles.get(&third).is_some());
        assert_eq!(handles.insert("ida", Arc::new(4)).unwrap_err().state, Sqlstate::TooManyConnections);
    }

    #[test]
    fn nobody_has_more_than_half_of_the_room() {
        let handles = Handles::new(4, Duration::from_secs(3600));
        handles.insert("ana", Arc::new(1)).unwrap();
        handles.insert("ana", Arc::new(2)).unwrap();
        assert_eq!(handles.insert("ana", Arc::new(3)).unwrap_err().state, Sqlstate::TooManyConnections);
        handles.insert("ben", Arc::new(4)).unwrap();
        handles.insert("eva", Arc::new(5)).unwrap();
    }
}
