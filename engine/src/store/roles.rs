//! Roles in the store: every change is durable before the directory shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::{Row, SqliteConnection};

use super::directory::Present;
use super::{RoleInfo, Store, admins, api_keys, certificates, failed, identities, now, peer_rules, pending, rules};
use crate::auth::{self, TOKEN_USER};
use crate::config::check_node_id;
use crate::difference::is_unseen;
use crate::error::{Error, Result, Sqlstate};
use crate::nearest::did_you_mean;
use crate::principal::BuiltinRole;

impl Store {
    /// All roles, by name.
    pub fn roles(&self) -> Vec<RoleInfo> {
        self.directory().all().values().cloned().collect()
    }

    /// CREATE ROLE. `alice@cleveland` stands for a role of a peer: it cannot log in here, but can be granted things.
    ///
    /// # Errors
    /// 42710 if it exists, 42602 for a name that cannot be one, 22023 for a password that cannot be.
    pub async fn create_role(&self, name: &str, password: Option<&str>, login: bool) -> Result<()> {
        check_role_name(name)?;
        if name.contains('@') && (login || password.is_some()) {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("role \"{name}\" is a peer's: it cannot log in here"),
            )
            .hint("Create it without LOGIN and PASSWORD, then GRANT to it."));
        }
        let verifier = password.map(auth::verifier_for).transpose()?;
        let mut transaction = self.begin_change().await?;
        let done = sqlx::query(
            "INSERT INTO roles (name, verifier, password_set_at, login, created_at, tokens_from) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )
        .bind(name)
        .bind(&verifier)
        .bind(verifier.as_ref().map_or(0, |_| chrono::Utc::now().timestamp_millis()))
        .bind(login)
        .bind(now())
        // Tokens of a role of this name that was dropped are not its own.
        .bind(chrono::Utc::now().timestamp())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        if done.rows_affected() == 0 {
            return Err(Error::new(Sqlstate::DuplicateObject, format!("role \"{name}\" already exists")));
        }
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }

    /// ALTER ROLE … PASSWORD, by a role; `None` takes the password away. Tokens that the role has are no longer taken, and sessions that were opened with the old one end.
    ///
    /// # Errors
    /// 42704 if there is no such role, 22023 for a password that cannot be, 55000 if no admin could log in any more.
    pub async fn alter_role_password(&self, name: &str, password: Option<&str>, by: &str) -> Result<()> {
        self.check_role(name)?;
        if name.contains('@') && password.is_some() {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("role \"{name}\" is a peer's: it cannot log in here"),
            ));
        }
        let verifier = password.map(auth::verifier_for).transpose()?;
        let mut transaction = self.begin_change().await?;
        let admins = admins::able(&mut transaction).await?;
        // Whoever had the old one may have made tokens with it.
        sqlx::query(
            "UPDATE roles SET verifier = ?, tokens_from = max(tokens_from + 1, ?),
                 password_set_at = max(password_set_at + 1, ?), password_set_by = ? WHERE name = ?",
        )
        .bind(verifier)
        .bind(chrono::Utc::now().timestamp())
        .bind(chrono::Utc::now().timestamp_millis())
        .bind(by)
        .bind(name)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        admins::keep_one(&mut transaction, &admins).await?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }

    /// ALTER ROLE … LOGIN or NOLOGIN.
    ///
    /// # Errors
    /// 42704 if there is no such role, 55000 if no admin could log in any more.
    pub async fn alter_role_login(&self, name: &str, login: bool) -> Result<()> {
        self.check_role(name)?;
        if name.contains('@') && login {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("role \"{name}\" is a peer's: it cannot log in here"),
            ));
        }
        let mut transaction = self.begin_change().await?;
        let admins = admins::able(&mut transaction).await?;
        sqlx::query("UPDATE roles SET login = ? WHERE name = ?")
            .bind(login)
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        admins::keep_one(&mut transaction, &admins).await?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }

    /// DROP ROLE, with its memberships and its SELECT grants: a later role of the same name starts with none. Call
    /// [`crate::catalog::Catalog::reload`] after it; [`crate::catalog::Catalog::drop_role`] does both.
    ///
    /// # Errors
    /// 42704 if there is no such role (unless `if_exists`), 55000 for one that owns tables and for the last admin.
    pub async fn drop_role(&self, name: &str, if_exists: bool) -> Result<()> {
        if if_exists && !self.directory().all().contains_key(name) && BuiltinRole::parse(name).is_none() {
            return Ok(());
        }
        self.check_role(name)?;
        let mut transaction = self.begin_change().await?;
        let admins = admins::able(&mut transaction).await?;
        let owned: i64 = sqlx::query_scalar("SELECT count(*) FROM tables WHERE owner = ?")
            .bind(name)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        if owned > 0 {
            return Err(Error::new(
                Sqlstate::ObjectNotInPrerequisiteState,
                format!("role \"{name}\" cannot be dropped: it owns {owned} tables"),
            )
            .hint("Drop its tables first, or take its password and its roles away."));
        }
        for delete in [
            "DELETE FROM memberships WHERE role = ?",
            "DELETE FROM grants WHERE grantee = ?",
            "DELETE FROM column_grants WHERE grantee = ?",
            "DELETE FROM schema_grants WHERE grantee = ?",
            "DELETE FROM suspensions WHERE kind = 'role' AND name = ?",
            "DELETE FROM pending_changes WHERE proposed_by = ?",
            "DELETE FROM roles WHERE name = ?",
        ] {
            sqlx::query(delete).bind(name).execute(&mut *transaction).await.map_err(failed)?;
        }
        admins::keep_one(&mut transaction, &admins).await?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }

    /// GRANT role TO member. `role` is a built-in role or a role.
    ///
    /// # Errors
    /// 42704 if there is no such role or member, 22023 if it would make a circle.
    pub async fn grant_role(&self, role: &str, member: &str) -> Result<()> {
        self.check_grantable(role)?;
        self.check_role(member)?;
        let mut transaction = self.begin_change().await?;
        if makes_a_circle(&mut transaction, role, member).await? {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("role \"{role}\" is a member of role \"{member}\""),
            ));
        }
        sqlx::query("INSERT INTO memberships (role, member) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(role)
            .bind(member)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }

    /// REVOKE role FROM member.
    ///
    /// # Errors
    /// 42704 if there is no such role or member, 55000 if no admin could log in any more.
    pub async fn revoke_role(&self, role: &str, member: &str) -> Result<()> {
        self.check_grantable(role)?;
        self.check_role(member)?;
        let mut transaction = self.begin_change().await?;
        let admins = admins::able(&mut transaction).await?;
        sqlx::query("DELETE FROM memberships WHERE role = ? AND member = ?")
            .bind(role)
            .bind(member)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        admins::keep_one(&mut transaction, &admins).await?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }

    /// The verifier of a role that has a password, whether it may log in here or not.
    pub fn verifier(&self, name: &str) -> Option<String> {
        self.directory().verifier(name)
    }

    /// Whether SELECT can be granted to a name: a role, a built-in role, a rule for people of peers, or `public`.
    pub(crate) fn check_grantee(&self, name: &str) -> Result<()> {
        match rules::rule(name) {
            Some((role, peer)) => rules::check(role, peer),
            None if name == "public" => Ok(()),
            None => self.check_grantable(name),
        }
    }

    pub(crate) fn check_grantable(&self, role: &str) -> Result<()> {
        if BuiltinRole::parse(role).is_some() { Ok(()) } else { self.check_role(role) }
    }

    pub(crate) fn check_role(&self, name: &str) -> Result<()> {
        let roles = self.directory().all();
        if roles.contains_key(name) {
            return Ok(());
        }
        if BuiltinRole::parse(name).is_some() {
            return Err(Error::new(Sqlstate::InvalidParameterValue, format!("role \"{name}\" is built in")));
        }
        if rules::rule(name).is_some() {
            return Err(rules::is_no_role(name));
        }
        let error = Error::new(Sqlstate::UndefinedObject, format!("role \"{name}\" does not exist"));
        if name.contains('@') {
            return Err(error.hint(format!("To grant something to a role of a peer: CREATE ROLE \"{name}\" first.")));
        }
        let builtin = BuiltinRole::ALL.iter().map(|role| role.as_str());
        Err(did_you_mean(error, name, roles.keys().map(String::as_str).chain(builtin)))
    }

    /// Reads the roles again, for the directory.
    pub(super) async fn load_roles(&self) -> Result<()> {
        let mut memberships: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        // One transaction, so that roles and memberships are of one moment.
        let mut transaction = self.pool().begin().await.map_err(failed)?;
        let version: i64 = sqlx::query_scalar("SELECT version FROM catalog_version")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        for row in
            sqlx::query("SELECT role, member FROM memberships").fetch_all(&mut *transaction).await.map_err(failed)?
        {
            let (role, member): (String, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            memberships.entry(member).or_default().insert(role);
        }
        let rows = sqlx::query(
            "SELECT name, login, verifier, created_at, EXISTS (SELECT 1 FROM suspensions s WHERE s.kind = 'role' AND s.name = roles.name), tokens_from, password_set_at, password_set_by
             FROM roles",
        )
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        let (mut roles, mut verifiers) = (BTreeMap::new(), BTreeMap::new());
        for row in rows {
            let name: String = row.try_get(0).map_err(failed)?;
            let login: bool = row.try_get(1).map_err(failed)?;
            let verifier: Option<String> = row.try_get(2).map_err(failed)?;
            let suspended: bool = row.try_get(4).map_err(failed)?;
            // Whoever asks whether it may log in need not know why not.
            let (has_login, login) = (login, login && !suspended);
            let info = RoleInfo {
                login,
                has_login,
                suspended,
                has_password: verifier.is_some(),
                created_at: row.try_get(3).map_err(failed)?,
                tokens_from: row.try_get(5).map_err(failed)?,
                password_set_at: row.try_get(6).map_err(failed)?,
                password_set_by: row.try_get(7).map_err(failed)?,
                member_of: memberships.remove(&name).unwrap_or_default(),
                name: name.clone(),
            };
            if let Some(verifier) = verifier {
                verifiers.insert(name.clone(), verifier);
            }
            roles.insert(name, info);
        }
        let api_keys = api_keys::load(&mut transaction).await?;
        let identities = identities::load(&mut transaction).await?;
        let certificates = certificates::load(&mut transaction).await?;
        let peer_rules = peer_rules::load(&mut transaction).await?;
        let pending_changes = Arc::new(pending::load(&mut transaction).await?);
        transaction.commit().await.map_err(failed)?;
        let roles = Arc::new(roles);
        let present =
            Present { version, roles, verifiers, api_keys, identities, certificates, peer_rules, pending_changes };
        self.directory().replace(present);
        Ok(())
    }
}

