//! From an accepted socket to a session: encryption, start-up packet, password, first settings.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use kanon_engine::auth::{TOKEN_USER, password_failed};
use kanon_engine::error::{Error, Sqlstate};
use kanon_engine::limits::Place;
use kanon_engine::principal::Principal;
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::cancel::{Cancelable, Registered};
use crate::connection::Connection;
use crate::desk::Desk;
use crate::error::{Severity, put, put_error};
use crate::message::{Opening, next_opening};
use crate::running::Stop;
use crate::scram::{Proof, cleartext, exchange};
use crate::server::Server;
use crate::tls::Encryption;
use crate::wire::{Gone, Io, Wire};

/// The one database of a node.
pub const DATABASE: &str = "kanon";

/// A client that is logged in, and what it holds until it leaves.
pub struct LoggedIn {
    /// To be served.
    pub connection: Connection,
    /// Its place among the connections.
    pub permit: OwnedSemaphorePermit,
    /// Its place in the registry.
    pub registered: Registered,
    /// Its place among the connections of its address.
    pub place: Place,
}

/// Brings a socket to a session; `None` if it was for something else, or failed: then the client was told, unless it said nothing
/// for as long as `patience`.
pub async fn start(tcp: TcpStream, from: SocketAddr, patience: Duration, server: &Arc<Server>) -> Option<LoggedIn> {
    // One too many is told so where it says what it wants: to cancel a statement is not too much.
    let place = server.house.admit(from.ip());
    let (mut wire, parameters, encryption) = match tokio::time::timeout(patience, open(tcp, server)).await {
        Ok(Ok(Some(opened))) => opened,
        Ok(Ok(None) | Err(Gone)) | Err(_) => return None,
    };
    let logged_in = match place {
        Ok(place) => log_in(&mut wire, parameters, encryption, from, server).await.map(|session| (session, place)),
        Err(error) => Err(Stop::Fatal(error)),
    };
    let stop = match logged_in {
        Ok(((desk, cancelable, permit, registered), place)) => {
            let connection = Connection::new(wire, desk, cancelable, server.clone());
            return Some(LoggedIn { connection, permit, registered, place });
        }
        Err(stop) => stop,
    };
    if let Stop::Fatal(error) | Stop::Error(error) = stop {
        tracing::info!(%from, code = error.state.code(), "connection refused: {}", error.message);
        if put_error(&error, Severity::Fatal, &mut wire.writer.buffer).is_ok() {
            wire.close().await;
        }
    }
    None
}

/// A start-up packet's parameters, by name.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A connection whose client said what it wants, and what TLS gave it.
type Opened = (Wire, Parameters, Option<Encryption>);

/// Encryption and the start-up packet.
async fn open(mut tcp: TcpStream, server: &Arc<Server>) -> Result<Option<Opened>, Gone> {
    let mut input = BytesMut::new();
    let mut asked_for_gss = false;
    loop {
        let opening = match next_opening(&mut input) {
            Ok(Some(opening)) => opening,
            Ok(None) => {
                if tcp.read_buf(&mut input).await? == 0 {
                    return Err(Gone);
                }
                continue;
            }
            Err(error) => return refuse(Wire::new(Box::new(tcp), input), error).await,
        };
        match opening {
            Opening::GssEncRequest if !asked_for_gss => {
                asked_for_gss = true;
                tcp.write_all(b"N").await?;
            }
            Opening::SslRequest => match &server.tls {
                None => {
                    tcp.write_all(b"N").await?;
                    if input.has_remaining() {
                        return refuse(Wire::new(Box::new(tcp), input), sent_ahead()).await;
                    }
                    return open_on(Box::new(tcp), input, server, None).await;
                }
                Some(tls) => {
                    if input.has_remaining() {
                        return refuse(Wire::new(Box::new(tcp), input), sent_ahead()).await;
                    }
                    tcp.write_all(b"S").await?;
                    let (acceptor, mechanisms) = tls.present();
                    let stream = acceptor.accept(tcp).await?;
                    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
                    let encryption = Encryption { mechanisms, chain };
                    return open_on(Box::new(stream), BytesMut::new(), server, Some(encryption)).await;
                }
            },
            other => return opened(Wire::new(Box::new(tcp), input), other, server, None).await,
        }
    }
}

/// Bytes sent ahead of the handshake may be somebody else's.
fn sent_ahead() -> Error {
    Error::new(Sqlstate::ProtocolViolation, "received unencrypted data after SSL request")
        .detail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
}

