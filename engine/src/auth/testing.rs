//! An issuer of tokens on this machine, for tests: of this crate, and of whole nodes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A key of the issuer.
pub struct Key {
    /// Signs.
    pub signs: EncodingKey,
    /// As it is listed.
    pub public: String,
}

/// An issuer that answers over HTTP until it is dropped.
pub struct Issuer {
    /// What its tokens name it.
    pub url: String,
    /// Its key for ES256, `curve`.
    pub curve: Key,
    rsa: Key,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Issuer {
    /// Starts one on a free port.
    pub async fn start() -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
        let serving = tokio::spawn(serve(listener, url.clone(), Arc::clone(&answer), Arc::clone(&asked)));
        let issuer = Issuer { url, curve: curve(), rsa: rsa(), answer, asked, serving };
        issuer.answer_with(issuer.keys(&["curve", "rsa"]));
        issuer
    }

    /// What a token says that is issued at a second of Unix time, for ten minutes.
    pub fn claims(&self, name: &str, roles: &[&str], now: i64) -> Value {
        json!({
            "iss": self.url, "aud": "kanon", "sub": format!("subject of {name}"), "iat": now, "exp": now + 600,
            "preferred_username": name, "realm_access": {"roles": roles}, "azp": "grafana",
        })
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        sign(Algorithm::ES256, "curve", claims, &self.curve.signs)
    }

    /// The same, with RS256.
    pub fn token_by_rsa(&self, claims: &Value) -> String {
        sign(Algorithm::RS256, "rsa", claims, &self.rsa.signs)
    }

    /// Its list of these keys.
    pub fn keys(&self, names: &[&str]) -> String {
        let key = |name: &&str| if *name == "rsa" { self.rsa.public.clone() } else { self.curve.public.clone() };
        format!(r#"{{"keys":[{}]}}"#, names.iter().map(key).collect::<Vec<_>>().join(","))
    }

    /// It answers this from now on where its keys are asked for.
    pub fn answer_with(&self, keys: String) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn sign(algorithm: Algorithm, kid: &str, claims: &Value, key: &EncodingKey) -> String {
    let mut header = Header::new(algorithm);
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

fn curve() -> Key {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let point = key.public_key_raw();
    let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(&point[1..33]), BASE64_URL_SAFE_NO_PAD.encode(&point[33..]));
    Key {
        signs: EncodingKey::from_ec_der(key.serialized_der()),
        public: json!({"kty": "EC", "crv": "P-256", "kid": "curve", "use": "sig", "alg": "ES256", "x": x, "y": y})
            .to_string(),
    }
}

/// Of openssl: nothing else here makes keys for RSA.
fn rsa() -> Key {
    let run = |arguments: &[&str], input: &[u8]| {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is needed for a key for RSA");
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    let pem = run(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], b"");
    let modulus = String::from_utf8(run(&["rsa", "-noout", "-modulus"], &pem)).unwrap();
    let digits = modulus.trim().strip_prefix("Modulus=").unwrap();
    let bytes: Vec<u8> =
        (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect();
    let n = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    Key {
        signs: EncodingKey::from_rsa_pem(&pem).unwrap(),
        public: json!({"kty": "RSA", "kid": "rsa", "n": n, "e": "AQAB"}).to_string(),
    }
}

async fn serve(listener: TcpListener, url: String, answer: Arc<Mutex<String>>, asked: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (url, answer, asked) = (url.clone(), Arc::clone(&answer), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut part = [0; 1024];
                match stream.read(&mut part).await {
                    Ok(read) if read > 0 => request.extend_from_slice(&part[..read]),
                    _ => return,
                }
            }
            let body = if request.starts_with(b"GET /.well-known/openid-configuration ") {
                json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string()
            } else {
                asked.fetch_add(1, Ordering::SeqCst);
                answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        });
    }
}
