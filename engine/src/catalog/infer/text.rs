//! What text files have in common: their bytes as a reader, and what a text can be a value of.

use std::io::{self, Read};
use std::sync::Arc;

use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::arrow::compute::kernels::cast_utils::{Parser, parse_decimal, string_to_datetime};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use futures::StreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::sync::mpsc;

use super::super::files::variant;
use super::super::source::Source;
use super::file_name;
use crate::error::{Error, Result, Sqlstate};

/// Chunks that wait to be read: what one file takes in memory.
const WAITING_CHUNKS: usize = 4;

/// The bytes of a file, decompressed, for a thread that blocks.
pub(super) async fn open(store: &Arc<dyn ObjectStore>, source: &Source, file: &ObjectMeta) -> Result<Chunks> {
    let cannot = |error: DataFusionError| {
        Error::new(Sqlstate::IoError, format!("cannot read \"{}\"", file_name(file))).detail(error.strip_backtrace())
    };
    let body = store.get(&file.location).await.map_err(|error| cannot(error.into()))?;
    let bytes = body.into_stream().map(|chunk| chunk.map_err(DataFusionError::from)).boxed();
    let mut bytes = FileCompressionType::from(variant(source.compression)).convert_stream(bytes).map_err(cannot)?;
    let (send, receive) = mpsc::channel(WAITING_CHUNKS);
    tokio::spawn(async move {
        while let Some(chunk) = bytes.next().await {
            // Nobody reads on: the file was refused.
            if send.send(chunk.map_err(|error| error.strip_backtrace())).await.is_err() {
                return;
            }
        }
    });
    Ok(Chunks { receive, chunk: bytes::Bytes::new() })
}

/// A file's chunks as one reader. Reads block the thread.
pub(super) struct Chunks {
    receive: mpsc::Receiver<Result<bytes::Bytes, String>>,
    chunk: bytes::Bytes,
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receive.blocking_recv() {
                None => return Ok(0),
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(text)) => return Err(io::Error::other(text)),
            }
        }
        let n = self.chunk.len().min(into.len());
        let head = self.chunk.split_to(n);
        if let Some(to) = into.get_mut(..n) {
            to.copy_from_slice(&head);
        }
        Ok(n)
    }
}

/// 22P04 in spirit: a line that is not what the file should hold.
pub(super) fn bad_line(file: &str, line: u64, what: impl std::fmt::Display) -> Error {
    Error::new(Sqlstate::InvalidTextRepresentation, format!("line {line} of \"{file}\" {what}"))
}

pub(super) fn not_utf8(file: &str, line: u64) -> Error {
    bad_line(file, line, "is not UTF-8").hint("Convert the file first, for example with iconv -f LATIN1 -t UTF-8.")
}

/// Whether readers take a text as a value of a type. `None`: text cannot be read as that type.
pub(super) fn fits(data_type: &DataType, text: &str) -> Option<bool> {
    Some(match data_type {
        DataType::Utf8 => true,
        DataType::Boolean => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        DataType::Int8 => Int8Type::parse(text).is_some(),
        DataType::Int16 => Int16Type::parse(text).is_some(),
        DataType::Int32 => Int32Type::parse(text).is_some(),
        DataType::Int64 => Int64Type::parse(text).is_some(),
        DataType::Float32 => Float32Type::parse(text).is_some(),
        DataType::Float64 => Float64Type::parse(text).is_some(),
        DataType::Date32 => Date32Type::parse(text).is_some(),
        DataType::Timestamp(unit, _) => match string_to_datetime(&chrono::Utc, text) {
            Ok(moment) => *unit != TimeUnit::Nanosecond || moment.timestamp_nanos_opt().is_some(),
            Err(_) => false,
        },
        DataType::Decimal128(precision, scale) => parse_decimal::<Decimal128Type>(text, *precision, *scale).is_ok(),
        _ => return None,
    })
}

/// What all values of a column so far can be read as, without loss.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guess {
    seen: bool,
    boolean: bool,
    integer: bool,
    float: bool,
    date: bool,
    timestamp: bool,
    zoned: bool,
}

