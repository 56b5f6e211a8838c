//! What lets somebody in, or is believed because a key signed it: tickets, descriptors, checkpoints, tokens, API keys, certificates, pins and the files of keys. Whatever is changed of them,
//! nothing panics, and what is taken is what it claims to be, also where the change was signed with the right key.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use futures::StreamExt as _;
use kanon_engine::audit::Checkpoint;
use kanon_engine::auth::Scope;
use kanon_engine::config::{Config, TrustedNode};
use kanon_engine::federation::descriptor;
use kanon_engine::federation::identity::{self, Fingerprint, Identity, PublicKey};
use kanon_engine::federation::ticket::{self, Audience, CLOCK_SKEW_SECONDS, MAX_TICKET_SECONDS, TicketRequest};
use kanon_engine::federation::tls;
use kanon_engine::node::Node;
use kanon_engine::session::Session;
use kanon_planner::facts::SiteId;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{Chance, LONGEST, mutated};

const SQL: &str = "SELECT count(*) FROM public.patients";

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn node_key() -> (TempDir, Identity) {
    let dir = TempDir::new().unwrap();
    let identity = identity::ensure(dir.path()).unwrap();
    (dir, identity)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tries so many inputs, or more if there is time, none of which may take long. `taken` says whether one was taken; some must be: a reader that takes nothing proves nothing.
fn tried(
    times: usize,
    least: usize,
    mut next: impl FnMut(&mut Chance) -> Vec<u8>,
    mut taken: impl FnMut(&[u8]) -> bool,
) {
    let seconds: u64 = std::env::var("KANON_FUZZ_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut chance = Chance(1);
    let (mut done, mut well) = (0, 0);
    while done < times || Instant::now() < until {
        let data = next(&mut chance);
        let began = Instant::now();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| taken(&data)));
        let outcome = outcome.unwrap_or_else(|_| panic!("at {:?}", String::from_utf8_lossy(&data)));
        assert!(began.elapsed() < LONGEST, "{:?} for {:?}", began.elapsed(), String::from_utf8_lossy(&data));
        well += usize::from(outcome);
        done += 1;
    }
    println!("{done} inputs, {well} were taken");
    assert!(well >= least, "{well} of {done}");
}

/// Changed bytes of a text, which is itself once in a while.
fn changes<'a>(seeds: &'a [Vec<u8>], parts: &'a [&'a str]) -> impl FnMut(&mut Chance) -> Vec<u8> + 'a {
    move |chance| match chance.below(100) {
        0 => seeds[0].clone(),
        _ => mutated(chance, seeds, parts),
    }
}

/// Parts of tokens in the compact form.
const COMPACT: &[&str] =
    &[".", "..", "=", "==", "A", "eyJ", "-", "_", "+", "/", "\u{0}", "é", "eyJhbGciOiJub25lIn0", " "];
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\u0000",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "1e-999",
    "99999999999999999999",
    "-9223372036854775808",
    "18446744073709551615",
    "\"sub\":\"root\",",
    "\"aud\":\"zurich\",",
    "\"exp\":0,",
    "\"a\":{},",
    "[[[[[[[[",
    "{\"a\":",
    "é",
    "\u{202e}",
    " ",
    "\n",
];

/// A value instead of another.
fn odd(chance: &mut Chance) -> Value {
    let near = now() + i64::try_from(chance.below(400)).unwrap() - 200;
    match chance.below(17) {
        0 => Value::Null,
        1 => json!(""),
        2 => json!("zurich"),
        3 => json!("cleveland"),
        4 => json!("root"),
        5 => json!("x".repeat(chance.below(3_000))),
        6 => json!([]),
        7 => json!(["admin", 1]),
        8 => json!({"a": {}}),
        9 => json!(0),
        10 => json!(-1),
        11 => json!(i64::MAX),
        12 => json!(i64::MIN),
        13 => json!(u64::MAX),
        14 => json!(1e308),
        15 => json!(true),
        _ => json!(near),
    }
}

