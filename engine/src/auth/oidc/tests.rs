use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::auth::testing::Issuer;
use crate::config::Config;
use crate::error::Sqlstate;
use crate::node::Node;
use crate::principal::{AuthMethod, BuiltinRole};

const NOW: i64 = 1_900_000_000;

/// Tokens of it are for `kanon`; its researchers are analysts, its stewards stewards.
fn settings(issuer: &Issuer) -> OidcSettings {
    let written = Written {
        issuer: Some(issuer.url.clone()),
        audience: Some("kanon".to_owned()),
        roles_claim: Some("realm_access.roles".to_owned()),
        roles: vec!["researchers=analyst".to_owned(), "stewards = steward".to_owned()],
        ..Written::default()
    };
    OidcSettings::read(written).unwrap().unwrap()
}

async fn of(issuer: &Issuer) -> Oidc {
    Oidc::of(&settings(issuer)).unwrap()
}

#[test]
fn an_issuer_is_believed_over_tls_or_on_this_machine() {
    let read = |issuer: &str, audience: Option<&str>, roles: &[&str]| {
        OidcSettings::read(Written {
            issuer: Some(issuer.to_owned()),
            audience: audience.map(str::to_owned),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Written::default()
        })
    };
    for good in ["https://login.example/realms/x", "http://127.0.0.1:80", "http://localhost/", "http://[::1]:1/"] {
        assert!(read(good, Some("kanon"), &[]).unwrap().is_some(), "{good}");
    }
    for bad in ["http://login.example", "ftp://127.0.0.1", "login.example", "", "https://", "file:///etc/passwd"] {
        assert_eq!(read(bad, Some("kanon"), &[]).unwrap_err().state, Sqlstate::InvalidParameterValue, "{bad}");
    }
    for audience in [None, Some("")] {
        assert!(read("https://login.example", audience, &[]).is_err());
    }
    for bad in ["analyst", "=analyst", "x=", " = "] {
        assert!(read("https://login.example", Some("kanon"), &[bad]).is_err(), "{bad}");
    }
    let alone = Written { roles_claim: Some("roles".to_owned()), ..Written::default() };
    let error = OidcSettings::read(alone).unwrap_err();
    assert_eq!(error.message, "oidc_roles_claim is set, but not oidc_issuer");
    assert_eq!(OidcSettings::read(Written::default()).unwrap(), None);
}

#[tokio::test]
async fn a_token_is_taken_only_as_the_issuer_made_it_for_this_node() {
    let issuer = Issuer::start().await;
    let oidc = of(&issuer).await;
    let claims = issuer.claims("ana", &["researchers"], NOW);
    let visitor = oidc.read(&issuer.token(&claims), NOW).await.unwrap();
    assert_eq!((visitor.subject.as_str(), visitor.name.as_deref()), ("subject of ana", Some("ana")));
    assert_eq!(visitor.roles, BTreeSet::from(["analyst".to_owned()]));
    assert!(oidc.read(&issuer.token(&claims), visitor.expires_at - 1).await.is_ok());
    assert_eq!(oidc.read(&issuer.token(&claims), visitor.expires_at).await, Err("it has expired"));
    let skewed = NOW - CLOCK_SKEW_SECONDS;
    assert!(oidc.read(&issuer.token(&claims), skewed).await.is_ok(), "a minute is no matter");
    assert_eq!(oidc.read(&issuer.token(&claims), skewed - 1).await, Err("it is not valid yet"));

    for (name, value, why) in [
        ("iss", json!("https://other.example"), "it is of another issuer"),
        ("iss", json!([issuer.url]), "it is of another issuer"),
        ("aud", json!("grafana"), "it is for another audience"),
        ("aud", json!(["grafana", "kanon2"]), "it is for another audience"),
        ("aud", json!({"kanon": true}), "it is for another audience"),
        ("aud", json!(null), "it is for another audience"),
        ("exp", json!(null), "a time in it cannot be read"),
        ("exp", json!("soon"), "a time in it cannot be read"),
        ("exp", json!(1e300), "a time in it cannot be read"),
        ("exp", json!(-1), "a time in it cannot be read"),
        ("iat", json!("2020"), "a time in it cannot be read"),
        ("iat", json!(NOW + 600), "it is not valid yet"),
        ("nbf", json!(NOW + 600), "it is not valid yet"),
        ("sub", json!(""), "it is of no subject"),
        ("sub", json!(7), "it is of no subject"),
        ("sub", json!("a\nb"), "it is of no subject"),
        ("sub", json!("x".repeat(256)), "it is of no subject"),
    ] {
        let mut changed = claims.clone();
        changed[name] = value.clone();
        assert_eq!(oidc.read(&issuer.token(&changed), NOW).await, Err(why), "{name} = {value}");
    }
    for (name, why) in [
        ("iss", "it is of another issuer"),
        ("aud", "it is for another audience"),
        ("exp", "it does not say when it ends"),
        ("iat", "it does not say when it was issued"),
        ("sub", "it is of no subject"),
    ] {
        let mut changed = claims.clone();
        changed.as_object_mut().unwrap().remove(name);
        assert_eq!(oidc.read(&issuer.token(&changed), NOW).await, Err(why), "without {name}");
    }
    for audience in [json!(["grafana", "kanon"]), json!("kanon")] {
        let mut changed = claims.clone();
        changed["aud"] = audience;
        assert!(oidc.read(&issuer.token(&changed), NOW).await.is_ok());
    }
    let mut large = claims.clone();
    large["more"] = json!("x".repeat(1 << 20));
    assert_eq!(oidc.read(&issuer.token(&large), NOW).await, Err("it is too long"));
}

