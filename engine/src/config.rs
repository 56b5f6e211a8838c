//! A node's configuration: one TOML file, and the environment over it.
//!
//! Every key of the file is also an environment variable, `KANON_` and the key in capitals; the names of the seed
//! (`NODE_ID`, `DATA_ROOT` …) are read too, after those. An unknown key is an error that names the nearest one. What is wrong
//! is said when the node starts, never later.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kanon_privacy::policy::MinCohort;
use serde::Deserialize;

use crate::auth::OidcSettings;
use crate::auth::oidc;
use crate::error::{Error, Result, Sqlstate};
use crate::limits::LimitSettings;
use crate::nearest::did_you_mean;

/// What type of value a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Number,
    Bool,
    List,
}

/// A key of the file: its name, its type, and the seed's environment variable for it.
struct Key(&'static str, Kind, Option<&'static str>);

/// Every key there is. [`Raw`] has a field for each.
const KEYS: &[Key] = &[
    Key("node_id", Kind::Text, Some("NODE_ID")),
    Key("node_name", Kind::Text, Some("NODE_NAME")),
    Key("institution", Kind::Text, Some("INSTITUTION_NAME")),
    Key("dir", Kind::Text, None),
    Key("pg_listen", Kind::Text, None),
    Key("flight_listen", Kind::Text, None),
    Key("http_listen", Kind::Text, None),
    Key("pg_advertise", Kind::Text, None),
    Key("flight_advertise", Kind::Text, None),
    Key("http_advertise", Kind::Text, None),
    Key("tls_cert", Kind::Text, None),
    Key("tls_key", Kind::Text, None),
    Key("client_ca", Kind::Text, None),
    Key("client_crl", Kind::Text, None),
    Key("require_tls", Kind::Bool, Some("REQUIRE_TLS")),
    Key("trusted_nodes", Kind::List, Some("TRUSTED_NODES")),
    Key("data_root", Kind::Text, Some("DATA_ROOT")),
    Key("work_dir", Kind::Text, Some("WORK_DIR")),
    Key("max_memory_mb", Kind::Integer, Some("MAX_MEMORY_MB")),
    Key("max_cpu_cores", Kind::Integer, Some("MAX_CPU_CORES")),
    Key("max_connections", Kind::Integer, None),
    Key("max_statements_per_second", Kind::Integer, None),
    Key("max_concurrent_statements", Kind::Integer, None),
    Key("max_sessions_per_role", Kind::Integer, None),
    Key("max_result_rows", Kind::Integer, None),
    Key("max_connections_per_address", Kind::Integer, None),
    Key("max_memory_per_statement_mb", Kind::Integer, None),
    Key("statement_timeout_seconds", Kind::Integer, Some("MAX_EXECUTION_TIME")),
    Key("shutdown_seconds", Kind::Integer, None),
    Key("release_tick_ms", Kind::Integer, None),
    Key("oidc_issuer", Kind::Text, None),
    Key("oidc_audience", Kind::Text, None),
    Key("oidc_jwks_url", Kind::Text, None),
    Key("oidc_ca", Kind::Text, None),
    Key("oidc_name_claim", Kind::Text, None),
    Key("oidc_roles_claim", Kind::Text, None),
    Key("oidc_roles", Kind::List, None),
    Key("answer_retention_days", Kind::Integer, None),
    Key("four_eyes", Kind::Bool, None),
    Key("min_cohort", Kind::Integer, Some("MIN_COHORT_SIZE")),
    Key("log_level", Kind::Text, None),
    Key("demo", Kind::Bool, None),
    Key("secret_key", Kind::Text, Some("SECRET_KEY")),
    Key("access_token_expire_minutes", Kind::Integer, Some("ACCESS_TOKEN_EXPIRE_MINUTES")),
    Key("database_url", Kind::Text, Some("DATABASE_URL")),
    Key("enable_differential_privacy", Kind::Bool, Some("ENABLE_DIFFERENTIAL_PRIVACY")),
    Key("privacy_epsilon", Kind::Number, Some("PRIVACY_EPSILON")),
];

