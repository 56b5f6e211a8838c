//! The store as the rest of a node sees it.

use kanon_planner::facts::SiteId;

use super::Store;
use crate::auth::{load_principal, peer_principal};
use crate::config::Config;
use crate::error::Sqlstate;
use crate::principal::{AuthMethod, BuiltinRole};

async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&Config::new("zurich", dir.path())).await.unwrap();
    (dir, store)
}

#[tokio::test]
async fn two_nodes_cannot_share_a_store() {
    let (dir, store) = store().await;
    let config = Config::new("budapest", dir.path());
    let error = Store::open(&config).await.unwrap_err();
    assert_eq!(error.state, Sqlstate::ObjectNotInPrerequisiteState);
    assert!(error.message.contains("in use by another node"));
    store.close().await;
    drop(store);
    Store::open(&config).await.unwrap();
}

#[tokio::test]
async fn it_is_durable_and_private() {
    let (dir, store) = store().await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(store.pool()).await.unwrap();
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(store.pool()).await.unwrap();
    assert_eq!((mode.as_str(), synchronous), ("wal", 2));
    store.create_role("alice", Some("correct horse"), true).await.unwrap();
    store.close().await;
    drop(store);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join("kanon.db")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
    let bytes = std::fs::read(dir.path().join("kanon.db")).unwrap();
    assert!(!bytes.windows(13).any(|window| window == b"correct horse"));
    let store = Store::open(&Config::new("zurich", dir.path())).await.unwrap();
    assert_eq!(store.roles().len(), 1);
}

#[tokio::test]
async fn a_damaged_store_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("kanon.db"), vec![7u8; 10_000]).unwrap();
    assert!(Store::open(&Config::new("zurich", dir.path())).await.is_err());
}

#[tokio::test]
async fn roles_are_granted_through_roles_and_at_once() {
    let (_dir, store) = store().await;
    let site = SiteId::new("zurich");
    for role in ["alice", "team"] {
        store.create_role(role, Some("x"), true).await.unwrap();
    }
    let alice = load_principal(&store, &site, "alice", AuthMethod::ScramSha256).unwrap();
    assert!(alice.roles.is_empty());
    store.grant_role("team", "alice").await.unwrap();
    store.grant_role("analyst", "team").await.unwrap();
    let now = store.directory().current(&alice);
    assert!(now.is(BuiltinRole::Analyst) && !now.is(BuiltinRole::Steward));
    store.grant_role("admin", "team").await.unwrap();
    assert_eq!(store.directory().current(&alice).roles.len(), 5, "an admin holds all");
    // Nobody else is one.
    let kept = store.revoke_role("admin", "team").await.unwrap_err();
    assert_eq!(kept.state, Sqlstate::ObjectNotInPrerequisiteState);
    store.create_role("root", Some("x"), true).await.unwrap();
    store.grant_role("admin", "root").await.unwrap();
    store.revoke_role("admin", "team").await.unwrap();
    assert!(!store.directory().current(&alice).is(BuiltinRole::Steward));
    assert_eq!(store.grant_role("alice", "team").await.unwrap_err().state, Sqlstate::InvalidParameterValue, "a circle");
    store.drop_role("team", false).await.unwrap();
    assert!(store.directory().current(&alice).roles.is_empty());
    store.grant_role("steward", "alice").await.unwrap();
    let alice = load_principal(&store, &site, "alice", AuthMethod::ScramSha256).unwrap();
    store.drop_role("alice", false).await.unwrap();
    assert!(store.directory().current(&alice).roles.is_empty(), "who was dropped holds nothing");
    assert!(load_principal(&store, &site, "alice", AuthMethod::ScramSha256).is_err());
}

#[tokio::test]
async fn a_role_of_a_peer_is_not_a_role_of_the_same_name_here() {
    let (_dir, store) = store().await;
    store.create_role("alice", Some("x"), true).await.unwrap();
    store.grant_role("admin", "alice").await.unwrap();
    let cleveland = SiteId::new("cleveland");
    assert!(peer_principal(&store, &cleveland, "alice", &[]).roles.is_empty());
    assert!(store.create_role("alice@cleveland", Some("x"), true).await.is_err(), "it cannot log in here");
    store.create_role("alice@cleveland", None, false).await.unwrap();
    store.grant_role("analyst", "alice@cleveland").await.unwrap();
    let alice = peer_principal(&store, &cleveland, "alice", &["admin".to_owned()]);
    assert!(alice.is(BuiltinRole::Analyst) && !alice.is(BuiltinRole::Admin));
}

#[tokio::test]
async fn names_that_cannot_be_roles_are_refused() {
    let (_dir, store) = store().await;
    for name in ["", "public", "admin", "none", "pg_monitor", "a\nb", "@cleveland", "a@", "a@pg_x", &"x".repeat(64)] {
        assert_eq!(store.create_role(name, None, true).await.unwrap_err().state, Sqlstate::InvalidName, "{name:?}");
    }
    store.create_role("Dr. Who \"x\"", Some("x"), true).await.unwrap();
    assert_eq!(store.create_role("Dr. Who \"x\"", None, true).await.unwrap_err().state, Sqlstate::DuplicateObject);
    store.create_role("alice", None, true).await.unwrap();
    let error = store.grant_role("anlyst", "alice").await.unwrap_err();
    assert_eq!((error.state, error.hint.as_deref()), (Sqlstate::UndefinedObject, Some("Did you mean \"analyst\"?")));
    assert_eq!(store.drop_role("bob", false).await.unwrap_err().state, Sqlstate::UndefinedObject);
    store.drop_role("bob", true).await.unwrap();
}

#[tokio::test]
async fn nonces_are_seen_once_even_after_a_restart() {
    let (dir, store) = store().await;
    assert!(store.remember_nonce("cleveland", "n1", 1000).await.unwrap());
    assert!(!store.remember_nonce("cleveland", "n1", 1000).await.unwrap());
    assert!(store.remember_nonce("budapest", "n1", 1000).await.unwrap());
    store.close().await;
    drop(store);
    let store = Store::open(&Config::new("zurich", dir.path())).await.unwrap();
    assert!(!store.remember_nonce("cleveland", "n1", 1000).await.unwrap());
    store.forget_nonces(1001).await.unwrap();
    assert!(store.remember_nonce("cleveland", "n1", 2000).await.unwrap());
}

#[tokio::test]
async fn an_older_descriptor_does_not_replace_a_newer_one() {
    let (_dir, store) = store().await;
    assert!(store.put_peer("cleveland", b"key", 2, b"two").await.unwrap());
    assert!(!store.put_peer("cleveland", b"key", 2, b"again").await.unwrap());
    assert!(!store.put_peer("cleveland", b"key", 1, b"one").await.unwrap());
    assert!(store.put_peer("cleveland", b"key", 3, b"three").await.unwrap());
    assert_eq!(store.peers().await.unwrap()[0].descriptor, b"three");
    store.forget_peer(b"key").await.unwrap();
    assert!(store.peers().await.unwrap().is_empty());
}

#[tokio::test]
async fn concurrent_changes_all_hold() {
    let (_dir, store) = store().await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.create_role(&format!("role_{number}"), None, true).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.roles().len(), 20);
}
