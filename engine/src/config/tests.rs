//! What a configuration may and may not say.

use super::*;

fn read(text: &str) -> Result<Config> {
    Config::from_text(text, Path::new("/srv/kanon"), |_| None)
}

fn read_env(text: &str, env: &[(&str, &str)]) -> Result<Config> {
    let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::from_text(text, Path::new("/srv/kanon"), find)
}

#[test]
fn a_small_file_is_enough() {
    let config = read("node_id = 'zurich'").unwrap();
    assert_eq!(config.node_name, "zurich");
    assert_eq!(config.dir, Path::new("/srv/kanon"));
    assert_eq!(config.store_path(), Path::new("/srv/kanon/kanon.db"));
    assert_eq!(config.pg_listen.to_string(), "127.0.0.1:5432");
    assert_eq!(config.min_cohort.get(), 10);
    assert!(!config.tls_required_on(config.pg_listen));
    assert!(read("").unwrap_err().message.contains("node_id is not set"));
}

#[test]
fn unknown_keys_name_the_nearest() {
    let error = read("node_id = 'a'\nmin_cohrt = 5").unwrap_err();
    assert_eq!(error.message, "unknown key \"min_cohrt\"");
    assert_eq!(error.hint.unwrap(), "Did you mean \"min_cohort\"?");
    assert!(read("node_id = 'a'\n[pg]\nlisten = 'x'").unwrap_err().message.contains("unknown key \"pg\""));
}

#[test]
fn the_environment_wins_and_the_seed_is_read_after_ours() {
    let text = "node_id = 'a'\nmin_cohort = 5\npg_listen = '127.0.0.1:1'";
    let config = read_env(
        text,
        &[
            ("KANON_MIN_COHORT", "7"),
            ("MIN_COHORT_SIZE", "9"),
            ("NODE_NAME", "Spital"),
            ("KANON_PG_LISTEN", "127.0.0.1:2"),
            ("PRIVACY_EPSILON", "1"),
        ],
    )
    .unwrap();
    assert_eq!(config.min_cohort.get(), 7);
    assert_eq!(config.node_name, "Spital");
    assert_eq!(config.pg_listen.port(), 2);
    assert_eq!(config.privacy_epsilon, Some(1.0));
    let error = read_env(text, &[("REQUIRE_TLS", "perhaps")]).unwrap_err();
    assert_eq!(error.message, "environment variable REQUIRE_TLS must be true or false, not \"perhaps\"");
}

#[test]
fn every_key_is_read_from_file_and_environment() {
    for Key(name, kind, seed) in KEYS {
        let value = match (*name, kind) {
            ("node_id", _) => "zurich".to_owned(),
            ("database_url", _) => "sqlite:x.db".to_owned(),
            ("tls_cert" | "tls_key" | "data_root" | "client_ca", _) => "/".to_owned(),
            (name, _) if name.ends_with("_listen") || name.ends_with("_advertise") => "127.0.0.1:1234".to_owned(),
            ("max_memory_mb" | "max_memory_per_statement_mb", _) => "100".to_owned(),
            (_, Kind::Text) => "x".to_owned(),
            (_, Kind::Integer | Kind::Number) => "20".to_owned(),
            (_, Kind::Bool) => "true".to_owned(),
            (_, Kind::List) => format!("host:1#sha256:{}", "ab".repeat(32)),
        };
        for variable in [Some(format!("KANON_{}", name.to_uppercase())), seed.map(str::to_owned)].into_iter().flatten()
        {
            let read = read_env("node_id = 'a'", &[(&variable, &value)]);
            // What goes with another key: that it was read shows in the refusal.
            if name.starts_with("tls_") {
                assert!(read.unwrap_err().message.contains("go together"), "{variable}");
            } else if name.starts_with("oidc_") || *name == "client_crl" {
                assert!(read.unwrap_err().message.contains(name), "{variable}");
            } else {
                read.unwrap_or_else(|error| panic!("{variable}: {error}"));
            }
        }
    }
}

#[test]
fn wrong_values_are_refused_with_the_key() {
    for (text, part) in [
        ("min_cohort = 1", "min_cohort must be at least 2"),
        ("pg_listen = '5432'", "pg_listen must be an address"),
        ("pg_listen = 5432", "string"),
        ("trusted_nodes = ['peer.example.org']", "no fingerprint"),
        ("trusted_nodes = ['peer:1#sha256:abcd']", "fingerprint"),
        ("tls_cert = '/nowhere/a.pem'", "go together"),
        ("tls_cert = '/nowhere/a.pem'\ntls_key = '/nowhere/b.pem'", "tls_cert: cannot read"),
        ("data_root = '/nowhere'", "data_root"),
        ("database_url = 'postgres://x/y'", "only sqlite"),
        ("enable_differential_privacy = false", "cannot be off"),
        ("demo = true\npg_listen = '0.0.0.0:5432'", "loopback only"),
        ("max_connections = 0", "max_connections"),
        ("= 3", "not valid TOML"),
    ] {
        let error = read(&format!("node_id = 'a'\n{text}")).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
    }
    for id in ["public", "kanon", "federation", "information_schema", "pg_x", "", "Zurich", "1a", "a b", "a.b", "ä"] {
        assert!(read(&format!("node_id = '{id}'")).is_err(), "{id}");
    }
}

#[test]
fn tls_is_required_beyond_loopback() {
    let config = read("node_id = 'a'\npg_listen = '0.0.0.0:5432'").unwrap();
    assert!(config.tls_required_on(config.pg_listen));
    assert!(!config.tls_required_on(config.flight_listen));
    assert!(config.listens_beyond_loopback());
}

#[test]
fn a_pin_reads_as_it_is_written() {
    let text = format!("[::1]:50051#sha256:{}", "0f".repeat(32));
    assert_eq!(TrustedNode::parse(&text).unwrap().to_string(), text);
    let hint = TrustedNode::parse("peer.example.org:50051").unwrap_err().hint.unwrap();
    assert!(hint.contains("#sha256:<fingerprint>"));
}

#[test]
fn secrets_do_not_show() {
    let config = read("node_id = 'a'\nsecret_key = 'hunter2'").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.secret_key.unwrap().expose(), "hunter2");
}