/// The file as it is written, checked for types only.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    node_id: Option<String>,
    node_name: Option<String>,
    institution: Option<String>,
    dir: Option<PathBuf>,
    pg_listen: Option<String>,
    flight_listen: Option<String>,
    http_listen: Option<String>,
    pg_advertise: Option<String>,
    flight_advertise: Option<String>,
    http_advertise: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    client_crl: Option<PathBuf>,
    require_tls: Option<bool>,
    trusted_nodes: Vec<String>,
    data_root: Option<PathBuf>,
    work_dir: Option<PathBuf>,
    max_memory_mb: Option<i64>,
    max_cpu_cores: Option<i64>,
    max_connections: Option<i64>,
    max_statements_per_second: Option<i64>,
    max_concurrent_statements: Option<i64>,
    max_sessions_per_role: Option<i64>,
    max_result_rows: Option<i64>,
    max_connections_per_address: Option<i64>,
    max_memory_per_statement_mb: Option<i64>,
    statement_timeout_seconds: Option<i64>,
    shutdown_seconds: Option<i64>,
    release_tick_ms: Option<i64>,
    oidc_issuer: Option<String>,
    oidc_audience: Option<String>,
    oidc_jwks_url: Option<String>,
    oidc_ca: Option<PathBuf>,
    oidc_name_claim: Option<String>,
    oidc_roles_claim: Option<String>,
    oidc_roles: Vec<String>,
    answer_retention_days: Option<i64>,
    four_eyes: Option<bool>,
    min_cohort: Option<i64>,
    log_level: Option<String>,
    demo: Option<bool>,
    secret_key: Option<String>,
    access_token_expire_minutes: Option<i64>,
    database_url: Option<String>,
    enable_differential_privacy: Option<bool>,
    privacy_epsilon: Option<f64>,
}

/// A secret from the configuration: it never shows in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A peer that the operator trusts: where it is, and the key it must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedNode {
    /// Host name or address.
    pub host: String,
    /// The port of its Flight SQL listener.
    pub port: u16,
    /// SHA-256 of its public key.
    pub fingerprint: [u8; 32],
}

