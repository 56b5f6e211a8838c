//! Ways in, through real listeners: keys and tokens on both protocols, what ends them, locks, limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::time::Duration;

use kanon_tests::client::{Client, ServerError};
use kanon_tests::flight::FlightClient;
use kanon_tests::issuer::Issuer;
use kanon_tests::tools::{psql, run};
use kanon_tests::{ADMIN, ANALYST, Federation, Site, SiteSpec, kanon};

async fn clinic(more: &str) -> Federation {
    let setup = [
        "CREATE EXTERNAL TABLE wards STORED AS CSV LOCATION '{dir}/wards.csv'",
        "ALTER TABLE wards SET (access = 'open')",
    ];
    let files = vec![("wards.csv".to_owned(), b"id,name\n1,north\n2,east\n3,south\n".to_vec())];
    let spec = SiteSpec { id: "clinic", setup: setup.map(str::to_owned).to_vec(), files };
    let federation = Federation::configured(vec![spec], more).await;
    federation.grant_all(&["wards"]).await;
    federation
}

async fn value(client: &Client, sql: &str) -> String {
    client.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).lines().remove(0)
}

/// The error of a login.
async fn refused(site: &Site, role: (&str, &str)) -> ServerError {
    let error = site.connect(role).await.err().expect("a refusal");
    error.as_db_error().map(ServerError::from).unwrap_or_else(|| panic!("{error:?}"))
}

