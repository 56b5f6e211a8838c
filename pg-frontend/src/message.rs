//! What clients send, read from bytes that nobody has checked.
//!
//! pgwire's decoder is not used here: it reads past the end of a message into the next one, panics on a Bind that is cut short,
//! and turns invalid UTF-8 into replacement characters. Every read below is bounded by its message.

use bytes::{Buf, Bytes, BytesMut};
use kanon_engine::error::{Error, Result, Sqlstate};

/// The largest start-up packet, as in PostgreSQL: its length counts itself.
pub const MAX_STARTUP_BYTES: usize = 10_004;
/// The largest message of a client that has not yet proved who it is.
pub const MAX_PASSWORD_BYTES: usize = 65_535;
/// The largest message without text or parameters in it, as in PostgreSQL.
const MAX_SMALL_BYTES: usize = 10_000;
/// The largest Query, Parse or Bind. Texts have a lower bound of their own, at the session.
const MAX_LARGE_BYTES: usize = 64 * 1024 * 1024;

/// What Describe and Close are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `S`
    Statement,
    /// `P`
    Portal,
}

/// A Bind message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The portal to make; empty for the unnamed one.
    pub portal: String,
    /// The statement to bind.
    pub statement: String,
    /// Formats of the parameters: none, one for all, or one each.
    pub formats: Vec<i16>,
    /// The parameters; `None` for NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// Formats of the answer's columns.
    pub result_formats: Vec<i16>,
}

/// A message of a client after start-up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in PostgreSQL's protocol")]
pub enum Frontend {
    Query(String),
    Parse {
        name: String,
        text: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target, String),
    Execute {
        portal: String,
        max_rows: i32,
    },
    Close(Target, String),
    Flush,
    Sync,
    Terminate,
    /// SASL's messages and passwords, which only start-up reads.
    Password(Bytes),
    /// CopyData, CopyDone, CopyFail: ignored outside COPY FROM, as in PostgreSQL.
    Copy,
    /// The fast path, which nobody uses.
    FunctionCall,
}

/// One message, whole, not yet read.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    body: Bytes,
}

