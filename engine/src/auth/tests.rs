use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array as _, AsArray as _};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use futures::TryStreamExt as _;

use super::*;
use crate::node::Node;
use crate::principal::BuiltinRole;
use crate::session::Session;

async fn node() -> (tempfile::TempDir, Arc<Node>) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(Config::new("zurich", dir.path())).await.unwrap();
    (dir, node)
}

fn here() -> IpAddr {
    "10.0.0.1".parse().unwrap()
}

/// The first column of an answer, or an error.
async fn ask(session: &Arc<Session>, sql: &str) -> Result<Vec<String>> {
    let prepared = session.prepare(sql, &[]).await?;
    let answer = session.execute(&prepared, Vec::new()).await?;
    let Some(rows) = answer.rows else { return Ok(Vec::new()) };
    let batches: Vec<_> = rows.stream.try_collect().await.map_err(Error::from)?;
    let texts = batches.iter().flat_map(|batch| {
        let column = cast(batch.column(0), &DataType::Utf8);
        let column = column.unwrap();
        let texts = column.as_string::<i32>().clone();
        (0..texts.len()).map(move |i| texts.value(i).to_owned()).collect::<Vec<_>>()
    });
    Ok(texts.collect())
}

#[tokio::test]
async fn logging_in_tells_nothing_of_what_was_wrong() {
    let (_dir, node) = node().await;
    let (store, doors) = (&node.store, &node.authenticator);
    store.create_role("alice", Some("secret"), true).await.unwrap();
    store.create_role("robot", None, true).await.unwrap();
    store.create_role("group", Some("secret"), false).await.unwrap();
    let principal = doors.password("alice", "secret", here()).await.unwrap();
    assert_eq!((principal.name.as_str(), principal.auth_method), ("alice", AuthMethod::Password));
    for (role, password) in
        [("alice", "wrong"), ("alice", ""), ("robot", ""), ("group", "secret"), ("nobody", "secret"), ("token", "x")]
    {
        let error = doors.password(role, password, here()).await.unwrap_err();
        assert_eq!(error.state, Sqlstate::InvalidPassword);
        assert_eq!(error.message, format!("password authentication failed for user \"{role}\""));
        assert_eq!((error.detail, error.hint), (None, None));
    }
    let (mock, principal) = doors.scram("nobody", here()).unwrap();
    assert!(principal.is_none());
    assert_eq!(mock, doors.scram("nobody", here()).unwrap().0, "the same salt each time");
    store.alter_role_password("alice", Some("other"), "alice").await.unwrap();
    assert!(doors.password("alice", "secret", here()).await.is_err());
    store.alter_role_login("alice", false).await.unwrap();
    assert!(doors.password("alice", "other", here()).await.is_err());
}

#[tokio::test]
async fn a_locked_role_looks_as_ever_and_is_not_let_in() {
    let (_dir, node) = node().await;
    let doors = &node.authenticator;
    node.store.create_role("alice", Some("secret"), true).await.unwrap();
    let (open, _) = doors.scram("alice", here()).unwrap();
    for _ in 0..4 {
        doors.password("alice", "wrong", here()).await.unwrap_err();
    }
    doors.password("alice", "secret", here()).await.expect("four failures lock nothing");
    for _ in 0..5 {
        doors.password("alice", "wrong", here()).await.unwrap_err();
    }
    let error = doors.password("alice", "secret", here()).await.unwrap_err();
    assert_eq!(error, doors.password("alice", "wrong", here()).await.unwrap_err());
    let (locked, principal) = doors.scram("alice", here()).unwrap();
    assert!(principal.is_none());
    assert_eq!((&locked.salt, locked.iterations), (&open.salt, open.iterations), "nothing tells that it is locked");
    assert!(!locked.verify("secret"));
    doors.password("alice", "secret", "10.0.0.2".parse().unwrap()).await.expect("from elsewhere");
}