/// Claims with values, names and texts changed; half of the time as text.
fn changed_claims(chance: &mut Chance, claims: &Value) -> Vec<u8> {
    let mut claims = claims.clone();
    let names: Vec<String> = claims.as_object().unwrap().keys().cloned().collect();
    for _ in 0..chance.below(3) {
        let name = &names[chance.below(names.len())];
        match chance.below(6) {
            0 => drop(claims.as_object_mut().unwrap().remove(name)),
            1 => claims[format!("{name}x")] = odd(chance),
            _ => claims[name] = odd(chance),
        }
    }
    let text = claims.to_string().into_bytes();
    if chance.below(2) == 0 { text } else { mutated(chance, &[text], JSON) }
}

/// A token of these claims, as they are, signed with a key.
fn signed(header: &Value, claims: &[u8], sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message =
        format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()), BASE64_URL_SAFE_NO_PAD.encode(claims));
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(sign(message.as_bytes())))
}

/// A number, which may be written as a text.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

struct Tickets {
    _dirs: [TempDir; 2],
    coordinator: Identity,
    site: Identity,
    names: [SiteId; 2],
}

impl Tickets {
    fn new() -> Tickets {
        let ((a, coordinator), (b, site)) = (node_key(), node_key());
        Tickets { _dirs: [a, b], coordinator, site, names: [SiteId::new("cleveland"), SiteId::new("zurich")] }
    }

    fn issued(&self) -> String {
        let request = TicketRequest {
            home_node: &self.names[0],
            audience: &self.names[1],
            audience_key: self.site.fingerprint,
            user: "alice",
            roles: vec!["analyst".to_owned()],
            sql: SQL,
            participants: &self.names,
            min_sites: 2,
            asked: None,
            valid_seconds: 60,
        };
        ticket::issue(&self.coordinator, &request).unwrap()
    }

    fn read(&self, token: &str) -> Option<Value> {
        let audience = Audience { site: &self.names[1], key: self.site.fingerprint };
        let read = ticket::verify(token, SQL, self.coordinator.public_key, &audience);
        read.ok().map(|claims| serde_json::to_value(claims).unwrap())
    }
}

