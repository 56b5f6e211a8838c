//! A node that lies about itself: what the site knows of it and of others stays as it was.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kanon_tests::client::Client;
use serde_json::{Value, json};

use crate::world::World;

const NODES: &str = "SELECT node_id, status, institution FROM kanon.nodes ORDER BY 1";

async fn nodes(admin: &Client) -> Vec<String> {
    admin.ask(NODES).await.unwrap().lines()
}

/// Waits until what it said was heard: two nodes ask, each after as long as the other or at most half as long again, so one of three times it was the site.
async fn until_heard(world: &mut World, what: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while world.hostile.does(&json!({"do": "serve", "count": true}))["asked"].as_u64().unwrap() < 3 {
        assert!(Instant::now() < until, "{what}: nobody asks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lies_about_itself_is_not_believed() {
    let mut world = World::start("").await;
    let admin = world.zurich().wait().await;
    let port = world.mallory_port;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let says = |more: Value| {
        let mut command = json!({"do": "serve", "port": port});
        for (name, value) in more.as_object().unwrap() {
            command[name] = value.clone();
        }
        command
    };
    let status = async |wanted: &str, what: &str| {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let found = nodes(&admin).await;
            if found.iter().any(|line| line.starts_with(&format!("mallory|{wanted}|of Malice"))) {
                return found;
            }
            assert!(Instant::now() < until, "{what}: {found:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Negative control: a good one is taken.
    world.hostile.does(&says(json!({})));
    let good = status("up", "a good one").await;
    assert!(good.contains(&"mallory|up|of Malice".to_owned()), "{good:?}");
    let lies = [
        ("a lower sequence", json!({"claims": {"sequence": (1_u64 << 60) - 1, "institution": "another"}})),
        ("the id of another peer", json!({"claims": {"iss": "cleveland", "institution": "another"}})),
        ("the site's own id", json!({"claims": {"iss": "zurich"}})),
        ("a second id", json!({"claims": {"iss": "mallory2"}})),
        ("the id of a schema", json!({"claims": {"iss": "public"}})),
        ("an id with a quote", json!({"claims": {"iss": "a\"; DROP ROLE root; --"}})),
        ("one whose time is over", json!({"claims": {"iat": now - 2_000, "exp": now - 1_400}})),
        ("one ten minutes ahead", json!({"claims": {"iat": now + 600, "exp": now + 1_200}})),
        ("another key's signature", json!({"sign": "stranger"})),
        ("no signature", json!({"sign": "none", "header": {"alg": "none"}})),
        ("the public key as a secret", json!({"sign": "secret", "header": {"alg": "HS256"}})),
        ("a ticket", json!({"header": {"typ": "kanon-ticket+jwt"}})),
        ("another fingerprint", json!({"claims": {"fingerprint": "ab".repeat(32)}})),
        ("a key that is none", json!({"claims": {"key": "AAAA"}})),
        (
            "a table that is none",
            json!({"claims": {"tables": [{"name": "t", "columns": "AAAA", "access": "open", "unit": null}]}}),
        ),
        (
            "a table without its unit",
            json!({"claims": {"tables": [{"name": "t", "columns": "", "access": "private", "unit": null}]}}),
        ),
        ("nothing", json!({"text": ""})),
        ("garbage", json!({"text": "a.b.c"})),
        ("megabytes", json!({"megabytes": 20})),
        ("more megabytes than a message has", json!({"megabytes": 100})),
    ];
    for (what, lie) in lies {
        world.hostile.does(&says(lie));
        until_heard(&mut world, what).await;
        let found = nodes(&admin).await;
        let mallory: Vec<&String> = found.iter().filter(|line| line.ends_with("|of Malice")).collect();
        assert_eq!(mallory.len(), 1, "{what}: {found:?}");
        assert!(
            mallory[0].starts_with("mallory|untrusted|") || mallory[0].starts_with("mallory|down|"),
            "{what}: {found:?}"
        );
        let others =
            |lines: &[String]| lines.iter().filter(|l| !l.starts_with("mallory|")).cloned().collect::<Vec<_>>();
        assert_eq!(others(&found), others(&good), "{what}");
        world.is_well(what).await;
    }
    world.hostile.does(&says(json!({"claims": {"sequence": 1_u64 << 61}})));
    status("up", "in the end").await;
}