/// The packet that follows the answer to SSLRequest.
async fn open_on(
    stream: Box<dyn Io>,
    input: BytesMut,
    server: &Arc<Server>,
    encryption: Option<Encryption>,
) -> Result<Option<Opened>, Gone> {
    let mut wire = Wire::new(stream, input);
    loop {
        match next_opening(&mut wire.reader.buffer) {
            Ok(Some(Opening::GssEncRequest)) if encryption.is_none() => {
                wire.writer.buffer.extend_from_slice(b"N");
                wire.writer.flush().await?;
            }
            Ok(Some(opening)) => return opened(wire, opening, server, encryption).await,
            Ok(None) => wire.reader.fill().await?,
            Err(error) => return refuse(wire, error).await,
        }
    }
}

async fn opened(
    mut wire: Wire,
    opening: Opening,
    server: &Arc<Server>,
    encryption: Option<Encryption>,
) -> Result<Option<Opened>, Gone> {
    let unsupported = |major: u16, minor: u16| {
        Error::unsupported(format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"))
    };
    match opening {
        Opening::CancelRequest { pid, secret } => {
            server.registry.cancel(pid, secret);
            Ok(None)
        }
        Opening::SslRequest => refuse(wire, unsupported(1234, 5679)).await,
        Opening::GssEncRequest => refuse(wire, unsupported(1234, 5680)).await,
        Opening::Startup { major: 3, minor, parameters } => {
            let unknown: Vec<String> =
                parameters.iter().map(|(name, _)| name).filter(|name| name.starts_with("_pq_.")).cloned().collect();
            if minor > 0 || !unknown.is_empty() {
                // 3.0 is the newest that we speak, said as PostgreSQL 15 says it; clients of newer ones go on with it.
                put(&NegotiateProtocolVersion::new(3 << 16, unknown), &mut wire.writer.buffer).map_err(|_| Gone)?;
            }
            Ok(Some((wire, Parameters(parameters), encryption)))
        }
        Opening::Startup { major, minor, .. } => refuse(wire, unsupported(major, minor)).await,
    }
}

async fn refuse<T>(mut wire: Wire, error: Error) -> Result<Option<T>, Gone> {
    put_error(&error, Severity::Fatal, &mut wire.writer.buffer).map_err(|_| Gone)?;
    wire.close().await;
    Ok(None)
}

type Session = (Arc<dyn Desk>, Arc<Cancelable>, OwnedSemaphorePermit, Registered);

/// Password, database, session, settings; in PostgreSQL's order and with its texts, which clients compare.
async fn log_in(
    wire: &mut Wire,
    parameters: Parameters,
    encryption: Option<Encryption>,
    from: SocketAddr,
    server: &Arc<Server>,
) -> Result<Session, Stop> {
    let fatal = |state, message: String| Stop::Fatal(Error::new(state, message));
    if server.shutdown.is_cancelled() {
        return Err(fatal(Sqlstate::AdminShutdown, "the database system is shutting down".to_owned()));
    }
    let too_many = || fatal(Sqlstate::TooManyConnections, "sorry, too many clients already".to_owned());
    if server.places.available_permits() == 0 {
        return Err(too_many());
    }
    let user = match parameters.get("user") {
        Some(user) if !user.is_empty() => user,
        _ => {
            let message = "no PostgreSQL user name specified in startup packet".to_owned();
            return Err(fatal(Sqlstate::InvalidAuthorization, message));
        }
    };
    let database = parameters.get("database").filter(|name| !name.is_empty()).unwrap_or(DATABASE);
    match parameters.get("replication").map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "off" | "no" | "0" | "f" | "n") => {}
        Some("true" | "on" | "yes" | "1" | "t" | "y" | "database") => {
            return Err(Stop::Fatal(Error::unsupported("replication is not supported")));
        }
        Some(other) => {
            let message = format!("invalid value for parameter \"replication\": \"{other}\"");
            let error = Error::new(Sqlstate::InvalidParameterValue, message);
            let hint = "Valid values are: \"false\", 0, \"true\", 1, \"database\".";
            return Err(Stop::Fatal(error.hint(hint)));
        }
    }
    if server.limits.require_tls && encryption.is_none() {
        let message = format!(
            "no pg_hba.conf entry for host \"{}\", user \"{user}\", database \"{database}\", no encryption",
            from.ip()
        );
        return Err(fatal(Sqlstate::InvalidAuthorization, message));
    }
    let principal = match prove(wire, user, encryption, from, server).await {
        Ok(principal) => principal,
        Err(stop) => {
            if let Stop::Fatal(Error { state: Sqlstate::InvalidPassword | Sqlstate::InvalidAuthorization, .. }) = &stop
            {
                server.house.login_failed(user, from.ip());
            }
            return Err(stop);
        }
    };
    // A place is taken only now, so that clients without a password cannot take them all.
    let permit = server.places.clone().try_acquire_owned().map_err(|_| too_many())?;
    server.house.logged_in(&principal, from.ip()).await.map_err(|error| {
        // With the server's own proof, it would tell that the password was right.
        wire.writer.buffer.clear();
        Stop::Fatal(error)
    })?;
    put(&Authentication::Ok, &mut wire.writer.buffer)?;
    if database != DATABASE {
        return Err(fatal(Sqlstate::UndefinedDatabase, format!("database \"{database}\" does not exist")));
    }
    let desk = server.house.open(principal).map_err(Stop::Fatal)?;
    apply_settings(desk.as_ref(), &parameters).map_err(Stop::Fatal)?;
    let cancelable = Cancelable::new(desk.clone());
    let registered = server.registry.add(desk.id(), &cancelable);
    greet(wire, desk.as_ref(), &registered).map_err(Stop::Fatal)?;
    Ok((desk, cancelable, permit, registered))
}

