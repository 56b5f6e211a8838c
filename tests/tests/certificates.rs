//! Certificates: clients that log in with one, what ends that, and what listeners read again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use arrow_flight::Action;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use kanon_engine::federation::descriptor::DESCRIPTOR_ACTION;
use kanon_tests::client::{Client, ServerError};
use kanon_tests::flight::{FlightClient, of_status};
use kanon_tests::tools::{Said, program, run};
use kanon_tests::{ADMIN, ANALYST, Federation, Site, SiteSpec, signal};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// How soon what is taken away must have ended a session.
const SOON: Duration = Duration::from_secs(5);

/// An authority, as an institution has one.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as files.
struct Held {
    certificate: PathBuf,
    key: PathBuf,
}

/// What a certificate is to be.
struct Wanted {
    subject: Vec<(DnType, &'static str)>,
    names: Vec<SanType>,
    /// In seconds from now.
    valid: (i64, i64),
    serial: u64,
    usage: ExtendedKeyUsagePurpose,
    key: KeyPair,
}

impl Wanted {
    fn of(name: &'static str) -> Wanted {
        Wanted {
            subject: vec![(DnType::OrganizationName, "Clinic"), (DnType::CommonName, name)],
            names: Vec::new(),
            valid: (-3_600, 86_400),
            serial: 1,
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            key: KeyPair::generate().unwrap(),
        }
    }

    fn named(mut self, san: SanType) -> Wanted {
        self.subject.clear();
        self.names.push(san);
        self
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (attribute, value) in &self.subject {
            params.distinguished_name.push(attribute.clone(), *value);
        }
        params.subject_alt_names = self.names.clone();
        let epoch = date_time_ymd(1970, 1, 1);
        (params.not_before, params.not_after) = (epoch + from_now(self.valid.0), epoch + from_now(self.valid.1));
        params.serial_number = Some(SerialNumber::from(self.serial));
        params.extended_key_usages = vec![self.usage.clone()];
        params
    }

    fn self_signed(self, folder: &Path, file: &str) -> Held {
        let pem = self.params().self_signed(&self.key).unwrap().pem();
        held(folder, file, &pem, &self.key)
    }
}

/// So many seconds from now, since 1970.
fn from_now(seconds: i64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    Duration::from_secs(now.checked_add_signed(seconds).unwrap())
}

fn held(folder: &Path, file: &str, pem: &str, key: &KeyPair) -> Held {
    let held = Held { certificate: folder.join(format!("{file}.crt")), key: folder.join(format!("{file}.key")) };
    std::fs::write(&held.certificate, pem).unwrap();
    std::fs::write(&held.key, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&held.key, std::fs::Permissions::from_mode(0o600)).unwrap();
    held
}

fn san(kind: fn(Ia5String) -> SanType, text: &str) -> SanType {
    kind(Ia5String::try_from(text).unwrap())
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, wanted: Wanted, folder: &Path, file: &str) -> Held {
        let certificate = wanted.params().signed_by(&wanted.key, &self.0).unwrap();
        held(folder, file, &certificate.pem(), &wanted.key)
    }

