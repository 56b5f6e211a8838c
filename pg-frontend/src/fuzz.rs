//! Entrances for fuzzers, of cargo-fuzz and of the tests: bytes that anyone may send, through everything that reads them.

use bytes::BytesMut;
use datafusion::arrow::datatypes::DataType;
use kanon_engine::error::{Error, Result};
use kanon_engine::pg_catalog::types::{PgType, arrow_of};

use crate::message::{Frontend, next_frame, next_opening};
use crate::params::decode;

/// Reads bytes as start-up packets and as messages, all at once and byte by byte. Gives how many messages there were.
///
/// # Errors
/// XX000 if it matters how the bytes arrive.
pub fn messages(data: &[u8]) -> Result<usize> {
    let _ =
        all(data, data.len().max(1), |buffer| next_opening(buffer).map(|opening| opening.map(|o| format!("{o:?}"))));
    let _ =
        all(data, data.len().max(1), |buffer| next_frame(buffer, false).map(|frame| frame.map(|f| format!("{f:?}"))));
    let read = |buffer: &mut BytesMut| {
        let frame = next_frame(buffer, true)?;
        Ok(frame.map(|frame| match frame.read() {
            Ok(Frontend::Terminate) => "the end".to_owned(),
            Ok(message) => format!("{message:?}"),
            Err(error) => format!("{} {}", error.state.code(), error.message),
        }))
    };
    let whole = all(data, data.len().max(1), read);
    let parts = all(data, 1, read);
    if whole != parts {
        return Err(Error::internal("messages are others when they arrive in parts"));
    }
    Ok(whole.len())
}

/// What is read of bytes that arrive so many at a time, up to the first error.
fn all(data: &[u8], at_once: usize, read: impl Fn(&mut BytesMut) -> Result<Option<String>>) -> Vec<String> {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for part in data.chunks(at_once) {
        buffer.extend_from_slice(part);
        loop {
            match read(&mut buffer) {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => {
                    found.push(format!("{} {}", error.state.code(), error.message));
                    return found;
                }
            }
        }
    }
    found
}

/// Reads bytes as a parameter: the first two say of which type and in which format, the third of which type the plan wants it.
///
/// # Errors
/// What a client would be told. XX000 for a value of another type than was wanted.
pub fn parameter(data: &[u8]) -> Result<()> {
    let [kind, format, wanted, value @ ..] = data else { return Ok(()) };
    let oids = OIDS.len();
    let Some(pg_type) = OIDS.get(usize::from(*kind) % oids).and_then(|oid| PgType::by_oid(*oid)) else { return Ok(()) };
    let own = arrow_of(pg_type.oid).unwrap_or(DataType::Utf8);
    let target = match wanted % 4 {
        0 => OIDS.get(usize::from(wanted / 4) % oids).and_then(|oid| arrow_of(*oid)).unwrap_or(own),
        1 => DataType::Decimal256(76, 20),
        _ => own,
    };
    let format = i16::from(format % 3);
    let decoded = decode(1, Some(value), format, pg_type, &target, "Europe/Zurich")?;
    // A number has the digits that it is sent with.
    let is_number = decoded.data_type().is_decimal() && target.is_decimal();
    if decoded.data_type() != target && !is_number {
        return Err(Error::internal(format!("{} instead of {target}", decoded.data_type())));
    }
    Ok(())
}

/// The types that a parameter may be told to be of.
const OIDS: [u32; 37] = [
    16, 17, 18, 19, 20, 21, 23, 25, 26, 28, 114, 142, 700, 701, 705, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1700,
    2205, 2950, 3802, 1000, 1001, 1005, 1007, 1009, 1016, 1021, 1022, 1182, 1231, 2951,
];