#[tokio::test]
async fn keys_are_taken_where_and_as_long_as_they_are_meant_to_be() {
    let (dir, node) = node().await;
    let doors = &node.authenticator;
    node.store.create_role("grafana", Some("secret"), true).await.unwrap();
    node.store.create_role("ana", Some("secret"), true).await.unwrap();
    let admin = Session::open(Arc::clone(&node), node.local_admin());
    let one = |rows: Result<Vec<String>>| rows.unwrap().remove(0);
    let key = one(ask(&admin, "SELECT kanon.create_api_key('boards', role => 'grafana', scopes => 'pg')").await);
    let principal = doors.bearer(&key, Scope::Pg).await.unwrap();
    assert_eq!((principal.name.as_str(), principal.auth_method), ("grafana", AuthMethod::ApiKey));
    assert_eq!(doors.bearer(&key, Scope::Flight).await.unwrap_err(), not_taken(), "another scope");
    let mut other = key.clone();
    other.replace_range(key.len() - 1.., if key.ends_with('a') { "b" } else { "a" });
    for text in [other.as_str(), "", "kanon_", &key[..20], "secret"] {
        assert_eq!(doors.bearer(text, Scope::Pg).await.unwrap_err(), not_taken(), "{text}");
    }
    let short = one(ask(&admin, "SELECT kanon.create_api_key('short', 'grafana', interval '1 second')").await);
    let used = doors.bearer(&short, Scope::Pg).await.unwrap();
    assert!(doors.stands(&used));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(doors.bearer(&short, Scope::Pg).await.is_err() && !doors.stands(&used), "it has ended");

    // The store has no key, and the log neither.
    node.audit.checkpoint().await.unwrap();
    for file in ["kanon.db", "kanon.db-wal"] {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        let secret = key.rsplit('_').next().unwrap().as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{file}");
    }

    // Of oneself, with a password; of others as an admin.
    let ana = doors.password("ana", "secret", here()).await.unwrap();
    let ana = Session::open(Arc::clone(&node), ana);
    let own = one(ask(&ana, "SELECT kanon.create_api_key('own')").await);
    let by_key = Session::open(Arc::clone(&node), doors.bearer(&own, Scope::Flight).await.unwrap());
    for (session, sql, state) in [
        (&ana, "SELECT kanon.create_api_key('x', 'grafana')", Sqlstate::InsufficientPrivilege),
        (&ana, "SELECT kanon.revoke_api_key('boards', 'grafana')", Sqlstate::InsufficientPrivilege),
        (&ana, "SELECT kanon.revoke_api_key('boards')", Sqlstate::UndefinedObject),
        (&ana, "SELECT kanon.create_api_key('own')", Sqlstate::DuplicateObject),
        (&ana, "SELECT kanon.create_api_key('')", Sqlstate::InvalidName),
        (&ana, "SELECT kanon.create_api_key(NULL)", Sqlstate::InvalidParameterValue),
        (&ana, "SELECT kanon.create_api_key('x', scopes => 'pg,all')", Sqlstate::InvalidParameterValue),
        (&ana, "SELECT kanon.create_api_key('x', valid_for => '10 years')", Sqlstate::InvalidParameterValue),
        (&ana, "SELECT kanon.create_api_key('x', valid_for => '-1 day')", Sqlstate::InvalidParameterValue),
        (&ana, "SELECT kanon.create_api_key()", Sqlstate::UndefinedFunction),
        (&ana, "SELECT kanon.create_api_key('x', 'ana', '1 day', 'pg', 'more')", Sqlstate::UndefinedFunction),
        (&ana, "SELECT kanon.create_api_key(name => 'x', name => 'y')", Sqlstate::UndefinedFunction),
        (&ana, "SELECT kanon.create_api_key(upper('x'))", Sqlstate::FeatureNotSupported),
        (&ana, "SELECT kanon.create_api_key('x') FROM generate_series(1, 3)", Sqlstate::FeatureNotSupported),
        (&ana, "SELECT 1, kanon.create_api_key('x')", Sqlstate::FeatureNotSupported),
        (&ana, "SELECT upper(kanon.create_token())", Sqlstate::FeatureNotSupported),
        (&ana, "EXPLAIN SELECT kanon.create_token()", Sqlstate::FeatureNotSupported),
        (&ana, "PREPARE p AS SELECT kanon.create_token()", Sqlstate::FeatureNotSupported),
        (&by_key, "SELECT kanon.create_api_key('another')", Sqlstate::InsufficientPrivilege),
        (&by_key, "SELECT kanon.create_token()", Sqlstate::InsufficientPrivilege),
        (&by_key, "ALTER ROLE ana PASSWORD 'of a thief'", Sqlstate::InsufficientPrivilege),
        (&by_key, "ALTER ROLE ana PASSWORD NULL", Sqlstate::InsufficientPrivilege),
        (&admin, "SELECT kanon.create_api_key('x', 'nobody')", Sqlstate::UndefinedObject),
    ] {
        let error = ask(session, sql).await.unwrap_err();
        assert_eq!(error.state, state, "{sql}: {error}");
    }
    assert_eq!(ask(&ana, "SELECT name FROM kanon.api_keys").await.unwrap(), ["own"], "one's own");
    let all = ask(&admin, "SELECT role || ' ' || name FROM kanon.api_keys ORDER BY 1").await.unwrap();
    assert_eq!(all, ["ana own", "grafana boards", "grafana short"]);
    assert_eq!(
        ask(&ana, "SELECT name FROM kanon.api_keys WHERE last_used_at > now() - interval '1 minute'").await.unwrap(),
        ["own"]
    );
    assert_eq!(ask(&by_key, "CALL kanon.revoke_api_key('own')").await.unwrap(), ["true"], "a key may end itself");
    assert!(doors.bearer(&own, Scope::Flight).await.is_err() && !doors.stands(by_key.opened_by()));
    // A role that is gone takes its keys with it: a later one of the same name has none.
    ask(&admin, "DROP ROLE grafana").await.unwrap();
    ask(&admin, "CREATE ROLE grafana LOGIN").await.unwrap();
    assert!(doors.bearer(&key, Scope::Pg).await.is_err());
}