#[tokio::test]
async fn a_token_is_taken_only_with_a_key_of_the_issuer_and_its_algorithm() {
    let issuer = Issuer::start().await;
    let oidc = of(&issuer).await;
    let claims = issuer.claims("ana", &["researchers"], NOW);
    let good = issuer.token(&claims);
    let rsa = issuer.token_by_rsa(&claims);
    assert!(oidc.read(&good, NOW).await.is_ok() && oidc.read(&rsa, NOW).await.is_ok());

    let header = |algorithm, typ: Option<&str>, kid: Option<&str>| {
        let mut header = Header::new(algorithm);
        header.typ = typ.map(str::to_owned);
        header.kid = kid.map(str::to_owned);
        header
    };
    let by_curve = |header: Header| jsonwebtoken::encode(&header, &claims, &issuer.curve.signs).unwrap();
    for (typ, kid, taken) in [
        (Some("at+JWT"), Some("curve"), true),
        (None, Some("curve"), true),
        (Some("kanon-ticket+jwt"), Some("curve"), false),
        (Some("JWT"), None, false),
        (Some("JWT"), Some("unknown"), false),
        (Some("JWT"), Some("rsa"), false),
    ] {
        let token = by_curve(header(Algorithm::ES256, typ, kid));
        assert_eq!(oidc.read(&token, NOW).await.is_ok(), taken, "{typ:?} {kid:?}");
    }
    // Signed by a key of somebody else under the name of the issuer's.
    let stranger = Issuer::start().await;
    let forged =
        jsonwebtoken::encode(&header(Algorithm::ES256, Some("JWT"), Some("curve")), &claims, &stranger.curve.signs);
    assert_eq!(oidc.read(&forged.unwrap(), NOW).await, Err("its signature does not fit"));
    // HS256 with the public key as its secret.
    let secret = EncodingKey::from_secret(issuer.curve.public.as_bytes());
    let symmetric = jsonwebtoken::encode(&header(Algorithm::HS256, Some("JWT"), Some("curve")), &claims, &secret);
    assert_eq!(oidc.read(&symmetric.unwrap(), NOW).await, Err("its algorithm is not that of its key"));
    let body = good.split('.').nth(1).unwrap();
    for alg in ["none", "None", "NONE"] {
        let none = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"curve"}}"#));
        for signature in ["", "AAAA"] {
            assert!(oidc.read(&format!("{none}.{body}.{signature}"), NOW).await.is_err());
        }
    }
    let flipped = format!("{}A{}", &good[..good.len() - 9], &good[good.len() - 8..]);
    assert!(flipped == good || oidc.read(&flipped, NOW).await.is_err());
    for text in ["", ".", "a.b.c", "\u{e9}.\u{e9}.\u{e9}"] {
        assert_eq!(oidc.read(text, NOW).await, Err("it is no token"), "{text}");
    }
}

