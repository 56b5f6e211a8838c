//! SCRAM-SHA-256 from stored verifiers; over TLS also SCRAM-SHA-256-PLUS, which ties the proof to the certificate that the client
//! saw, so that nobody in between can pass it on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, Bytes};
use kanon_engine::error::{Error, Result, Sqlstate};
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};
use pgwire::error::PgWireError;
use pgwire::messages::startup::Authentication;
use rustls::pki_types::CertificateDer;

use crate::error::put;
use crate::message::{Frontend, next_frame, utf8};
use crate::running::Stop;
use crate::wire::Wire;

const PLAIN: &str = "SCRAM-SHA-256";
const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// How a password can be proved on a connection.
#[derive(Debug, Clone, Default)]
pub struct Mechanisms {
    server: ScramServerAuth,
}

impl Mechanisms {
    /// Those of a connection over TLS that showed this certificate. Channel binding needs one whose signature names a hash
    /// (RFC 5929, section 4.1): with an Ed25519 certificate there is only SCRAM-SHA-256.
    pub fn bound_to(certificate: &CertificateDer<'_>) -> Mechanisms {
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            BASE64.encode(certificate.as_ref())
        );
        let mut server = ScramServerAuth::new();
        if server.configure_certificate(pem.as_bytes()).is_err() {
            tracing::info!("the certificate for clients cannot be used for channel binding");
            server = ScramServerAuth::new();
        }
        Mechanisms { server }
    }

    /// Their names, the best first.
    fn names(&self) -> &'static [&'static str] {
        if self.server.supports_channel_binding() { &[PLUS, PLAIN] } else { &[PLAIN] }
    }
}

/// Reads a stored verifier, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
fn secret_of(verifier: &str) -> Result<ScramSecret> {
    let parse = || {
        let (iterations, rest) = verifier.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        Some(ScramSecret::Verifier {
            salt: BASE64.decode(salt).ok()?,
            iterations: iterations.parse().ok()?,
            stored_key: BASE64.decode(stored_key).ok()?,
            server_key: BASE64.decode(server_key).ok()?,
        })
    };
    parse().ok_or_else(|| Error::internal("a stored verifier cannot be read"))
}

/// What the client's proof showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It knows the password.
    Right,
    /// It does not.
    Wrong,
}

/// Asks the client to prove that it knows the password behind a verifier. The last message of the exchange is appended, not yet
/// sent.
///
/// # Errors
/// 08P01 for messages that cannot be.
pub async fn exchange(wire: &mut Wire, verifier: &str, mechanisms: &Mechanisms) -> Result<Proof, Stop> {
    let secret = secret_of(verifier).map_err(Stop::Fatal)?;
    let names = mechanisms.names();
    send(wire, &Authentication::SASL(names.iter().map(|name| (*name).to_owned()).collect())).await?;
    let first = client_first(password_message(wire).await?, names).map_err(Stop::Fatal)?;
    let (challenge, waiting) = match mechanisms.server.on_client_first_message_with_secret(&first, secret) {
        Ok(answered) => answered,
        Err(_) => return Err(Stop::Fatal(malformed())),
    };
    send(wire, &Authentication::SASLContinue(challenge.into())).await?;
    let last = password_message(wire).await?;
    match waiting.on_client_final_message(&last) {
        Ok(signature) => {
            put(&Authentication::SASLFinal(signature.into()), &mut wire.writer.buffer)?;
            Ok(Proof::Right)
        }
        Err(PgWireError::InvalidPassword(_)) => Ok(Proof::Wrong),
        Err(_) => Err(Stop::Fatal(malformed())),
    }
}

fn malformed() -> Error {
    Error::new(Sqlstate::ProtocolViolation, "malformed SCRAM message")
}

/// The mechanism's own part of a SASLInitialResponse.
fn client_first(mut body: Bytes, offered: &[&str]) -> Result<Bytes> {
    let end = body.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
    let mechanism = body.split_to(end);
    let mechanism = utf8(&mechanism)?;
    if !offered.contains(&mechanism) {
        return Err(Error::new(
            Sqlstate::ProtocolViolation,
            "client selected an invalid SASL authentication mechanism",
        ));
    }
    body.advance(1);
    let layout = |message| Error::new(Sqlstate::ProtocolViolation, message);
    let length = body.try_get_u32().map_err(|_| malformed())? as usize;
    if length != u32::MAX as usize && length > body.len() {
        return Err(layout("insufficient data left in message"));
    }
    if length < body.len() {
        return Err(layout("invalid message format"));
    }
    // Whether it binds the channel must be what its mechanism says.
    if length != body.len() || body.starts_with(b"p=") != (mechanism == PLUS) {
        return Err(malformed());
    }
    Ok(body)
}

/// The password that the client sends as it is, asked for as a token or API key: those are as long as a message lets them be.
///
/// # Errors
/// 08P01 for messages that cannot be.
pub async fn cleartext(wire: &mut Wire) -> Result<String, Stop> {
    send(wire, &Authentication::CleartextPassword).await?;
    let message = password_message(wire).await?;
    let text = message.strip_suffix(&[0]).filter(|text| !text.contains(&0));
    let text =
        text.ok_or_else(|| Stop::Fatal(Error::new(Sqlstate::ProtocolViolation, "invalid password packet size")))?;
    Ok(utf8(text).map_err(Stop::Fatal)?.to_owned())
}

async fn password_message(wire: &mut Wire) -> Result<Bytes, Stop> {
    loop {
        if let Some(frame) = next_frame(&mut wire.reader.buffer, false).map_err(Stop::Fatal)? {
            return match frame.read().map_err(Stop::Fatal)? {
                Frontend::Password(body) => Ok(body),
                _ => Err(Stop::Fatal(malformed())),
            };
        }
        wire.reader.fill().await?;
    }
}

async fn send(wire: &mut Wire, message: &Authentication) -> Result<(), Stop> {
    put(message, &mut wire.writer.buffer)?;
    Ok(wire.writer.flush().await?)
}
