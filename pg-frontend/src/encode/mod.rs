//! Arrow columns to PostgreSQL's values, text and binary.
//!
//! ```text
//! schema + formats ──► RowEncoder      once a portal: type, OID and format of every column
//! batch            ──► BoundRows       once a batch: arrays downcast
//! row number       ──► DataRow bytes   straight into the connection's buffer
//! ```

pub mod binary;
mod cells;
pub mod copy;
mod nested;
pub mod text;
pub mod time;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::pg_catalog::types::PgType;

use self::cells::Cells;
use self::time::Zone;

/// Text or binary, as Bind asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 0
    Text,
    /// 1
    Binary,
}

impl Format {
    /// The code on the wire.
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }

    /// The format of a code.
    ///
    /// # Errors
    /// 22023 for any but 0 and 1.
    pub fn from_code(code: i16) -> Result<Format> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(Error::new(Sqlstate::InvalidParameterValue, format!("unsupported format code: {other}"))),
        }
    }
}

/// The codes of the formats of `count` columns: none given is text for all, one is for all, else one each. Whether they are known matters
/// only to who encodes.
///
/// # Errors
/// 08P01 for another number of codes.
pub fn codes_for(codes: &[i16], count: usize) -> Result<Vec<i16>> {
    match codes {
        [] => Ok(vec![Format::Text.code(); count]),
        [one] => Ok(vec![*one; count]),
        many if many.len() == count => Ok(many.to_vec()),
        many => Err(Error::new(
            Sqlstate::ProtocolViolation,
            format!("bind message has {} result formats but query has {count} columns", many.len()),
        )),
    }
}

/// One column's plan.
#[derive(Debug, Clone)]
struct Column {
    pg_type: PgType,
    format: Format,
}

/// How the rows of one answer are written: made once a portal.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    columns: Vec<Column>,
    zone: Zone,
}

impl RowEncoder {
    /// Plans the columns of a schema.
    ///
    /// # Errors
    /// 54011 for more columns than a DataRow can have, 22023 for a format that there is not; see [`codes_for`].
    pub fn new(schema: &Schema, codes: &[i16], zone: Zone) -> Result<RowEncoder> {
        let count = schema.fields().len();
        if i16::try_from(count).is_err() {
            return Err(Error::new(Sqlstate::TooManyColumns, "an answer can have at most 32767 columns"));
        }
        let columns = schema
            .fields()
            .iter()
            .zip(codes_for(codes, count)?)
            .map(|(field, code)| Ok(Column { pg_type: PgType::of_field(field), format: Format::from_code(code)? }))
            .collect::<Result<_>>()?;
        Ok(RowEncoder { columns, zone })
    }

    /// Prepares one batch.
    ///
    /// # Errors
    /// XX000 if the batch is not of the schema.
    pub fn bind<'a>(&'a self, batch: &'a RecordBatch) -> Result<BoundRows<'a>> {
        if batch.num_columns() != self.columns.len() {
            return Err(Error::internal("a batch has other columns than its schema"));
        }
        let columns = self
            .columns
            .iter()
            .zip(batch.columns())
            .map(|(column, array)| Ok((column.format, Cells::new(array, column.pg_type, self.zone)?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(BoundRows { columns })
    }
}

/// One batch, ready to be written row by row.
pub struct BoundRows<'a> {
    columns: Vec<(Format, Cells<'a>)>,
}

impl BoundRows<'_> {
    /// Appends one DataRow message. On an error nothing is appended.
    ///
    /// # Errors
    /// 22003 or 22008 for a value that the PostgreSQL type cannot hold; 54000 for a row of more than a gigabyte.
    pub fn put_row(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let start = out.len();
        out.put_u8(b'D');
        out.put_i32(0);
        out.put_i16(self.columns.len() as i16);
        for (format, cells) in &self.columns {
            if let Err(error) = put_sized(out, cells, row, *format) {
                out.truncate(start);
                return Err(error);
            }
        }
        let length = out.len() - start - 1;
        if length >= 0x3fff_ffff {
            out.truncate(start);
            return Err(Error::new(Sqlstate::StatementTooComplex, "a row is larger than a gigabyte"));
        }
        patch_length(out, start + 1, length);
        Ok(())
    }
}

/// Appends a value with its length in front; -1 for NULL.
fn put_sized(out: &mut BytesMut, cells: &Cells<'_>, row: usize, format: Format) -> Result<()> {
    let at = out.len();
    if cells.is_null(row) {
        out.put_i32(-1);
        return Ok(());
    }
    out.put_i32(0);
    match format {
        Format::Text => cells.put_text(row, out)?,
        Format::Binary => cells.put_binary(row, out)?,
    }
    let length = out.len() - at - 4;
    patch_length(out, at, length);
    Ok(())
}

/// Writes a length into the four bytes kept for it at `at`.
fn patch_length(out: &mut BytesMut, at: usize, length: usize) {
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&(length as i32).to_be_bytes());
    }
}