    fn crl(&self, revoked: &[u64], valid: (i64, i64)) -> String {
        let epoch = date_time_ymd(1970, 1, 1);
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: epoch + from_now(-60),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: epoch + from_now(valid.0),
            next_update: epoch + from_now(valid.1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// A node with an authority's certificates: its own for clients, and those that it takes.
struct Hospital {
    federation: Federation,
    authority: Authority,
    /// Where clients have their files.
    folder: TempDir,
}

impl Hospital {
    async fn start(ids: &[&'static str], more: &str) -> Hospital {
        let authority = Authority::new("Clinic CA");
        let folder = TempDir::new().unwrap();
        let (certificate, key) = server(&authority, folder.path(), "server");
        let specs = ids.iter().map(|id| SiteSpec {
            id,
            setup: Vec::new(),
            files: vec![
                ("ca.pem".to_owned(), authority.pem().into_bytes()),
                ("ca.crl".to_owned(), authority.crl(&[], (-60, 3_600)).into_bytes()),
                ("server.crt".to_owned(), certificate.clone()),
                ("server.key".to_owned(), key.clone()),
            ],
        });
        let lines =
            "tls_cert = \"server.crt\"\ntls_key = \"server.key\"\nclient_ca = \"ca.pem\"\nclient_crl = \"ca.crl\"";
        let federation = Federation::configured(specs.collect(), &format!("{lines}\n{more}")).await;
        federation.grant_all(&[]).await;
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Hospital { federation, authority, folder }
    }

    fn site(&self) -> &Site {
        &self.federation.sites[0]
    }

    fn issue(&self, wanted: Wanted, file: &str) -> Held {
        self.authority.issue(wanted, self.folder.path(), file)
    }

    async fn admin(&self, sql: &str) {
        self.site().connect(ADMIN).await.unwrap().ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    async fn map(&self, role: &str, name: &str) {
        self.admin(&format!("ALTER ROLE {role} SET kanon.certificate = '{name}'")).await;
    }

    /// What psql says with a certificate and without a password; it checks the node's certificate too.
    async fn psql(&self, held: &Held, role: &str, more: &str, sql: &str) -> Said {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let (certificate, key, port) = (text(&held.certificate), text(&held.key), self.site().pg_port.to_string());
        let authority = text(&self.folder.path().join("ca.pem"));
        let env = [
            ("PGHOST", "localhost"),
            ("PGPORT", port.as_str()),
            ("PGDATABASE", "kanon"),
            ("PGUSER", role),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", authority.as_str()),
            ("PGSSLCERT", certificate.as_str()),
            ("PGSSLKEY", key.as_str()),
            ("LC_ALL", "C.UTF-8"),
        ];
        let psql = program("psql").expect("psql");
        run(&psql, &["-X", "-w", "-At", "-d", more, "-c", sql], &env, "").await
    }

    async fn who(&self, held: &Held, role: &str) -> String {
        let sql = "SELECT current_user, auth_method FROM kanon.whoami()";
        self.psql(held, role, "", sql).await.text().trim().to_owned()
    }

    async fn flight(&self, held: Option<&Held>) -> Result<FlightClient, tonic::transport::Error> {
        Ok(FlightClient { inner: FlightSqlServiceClient::new(self.channel(held).await?) })
    }

    async fn channel(&self, held: Option<&Held>) -> Result<Channel, tonic::transport::Error> {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.authority.pem())).domain_name("localhost");
        if let Some(held) = held {
            let read = |path: &Path| std::fs::read(path).unwrap();
            tls = tls.identity(Identity::from_pem(read(&held.certificate), read(&held.key)));
        }
        let address = format!("https://127.0.0.1:{}", self.site().flight_port);
        Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await
    }

    /// That a certificate is refused by both listeners before anything is said.
    async fn no_handshake(&self, held: &Held, role: &str) {
        let said = self.psql(held, role, "", "SELECT 1").await;
        assert!(!said.ended_well && !said.text().contains("password"), "{}", said.text());
        assert_eq!(self.flight_fails(held).await.code, "-");
    }

    /// The error of the first call on a connection with a certificate.
    async fn flight_fails(&self, held: &Held) -> ServerError {
        match self.flight(Some(held)).await {
            Ok(mut client) => client.ask("SELECT 1").await.expect_err("a refusal"),
            Err(error) => ServerError { code: "-".into(), message: format!("{error:?}"), detail: None, hint: None },
        }
    }

    /// Has the node read its files again, and waits until it has.
    async fn hang_up(&self) -> String {
        let before = self.site().log().len();
        signal(self.site().pid(), "HUP");
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let log = self.site().log()[before..].to_owned();
            if log.contains("revocation lists were read again") || log.contains("stays in force") {
                return log;
            }
            assert!(Instant::now() < until, "{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.site().dir.join(file), content).unwrap();
    }
}

/// A certificate for a node, and its key.
fn server(authority: &Authority, folder: &Path, file: &str) -> (Vec<u8>, Vec<u8>) {
    let mut wanted = Wanted::of("node").named(san(SanType::DnsName, "localhost"));
    wanted.usage = ExtendedKeyUsagePurpose::ServerAuth;
    let held = authority.issue(wanted, folder, file);
    (std::fs::read(held.certificate).unwrap(), std::fs::read(held.key).unwrap())
}

/// An Ed25519 key as OpenSSL 3.0 reads it, which knows PKCS #8 of version 1 only; also written to the file.
async fn rewritten(file: &Path, key: &KeyPair) -> String {
    const PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let second_version = key.serialize_der();
    std::fs::write(file, [&PREFIX[..], &second_version[16..48]].concat()).unwrap();
    let openssl = program("openssl").expect("openssl");
    let said = run(&openssl, &["pkey", "-inform", "DER", "-in", &file.to_string_lossy()], &[], "").await;
    assert!(said.ended_well, "{}", said.text());
    std::fs::write(file, said.text()).unwrap();
    said.text()
}

/// A session of psql that goes on until its certificate no longer stands; gives how long it went on.
async fn lasts(hospital: &Hospital, held: &Held, role: &str) -> (Duration, String) {
    let began = Instant::now();
    let said = hospital.psql(held, role, "", "SELECT pg_sleep(60)").await;
    (began.elapsed(), said.text())
}

async fn flight_ends(client: &mut FlightClient) {
    let until = Instant::now() + SOON;
    while client.ask("SELECT 1").await.is_ok() {
        assert!(Instant::now() < until, "a session goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_opens_the_role_that_it_is_mapped_to() {
    let hospital = Hospital::start(&["clinic"], "").await;
    let ana = ANALYST.0;
    let alice = hospital.issue(Wanted::of("alice"), "alice");
    // Nobody's: as anybody.
    let said = hospital.psql(&alice, ana, "", "SELECT 1").await;
    assert!(!said.ended_well && said.text().contains("no password supplied"), "{}", said.text());
    assert_eq!(hospital.flight_fails(&alice).await.code, "28000");

    hospital.map(ana, "CN=alice, O=Clinic").await;
    assert_eq!(hospital.who(&alice, ana).await, format!("{ana}|certificate"));
    let mut flight = hospital.flight(Some(&alice)).await.unwrap();
    flight.ask("SET search_path = kanon").await.unwrap();
    assert_eq!(flight.ask("SELECT auth_method FROM kanon.whoami()").await.unwrap(), ["certificate"]);
    assert_eq!(flight.ask("SHOW search_path").await.unwrap(), ["kanon"], "a session for a connection");
    let mut other = hospital.flight(Some(&alice)).await.unwrap();
    assert_ne!(other.ask("SHOW search_path").await.unwrap(), ["kanon"], "and for no other");
    // Another role is not opened by it, whether it is mapped or not: there the password is asked for.
    hospital.admin("CREATE ROLE eve LOGIN PASSWORD 'eve''s password'").await;
    for role in ["eve", ADMIN.0, "nobody"] {
        let said = hospital.psql(&alice, role, "", "SELECT 1").await;
        assert!(!said.ended_well && said.text().contains("no password supplied"), "{role}: {}", said.text());
        let said = hospital.psql(&alice, role, "password=wrong", "SELECT 1").await;
        let text = format!("password authentication failed for user \"{role}\"");
        assert!(said.text().contains(&text), "{}", said.text());
    }
    let said = hospital.psql(&alice, "eve", "password='eve\\'s password'", "SELECT current_user").await;
    assert_eq!(said.text().trim(), "eve", "the password still does");
    // A header wins.
    let mut flight = hospital.flight(Some(&alice)).await.unwrap();
    flight.inner.handshake("eve", "eve's password").await.unwrap();
    assert_eq!(flight.ask("SELECT current_user").await.unwrap(), ["eve"]);
    flight.inner.set_token("kanon_wrong".to_owned());
    assert_eq!(flight.ask("SELECT current_user").await.unwrap_err().code, "28000");
    assert!(hospital.flight(None).await.unwrap().ask("SELECT 1").await.unwrap_err().code == "28000");

    // One name, one role.
    let admin = hospital.site().connect(ADMIN).await.unwrap();
    let again = "ALTER ROLE eve SET kanon.certificate = 'CN=alice,O=Clinic'";
    assert_eq!(admin.ask(again).await.unwrap_err().code, "42710");
    for wrong in ["alice", "CN=", "dns:*.clinic.example", "email:a b", "ip:10.0.0.1"] {
        let sql = format!("ALTER ROLE eve SET kanon.certificate = '{wrong}'");
        assert_eq!(admin.ask(&sql).await.unwrap_err().code, "22023", "{sql}");
    }
    // By names of other kinds, and only as they are.
    for (name, entry) in [
        ("email:eve@clinic.example", san(SanType::Rfc822Name, "eve@clinic.example")),
        ("dns:etl.clinic.example", san(SanType::DnsName, "etl.clinic.example")),
        ("uri:spiffe://clinic/etl", san(SanType::URI, "spiffe://clinic/etl")),
    ] {
        let eve = hospital.issue(Wanted::of("").named(entry), "eve");
        assert_ne!(hospital.who(&eve, "eve").await, "eve|certificate");
        hospital.map("eve", name).await;
        assert_eq!(hospital.who(&eve, "eve").await, "eve|certificate", "{name}");
        assert_eq!(hospital.flight(Some(&eve)).await.unwrap().ask("SELECT current_user").await.unwrap(), ["eve"]);
    }
    for near in ["*.clinic.example", "etl.clinic.example.", "ETL.clinic.example"] {
        hospital.map("eve", "dns:etl.clinic.example").await;
        let held = hospital.issue(Wanted::of("").named(san(SanType::DnsName, near)), "near");
        assert_ne!(hospital.who(&held, "eve").await, "eve|certificate", "{near}");
    }
    // Of two roles, only who is asked for.
    let mut both = Wanted::of("alice");
    both.names.push(san(SanType::DnsName, "etl.clinic.example"));
    let both = hospital.issue(both, "both");
    assert_eq!(hospital.who(&both, "eve").await, "eve|certificate");
    assert_eq!(hospital.who(&both, ana).await, format!("{ana}|certificate"));
    assert_eq!(hospital.flight_fails(&both).await.code, "28000");

    // What is seen and what is written down.
    let seen = admin.ask("SELECT role, certificate FROM kanon.certificates ORDER BY 1").await.unwrap().lines();
    assert_eq!(seen, [format!("{ana}|CN=alice,O=Clinic"), "eve|dns:etl.clinic.example".to_owned()]);
    let own = hospital.psql(&alice, ana, "", "SELECT certificate FROM kanon.certificates").await;
    assert_eq!(own.text().trim(), "CN=alice,O=Clinic");
    let log = admin.ask("SELECT action, object FROM kanon.audit_log").await.unwrap().lines().join("\n");
    assert!(log.contains("login") && log.contains("certificate CN=alice,O=Clinic"), "{log}");
    // A certificate makes nothing that outlives it.
    hospital.admin(&format!("GRANT admin TO {ana}")).await;
    for sql in [
        "SELECT kanon.create_api_key('mine')",
        "SELECT kanon.create_token('1 hour')",
        "ALTER ROLE eve PASSWORD 'mine now'",
        "ALTER ROLE eve SET kanon.certificate = 'CN=mallory'",
    ] {
        let said = hospital.psql(&alice, ana, "", sql).await;
        assert!(said.text().contains("opened with a key, token or certificate"), "{sql}: {}", said.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_good_opens_nothing() {
    let hospital = Hospital::start(&["clinic"], "").await;
    let ana = ANALYST.0;
    hospital.map(ana, "CN=alice,O=Clinic").await;
    let good = hospital.issue(Wanted::of("alice"), "good");
    assert_eq!(hospital.who(&good, ana).await, format!("{ana}|certificate"));
    let folder = hospital.folder.path();
    let wrong_authority = Authority::new("Clinic CA").issue(Wanted::of("alice"), folder, "wrong");
    let self_signed = Wanted::of("alice").self_signed(folder, "self");
    let expired = hospital.issue(Wanted { valid: (-7_200, -3_600), ..Wanted::of("alice") }, "expired");
    let early = hospital.issue(Wanted { valid: (3_600, 7_200), ..Wanted::of("alice") }, "early");
    let servers =
        hospital.issue(Wanted { usage: ExtendedKeyUsagePurpose::ServerAuth, ..Wanted::of("alice") }, "servers");
    for held in [&wrong_authority, &self_signed, &expired, &early, &servers] {
        hospital.no_handshake(held, ana).await;
    }
    // Another subject is somebody else, however alike.
    for subject in [
        vec![(DnType::CommonName, "alice")],
        vec![(DnType::OrganizationName, "Clinic"), (DnType::CommonName, "Alice")],
        vec![(DnType::CommonName, "alice"), (DnType::OrganizationName, "Clinic")],
        vec![(DnType::OrganizationName, "Clinic"), (DnType::CommonName, "alice,O=Clinic")],
        vec![(DnType::CommonName, "alice,O=Clinic")],
    ] {
        let other = hospital.issue(Wanted { subject, ..Wanted::of("alice") }, "other");
        let said = hospital.psql(&other, ana, "", "SELECT 1").await;
        assert!(said.text().contains("no password supplied"), "{}", said.text());
        assert_eq!(hospital.flight_fails(&other).await.code, "28000");
    }
    // Roles that may not log in are not opened.
    hospital.admin(&format!("ALTER ROLE {ana} NOLOGIN")).await;
    assert!(!hospital.psql(&good, ana, "", "SELECT 1").await.ended_well);
    assert_eq!(hospital.flight_fails(&good).await.code, "28000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_no_person_and_a_person_no_peer() {
    let hospital = Hospital::start(&["clinic", "lab"], "").await;
    let (ana, lab) = (ANALYST.0, &hospital.federation.sites[1]);
    hospital.map(ana, "CN=alice,O=Clinic").await;
    // The peer's own certificate.
    let key = || KeyPair::from_pem(&std::fs::read_to_string(lab.dir.join("node.key")).unwrap()).unwrap();
    let pem = std::fs::read_to_string(lab.dir.join("node.crt")).unwrap();
    let peer = held(hospital.folder.path(), "peer", &pem, &key());
    let known_to_openssl = rewritten(&peer.key, &key()).await;
    let said = hospital.psql(&peer, ana, "", "SELECT 1").await;
    assert!(!said.ended_well && said.text().contains("SSL"), "{}", said.text());
    assert_eq!(hospital.flight_fails(&peer).await.code, "28000");
    // Even if the authority says that its key is Alice's.
    let both = hospital.issue(Wanted { key: key(), ..Wanted::of("alice") }, "both");
    std::fs::write(&both.key, &known_to_openssl).unwrap();
    let said = hospital.psql(&both, ana, "", "SELECT 1").await;
    assert!(said.text().contains("no password supplied"), "{}", said.text());
    assert_eq!(hospital.flight_fails(&both).await.code, "28000");

    // A person with a key of the kind that peers have.
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let known_to_openssl = rewritten(&hospital.folder.path().join("ed25519"), &key).await;
    let alice = hospital.issue(Wanted { key, ..Wanted::of("alice") }, "alice");
    std::fs::write(&alice.key, &known_to_openssl).unwrap();
    assert_eq!(hospital.who(&alice, ana).await, format!("{ana}|certificate"));
    let mut flight = hospital.flight(Some(&alice)).await.unwrap();
    assert_eq!(flight.ask("SELECT current_user").await.unwrap(), [ana]);
    let mut client = FlightServiceClient::new(hospital.channel(Some(&alice)).await.unwrap());
    let asked = Action { r#type: DESCRIPTOR_ACTION.to_owned(), body: Default::default() };
    let error = of_status(&client.do_action(asked).await.unwrap_err());
    assert_eq!(error.code, "28000");
    assert_eq!(error.message, "the connection is not that of a trusted node");
    hospital.federation.wait_for_peers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_what_opened_it() {
    let hospital = Hospital::start(&["clinic"], "").await;
    let ana = ANALYST.0;
    hospital.map(ana, "CN=alice,O=Clinic").await;
    let alice = hospital.issue(Wanted { serial: 7, ..Wanted::of("alice") }, "alice");
    let wait = || tokio::time::sleep(Duration::from_secs(2));

    // The mapping.
    let mut flight = hospital.flight(Some(&alice)).await.unwrap();
    flight.ask("SELECT 1").await.unwrap();
    let unmap = async {
        wait().await;
        hospital.admin(&format!("ALTER ROLE {ana} RESET kanon.certificate")).await;
    };
    let ((lasted, said), ()) = tokio::join!(lasts(&hospital, &alice, ana), unmap);
    assert!(lasted < Duration::from_secs(2) + SOON, "{lasted:?}: {said}");
    assert!(said.contains("terminating connection due to administrator command"), "{said}");
    flight_ends(&mut flight).await;

    // The certificate's time.
    hospital.map(ana, "CN=alice,O=Clinic").await;
    let short = hospital.issue(Wanted { valid: (-60, 8), ..Wanted::of("alice") }, "short");
    let mut flight = hospital.flight(Some(&short)).await.unwrap();
    flight.ask("SELECT 1").await.unwrap();
    let (lasted, said) = lasts(&hospital, &short, ana).await;
    assert!(lasted < Duration::from_secs(8) + SOON, "{lasted:?}: {said}");
    assert!(said.contains("terminating connection"), "{said}");
    flight_ends(&mut flight).await;

    // Its revocation. Who is in by password stays.
    let by_password = hospital.site().connect(ANALYST).await.unwrap();
    let mut flight = hospital.flight(Some(&alice)).await.unwrap();
    flight.ask("SELECT 1").await.unwrap();
    let revoke = async {
        wait().await;
        hospital.write("ca.crl", hospital.authority.crl(&[7], (-60, 3_600)));
        hospital.hang_up().await;
    };
    let ((lasted, said), ()) = tokio::join!(lasts(&hospital, &alice, ana), revoke);
    assert!(lasted < Duration::from_secs(2) + SOON, "{lasted:?}: {said}");
    assert!(said.contains("terminating connection"), "{said}");
    flight_ends(&mut flight).await;
    hospital.no_handshake(&alice, ana).await;
    let other = hospital.issue(Wanted { serial: 8, ..Wanted::of("alice") }, "other");
    assert_eq!(hospital.who(&other, ana).await, format!("{ana}|certificate"));
    assert_eq!(by_password.ask("SELECT 1").await.unwrap().lines(), ["1"]);

    // A list whose next one did not come, and one of another authority: nobody is known not to be on it.
    for list in [hospital.authority.crl(&[7], (-7_200, -3_600)), Authority::new("Other CA").crl(&[], (-60, 3_600))] {
        hospital.write("ca.crl", list);
        hospital.hang_up().await;
        hospital.no_handshake(&other, ana).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_listeners_show_and_take_is_read_again() {
    let hospital = Hospital::start(&["clinic"], "").await;
    let ana = ANALYST.0;
    hospital.map(ana, "CN=alice,O=Clinic").await;
    let alice = hospital.issue(Wanted::of("alice"), "alice");
    let before: Client = hospital.site().connect(ADMIN).await.unwrap();
    let mut flight = hospital.flight(Some(&alice)).await.unwrap();
    flight.ask("SELECT 1").await.unwrap();

    // Another certificate, of another authority: only new connections see it, with what binds passwords to it.
    let second = Authority::new("Second CA");
    let (certificate, key) = server(&second, hospital.folder.path(), "second");
    hospital.write("server.crt", &certificate);
    hospital.write("server.key", &key);
    let log = hospital.hang_up().await;
    assert!(log.contains("certificates, authorities and revocation lists were read again"), "{log}");
    let said = hospital.psql(&alice, ana, "", "SELECT 1").await;
    assert!(said.text().contains("certificate verify failed"), "{}", said.text());
    assert!(hospital.flight(None).await.is_err());
    std::fs::write(hospital.folder.path().join("ca.pem"), second.pem()).unwrap();
    assert_eq!(hospital.who(&alice, ana).await, format!("{ana}|certificate"));
    let bound = format!("password='{}' channel_binding=require", ADMIN.1.replace('\'', "\\'"));
    let said = hospital.psql(&alice, ADMIN.0, &bound, "SELECT 'bound'").await;
    assert_eq!(said.text().trim(), "bound");
    assert_eq!(before.ask("SELECT 1").await.unwrap().lines(), ["1"], "who is connected goes on");
    flight.ask("SELECT 1").await.unwrap();

    // What cannot be used changes nothing, and is said.
    for (file, content) in [
        ("server.crt", "not a certificate"),
        ("server.key", "not a key"),
        ("ca.pem", ""),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("ca.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
        ("ca.crl", ""),
    ] {
        let path = hospital.site().dir.join(file);
        let good = std::fs::read(&path).unwrap();
        hospital.write(file, content);
        let log = hospital.hang_up().await;
        assert!(log.contains("ERROR") && log.contains("stays in force"), "{file}: {log}");
        assert_eq!(hospital.who(&alice, ana).await, format!("{ana}|certificate"), "{file}");
        hospital.write(file, good);
    }
    std::fs::remove_file(hospital.site().dir.join("server.crt")).unwrap();
    let log = hospital.hang_up().await;
    assert!(log.contains("ERROR") && log.contains("server.crt"), "{log}");
    assert_eq!(hospital.who(&alice, ana).await, format!("{ana}|certificate"));
    hospital.write("server.crt", &certificate);

    // Authorities that are no longer trusted.
    hospital.write("ca.pem", second.pem());
    hospital.write("ca.crl", second.crl(&[], (-60, 3_600)));
    hospital.hang_up().await;
    flight_ends(&mut flight).await;
    let said = hospital.psql(&alice, ana, "", "SELECT 1").await;
    assert!(!said.ended_well && !said.text().contains("password"), "{}", said.text());
    let held = second.issue(Wanted::of("alice"), hospital.folder.path(), "new");
    assert_eq!(hospital.who(&held, ana).await, format!("{ana}|certificate"));
}