fn claims_of(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn tickets_that_nobody_issued() {
    let world = Tickets::new();
    let seeds: Vec<Vec<u8>> = (0..3).map(|_| world.issued().into_bytes()).collect();
    tried(20_000, 50, changes(&seeds, COMPACT), |data| {
        let taken = world.read(&String::from_utf8_lossy(data)).is_some();
        assert!(!taken || seeds.iter().any(|seed| seed == data), "taken: {}", String::from_utf8_lossy(data));
        taken
    });
}

#[test]
fn tickets_that_the_right_key_signed() {
    let world = Tickets::new();
    let claims = claims_of(&world.issued());
    let header = json!({"typ": "kanon-ticket+jwt", "alg": "EdDSA"});
    tried(
        20_000,
        500,
        |chance| changed_claims(chance, &claims),
        |data| {
            let token = signed(&header, data, |message| world.coordinator.sign(message).unwrap().to_vec());
            let Some(read) = world.read(&token) else { return false };
            let text = String::from_utf8_lossy(data);
            // What was read is what was signed, all of it.
            let written: Value = serde_json::from_slice(data).unwrap();
            let (read_names, names) = (read.as_object().unwrap(), written.as_object().unwrap());
            for (name, value) in names {
                let same = read_names[name] == *value || number(&read_names[name]) == number(value);
                assert!(same, "{name} of {text}");
            }
            for name in ["iss", "sub", "jti"] {
                assert!(!read[name].as_str().unwrap().is_empty(), "{text}");
            }
            assert_eq!(read["aud"], "zurich", "{text}");
            assert_eq!(read["audience_key"], json!(world.site.fingerprint.to_string()), "{text}");
            assert_eq!(read["digest"], json!(hex(&Sha256::digest(SQL))), "{text}");
            let (issued, ends) = (read["iat"].as_i64().unwrap(), read["exp"].as_i64().unwrap());
            assert!((0..=MAX_TICKET_SECONDS).contains(&(ends - issued)), "{text}");
            assert!(issued - CLOCK_SKEW_SECONDS <= now() + 1 && now() <= ends + CLOCK_SKEW_SECONDS + 1, "{text}");
            for name in ["epsilon", "delta"] {
                let asked = &read[name];
                assert!(asked.is_null() || number(asked).is_some_and(|n| n.is_finite() && n >= 0.0), "{text}");
            }
            true
        },
    );
}

#[test]
fn descriptors_that_the_right_key_signed_and_others() {
    let (_dir, identity) = node_key();
    let offered = json!({
        "name": "t", "columns": "", "description": null, "access": "open", "unit": null,
    });
    let columns = {
        use datafusion::arrow::datatypes::{DataType, Field, Schema};
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
        descriptor::OfferedTable::encode_columns(&schema).unwrap()
    };
    let mut open = offered.clone();
    open["columns"] = json!(columns);
    let mut protected = open.clone();
    protected["access"] = json!("cohort");
    protected["unit"] = json!({"column": "a", "kind": "k", "unique": true, "min_cohort": 5, "dominance_percent": 90});
    let claims = json!({
        "iss": "zurich", "name": "Zurich", "institution": "", "endpoints": {"pg": null, "flight": null, "http": null},
        "key": BASE64_STANDARD.encode(identity.public_key.as_bytes()), "fingerprint": identity.fingerprint.to_string(),
        "tables": [open, protected], "policy_digest": "", "version": "0.1.0", "protocol": 2, "sequence": 7, "iat": 1, "exp": 2,
    });
    let header = json!({"typ": "kanon-descriptor+jwt", "alg": "EdDSA"});
    let sign = |data: &[u8]| signed(&header, data, |message| identity.sign(message).unwrap().to_vec());
    let good = sign(claims.to_string().as_bytes());
    let read = descriptor::read(&good, identity.fingerprint);
    assert!(read.is_ok(), "{:?}", read.unwrap_err());
    // The bytes of columns are read by Arrow: they are changed by themselves too.
    let raw = BASE64_STANDARD.decode(&columns).unwrap();
    let next = |chance: &mut Chance| {
        if chance.below(3) > 0 {
            return changed_claims(chance, &claims);
        }
        let mut claims = claims.clone();
        claims["tables"][0]["columns"] =
            json!(BASE64_STANDARD.encode(mutated(chance, std::slice::from_ref(&raw), &["\0\0\0\0", "\u{7f}"])));
        claims.to_string().into_bytes()
    };
    tried(10_000, 300, next, |data| {
        let Ok(read) = descriptor::read(&sign(data), identity.fingerprint) else { return false };
        let text = String::from_utf8_lossy(data);
        assert!(descriptor::is_node_id(&read.id), "{text}");
        assert_eq!(read.public_key().map(PublicKey::fingerprint), Some(identity.fingerprint), "{text}");
        for table in &read.tables {
            table.schema().unwrap();
            assert_eq!(table.protection().unwrap().is_some(), table.unit.is_some(), "{text}");
            table.private().unwrap();
        }
        // The time of one that is read is looked at before it is taken.
        assert!(descriptor::accept(&read, Some(u64::MAX), now()).is_err() || read.sequence == u64::MAX, "{text}");
        true
    });
    let seeds = [good.clone().into_bytes()];
    tried(5_000, 10, changes(&seeds, COMPACT), |data| {
        let taken = descriptor::read(&String::from_utf8_lossy(data), identity.fingerprint).is_ok();
        assert!(!taken || data == seeds[0], "taken: {}", String::from_utf8_lossy(data));
        taken
    });
}

/// A signed note over a text.
fn note(identity: &Identity, name: &str, text: &str) -> String {
    let hash = Sha256::digest([name.as_bytes(), b"\n\x01", identity.public_key.as_bytes()].concat());
    let signature = [&hash[..4], &identity.sign(text.as_bytes()).unwrap()].concat();
    format!("{text}\n— {name} {}\n", BASE64_STANDARD.encode(signature))
}

#[test]
fn checkpoints_that_the_right_key_signed_and_others() {
    const PARTS: &[&str] =
        &["\n", "\n\n", "— ", "— zurich ", " ", "0", "-1", "18446744073709551616", "=", "é", "\r\n", "AAAA"];
    let (_dir, identity) = node_key();
    let text = format!("zurich\n4711\n{}\n", BASE64_STANDARD.encode([7; 32]));
    let good = note(&identity, "zurich", &text);
    let wanted = Checkpoint::read(&good, identity.public_key).unwrap();
    assert_eq!((wanted.node_id.as_str(), wanted.size), ("zurich", 4711));
    let seeds = [good.clone().into_bytes()];
    tried(20_000, 100, changes(&seeds, PARTS), |data| {
        let Ok(read) = Checkpoint::read(&String::from_utf8_lossy(data), identity.public_key) else { return false };
        // What witnesses say may stand below it.
        assert_eq!(read, wanted, "{}", String::from_utf8_lossy(data));
        true
    });
    // Of texts that are signed as they are, one is read for each meaning.
    let seeds = [text.clone().into_bytes()];
    tried(20_000, 100, changes(&seeds, PARTS), |data| {
        let text = String::from_utf8_lossy(data);
        let name = text.lines().next().unwrap_or_default().to_owned();
        let Ok(read) = Checkpoint::read(&note(&identity, &name, &text), identity.public_key) else { return false };
        assert_eq!(text, format!("{}\n{}\n{}\n", read.node_id, read.size, BASE64_STANDARD.encode(read.root)));
        true
    });
}

#[test]
fn certificates_and_the_files_of_keys() {
    let (dir, identity) = node_key();
    let der = identity.certificate().to_vec();
    let spki = identity.public_key.to_spki();
    let found = |der: &[u8], spki: &[u8]| der.windows(spki.len()).any(|part| part == spki);
    let seeds = [der.clone(), spki, identity.cert_pem.clone().into_bytes()];
    tried(30_000, 500, changes(&seeds, &["\u{30}\u{7f}", "\0", "0\u{82}", "\u{6}\u{3}+ep", "\u{3}!\0"]), |data| {
        let Some(key) = tls::key_of(&CertificateDer::from(data.to_vec())) else { return false };
        // A key that it is said to have stands in it.
        assert!(found(data, &key.to_spki()));
        true
    });

    const PEM: &[&str] = &[
        "-----BEGIN CERTIFICATE-----\n",
        "-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "\n",
        "\r\n",
        "=",
        "-",
        "A",
        "é",
    ];
    let (cert, key) = (identity.listener.cert_pem.clone().into_bytes(), identity.listener.key_pem.clone().into_bytes());
    let certs = [cert.clone(), identity.cert_pem.clone().into_bytes(), key.clone()];
    tried(5_000, 50, changes(&certs, PEM), |data| {
        tls::listener_key(&String::from_utf8_lossy(data), &identity.listener.key_pem).is_ok()
    });
    let keys = [key.clone(), std::fs::read(dir.path().join("node.key")).unwrap(), cert];
    tried(5_000, 20, changes(&keys, PEM), |data| {
        let Ok(read) = tls::listener_key(&identity.listener.cert_pem, &String::from_utf8_lossy(data)) else {
            return false;
        };
        read.keys_match().unwrap();
        true
    });

    // A node never starts with another key than it had.
    let path = dir.path().join("node.key");
    let seeds = [std::fs::read(&path).unwrap(), key];
    tried(300, 2, changes(&seeds, PEM), |data| {
        std::fs::write(&path, data).unwrap();
        let Ok(read) = identity::ensure(dir.path()) else { return false };
        assert_eq!(read.fingerprint, identity.fingerprint, "{}", String::from_utf8_lossy(data));
        true
    });
}

#[test]
fn pins_and_fingerprints() {
    const PARTS: &[&str] = &[
        "#", "#sha256:", "sha256:", ":", "::1", "[", "]", "+", "-", "0x", " ", "0", "f", "G", "é", "\u{661}", "65536",
        "\n",
    ];
    let digits = "00112233445566778899aabbccddeeff".repeat(2);
    let of = |host: &str| format!("{host}#sha256:{digits}").into_bytes();
    let seeds = [of("peer.example.org:50051"), of("[::1]:1"), of("10.0.0.1:65535")];
    tried(50_000, 500, changes(&seeds, PARTS), |data| {
        let text = String::from_utf8_lossy(data);
        let Ok(pin) = TrustedNode::parse(&text) else { return false };
        assert_eq!(TrustedNode::parse(&pin.to_string()).unwrap(), pin, "{text:?}");
        // All digits are there, and nothing else but colons among them.
        let after = text.trim().split_once("#sha256:").unwrap().1.replace(':', "");
        assert_eq!(after.to_ascii_lowercase(), hex(&pin.fingerprint), "{text:?}");
        true
    });
    let seeds = [digits.clone().into_bytes(), format!("sha256:{digits}").into_bytes()];
    tried(20_000, 100, changes(&seeds, PARTS), |data| {
        let text = String::from_utf8_lossy(data);
        let Ok(read) = text.parse::<Fingerprint>() else { return false };
        assert_eq!(text.trim_start_matches("sha256:").to_ascii_lowercase(), read.to_string(), "{text:?}");
        true
    });
}

/// The first cell of an answer.
async fn one(session: &Arc<Session>, sql: &str) -> String {
    let prepared = session.prepare(sql, &[]).await.unwrap();
    let mut rows = session.execute(&prepared, Vec::new()).await.unwrap().rows.unwrap();
    let batch = rows.stream.next().await.unwrap().unwrap();
    kanon_tests::flight::lines_of(&batch).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_api_keys() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(Config::new("zurich", dir.path())).await.unwrap();
    node.store.create_role("alice", Some("correct horse"), true).await.unwrap();
    node.store.create_role("root", Some("correct horse"), true).await.unwrap();
    let principal = node.authenticator.password("alice", "correct horse", [127, 0, 0, 1].into()).await.unwrap();
    let session = Session::open(Arc::clone(&node), principal);
    let issued = one(&session, "SELECT kanon.create_token()").await;
    let key = one(&session, "SELECT kanon.create_api_key('x')").await;
    let role = |shown: &str| {
        let taken = futures::executor::block_on(node.authenticator.bearer(shown, Scope::Flight));
        taken.ok().map(|principal| principal.name)
    };
    for shown in [&issued, &key] {
        assert_eq!(role(shown).as_deref(), Some("alice"));
        let seeds = [shown.clone().into_bytes(), issued.clone().into_bytes(), key.clone().into_bytes()];
        tried(20_000, 50, changes(&seeds, COMPACT), |data| {
            let taken = role(&String::from_utf8_lossy(data)).is_some();
            assert!(!taken || seeds.iter().any(|seed| seed == data), "taken: {}", String::from_utf8_lossy(data));
            taken
        });
    }
    // Changed, and signed with the key of the node's tokens.
    let file = std::fs::read_dir(dir.path().join("token-keys")).unwrap().next().unwrap().unwrap().path();
    let pair = PrivateKeyDer::from_pem_file(file).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pair.secret_der()).unwrap();
    let header: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(issued.split('.').next().unwrap()).unwrap()).unwrap();
    let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key());
    let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
    assert_eq!(header["kid"], json!(BASE64_URL_SAFE_NO_PAD.encode(thumbprint)));
    let claims = claims_of(&issued);
    tried(
        20_000,
        500,
        |chance| changed_claims(chance, &claims),
        |data| {
            let token = signed(&header, data, |message| pair.sign(message).as_ref().to_vec());
            let Some(role) = role(&token) else { return false };
            let text = String::from_utf8_lossy(data);
            let read: Value = serde_json::from_slice(data).unwrap();
            assert!(role == read["sub"] && ["alice", "root"].contains(&role.as_str()), "{text}");
            assert!(read["iss"] == "kanon:zurich" && read["aud"] == "kanon:zurich", "{text}");
            let (issued, ends) = (read["iat"].as_i64().unwrap(), read["exp"].as_i64().unwrap());
            assert!(
                ends > now() - 1 && issued <= now() + CLOCK_SKEW_SECONDS + 1 && ends - issued <= 24 * 60 * 60,
                "{text}"
            );
            true
        },
    );
}