/// Whether `role` is `member`, or a member of it through others too: then it cannot be granted to it.
pub(super) async fn makes_a_circle(connection: &mut SqliteConnection, role: &str, member: &str) -> Result<bool> {
    sqlx::query_scalar(
        "WITH RECURSIVE above (role) AS (
             SELECT ? UNION SELECT memberships.role FROM memberships JOIN above ON memberships.member = above.role
         )
         SELECT EXISTS (SELECT 1 FROM above WHERE role = ?)",
    )
    .bind(role)
    .bind(member)
    .fetch_one(connection)
    .await
    .map_err(failed)
}

/// A role's name: up to 63 bytes, not one of ours; an `@` only before the node id of a peer.
pub(super) fn check_role_name(name: &str) -> Result<()> {
    let refused = |message: String| Err(Error::new(Sqlstate::InvalidName, message));
    if BuiltinRole::parse(name).is_some()
        || matches!(name, "public" | "none" | "kanon" | TOKEN_USER)
        || name.starts_with("pg_")
    {
        return refused(format!("role name \"{name}\" is reserved"));
    }
    if rules::rule(name).is_some() {
        return Err(rules::is_no_role(name));
    }
    let (local, node) = match name.split_once('@') {
        Some((local, node)) => (local, Some(node)),
        None => (name, None),
    };
    if local.is_empty() || name.len() > 127 || local.len() > 63 || name.chars().any(is_unseen) {
        return refused(format!("\"{}\" cannot be the name of a role", name.escape_debug()));
    }
    match node {
        Some(node) => check_node_id(node).map_err(|error| Error { state: Sqlstate::InvalidName, ..error }),
        None => Ok(()),
    }
}