impl TrustedNode {
    /// Reads `host:port#sha256:<64 hexadecimal digits>`.
    ///
    /// # Errors
    /// 22023 for anything else; a bare host is told how to pin it.
    pub fn parse(text: &str) -> Result<TrustedNode> {
        let invalid = |message: String| {
            Error::new(Sqlstate::InvalidParameterValue, message)
                .hint("Write host:port#sha256:<fingerprint>; `kanon doctor` on that node prints its fingerprint.")
        };
        let Some((address, pin)) = text.trim().split_once('#') else {
            return Err(invalid(format!("trusted node \"{text}\" has no fingerprint: a name alone is not trusted")));
        };
        let Some((host, port)) = address.rsplit_once(':') else {
            return Err(invalid(format!("trusted node \"{text}\" has no port")));
        };
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(invalid(format!("trusted node \"{text}\" has no valid port"))),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid(format!("trusted node \"{text}\" has no host")));
        }
        let fingerprint = pin
            .strip_prefix("sha256:")
            .and_then(parse_hex_32)
            .ok_or_else(|| invalid(format!("trusted node \"{text}\" has no valid sha256 fingerprint")))?;
        Ok(TrustedNode { host: host.to_owned(), port, fingerprint })
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for TrustedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#sha256:", self.address())?;
        self.fingerprint.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn parse_hex_32(text: &str) -> Option<[u8; 32]> {
    let text = text.replace(':', "");
    // Digits alone: numbers may have a sign.
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0u8; 32];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// How a node runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its id: the name of its schema at its peers.
    pub node_id: String,
    /// Its name for people; the id unless set.
    pub node_name: String,
    /// The institution that runs it; empty unless set.
    pub institution: String,
    /// Where its store, keys and certificates are.
    pub dir: PathBuf,
    /// Where it listens for the PostgreSQL protocol; 127.0.0.1:5432 unless set. Port 0 takes a free one.
    pub pg_listen: SocketAddr,
    /// Where it listens for Flight SQL; 127.0.0.1:50051 unless set. Port 0 takes a free one.
    pub flight_listen: SocketAddr,
    /// Where it listens for HTTP, if it does.
    pub http_listen: Option<SocketAddr>,
    /// `host:port` that others are told for the PostgreSQL protocol, if not where it listens.
    pub pg_advertise: Option<String>,
    /// `host:port` that others are told for Flight SQL, if not where it listens.
    pub flight_advertise: Option<String>,
    /// `host:port` that others are told for HTTP, if not where it listens.
    pub http_advertise: Option<String>,
    /// The certificate for clients, PEM; [`Config::tls_files`] says which are used without it.
    pub tls_cert: Option<PathBuf>,
    /// The private key for it, PEM.
    pub tls_key: Option<PathBuf>,
    /// The authorities whose certificates clients may log in with, PEM; nobody does unless set.
    pub client_ca: Option<PathBuf>,
    /// Their revocation lists, PEM: if set, one of each authority of a chain.
    pub client_crl: Option<PathBuf>,
    /// Whether clients must use TLS; always so beyond loopback.
    pub require_tls: bool,
    /// The peers it trusts.
    pub trusted_nodes: Vec<TrustedNode>,
    /// If set, files and folders of tables must lie under it.
    pub data_root: Option<PathBuf>,
    /// For what is written while queries run; `dir/work` unless set.
    pub work_dir: PathBuf,
    /// The most memory queries may take together, in bytes; 1024 MB unless set.
    pub memory_limit_bytes: usize,
    /// The most cores a query uses; all unless set.
    pub max_cpu_cores: Option<usize>,
    /// The most sessions at once, over all protocols; 200 unless set.
    pub max_connections: usize,
    /// What one principal, address or statement may have; nothing is limited unless set.
    pub limits: LimitSettings,
    /// The longest a statement may take unless its session says less; none unless set.
    pub statement_timeout: Option<Duration>,
    /// How long running statements get when the node stops; 30 seconds unless set.
    pub shutdown_timeout: Duration,
    /// Answers and errors of statements that release protected data are given after a whole number of these; as soon as they are there unless set.
    pub release_tick: Option<Duration>,
    /// The institution's issuer of tokens; none unless set.
    pub oidc: Option<OidcSettings>,
    /// How long the answer of a release is kept, so that asking again gets it and costs nothing; for ever unless set.
    pub answer_retention: Option<Duration>,
    /// What loosens a rule waits for a second steward; not unless set.
    pub four_eyes: bool,
    /// The `min_cohort` of a policy that does not say one; 10 unless set.
    pub min_cohort: MinCohort,
    /// The log's level, as `tracing` reads it; `info` unless set.
    pub log_level: String,
    /// A demo folder: well-known passwords are accepted, on loopback only.
    pub demo: bool,
    /// Signs tokens of the HTTP interface.
    pub secret_key: Option<Secret>,
    /// How long tokens live; 30 minutes unless set.
    pub access_token_expire: Duration,
    /// The store's file if it is not `dir/kanon.db` (`sqlite:` URLs only).
    pub store_file: Option<PathBuf>,
    /// Whether `private` access adds noise: it always will, so `false` is refused.
    pub enable_differential_privacy: bool,
    /// The ε of a query for policies that do not say one.
    pub privacy_epsilon: Option<f64>,
}

impl Config {
    /// A node of this id in this folder, with every default and free ports on loopback.
    pub fn new(node_id: impl Into<String>, dir: impl Into<PathBuf>) -> Config {
        let node_id = node_id.into();
        let dir = dir.into();
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Config {
            node_name: node_id.clone(),
            node_id,
            institution: String::new(),
            work_dir: dir.join("work"),
            dir,
            pg_listen: loopback(0),
            flight_listen: loopback(0),
            http_listen: None,
            pg_advertise: None,
            flight_advertise: None,
            http_advertise: None,
            tls_cert: None,
            tls_key: None,
            client_ca: None,
            client_crl: None,
            require_tls: false,
            trusted_nodes: Vec::new(),
            data_root: None,
            memory_limit_bytes: 1024 << 20,
            max_cpu_cores: None,
            max_connections: 200,
            limits: LimitSettings::default(),
            statement_timeout: None,
            shutdown_timeout: Duration::from_secs(30),
            release_tick: None,
            oidc: None,
            answer_retention: None,
            four_eyes: false,
            min_cohort: default_min_cohort(),
            log_level: "info".to_owned(),
            demo: false,
            secret_key: None,
            access_token_expire: Duration::from_secs(30 * 60),
            store_file: None,
            enable_differential_privacy: true,
            privacy_epsilon: None,
        }
    }

    /// Reads the file, and the environment over it. Relative paths are relative to the file's folder.
    ///
    /// # Errors
    /// What is wrong, with the key or variable, and what to write instead.
    pub fn load(path: &Path) -> Result<Config> {
        Config::load_with(path, |name| std::env::var(name).ok())
    }