#[tokio::test]
async fn tokens_are_those_of_a_role_until_they_are_revoked() {
    let (_dir, node) = node().await;
    let doors = &node.authenticator;
    node.store.create_role("ana", Some("secret"), true).await.unwrap();
    node.store.grant_role("analyst", "ana").await.unwrap();
    let ana = Session::open(Arc::clone(&node), doors.password("ana", "secret", here()).await.unwrap());
    let token = |sql: &'static str| {
        let ana = Arc::clone(&ana);
        async move { ask(&ana, sql).await.unwrap().remove(0) }
    };
    let first = token("SELECT kanon.create_token() AS t").await;
    let principal = doors.bearer(&first, Scope::Pg).await.unwrap();
    assert_eq!((principal.name.as_str(), principal.auth_method), ("ana", AuthMethod::Token));
    assert!(principal.is(BuiltinRole::Analyst));
    assert!(doors.stands(&principal));
    ask(&ana, "CALL kanon.revoke_tokens()").await.unwrap();
    assert!(doors.bearer(&first, Scope::Pg).await.is_err() && !doors.stands(&principal));
    // One that is made at once is taken.
    let second = token("SELECT kanon.create_token('5 minutes')").await;
    let principal = doors.bearer(&second, Scope::Pg).await.unwrap();
    // A new password revokes what was made with the old one.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    ask(&ana, "ALTER ROLE ana PASSWORD 'another'").await.unwrap();
    assert!(doors.bearer(&second, Scope::Pg).await.is_err() && !doors.stands(&principal));
    let third = token("SELECT kanon.create_token()").await;
    assert!(doors.bearer(&third, Scope::Pg).await.is_ok());
    // Twice within a second too.
    ask(&ana, "CALL kanon.revoke_tokens()").await.unwrap();
    let fourth = token("SELECT kanon.create_token()").await;
    ask(&ana, "CALL kanon.revoke_tokens()").await.unwrap();
    assert!(doors.bearer(&fourth, Scope::Pg).await.is_err());
    let third = token("SELECT kanon.create_token()").await;
    assert!(doors.bearer(&third, Scope::Pg).await.is_ok());
    // Nor are they of another role that has the name later.
    node.store.create_role("eva", Some("secret"), true).await.unwrap();
    let admin = Session::open(Arc::clone(&node), node.local_admin());
    let of_eva = ask(&admin, "SELECT kanon.create_token(role => 'eva')").await.unwrap().remove(0);
    assert!(doors.bearer(&of_eva, Scope::Pg).await.is_ok());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    ask(&admin, "DROP ROLE eva").await.unwrap();
    ask(&admin, "CREATE ROLE eva LOGIN PASSWORD 'another'").await.unwrap();
    assert!(doors.bearer(&of_eva, Scope::Pg).await.is_err());
    node.store.alter_role_login("ana", false).await.unwrap();
    assert_eq!(doors.bearer(&third, Scope::Pg).await.unwrap_err(), not_taken());
    let refused = ask(&ana, "SELECT kanon.create_token(valid_for => '25 hours')").await.unwrap_err();
    assert_eq!(refused.state, Sqlstate::ObjectNotInPrerequisiteState, "it may not log in any more");
}

#[tokio::test]
async fn sessions_end_with_what_opened_them() {
    let (_dir, node) = node().await;
    node.store.create_role("ana", Some("secret"), true).await.unwrap();
    let admin = Session::open(Arc::clone(&node), node.local_admin());
    let key = ask(&admin, "SELECT kanon.create_api_key('k', 'ana')").await.unwrap().remove(0);
    let token = ask(&admin, "SELECT kanon.create_token('2 seconds', 'ana')").await.unwrap().remove(0);
    let open = |principal| Session::open(Arc::clone(&node), principal);
    let by_password = open(node.authenticator.password("ana", "secret", here()).await.unwrap());
    let by_key = open(node.authenticator.bearer(&key, Scope::Pg).await.unwrap());
    let by_token = open(node.authenticator.bearer(&token, Scope::Pg).await.unwrap());
    ask(&admin, "CALL kanon.revoke_api_key('k', 'ana')").await.unwrap();
    let soon = Duration::from_secs(5);
    tokio::time::timeout(soon, by_key.ended().cancelled()).await.unwrap();
    tokio::time::timeout(soon, by_token.ended().cancelled()).await.unwrap();
    assert!(!by_password.ended().is_cancelled());
    ask(&admin, "DROP ROLE ana").await.unwrap();
    tokio::time::timeout(soon, by_password.ended().cancelled()).await.unwrap();
    assert!(!admin.ended().is_cancelled());
}