async fn ended(client: &Client) {
    let gone = async {
        while client.ask("SELECT 1").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("it ends within five seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_open_both_protocols_until_they_are_revoked() {
    let federation = clinic("").await;
    let site = &federation.sites[0];
    let admin = site.connect(ADMIN).await.unwrap();
    let ana = site.connect(ANALYST).await.unwrap();
    let name = ANALYST.0;
    let key = value(&ana, "SELECT kanon.create_api_key('notebook')").await;
    let token = value(&admin, &format!("SELECT kanon.create_token('10 minutes', '{name}')")).await;
    for shown in [&key, &token] {
        let said = psql(
            site.pg_port,
            ("token", shown),
            &["-Atc", "SELECT current_user, session_user, count(*) FROM wards"],
            "",
        )
        .await;
        assert_eq!(said.text().trim(), format!("{name}|{name}|3"));
        let mut flight = FlightClient::bearing(site.flight_port, shown).await;
        assert_eq!(flight.ask("SELECT name FROM wards ORDER BY id LIMIT 1").await.unwrap(), ["north"]);
        let mut flight = FlightClient::connect(site.flight_port, ("token", shown)).await;
        assert_eq!(flight.ask("SELECT current_user").await.unwrap(), [name]);
    }
    // Who shares a key shares no session.
    let (mut one, mut other) =
        (FlightClient::bearing(site.flight_port, &key).await, FlightClient::bearing(site.flight_port, &key).await);
    one.ask("CREATE TEMP TABLE mine AS SELECT 1 AS a").await.unwrap();
    assert_eq!(one.ask("SELECT a FROM mine").await.unwrap(), ["1"]);
    assert_eq!(other.ask("SELECT a FROM mine").await.unwrap_err().code, "42P01");
    let who = value(&site.connect(("token", &key)).await.unwrap(), "SELECT auth_method FROM kanon.whoami()").await;
    assert_eq!(who, "api-key");

    // What is no key or token of this node is refused with one text.
    let wrong = format!("{}x", &key[..key.len() - 1]);
    let mut texts = Vec::new();
    for shown in [wrong.as_str(), "kanon_", "secret", "a.b.c", &token[..token.len() - 2], &"x".repeat(5_000)] {
        let error = refused(site, ("token", shown)).await;
        assert_eq!(error.code, "28000", "{error:?}");
        let mut flight = FlightClient::bearing(site.flight_port, shown).await;
        let by_flight = flight.ask("SELECT 1").await.unwrap_err();
        texts.push(error.message);
        assert!(by_flight.message.contains(&texts[0]), "{by_flight:?}");
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    // A key is no password, and its role's password no key.
    assert_eq!(refused(site, (name, &key)).await.code, "28P01");
    assert_eq!(refused(site, ("token", ANALYST.1)).await.code, "28000");

    // Sessions end with what opened them, on both protocols; that of the password stays.
    let by_key = site.connect(("token", &key)).await.unwrap();
    let by_token = site.connect(("token", &token)).await.unwrap();
    let mut flight = FlightClient::bearing(site.flight_port, &key).await;
    flight.ask("SELECT 1").await.unwrap();
    value(&ana, "CALL kanon.revoke_api_key('notebook')").await;
    ended(&by_key).await;
    assert!(flight.ask("SELECT 1").await.is_err());
    assert_eq!(refused(site, ("token", &key)).await.code, "28000");
    value(&by_token, "SELECT 1").await;
    value(&admin, &format!("CALL kanon.revoke_tokens('{name}')")).await;
    ended(&by_token).await;
    value(&ana, "SELECT 1").await;

    // Everything is in the log, and no secret.
    let log =
        admin.ask("SELECT action, decision, object, statement FROM kanon.audit_log").await.unwrap().lines().join("\n");
    let id = key.split('_').nth(1).unwrap();
    for line in [
        format!("credential|allowed|role {name}, api key notebook"),
        format!("credential|allowed|role {name}, tokens"),
        format!("api key {id}"),
    ] {
        assert!(log.contains(&line), "{line} in\n{log}");
    }
    for secret in [key.rsplit('_').next().unwrap(), token.rsplit('.').next().unwrap()] {
        assert!(!log.contains(secret) && !site.log().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_makes_roles_keys_and_tokens() {
    let federation = clinic("").await;
    let site = &federation.sites[0];
    let address = format!("127.0.0.1:{}", site.pg_port);
    let says = |arguments: Vec<String>| {
        let address = address.clone();
        async move {
            let mut all: Vec<&str> = vec!["role"];
            all.extend(arguments.iter().map(String::as_str));
            all.extend(["--connect", &address, "--user", ADMIN.0]);
            run(&kanon(), &all, &[("PGPASSWORD", ADMIN.1)], "").await
        }
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let made = says(words("create it's --in-role analyst")).await;
    let password =
        made.text().lines().find_map(|l| l.strip_prefix("Its password, shown only now: ").map(str::to_owned));
    site.connect(("it's", &password.unwrap())).await.unwrap();
    let key = says(words("api-key it's --for boards --ttl 1day --scopes pg")).await.text().trim().to_owned();
    value(&site.connect(("token", &key)).await.unwrap(), "SELECT 1").await;
    let token = says(words("token it's --ttl 1hour")).await.text().trim().to_owned();
    value(&site.connect(("token", &token)).await.unwrap(), "SELECT 1").await;
    let failed = says(words("token nobody")).await;
    assert!(
        !failed.ended_well && failed.text().contains("role \"nobody\" does not exist (42704)"),
        "{}",
        failed.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_cannot_be_tried_without_end() {
    let federation = clinic("").await;
    let site = &federation.sites[0];
    let before = site.connect(ANALYST).await.unwrap();
    for _ in 0..4 {
        refused(site, (ANALYST.0, "wrong")).await;
    }
    drop(site.connect(ANALYST).await.expect("four wrong ones lock nothing"));
    let mut errors = Vec::new();
    for _ in 0..5 {
        errors.push(refused(site, (ANALYST.0, "wrong")).await);
    }
    errors.push(refused(site, ANALYST).await);
    assert!(FlightClient::attempt(site.flight_port, ANALYST).await.is_err(), "locked on every protocol");
    errors.dedup();
    assert_eq!(errors.len(), 1, "a lock looks as a wrong password: {errors:?}");
    assert_eq!(value(&before, "SELECT 1").await, "1", "who is in stays in");
    site.connect(ADMIN).await.expect("others log in as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_those_of_the_configuration() {
    let lines = "max_statements_per_second = 50\nmax_concurrent_statements = 2\nmax_sessions_per_role = 4\nmax_result_rows = 1000";
    let federation = clinic(lines).await;
    let site = &federation.sites[0];
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let one = site.connect(ANALYST).await.unwrap();
    let (two, three) = (site.connect(ANALYST).await.unwrap(), site.connect(ANALYST).await.unwrap());

    // Rows of an answer.
    assert_eq!(one.ask("SELECT * FROM generate_series(1, 1000)").await.unwrap().rows.len(), 1000);
    let error = one.ask("SELECT * FROM generate_series(1, 1001)").await.unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("53400", "the answer has more than 1000 rows"));

    // At once.
    let (a, b) = (one.ask("SELECT pg_sleep(1)"), two.ask("SELECT pg_sleep(1)"));
    let third = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        three.ask("SELECT 1").await
    };
    let (a, b, third) = futures::join!(a, b, third);
    assert!(a.is_ok() && b.is_ok());
    let error = third.unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("53300", "more than 2 statements at once"));
    value(&three, "SELECT 1").await;

    // Sessions.
    let _four = site.connect(ANALYST).await.unwrap();
    let error = refused(site, ANALYST).await;
    assert_eq!(error.code, "53300");
    assert_eq!(error.message, format!("too many connections for role \"{}\"", ANALYST.0));
    drop(three);
    tokio::time::sleep(Duration::from_millis(300)).await;
    site.connect(ANALYST).await.expect("one was closed");

    // A second's worth at once, then so many a second; others are not touched.
    let mut turned_away = None;
    for _ in 0..200 {
        if let Err(error) = one.ask("SELECT 1").await {
            turned_away = Some(error);
            break;
        }
    }
    let error = turned_away.expect("too many are turned away");
    assert_eq!((error.code.as_str(), error.message.as_str()), ("53300", "more than 50 statements a second"));
    assert!(error.hint.unwrap().starts_with("Try again in "));
    let admin = site.connect(ADMIN).await.unwrap();
    value(&admin, "SELECT 1").await;
    // Who prepares and never runs is turned away as well.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let mut turned_away = None;
    for i in 0..200 {
        if let Err(error) = one.inner.prepare(&format!("SELECT {i}, $1::bigint")).await {
            turned_away = Some(ServerError::from(error.as_db_error().unwrap()));
            break;
        }
    }
    assert_eq!(turned_away.expect("too many are planned").message, "more than 50 statements a second");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let log = admin.ask("SELECT principal, action, rule FROM kanon.audit_log").await.unwrap().lines();
    assert!(log.contains(&format!("{}|refusal|53300", ANALYST.0)), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_gone_leave_no_sessions() {
    let federation = clinic("max_sessions_per_role = 3").await;
    let site = &federation.sites[0];
    let key = value(&site.connect(ANALYST).await.unwrap(), "SELECT kanon.create_api_key('jobs')").await;
    for _ in 0..20 {
        let mut flight = FlightClient::bearing(site.flight_port, &key).await;
        flight.ask("SELECT 1").await.unwrap();
        drop(flight);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_the_institution_s_issuer_come_in_with_its_tokens() {
    let issuer = Issuer::start().await;
    let federation = clinic(&format!(
        "oidc_issuer = \"{}\"\noidc_audience = \"kanon\"\noidc_roles_claim = \"realm_access.roles\"\noidc_roles = [\"researchers=analyst\"]\n",
        issuer.url
    ))
    .await;
    let site = &federation.sites[0];
    let admin = site.connect(ADMIN).await.unwrap();
    let now = chrono::Utc::now().timestamp();
    let token = |name: &str, roles: &[&str]| issuer.token(&issuer.claims(name, roles, now));
    let vera = token("vera", &["researchers"]);
    let said = psql(site.pg_port, ("token", &vera), &["-Atc", "SELECT principal, auth_method FROM kanon.whoami()"], "");
    assert_eq!(said.await.text().trim(), "vera|oidc");
    admin.ask("GRANT SELECT ON wards TO vera").await.unwrap();
    let mut flight = FlightClient::connect(site.flight_port, ("token", &vera)).await;
    assert_eq!(flight.ask("SELECT count(*) FROM wards").await.unwrap(), ["3"]);
    let config = site.dir.join("kanon.toml");
    let doctor = run(&kanon(), &["doctor", "--config", config.to_str().unwrap()], &[], "").await;
    assert!(doctor.text().contains("lists 2 keys"), "{}", doctor.text());
    for stranger in [token("wim", &[]), token("wim", &["others"]), token(ADMIN.0, &["researchers"])] {
        let error = refused(site, ("token", &stranger)).await;
        assert_eq!((error.code.as_str(), error.message.as_str()), ("28000", "the token is unknown or has expired"));
    }
    // It makes nothing that outlives it, and the log says who gave what.
    let by_token = site.connect(("token", &vera)).await.unwrap();
    for sql in ["SELECT kanon.create_token()", "SELECT kanon.create_api_key('x')", "ALTER ROLE vera PASSWORD 'secret'"]
    {
        assert_eq!(by_token.ask(sql).await.unwrap_err().code, "42501", "{sql}");
    }
    let log = "SELECT action, object, rule FROM kanon.audit_log WHERE principal = 'vera' AND action IN ('create_role', 'grant') ORDER BY seq";
    let says = format!("the token of subject of vera at {} says so", issuer.url);
    assert_eq!(
        admin.ask(log).await.unwrap().lines(),
        [format!("create_role|role vera|{says}"), format!("grant|role analyst, role vera|{says}")]
    );
    // Somebody who is here already, because an admin says who it is there; and no longer.
    admin.ask(&format!("ALTER ROLE \"{}\" SET kanon.oidc_subject = 'subject of wim'", ANALYST.0)).await.unwrap();
    let wim = site.connect(("token", &token("wim", &[]))).await.unwrap();
    assert_eq!(value(&wim, "SELECT current_user").await, ANALYST.0);
    admin.ask(&format!("ALTER ROLE \"{}\" RESET kanon.oidc_subject", ANALYST.0)).await.unwrap();
    ended(&wim).await;
    // An admin by a token opens no other way in, for itself or for a node.
    admin.ask(&format!("ALTER ROLE \"{}\" SET kanon.oidc_subject = 'subject of ada'", ADMIN.0)).await.unwrap();
    let ada = site.connect(("token", &token("ada", &[]))).await.unwrap();
    for sql in [
        "SELECT kanon.invite_node()",
        "SELECT kanon.accept_invite('kanon-invite_x')",
        "SELECT kanon.create_token()",
        "CREATE ROLE eve LOGIN PASSWORD 'a long password'",
        "ALTER ROLE vera SET kanon.oidc_subject = 'subject of eve'",
        "ALTER ROLE vera SET kanon.certificate = 'CN=eve'",
    ] {
        let error = ada.ask(sql).await.unwrap_err();
        assert!(error.code == "42501" && error.message.contains("opened with a key, token"), "{sql}: {error:?}");
    }
    admin.ask("ALTER ROLE vera SET kanon.suspended = on").await.unwrap();
    ended(&by_token).await;
    assert_eq!(refused(site, ("token", &vera)).await.code, "28000");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_opened_at_once_are_counted() {
    let federation = clinic("max_sessions_per_role = 4").await;
    let site = &federation.sites[0];
    let opened = futures::future::join_all((0..24).map(|_| site.connect(ANALYST))).await;
    let (open, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!((open.len(), refused.len()), (4, 20));
    for error in refused {
        let error = error.err().unwrap();
        assert_eq!(error.code().unwrap().code(), "53300", "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections() {
    let federation = clinic("max_connections_per_address = 3").await;
    let site = &federation.sites[0];
    // What the set-up had open is gone.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let one = site.connect(ANALYST).await.unwrap();
    let (_two, _three) = (site.connect(ADMIN).await.unwrap(), FlightClient::connect(site.flight_port, ANALYST).await);
    let error = refused(site, ANALYST).await;
    assert_eq!((error.code.as_str(), error.message.as_str()), ("53300", "too many connections from this address"));
    assert_eq!(error.hint.as_deref(), Some("An address has at most 3 at once: close one of them."));
    assert_eq!(refused(site, ("nobody", "wrong")).await, error, "before anybody is known");
    let address = format!("http://127.0.0.1:{}", site.flight_port);
    let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect().await;
    if let Ok(channel) = channel {
        let mut client = FlightClient { inner: arrow_flight::sql::client::FlightSqlServiceClient::new(channel) };
        assert!(client.inner.handshake(ANALYST.0, ANALYST.1).await.is_err());
    }
    assert_eq!(value(&one, "SELECT 1").await, "1");
    // To cancel is not one too many.
    let cancel = one.inner.cancel_token();
    let sleeping = tokio::spawn(async move { one.ask("SELECT pg_sleep(30)").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    assert_eq!(sleeping.await.unwrap().unwrap_err().code, "57014");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let admin = site.connect(ADMIN).await.expect("one was closed");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let log = admin.ask("SELECT action, decision, rule FROM kanon.audit_log").await.unwrap().lines();
    assert!(log.contains(&"login|refused|53300".to_owned()), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_has_so_much_memory() {
    let federation = clinic("max_memory_per_statement_mb = 64").await;
    let site = &federation.sites[0];
    let ana = site.connect(ANALYST).await.unwrap();
    // Planned anew, and as it was planned before.
    for _ in 0..3 {
        let error = ana.ask("SELECT cardinality(array_agg(g)) FROM generate_series(1, 20000000) g").await.unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("53200", "out of memory"));
        assert!(error.hint.unwrap().contains("max_memory_per_statement_mb"));
        assert_eq!(value(&ana, "SELECT count(*) FROM generate_series(1, 20000000) g").await, "20000000");
        let few = "SELECT cardinality(array_agg(g)) FROM generate_series(1, 1000000) g";
        assert_eq!(value(&ana, few).await, "1000000", "what has ended was given back");
    }
    assert_eq!(value(&ana, "SELECT count(*) FROM wards").await, "3");
}
