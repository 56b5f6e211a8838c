//! There is always an admin who can log in: whoever took away the last one could not give it back.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row, SqliteConnection};

use super::failed;
use crate::error::{Error, Result, Sqlstate};
use crate::principal::BuiltinRole;

/// The admins who can log in: with LOGIN and a password, not suspended, and in `admin`, through other roles too.
pub(super) async fn able(connection: &mut SqliteConnection) -> Result<BTreeSet<String>> {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in sqlx::query("SELECT role, member FROM memberships").fetch_all(&mut *connection).await.map_err(failed)? {
        let (role, member): (String, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        members.entry(role).or_default().push(member);
    }
    let mut found = BTreeSet::new();
    let mut todo = vec![BuiltinRole::Admin.as_str().to_owned()];
    while let Some(role) = todo.pop() {
        for member in members.get(&role).into_iter().flatten() {
            if found.insert(member.clone()) {
                todo.push(member.clone());
            }
        }
    }
    let able: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM roles WHERE login AND verifier IS NOT NULL
         AND name NOT IN (SELECT name FROM suspensions WHERE kind = 'role')",
    )
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    Ok(able.into_iter().filter(|name| found.contains(name)).collect())
}

/// Whether somebody is left of those that there were before a change, or has come. A node that never had an admin needs none.
///
/// # Errors
/// 55000 if nobody is: the change is not to be made.
pub(super) async fn keep_one(connection: &mut SqliteConnection, before: &BTreeSet<String>) -> Result<()> {
    if before.is_empty() || !able(connection).await?.is_empty() {
        return Ok(());
    }
    let last = before.first().cloned().unwrap_or_default();
    Err(Error::new(Sqlstate::ObjectNotInPrerequisiteState, format!("role \"{last}\" is the last admin who can log in"))
        .hint("Make somebody else an admin first: CREATE ROLE … LOGIN PASSWORD '…', GRANT admin TO …."))
}