/// Who the client proves to be: by the certificate that it showed, by SCRAM, or as the role of a token or API key.
async fn prove(
    wire: &mut Wire,
    user: &str,
    encryption: Option<Encryption>,
    from: SocketAddr,
    server: &Arc<Server>,
) -> Result<Principal, Stop> {
    if user == TOKEN_USER {
        if encryption.is_none() && !from.ip().to_canonical().is_loopback() {
            let error = Error::new(Sqlstate::InvalidAuthorization, "a token is taken over TLS only");
            return Err(Stop::Fatal(error.hint("Connect with sslmode=require or better.")));
        }
        let token = cleartext(wire).await?;
        return server.house.bearer(&token).await.map_err(Stop::Fatal);
    }
    // A certificate of somebody else does not matter: the password is asked for as of anybody.
    let chain = encryption.as_ref().map(|encryption| encryption.chain.as_slice()).unwrap_or_default();
    if let Some(principal) = server.house.certificate(chain, user) {
        return Ok(principal);
    }
    let credentials = server.house.credentials(user, from.ip()).await.map_err(Stop::Fatal)?;
    let mechanisms = encryption.map(|encryption| encryption.mechanisms).unwrap_or_default();
    match (exchange(wire, &credentials.verifier, &mechanisms).await?, credentials.principal) {
        (Proof::Right, Some(principal)) => Ok(principal),
        _ => Err(Stop::Fatal(password_failed(user))),
    }
}

/// Settings that the start-up packet asks for.
fn apply_settings(desk: &dyn Desk, parameters: &Parameters) -> Result<(), Error> {
    for (name, value) in &parameters.0 {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            name if name.starts_with("_pq_.") => {}
            "options" => {
                for (name, value) in command_line_options(value)? {
                    desk.set(&name, &value)?;
                }
            }
            name => desk.set(name, value)?,
        }
    }
    Ok(())
}

/// Reads `-c name=value`, `-cname=value` and `--name=value`, words parted by spaces that a backslash escapes.
fn command_line_options(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => words.last_mut().into_iter().for_each(|word| word.extend(chars.next())),
            c if c.is_whitespace() => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut options = Vec::new();
    while let Some(word) = words.next() {
        let invalid = || {
            let message = format!("invalid command-line argument for server process: {word}");
            Error::new(Sqlstate::SyntaxError, message).hint("Try \"postgres --help\" for more information.")
        };
        let (assignment, long) = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(long), _) => (long.to_owned(), true),
            (None, Some("")) => (words.next().ok_or_else(invalid)?, false),
            (None, Some(rest)) => (rest.to_owned(), false),
            (None, None) => return Err(invalid()),
        };
        let (name, value) = assignment.split_once('=').ok_or_else(|| {
            let dashes = if long { "--" } else { "-c " };
            Error::new(Sqlstate::SyntaxError, format!("{dashes}{assignment} requires a value"))
        })?;
        options.push((if long { name.replace('-', "_") } else { name.to_owned() }, value.to_owned()));
    }
    Ok(options)
}

/// Appends what follows a right password, up to ReadyForQuery.
fn greet(wire: &mut Wire, desk: &dyn Desk, registered: &Registered) -> Result<(), Error> {
    let out = &mut wire.writer.buffer;
    for (name, value) in desk.reported_settings() {
        put(&ParameterStatus::new(name, value), out)?;
    }
    put(&BackendKeyData::new(registered.pid, SecretKey::I32(registered.secret)), out)
}
