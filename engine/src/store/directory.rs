//! Who is who: roles and what they are members of, in memory, as the store has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use kanon_planner::facts::SiteId;

use super::identities::{Identity, Subject};
use super::peer_rules::PeerRules;
use super::pending::PendingChange;
use super::rules;
use crate::auth::CertificateName;
use crate::auth::api_keys::{self, ApiKey, Scope};
use crate::federation::identity::Fingerprint;
use crate::principal::{AuthMethod, BuiltinRole, Principal};

/// Which key has which node id, as the federation knows it.
pub(crate) type PeerIds = Arc<Mutex<BTreeMap<String, Fingerprint>>>;

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleInfo {
    /// Its name; `alice@cleveland` stands for a role of a peer.
    pub name: String,
    /// Whether it may log in here: not while it is suspended.
    pub login: bool,
    /// Whether it has LOGIN, suspended or not.
    pub has_login: bool,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Whether it has a password.
    pub has_password: bool,
    /// The roles it was granted itself, built-in ones too.
    pub member_of: BTreeSet<String>,
    /// UTC, RFC 3339.
    pub created_at: String,
    /// Tokens that were issued up to this second, of Unix time, are not taken.
    pub tokens_from: i64,
    /// When its password was set, in milliseconds of Unix time; 0 if it never was.
    pub password_set_at: i64,
    /// By which role; `None`: by whoever made this one.
    pub password_set_by: Option<String>,
}

/// All roles at this moment. Clones share it: a GRANT is seen at once by whoever holds one.
#[derive(Clone, Default)]
pub struct RoleDirectory {
    present: Arc<RwLock<Present>>,
    peer_ids: PeerIds,
}

/// Who there is at a version of the store.
#[derive(Default)]
pub(super) struct Present {
    pub(super) version: i64,
    pub(super) roles: Arc<BTreeMap<String, RoleInfo>>,
    /// Of all roles that have a password, whether they may log in or not.
    pub(super) verifiers: BTreeMap<String, String>,
    pub(super) api_keys: BTreeMap<String, Arc<ApiKey>>,
    pub(super) identities: BTreeMap<Subject, Identity>,
    /// Roles by what their certificates call them.
    pub(super) certificates: BTreeMap<CertificateName, String>,
    /// By fingerprint.
    pub(super) peer_rules: BTreeMap<String, PeerRules>,
    pub(super) pending_changes: Arc<Vec<PendingChange>>,
}

impl fmt::Debug for RoleDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().keys()).finish()
    }
}