    /// As [`Config::load`], with the environment as a function.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(path: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Config> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(Sqlstate::IoError, format!("cannot read the configuration {}: {error}", path.display()))
                .hint("Make one with `kanon init --dir DIR --node-id ID`, or name another with --config FILE.")
        })?;
        let base = std::path::absolute(path)
            .ok()
            .and_then(|path| path.parent().map(Path::to_path_buf))
            .unwrap_or_else(|| PathBuf::from("."));
        Config::from_text(&text, &base, env).map_err(|error| {
            let message = format!("{}: {}", path.display(), error.message);
            Error { message, ..error }
        })
    }

    /// Reads a configuration from text. `base` is the folder that relative paths start from.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(text: &str, base: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Config> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            invalid(format!("not valid TOML: {}", error.message())).detail(error.to_string())
        })?;
        for name in table.keys() {
            if !KEYS.iter().any(|key| key.0 == name) {
                let error = invalid(format!("unknown key \"{name}\""));
                return Err(did_you_mean(error, name, KEYS.iter().map(|key| key.0)));
            }
        }
        for key in KEYS {
            let ours = format!("KANON_{}", key.0.to_uppercase());
            let found = env(&ours).map(|value| (ours, value)).or_else(|| {
                let seed = key.2?;
                env(seed).map(|value| (seed.to_owned(), value))
            });
            if let Some((variable, value)) = found {
                table.insert(key.0.to_owned(), from_variable(key.1, &variable, &value)?);
            }
        }
        // A whole number is as good as one with a point.
        if let Some(toml::Value::Integer(whole)) = table.get("privacy_epsilon") {
            let number = toml::Value::Float(*whole as f64);
            table.insert("privacy_epsilon".to_owned(), number);
        }
        let raw = Raw::deserialize(table)
            .map_err(|error: toml::de::Error| invalid(error.message().to_owned()).detail(error.to_string()))?;
        let config = Config::from_raw(raw, base)?;
        config.validate()?;
        Ok(config)
    }

    fn from_raw(raw: Raw, base: &Path) -> Result<Config> {
        let node_id = raw.node_id.ok_or_else(|| {
            invalid("node_id is not set").hint("It names this node's schema at its peers: node_id = \"zurich\".")
        })?;
        let under = |path: PathBuf| base.join(path);
        let dir = under(raw.dir.unwrap_or_default());
        let defaults = Config::new(node_id, dir);
        let store_file = match raw.database_url {
            None => None,
            Some(url) => Some(under(sqlite_file(&url)?)),
        };
        let count = |name: &str, value: Option<i64>, least: i64, default: usize| match value {
            None => Ok(default),
            Some(value) if value >= least => {
                usize::try_from(value).map_err(|_| invalid(format!("{name} is too large")))
            }
            Some(value) => Err(invalid(format!("{name} must be at least {least}, not {value}"))),
        };
        let at_least_one = |name: &str, value: Option<i64>| value.map(|_| count(name, value, 1, 1)).transpose();
        let memory_mb = count("max_memory_mb", raw.max_memory_mb, 64, defaults.memory_limit_bytes >> 20)?;
        Ok(Config {
            node_name: raw.node_name.unwrap_or(defaults.node_name),
            institution: raw.institution.unwrap_or_default(),
            pg_listen: listener("pg_listen", raw.pg_listen.as_deref(), 5432)?,
            flight_listen: listener("flight_listen", raw.flight_listen.as_deref(), 50051)?,
            http_listen: raw.http_listen.map(|text| listener("http_listen", Some(&text), 0)).transpose()?,
            pg_advertise: raw.pg_advertise.map(|text| endpoint("pg_advertise", text)).transpose()?,
            flight_advertise: raw.flight_advertise.map(|text| endpoint("flight_advertise", text)).transpose()?,
            http_advertise: raw.http_advertise.map(|text| endpoint("http_advertise", text)).transpose()?,
            tls_cert: raw.tls_cert.map(under),
            tls_key: raw.tls_key.map(under),
            client_ca: raw.client_ca.map(under),
            client_crl: raw.client_crl.map(under),
            require_tls: raw.require_tls.unwrap_or(false),
            trusted_nodes: raw.trusted_nodes.iter().map(|text| TrustedNode::parse(text)).collect::<Result<_>>()?,
            data_root: raw.data_root.map(under),
            work_dir: raw.work_dir.map_or(defaults.work_dir, under),
            memory_limit_bytes: memory_mb.saturating_mul(1 << 20),
            max_cpu_cores: match raw.max_cpu_cores {
                None => None,
                some => Some(count("max_cpu_cores", some, 1, 1)?),
            },
            max_connections: count("max_connections", raw.max_connections, 1, defaults.max_connections)?,
            limits: LimitSettings {
                statements_per_second: match count("max_statements_per_second", raw.max_statements_per_second, 0, 0)? {
                    0 => None,
                    rate => NonZeroU32::new(u32::try_from(rate).unwrap_or(u32::MAX)),
                },
                concurrent_statements: at_least_one("max_concurrent_statements", raw.max_concurrent_statements)?,
                sessions: at_least_one("max_sessions_per_role", raw.max_sessions_per_role)?,
                result_rows: at_least_one("max_result_rows", raw.max_result_rows)?.map(|rows| rows as u64),
                address_connections: at_least_one("max_connections_per_address", raw.max_connections_per_address)?,
                statement_bytes: match raw.max_memory_per_statement_mb {
                    None => None,
                    some => Some(count("max_memory_per_statement_mb", some, 64, 64)?.saturating_mul(1 << 20)),
                },
            },
            statement_timeout: match count("statement_timeout_seconds", raw.statement_timeout_seconds, 0, 0)? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds as u64)),
            },
            shutdown_timeout: Duration::from_secs(count("shutdown_seconds", raw.shutdown_seconds, 0, 30)? as u64),
            release_tick: match count("release_tick_ms", raw.release_tick_ms, 0, 0)? {
                0 => None,
                ms => Some(Duration::from_millis(ms as u64)),
            },
            oidc: OidcSettings::read(oidc::Written {
                issuer: raw.oidc_issuer,
                audience: raw.oidc_audience,
                jwks_url: raw.oidc_jwks_url,
                ca: raw.oidc_ca.map(under),
                name_claim: raw.oidc_name_claim,
                roles_claim: raw.oidc_roles_claim,
                roles: raw.oidc_roles,
            })?,
            answer_retention: at_least_one("answer_retention_days", raw.answer_retention_days)?
                .map(|days| Duration::from_secs((days as u64).saturating_mul(24 * 60 * 60))),
            four_eyes: raw.four_eyes.unwrap_or(defaults.four_eyes),
            min_cohort: match raw.min_cohort {
                None => defaults.min_cohort,
                Some(k) => MinCohort::try_from(k).map_err(|error| invalid(error.to_string()))?,
            },
            log_level: raw.log_level.unwrap_or(defaults.log_level),
            demo: raw.demo.unwrap_or(false),
            secret_key: raw.secret_key.map(Secret),
            access_token_expire: Duration::from_secs(
                (count("access_token_expire_minutes", raw.access_token_expire_minutes, 1, 30)? as u64)
                    .saturating_mul(60),
            ),
            store_file,
            enable_differential_privacy: raw.enable_differential_privacy.unwrap_or(true),
            privacy_epsilon: raw.privacy_epsilon,
            node_id: defaults.node_id,
            dir: defaults.dir,
        })
    }

    /// Checks what holds between keys. [`Config::load`] has done it.
    ///
    /// # Errors
    /// 22023 with the key and what to write.
    pub fn validate(&self) -> Result<()> {
        check_node_id(&self.node_id)?;
        let beyond_loopback = self.listens_beyond_loopback();
        if self.demo && beyond_loopback {
            return Err(invalid("a demo node listens on loopback only: its passwords are public")
                .hint("Make a node of your own with `kanon init`."));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(invalid("tls_cert and tls_key go together: one of them is not set"));
        }
        if self.client_crl.is_some() && self.client_ca.is_none() {
            return Err(invalid("client_crl is set and client_ca is not")
                .hint("client_ca names the authorities whose certificates clients may log in with."));
        }
        let files = [
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
            ("client_ca", &self.client_ca),
            ("client_crl", &self.client_crl),
        ];
        for (name, file) in files.into_iter().filter_map(|(name, file)| Some((name, file.as_ref()?))) {
            std::fs::File::open(file)
                .map_err(|error| invalid(format!("{name}: cannot read {}: {error}", file.display())))?;
        }
        if let Some(root) = &self.data_root
            && !root.is_dir()
        {
            return Err(invalid(format!("data_root: {} is not a folder", root.display())));
        }
        if !self.enable_differential_privacy {
            return Err(invalid("enable_differential_privacy cannot be off")
                .hint("What a table answers is set by its policy: ALTER TABLE … SET (access = 'cohort', …) answers without noise."));
        }
        if let Some(epsilon) = self.privacy_epsilon
            && !(epsilon.is_finite() && epsilon > 0.0)
        {
            return Err(invalid(format!("privacy_epsilon must be a positive number, not {epsilon}")));
        }
        Ok(())
    }

    /// Whether any listener can be reached from another machine.
    pub fn listens_beyond_loopback(&self) -> bool {
        [Some(self.pg_listen), Some(self.flight_listen), self.http_listen]
            .into_iter()
            .flatten()
            .any(|address| !address.ip().is_loopback())
    }

    /// Whether a client of this listener must use TLS.
    pub fn tls_required_on(&self, listener: SocketAddr) -> bool {
        self.require_tls || !listener.ip().is_loopback()
    }

    /// The certificate and the key for clients: those of the configuration, or the node's own self-signed ones in `dir`.
    pub fn tls_files(&self) -> (PathBuf, PathBuf) {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            _ => (self.dir.join("tls.crt"), self.dir.join("tls.key")),
        }
    }

    /// The store's file.
    pub fn store_path(&self) -> PathBuf {
        self.store_file.clone().unwrap_or_else(|| self.dir.join("kanon.db"))
    }
}