impl Guess {
    pub(super) const NOTHING_SEEN: Guess =
        Guess { seen: false, boolean: true, integer: true, float: true, date: true, timestamp: true, zoned: true };

    /// Takes one more value into account.
    pub(super) fn see(&mut self, text: &str) {
        self.seen = true;
        self.boolean = self.boolean && fits(&DataType::Boolean, text) == Some(true);
        self.integer = self.integer && is_integer(text);
        self.float = self.float && is_float(text);
        let moment = (self.date || self.timestamp || self.zoned) && begins_with_date(text);
        self.date = self.date && moment && text.len() == 10 && fits(&DataType::Date32, text) == Some(true);
        let time = moment && text.len() > 10 && string_to_datetime(&chrono::Utc, text).is_ok();
        let zone = text.get(10..).is_some_and(|time| time.contains(['Z', 'z', '+', '-']));
        self.timestamp = self.timestamp && time && !zone;
        self.zoned = self.zoned && time && zone;
    }

    pub(super) fn data_type(self) -> DataType {
        match self {
            Guess { seen: false, .. } => DataType::Utf8,
            Guess { boolean: true, .. } => DataType::Boolean,
            Guess { integer: true, .. } => DataType::Int64,
            Guess { float: true, .. } => DataType::Float64,
            Guess { date: true, .. } => DataType::Date32,
            Guess { timestamp: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
            Guess { zoned: true, .. } => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => DataType::Utf8,
        }
    }
}

/// A whole number as it would be printed: `007` is a code, not a number.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    !leading_zero && digits.bytes().all(|byte| byte.is_ascii_digit()) && fits(&DataType::Int64, text) == Some(true)
}

fn is_float(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if ["nan", "inf", "infinity"].iter().any(|word| digits.eq_ignore_ascii_case(word)) {
        return fits(&DataType::Float64, text) == Some(true);
    }
    let bytes = digits.as_bytes();
    let code = bytes.first() == Some(&b'0') && bytes.get(1).is_some_and(u8::is_ascii_digit);
    // A double has 15 digits for sure: a longer whole number is an identifier.
    let identifier = bytes.iter().all(u8::is_ascii_digit) && bytes.len() > 15 && !is_integer(text);
    let number = bytes.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.')
        && bytes.iter().any(u8::is_ascii_digit);
    number && !code && !identifier && fits(&DataType::Float64, text) == Some(true)
}

fn begins_with_date(text: &str) -> bool {
    text.len() >= 10
        && text.bytes().take(10).enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(values: &[&str]) -> DataType {
        let mut guess = Guess::NOTHING_SEEN;
        values.iter().for_each(|value| guess.see(value));
        guess.data_type()
    }

    #[test]
    fn guesses_types_without_loss() {
        let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        for (values, expected) in [
            (&[][..], DataType::Utf8),
            (&["1", "-5", "0"], DataType::Int64),
            (&["1", "2.5", "1e3"], DataType::Float64),
            (&["1.5", "NaN", "-inf"], DataType::Float64),
            (&["true", "False"], DataType::Boolean),
            (&["1", "true"], DataType::Utf8),
            (&["01234", "99999"], DataType::Utf8),
            (&["123456789012345678901", "1"], DataType::Utf8),
            (&["9223372036854775807"], DataType::Int64),
            (&["2024-02-29", "1999-12-31"], DataType::Date32),
            (&["2024-02-30"], DataType::Utf8),
            (&["2024-02-29 10:00:00", "2024-02-29T10:00:00.5"], micros(None)),
            (&["2024-02-29T10:00:00Z", "2024-02-29 10:00:00+01:00"], micros(Some("UTC"))),
            (&["2024-02-29T10:00:00Z", "2024-02-29 10:00:00"], DataType::Utf8),
            (&["2024-02-29", "2024-02-29 10:00:00"], DataType::Utf8),
            (&[" 1"], DataType::Utf8),
            (&["-"], DataType::Utf8),
            (&["e5", "."], DataType::Utf8),
        ] {
            assert_eq!(guess(values), expected, "{values:?}");
        }
    }
}