impl RoleDirectory {
    /// All roles by name.
    pub fn all(&self) -> Arc<BTreeMap<String, RoleInfo>> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner).roles)
    }

    /// Shows these roles from now on, unless newer ones are shown already.
    pub(super) fn replace(&self, newer: Present) {
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        if newer.version >= present.version {
            for (id, key) in &newer.api_keys {
                if let Some(before) = present.api_keys.get(id) {
                    key.last_used_at.fetch_max(before.last_used_at.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
            *present = newer;
        }
    }

    /// Which peer has which id: for the federation to keep.
    pub(crate) fn peer_ids(&self) -> PeerIds {
        Arc::clone(&self.peer_ids)
    }

    /// What the peer of a key may ask for.
    pub(crate) fn rules_of_key(&self, key: &Fingerprint) -> PeerRules {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        present.peer_rules.get(&key.to_string()).cloned().unwrap_or_default()
    }

    /// What the peer of an id may ask for; nothing if there is none.
    pub fn rules_of_peer(&self, peer: &SiteId) -> PeerRules {
        let key = self.peer_ids.lock().unwrap_or_else(PoisonError::into_inner).get(peer.as_str()).copied();
        key.map_or_else(PeerRules::nothing, |key| self.rules_of_key(&key))
    }

    pub(super) fn verifier(&self, name: &str) -> Option<String> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).verifiers.get(name).cloned()
    }

    /// The role that a subject of an issuer is.
    pub(crate) fn identity(&self, subject: &Subject) -> Option<Identity> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).identities.get(subject).cloned()
    }

    /// The key that this is, if it is one that is taken there at this second.
    pub(crate) fn api_key(&self, key: &str, scope: Scope, now: i64) -> Option<Arc<ApiKey>> {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        let known = present.api_keys.get(api_keys::id_of(key)?)?;
        // Of hashes, so how long a comparison takes tells nothing of the key.
        let is_taken = known.hash == api_keys::hash(key) && known.scopes.contains(&scope) && now < known.expires_at;
        is_taken.then(|| Arc::clone(known))
    }

    /// Whether there is a key of this id that is valid at this second.
    pub(crate) fn has_api_key(&self, id: &str, now: i64) -> bool {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        present.api_keys.get(id).is_some_and(|key| now < key.expires_at)
    }

    /// All keys.
    pub(crate) fn api_keys(&self) -> Vec<Arc<ApiKey>> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).api_keys.values().cloned().collect()
    }

    /// The role that a certificate's name is mapped to.
    pub(crate) fn role_of_certificate(&self, name: &CertificateName) -> Option<String> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).certificates.get(name).cloned()
    }

    /// All names of certificates, with their roles.
    pub(crate) fn certificates(&self) -> BTreeMap<CertificateName, String> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).certificates.clone()
    }

    /// Changes that wait for another steward, the oldest first.
    pub(crate) fn pending_changes(&self) -> Arc<Vec<PendingChange>> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner).pending_changes)
    }

    /// How somebody can come in as a role: for whoever has to say whether that is a person of its own.
    pub(crate) fn ways_in(&self, role: &str) -> Vec<String> {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        let info = present.roles.get(role);
        let password = info.filter(|info| info.has_password).map(|info| {
            let at = chrono::DateTime::from_timestamp_millis(info.password_set_at);
            let at =
                at.filter(|_| info.password_set_at > 0).map(|at| at.format("at %Y-%m-%d %H:%M:%S UTC").to_string());
            let at = at.unwrap_or_else(|| "before that was kept".to_owned());
            let by = info.password_set_by.as_deref().map_or("whoever made the role".to_owned(), |by| format!("{by:?}"));
            format!("a password that {by} set {at}")
        });
        let certificates = present.certificates.iter().filter(|(_, of)| *of == role);
        let identities = present.identities.iter().filter(|(_, identity)| identity.role == role);
        let certificates = certificates.map(|(name, _)| format!("certificate {name}"));
        let identities = identities.map(|(of, _)| format!("subject {} at {}", of.subject, of.issuer));
        let keys = present.api_keys.values().filter(|key| key.role == role);
        let keys = keys.map(|key| format!("API key {:?} that {:?} made", key.name, key.created_by));
        password.into_iter().chain(certificates).chain(identities).chain(keys).collect()
    }

    /// Every role that `name` is a member of, through others too, and itself.
    pub fn memberships(&self, name: &str) -> BTreeSet<String> {
        let roles = self.all();
        let mut found = BTreeSet::from([name.to_owned()]);
        let mut todo = vec![name.to_owned()];
        while let Some(next) = todo.pop() {
            for role in roles.get(&next).into_iter().flat_map(|role| &role.member_of) {
                if found.insert(role.clone()) {
                    todo.push(role.clone());
                }
            }
        }
        found
    }

    /// The built-in roles that a name holds here, through others too; an admin holds all.
    pub fn builtin_roles(&self, name: &str) -> BTreeSet<BuiltinRole> {
        let found: BTreeSet<BuiltinRole> =
            self.memberships(name).iter().filter_map(|role| BuiltinRole::parse(role)).collect();
        if found.contains(&BuiltinRole::Admin) { BuiltinRole::ALL.into_iter().collect() } else { found }
    }

    /// Which of the built-in roles that decide what a node tells, and who may ask, a name holds here, through others too.
    pub(crate) fn decides(&self, name: &str) -> BTreeSet<BuiltinRole> {
        let held = self.builtin_roles(name);
        held.into_iter().filter(|role| matches!(role, BuiltinRole::Steward | BuiltinRole::Admin)).collect()
    }

    /// The people among the roles that are members of one, through others too, and itself: who can log in, or could if it were let. Groups are nobody.
    pub(crate) fn people_of(&self, role: &str) -> BTreeSet<String> {
        let all = self.all();
        let is_person =
            |name: &String| all.get(name).is_some_and(|info| info.has_login) || !self.ways_in(name).is_empty();
        self.members_of(role).into_iter().filter(is_person).collect()
    }

    /// The roles that are members of one, through others too, and itself.
    pub(crate) fn members_of(&self, role: &str) -> BTreeSet<String> {
        let all = self.all();
        all.keys().filter(|name| self.memberships(name).contains(role)).cloned().collect()
    }

    /// The people who decide what this node tells.
    pub(crate) fn stewards(&self) -> BTreeSet<String> {
        let of = |role: BuiltinRole| self.people_of(role.as_str());
        of(BuiltinRole::Steward).into_iter().chain(of(BuiltinRole::Admin)).collect()
    }

    /// A copy that nothing is written to, with other roles.
    pub(crate) fn with(&self, change: impl FnOnce(&mut BTreeMap<String, RoleInfo>)) -> RoleDirectory {
        let mut roles = (*self.all()).clone();
        change(&mut roles);
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        let present = Present {
            roles: Arc::new(roles),
            identities: present.identities.clone(),
            certificates: present.certificates.clone(),
            api_keys: present.api_keys.clone(),
            ..Present::default()
        };
        RoleDirectory { present: Arc::new(RwLock::new(present)), peer_ids: PeerIds::default() }
    }

    /// The names by which a principal may be granted SELECT: its own, those of its roles, and `public`.
    ///
    /// A local principal of the command line need not be a role.
    pub fn grantee_names(&self, principal: &Principal) -> BTreeSet<String> {
        if self.is_suspended(principal) {
            return BTreeSet::new();
        }
        let mut names = self.memberships(&principal.display());
        names.extend(self.current(principal).roles.iter().map(|role| role.as_str().to_owned()));
        names.insert("public".to_owned());
        names.extend(rules::of(principal));
        names
    }

    /// Whether its role is suspended. What is suspended of the roles that it is in does not matter.
    pub fn is_suspended(&self, principal: &Principal) -> bool {
        principal.auth_method != AuthMethod::Local
            && self.all().get(&principal.display()).is_some_and(|role| role.suspended)
    }

    /// The principal with the built-in roles it holds now, which may not be those it logged in with.
    ///
    /// One that was dropped holds none. One of the command line, or one that the directory was never told of through a login
    /// here (a peer's ticket is checked by its own rules), keeps what it came with if it is not a role here.
    pub fn current(&self, principal: &Principal) -> Principal {
        let name = principal.display();
        let known = self.all().contains_key(&name);
        let roles = match principal.auth_method {
            AuthMethod::Local => principal.roles.clone(),
            _ if known => self.builtin_roles(&name),
            _ => BTreeSet::new(),
        };
        Principal { roles, ..principal.clone() }
    }
}
