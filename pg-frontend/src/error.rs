//! Errors and NOTICEs as messages.

use bytes::BytesMut;
use kanon_engine::error::{Error, Result};
use kanon_engine::session::Notice;
use pgwire::messages::Message;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}

/// Appends a message that pgwire encodes.
///
/// # Errors
/// XX000 for one that is too long for the protocol.
pub fn put(message: &impl Message, out: &mut BytesMut) -> Result<()> {
    message.encode(out).map_err(Error::internal)
}

/// Appends an ErrorResponse.
pub fn put_error(error: &Error, severity: Severity, out: &mut BytesMut) -> Result<()> {
    let mut fields = fields(severity.as_str(), error.state.code(), &error.message);
    if let Some(detail) = &error.detail {
        fields.push((b'D', clean(detail)));
    }
    if let Some(hint) = &error.hint {
        fields.push((b'H', clean(hint)));
    }
    if let Some(position) = error.position {
        fields.push((b'P', position.to_string()));
    }
    put(&ErrorResponse::new(fields), out)
}

/// Appends a NoticeResponse.
pub fn put_notice(notice: &Notice, out: &mut BytesMut) -> Result<()> {
    let (severity, code) = match notice.warning {
        Some(state) => ("WARNING", state.code()),
        None => ("NOTICE", "00000"),
    };
    put(&NoticeResponse::new(fields(severity, code, &notice.message)), out)
}

fn fields(severity: &str, code: &str, message: &str) -> Vec<(u8, String)> {
    vec![(b'S', severity.to_owned()), (b'V', severity.to_owned()), (b'C', code.to_owned()), (b'M', clean(message))]
}

/// A field ends at a NUL, so none may be within it.
fn clean(text: &str) -> String {
    text.replace('\0', "")
}