/// Checks a node id: 1 to 63 of `a-z`, `0-9`, `_` and `-`, a letter first, and none of the names of schemas.
///
/// # Errors
/// 22023 with what is wrong.
pub fn check_node_id(id: &str) -> Result<()> {
    let hint = "A node id is 1 to 63 lower-case letters, digits, _ and -, and begins with a letter.";
    if matches!(id, "public" | "kanon" | "federation" | "information_schema") || id.starts_with("pg_") {
        return Err(invalid(format!("node id \"{id}\" is the name of a schema of every node")).hint("Take another."));
    }
    let first = id.bytes().next();
    let fits = id.len() <= 63
        && first.is_some_and(|byte| byte.is_ascii_lowercase())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-');
    if fits { Ok(()) } else { Err(invalid(format!("\"{id}\" is not a node id")).hint(hint)) }
}

fn default_min_cohort() -> MinCohort {
    MinCohort::TEN
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Sqlstate::InvalidParameterValue, message)
}

fn from_variable(kind: Kind, variable: &str, value: &str) -> Result<toml::Value> {
    let value = value.trim();
    let wrong = |what: &str| invalid(format!("environment variable {variable} must be {what}, not \"{value}\""));
    Ok(match kind {
        Kind::Text => toml::Value::String(value.to_owned()),
        Kind::Integer => toml::Value::Integer(value.parse().map_err(|_| wrong("a whole number"))?),
        Kind::Number => toml::Value::Float(value.parse().map_err(|_| wrong("a number"))?),
        Kind::Bool => toml::Value::Boolean(match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" | "yes" => true,
            "0" | "false" | "off" | "no" => false,
            _ => return Err(wrong("true or false")),
        }),
        Kind::List => toml::Value::Array(
            value
                .trim_start_matches('[')
                .trim_end_matches(']')
                .split(',')
                .map(|item| item.trim().trim_matches('"').to_owned())
                .filter(|item| !item.is_empty())
                .map(toml::Value::String)
                .collect(),
        ),
    })
}

fn listener(name: &str, text: Option<&str>, default_port: u16) -> Result<SocketAddr> {
    match text {
        None => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), default_port)),
        Some(text) => {
            let text = text.replace("localhost:", "127.0.0.1:");
            text.parse().map_err(|_| {
                invalid(format!("{name} must be an address and a port, not \"{text}\""))
                    .hint("For example 127.0.0.1:5432, or 0.0.0.0:5432 for every interface.")
            })
        }
    }
}

fn endpoint(name: &str, text: String) -> Result<String> {
    let fits = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if fits { Ok(text) } else { Err(invalid(format!("{name} must be host:port, not \"{text}\""))) }
}

/// The file of a `sqlite:` URL. State in other databases is not built.
fn sqlite_file(url: &str) -> Result<PathBuf> {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).ok_or_else(|| {
        Error::unsupported("database_url: only sqlite: URLs are supported").hint("Leave it out to use dir/kanon.db.")
    })?;
    let path = path.split('?').next().unwrap_or_default();
    if path.is_empty() || path == ":memory:" {
        return Err(invalid("database_url names no file"));
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests;
