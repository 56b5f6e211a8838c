//! Keys for services in the store, and from when on tokens are taken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use sqlx::{Row, Sqlite, Transaction};

use super::{Store, failed};
use crate::auth::api_keys::{ApiKey, Scope};
use crate::error::{Error, Result, Sqlstate};

/// The most keys of a role: they are in memory.
const MOST_OF_A_ROLE: i64 = 100;

impl Store {
    /// Keeps a new key.
    ///
    /// # Errors
    /// 42710 if its role has one of that name, 42704 if there is no such role, 55000 if it has too many.
    pub(crate) async fn add_api_key(&self, key: &ApiKey) -> Result<()> {
        if !self.directory().all().contains_key(&key.role) {
            return Err(Error::new(Sqlstate::UndefinedObject, format!("role \"{}\" does not exist", key.role)));
        }
        let mut transaction = self.begin_change().await?;
        let has: i64 = sqlx::query_scalar("SELECT count(*) FROM api_keys WHERE role = ?")
            .bind(&key.role)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        if has >= MOST_OF_A_ROLE {
            return Err(Error::new(
                Sqlstate::ObjectNotInPrerequisiteState,
                format!("role \"{}\" has {MOST_OF_A_ROLE} API keys, which is as many as there can be", key.role),
            )
            .hint("Revoke those that are no longer needed: kanon.api_keys lists them."));
        }
        let done = sqlx::query(
            "INSERT INTO api_keys (id, hash, role, name, scopes, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT DO NOTHING",
        )
        .bind(&key.id)
        .bind(key.hash.as_slice())
        .bind(&key.role)
        .bind(&key.name)
        .bind(Scope::list(&key.scopes))
        .bind(&key.created_by)
        .bind(key.created_at)
        .bind(key.expires_at)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        if done.rows_affected() == 0 {
            return Err(Error::new(
                Sqlstate::DuplicateObject,
                format!("role \"{}\" has an API key \"{}\" already", key.role, key.name),
            )
            .hint("Revoke it first, or take another name."));
        }
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }

    /// A key is no longer taken.
    ///
    /// # Errors
    /// 42704 if its role has none of that name.
    pub(crate) async fn remove_api_key(&self, role: &str, name: &str) -> Result<()> {
        let mut transaction = self.begin_change().await?;
        let done = sqlx::query("DELETE FROM api_keys WHERE role = ? AND name = ?")
            .bind(role)
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if done.rows_affected() == 0 {
            return Err(Error::new(Sqlstate::UndefinedObject, format!("role \"{role}\" has no API key \"{name}\""))
                .hint("kanon.api_keys lists those there are."));
        }
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }

    /// A key was used.
    pub(crate) async fn note_use_of_api_key(&self, id: &str, at: i64) -> Result<()> {
        sqlx::query("UPDATE api_keys SET last_used_at = ? WHERE id = ?")
            .bind(at)
            .bind(id)
            .execute(self.pool())
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Tokens of a role that were issued up to this second are no longer taken.
    ///
    /// # Errors
    /// 42704 if there is no such role.
    pub(crate) async fn revoke_tokens(&self, role: &str, up_to: i64) -> Result<()> {
        let mut transaction = self.begin_change().await?;
        let done = sqlx::query("UPDATE roles SET tokens_from = max(tokens_from + 1, ?) WHERE name = ?")
            .bind(up_to)
            .bind(role)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if done.rows_affected() == 0 {
            return Err(Error::new(Sqlstate::UndefinedObject, format!("role \"{role}\" does not exist")));
        }
        // Those of the institution's issuer too.
        sqlx::query("UPDATE role_identities SET tokens_from = max(tokens_from, ?) WHERE role = ?")
            .bind(up_to)
            .bind(role)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }
}

/// All keys, by their ids.
pub(super) async fn load(transaction: &mut Transaction<'_, Sqlite>) -> Result<BTreeMap<String, Arc<ApiKey>>> {
    let rows = sqlx::query(
        "SELECT id, hash, role, name, scopes, created_by, created_at, expires_at, last_used_at FROM api_keys",
    )
    .fetch_all(&mut **transaction)
    .await
    .map_err(failed)?;
    let mut keys = BTreeMap::new();
    for row in rows {
        let hash: Vec<u8> = row.try_get(1).map_err(failed)?;
        let scopes: String = row.try_get(4).map_err(failed)?;
        let key = ApiKey {
            id: row.try_get(0).map_err(failed)?,
            hash: hash.try_into().map_err(|_| Error::internal("an API key in the store is damaged"))?,
            role: row.try_get(2).map_err(failed)?,
            name: row.try_get(3).map_err(failed)?,
            scopes: Scope::parse_list(&scopes)?,
            created_by: row.try_get(5).map_err(failed)?,
            created_at: row.try_get(6).map_err(failed)?,
            expires_at: row.try_get(7).map_err(failed)?,
            last_used_at: Arc::new(AtomicI64::new(row.try_get(8).map_err(failed)?)),
        };
        keys.insert(key.id.clone(), Arc::new(key));
    }
    Ok(keys)
}