#[tokio::test]
async fn keys_come_and_go_with_the_issuer() {
    let issuer = Issuer::start().await;
    let oidc = of(&issuer).await;
    let claims = issuer.claims("ana", &["researchers"], NOW);
    let (good, rsa) = (issuer.token(&claims), issuer.token_by_rsa(&claims));
    assert!(oidc.read(&good, NOW).await.is_ok());
    let asked = issuer.asked();
    for i in 0..50 {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(format!("unknown {i}"));
        let token = jsonwebtoken::encode(&header, &claims, &issuer.curve.signs).unwrap();
        assert_eq!(oidc.read(&token, NOW).await, Err("its key is not one of the issuer"));
    }
    assert_eq!(issuer.asked(), asked, "tokens with unknown keys do not make the node ask each time");
    issuer.answer_with(issuer.keys(&["rsa"]));
    assert!(oidc.read(&good, NOW).await.is_ok());
    oidc.refresh().await;
    assert_eq!(oidc.read(&good, NOW).await, Err("its key is not one of the issuer"), "it was taken back");
    assert!(oidc.read(&rsa, NOW).await.is_ok());
    for broken in ["", "<html>", &format!(r#"{{"keys":[], "x":"{}"}}"#, "x".repeat(300 << 10))] {
        issuer.answer_with(broken.to_owned());
        oidc.refresh().await;
        assert!(oidc.read(&rsa, NOW).await.is_ok(), "what it listed last holds while it answers nonsense");
    }
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_is_not_believed() {
    let issuer = Issuer::start().await;
    let mut settings = settings(&issuer);
    // The same server by another name.
    settings.issuer = settings.issuer.replace("127.0.0.1", "localhost");
    let oidc = Oidc::of(&settings).unwrap();
    let token = issuer.token(&issuer.claims("ana", &[], NOW));
    assert_eq!(oidc.read(&token, NOW).await, Err("its key is not one of the issuer"));
}

async fn node(issuer: &Issuer) -> (tempfile::TempDir, Arc<Node>) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { oidc: Some(settings(issuer)), ..Config::new("zurich", dir.path()) };
    (dir, Node::start(config).await.unwrap())
}

#[tokio::test]
async fn a_subject_is_one_role_and_has_there_what_the_issuer_says() {
    let issuer = Issuer::start().await;
    let (_dir, node) = node(&issuer).await;
    let (store, doors) = (&node.store, &node.authenticator);
    let now = chrono::Utc::now().timestamp();
    let come = |name: &str, roles: &[&str]| {
        let token = issuer.token(&issuer.claims(name, roles, now));
        async move { doors.bearer(&token, crate::auth::Scope::Pg).await }
    };
    assert!(come("ana", &[]).await.is_err(), "whom the issuer gives no role here is nobody here");
    assert!(come("ana", &["unheard of"]).await.is_err());
    // At once, from two programs: it is one role all the same.
    let (ana, again) = tokio::join!(come("ana", &["researchers"]), come("ana", &["researchers"]));
    let (ana, again) = (ana.unwrap(), again.unwrap());
    assert_eq!(ana.name, again.name);
    assert_eq!((ana.name.as_str(), ana.auth_method), ("ana", AuthMethod::Oidc));
    assert_eq!(ana.roles, BTreeSet::from([BuiltinRole::Analyst]));
    assert!(doors.stands(&ana));
    // It has no password, and none fits it.
    let here = "10.0.0.1".parse().unwrap();
    assert!(doors.password("ana", "", here).await.is_err());

    // What was granted here stays, what the issuer gives follows it.
    store.create_role("cardiology", None, false).await.unwrap();
    store.grant_role("cardiology", "ana").await.unwrap();
    let ana = come("ana", &["researchers", "stewards"]).await.unwrap();
    assert_eq!(ana.roles, BTreeSet::from([BuiltinRole::Analyst, BuiltinRole::Steward]));
    let ana = come("ana", &["stewards"]).await.unwrap();
    assert_eq!(ana.roles, BTreeSet::from([BuiltinRole::Steward]));
    assert!(store.directory().all()["ana"].member_of.contains("cardiology"));
    let ana = come("ana", &[]).await.unwrap();
    assert_eq!(ana.roles, BTreeSet::new(), "known here, and with nothing from there");

    // A name is not an identity.
    store.create_role("root", Some("secret"), true).await.unwrap();
    store.grant_role("admin", "root").await.unwrap();
    for name in ["root", "admin", "public", "token", "kanon", "pg_me", "eva@cleveland", "a@b"] {
        assert!(come(name, &["researchers"]).await.is_err(), "{name}");
    }
    let mut claims = issuer.claims("eva", &["researchers"], now);
    claims["preferred_username"] = json!("ana");
    assert!(doors.bearer(&issuer.token(&claims), crate::auth::Scope::Pg).await.is_err(), "another subject of its name");
    // Until an admin says so.
    let url = issuer.url.as_str();
    store.link_identity("root", url, Some("subject of eva")).await.unwrap();
    let eva = come("eva", &[]).await.unwrap();
    assert_eq!((eva.name.as_str(), eva.is(BuiltinRole::Admin)), ("root", true));
    let taken = store.link_identity("ana", url, Some("subject of eva")).await.unwrap_err();
    assert_eq!(taken.state, Sqlstate::DuplicateObject);
    store.link_identity("root", url, None).await.unwrap();
    assert!(!doors.stands(&eva));
    assert!(come("eva", &[]).await.is_err());

    // What ends it.
    let ana = come("ana", &["researchers"]).await.unwrap();
    store.alter_role_login("ana", false).await.unwrap();
    assert!(!doors.stands(&ana) && come("ana", &["researchers"]).await.is_err());
    store.alter_role_login("ana", true).await.unwrap();
    assert!(doors.stands(&ana));
    store.revoke_tokens("ana", now).await.unwrap();
    assert!(!doors.stands(&ana) && come("ana", &["researchers"]).await.is_err(), "tokens issued until then");
    let mut later = issuer.claims("ana", &["researchers"], now);
    later["iat"] = json!(now + 1);
    let ana = doors.bearer(&issuer.token(&later), crate::auth::Scope::Pg).await.unwrap();
    store.drop_role("ana", false).await.unwrap();
    assert!(!doors.stands(&ana));
}
