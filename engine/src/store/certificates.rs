//! Which certificates stand for which roles.

use std::collections::BTreeMap;

use sqlx::{Row, Sqlite, Transaction};

use super::{Store, failed};
use crate::auth::CertificateName;
use crate::error::{Error, Result, Sqlstate};

impl Store {
    /// Maps the certificates of a name to a role, in place of those that were; `None`: of no name.
    ///
    /// # Errors
    /// 42704 if there is no such role, 22023 for a peer's, 42710 if the name is another role's.
    pub(crate) async fn alter_role_certificate(&self, role: &str, name: Option<&CertificateName>) -> Result<()> {
        self.check_role(role)?;
        if role.contains('@') && name.is_some() {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                format!("role \"{role}\" is a peer's: it cannot log in here"),
            ));
        }
        let mut transaction = self.begin_change().await?;
        sqlx::query("DELETE FROM certificates WHERE role = ?")
            .bind(role)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if let Some(name) = name {
            let done = sqlx::query("INSERT INTO certificates (name, role) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(name.as_str())
                .bind(role)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            if done.rows_affected() == 0 {
                return Err(Error::new(
                    Sqlstate::DuplicateObject,
                    format!("certificate \"{name}\" is another role's already"),
                )
                .hint("kanon.certificates says whose: ALTER ROLE … RESET kanon.certificate takes it away."));
            }
        }
        transaction.commit().await.map_err(failed)?;
        self.load_roles().await
    }
}

/// All names, with their roles.
pub(super) async fn load(transaction: &mut Transaction<'_, Sqlite>) -> Result<BTreeMap<CertificateName, String>> {
    let rows =
        sqlx::query("SELECT name, role FROM certificates").fetch_all(&mut **transaction).await.map_err(failed)?;
    let mut names = BTreeMap::new();
    for row in rows {
        let name: String = row.try_get(0).map_err(failed)?;
        names.insert(CertificateName::parse(&name)?, row.try_get(1).map_err(failed)?);
    }
    Ok(names)
}