/// Takes the next whole message off the buffer; `None` if it is not all here yet.
///
/// # Errors
/// 08P01 for an unknown type or a length that cannot be: the stream is lost, the connection must end.
pub fn next_frame(buffer: &mut BytesMut, authenticated: bool) -> Result<Option<Frame>> {
    let Some(kind) = buffer.first().copied() else { return Ok(None) };
    let limit = match (kind, authenticated) {
        (b'p', _) => MAX_PASSWORD_BYTES,
        (_, false) => {
            return Err(Error::new(
                Sqlstate::ProtocolViolation,
                format!("expected SASL response, got message type {kind}"),
            ));
        }
        (b'Q' | b'P' | b'B' | b'F' | b'd', true) => MAX_LARGE_BYTES,
        (b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f', true) => MAX_SMALL_BYTES,
        (other, true) => {
            return Err(Error::new(Sqlstate::ProtocolViolation, format!("invalid frontend message type {other}")));
        }
    };
    let Some(length) = buffer.get(1..5).and_then(|b| b.try_into().ok()).map(i32::from_be_bytes) else {
        return Ok(None);
    };
    let length = usize::try_from(length).unwrap_or(0);
    if length < 4 || length > limit {
        return Err(Error::new(Sqlstate::ProtocolViolation, "invalid message length"));
    }
    if buffer.len() < 1 + length {
        return Ok(None);
    }
    let mut body = buffer.split_to(1 + length).freeze();
    body.advance(5);
    Ok(Some(Frame { kind, body }))
}

impl Frame {
    /// Whether it belongs to the extended protocol, so that an error skips what follows until Sync.
    pub fn is_extended(&self) -> bool {
        matches!(self.kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H')
    }

    /// Reads it.
    ///
    /// # Errors
    /// 08P01 for a message that is cut short or too long, 22021 for text that is not UTF-8.
    pub fn read(self) -> Result<Frontend> {
        let mut body = Body(self.body);
        let message = match self.kind {
            b'Q' => Frontend::Query(body.string()?),
            b'P' => {
                let (name, text) = (body.string()?, body.string()?);
                let count = usize::from(body.u16()?);
                let types = (0..count).map(|_| body.u32()).collect::<Result<_>>()?;
                Frontend::Parse { name, text, types }
            }
            b'B' => Frontend::Bind(body.bind()?),
            b'D' => Frontend::Describe(body.target("DESCRIBE")?, body.string()?),
            b'C' => Frontend::Close(body.target("CLOSE")?, body.string()?),
            b'E' => Frontend::Execute { portal: body.string()?, max_rows: body.u32()? as i32 },
            b'H' => Frontend::Flush,
            b'S' => Frontend::Sync,
            b'X' => return Ok(Frontend::Terminate),
            b'p' => return Ok(Frontend::Password(body.0)),
            b'F' => return Ok(Frontend::FunctionCall),
            _ => return Ok(Frontend::Copy),
        };
        if body.0.has_remaining() {
            return Err(Error::new(Sqlstate::ProtocolViolation, "invalid message format"));
        }
        Ok(message)
    }
}

/// A message's body, read from the front.
struct Body(Bytes);

fn cut_short() -> Error {
    Error::new(Sqlstate::ProtocolViolation, "insufficient data left in message")
}

impl Body {
    fn bytes(&mut self, count: usize) -> Result<Bytes> {
        if self.0.remaining() < count { Err(cut_short()) } else { Ok(self.0.split_to(count)) }
    }

    fn u16(&mut self) -> Result<u16> {
        self.0.try_get_u16().map_err(|_| cut_short())
    }

    fn u32(&mut self) -> Result<u32> {
        self.0.try_get_u32().map_err(|_| cut_short())
    }

    fn string(&mut self) -> Result<String> {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(|| Error::new(Sqlstate::ProtocolViolation, "invalid string in message"))?;
        let text = self.bytes(end)?;
        self.0.advance(1);
        Ok(utf8(&text)?.to_owned())
    }

    fn target(&mut self, what: &str) -> Result<Target> {
        let none = |_| Error::new(Sqlstate::ProtocolViolation, "no data left in message");
        match self.0.try_get_u8().map_err(none)? {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            other => Err(Error::new(Sqlstate::ProtocolViolation, format!("invalid {what} message subtype {other}"))),
        }
    }

    fn codes(&mut self) -> Result<Vec<i16>> {
        let count = usize::from(self.u16()?);
        (0..count).map(|_| self.u16().map(|code| code as i16)).collect()
    }

    fn bind(&mut self) -> Result<Bind> {
        let (portal, statement) = (self.string()?, self.string()?);
        let formats = self.codes()?;
        let count = usize::from(self.u16()?);
        let mut parameters = Vec::new();
        for _ in 0..count {
            parameters.push(match self.u32()? as i32 {
                -1 => None,
                length => Some(self.bytes(usize::try_from(length).map_err(|_| cut_short())?)?),
            });
        }
        let result_formats = self.codes()?;
        Ok(Bind { portal, statement, formats, parameters, result_formats })
    }
}

/// Text of a client.
///
/// # Errors
/// 22021 for anything but UTF-8 without NUL.
pub fn utf8(bytes: &[u8]) -> Result<&str> {
    let wrong = |at: usize| {
        // As many bytes as the first says that the character has.
        let length = match bytes.get(at) {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            _ => 1,
        };
        let shown: Vec<String> = bytes.iter().skip(at).take(length).map(|byte| format!("0x{byte:02x}")).collect();
        Error::new(
            Sqlstate::CharacterNotInRepertoire,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => match text.bytes().position(|byte| byte == 0) {
            Some(at) => Err(wrong(at)),
            None => Ok(text),
        },
        Err(error) => Err(wrong(error.valid_up_to())),
    }
}

/// A packet before the session: they have no type byte.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in PostgreSQL's protocol")]
pub enum Opening {
    SslRequest,
    GssEncRequest,
    CancelRequest { pid: i32, secret: i32 },
    Startup { major: u16, minor: u16, parameters: Vec<(String, String)> },
}

/// Takes the next whole start-up packet off the buffer; `None` if it is not all here yet.
///
/// # Errors
/// 08P01 for lengths and contents that cannot be.
pub fn next_opening(buffer: &mut BytesMut) -> Result<Option<Opening>> {
    let Some(length) = buffer.get(..4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes) else { return Ok(None) };
    let length = length as usize;
    if !(8..=MAX_STARTUP_BYTES).contains(&length) {
        return Err(Error::new(Sqlstate::ProtocolViolation, "invalid length of startup packet"));
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut body = Body(buffer.split_to(length).freeze());
    body.0.advance(4);
    let (major, minor) = (body.u16()?, body.u16()?);
    Ok(Some(match (major, minor) {
        (1234, 5679) => Opening::SslRequest,
        (1234, 5680) => Opening::GssEncRequest,
        (1234, 5678) => Opening::CancelRequest { pid: body.u32()? as i32, secret: body.u32()? as i32 },
        (3, _) => Opening::Startup { major, minor, parameters: startup_parameters(&mut body)? },
        _ => Opening::Startup { major, minor, parameters: Vec::new() },
    }))
}

fn startup_parameters(body: &mut Body) -> Result<Vec<(String, String)>> {
    let layout =
        || Error::new(Sqlstate::ProtocolViolation, "invalid startup packet layout: expected terminator as last byte");
    let mut parameters = Vec::new();
    loop {
        let name = body.string().map_err(|_| layout())?;
        if name.is_empty() {
            break;
        }
        parameters.push((name, body.string().map_err(|_| layout())?));
    }
    if body.0.has_remaining() { Err(layout()) } else { Ok(parameters) }
}
