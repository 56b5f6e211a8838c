//! Which roles the subjects of an issuer of tokens are.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row, Sqlite, Transaction};

use super::roles::{check_role_name, makes_a_circle};
use super::{Store, admins, failed, now};
use crate::auth::oidc::Visitor;
use crate::error::{Error, Result, Sqlstate};
use crate::principal::BuiltinRole;

/// A subject of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The issuer, as its tokens name it.
    pub issuer: String,
    /// Who it is there, for ever.
    pub subject: String,
}

/// The role that a subject is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) role: String,
    /// Tokens that were issued up to this second, of Unix time, are not taken.
    pub(crate) tokens_from: i64,
}

/// What a login with a token changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Welcomed {
    pub(crate) role: String,
    pub(crate) created: bool,
    pub(crate) granted: Vec<String>,
    pub(crate) revoked: Vec<String>,
}

impl Store {
    /// The role of a visitor, with those of the `managed` roles that its token gives it and none of the others. One that was never here, and is given any, gets a role of its name.
    ///
    /// # Errors
    /// 28000 if it is no role here and gets none, 42710 if there is a role of its name already, 42602 if it has no name that a role could have; 55000 if no admin could log in
    /// any more.
    pub(crate) async fn welcome(
        &self,
        issuer: &str,
        visitor: &Visitor,
        managed: &BTreeSet<String>,
    ) -> Result<Welcomed> {
        let subject = Subject { issuer: issuer.to_owned(), subject: visitor.subject.clone() };
        let known = self.directory().identity(&subject);
        let roles = self.directory().all();
        let exists = |role: &&String| BuiltinRole::parse(role).is_some() || roles.contains_key(*role);
        let given: BTreeSet<&String> = visitor.roles.iter().filter(exists).collect();
        let held = |role: &String| roles.get(role).map(|info| info.member_of.iter().filter(|of| managed.contains(*of)));
        if let Some(identity) = &known
            && held(&identity.role).is_some_and(|held| held.collect::<BTreeSet<_>>() == given)
        {
            return Ok(Welcomed { role: identity.role.clone(), ..Welcomed::default() });
        }
        if known.is_none() && given.is_empty() {
            return Err(nobody());
        }
        let mut transaction = self.begin_change().await?;
        let before = admins::able(&mut transaction).await?;
        // Once more: somebody may have come with a token of the same subject meanwhile.
        let known: Option<String> =
            sqlx::query_scalar("SELECT role FROM role_identities WHERE issuer = ? AND subject = ?")
                .bind(&subject.issuer)
                .bind(&subject.subject)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
        let mut welcomed = match known {
            Some(role) => Welcomed { role, ..Welcomed::default() },
            None if given.is_empty() => return Err(nobody()),
            None => {
                let role = create(&mut transaction, &subject, visitor).await?;
                Welcomed { role, created: true, ..Welcomed::default() }
            }
        };
        let role = welcomed.role.clone();
        let held: Vec<String> = sqlx::query_scalar("SELECT role FROM memberships WHERE member = ?")
            .bind(&role)
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        for taken in held.iter().filter(|of| managed.contains(*of) && !given.contains(of)) {
            sqlx::query("DELETE FROM memberships WHERE role = ? AND member = ?")
                .bind(taken)
                .bind(&role)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            welcomed.revoked.push(taken.clone());
        }
        for of in given.into_iter().filter(|of| !held.contains(of)) {
            if makes_a_circle(&mut transaction, of, &role).await? {
                tracing::warn!(
                    role,
                    of,
                    "a role of the issuer is not given: it is a member of whom it would be given to"
                );
                continue;
            }
            sqlx::query("INSERT INTO memberships (role, member) VALUES (?, ?)")
                .bind(of)
                .bind(&role)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            welcomed.granted.push(of.clone());
        }
        admins::keep_one(&mut transaction, &before).await?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await?;
        Ok(welcomed)
    }

    /// Makes a role that of a subject of an issuer; `None`: of none.
    ///
    /// # Errors
    /// 42704 if there is no such role, 22023 for a role of a peer, 42710 if the subject is another role.
    pub(crate) async fn link_identity(&self, role: &str, issuer: &str, subject: Option<&str>) -> Result<()> {
        self.check_role(role)?;
        if role.contains('@') {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("role \"{role}\" is a peer's: it cannot log in here"),
            ));
        }
        let mut transaction = self.begin_change().await?;
        sqlx::query("DELETE FROM role_identities WHERE issuer = ? AND role = ?")
            .bind(issuer)
            .bind(role)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if let Some(subject) = subject {
            let done = sqlx::query(
                "INSERT INTO role_identities (issuer, subject, role) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(issuer)
            .bind(subject)
            .bind(role)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            if done.rows_affected() == 0 {
                return Err(Error::new(Sqlstate::DuplicateObject, "this subject is another role already")
                    .hint("A subject of the issuer is one role: reset kanon.oidc_subject of the other first."));
            }
        }
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }
}

fn nobody() -> Error {
    Error::new(Sqlstate::InvalidAuthorization, "its subject is no role of this node")
}

/// A role for a subject, without a password.
async fn create(transaction: &mut Transaction<'_, Sqlite>, subject: &Subject, visitor: &Visitor) -> Result<String> {
    let name = visitor.name.as_deref().unwrap_or(&visitor.subject);
    check_role_name(name)?;
    if name.contains('@') {
        return Err(Error::new(Sqlstate::InvalidName, format!("\"{name}\" would be a role of a peer")));
    }
    let done = sqlx::query(
        "INSERT INTO roles (name, login, created_at, tokens_from) VALUES (?, 1, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(name)
    .bind(now())
    // Tokens of a role of this name that was dropped are not its own.
    .bind(chrono::Utc::now().timestamp())
    .execute(&mut **transaction)
    .await
    .map_err(failed)?;
    if done.rows_affected() == 0 {
        return Err(Error::new(Sqlstate::DuplicateObject, format!("there is a role \"{name}\" already")));
    }
    sqlx::query("INSERT INTO role_identities (issuer, subject, role) VALUES (?, ?, ?)")
        .bind(&subject.issuer)
        .bind(&subject.subject)
        .bind(name)
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    Ok(name.to_owned())
}

/// All of them.
pub(super) async fn load(transaction: &mut Transaction<'_, Sqlite>) -> Result<BTreeMap<Subject, Identity>> {
    let rows = sqlx::query("SELECT issuer, subject, role, tokens_from FROM role_identities")
        .fetch_all(&mut **transaction)
        .await
        .map_err(failed)?;
    let read = |row: sqlx::sqlite::SqliteRow| {
        let subject = Subject { issuer: row.try_get(0)?, subject: row.try_get(1)? };
        Ok((subject, Identity { role: row.try_get(2)?, tokens_from: row.try_get(3)? }))
    };
    rows.into_iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(failed)
}
