//! Rows as COPY … TO STDOUT writes them.

use bytes::{BufMut, BytesMut};
use kanon_engine::error::Result;

use super::{BoundRows, Format, patch_length, put_sized};
use crate::desk::{CopyLayout, CopyStyle};

/// What a binary COPY begins with: the signature, no flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Appends a message with the names of the columns, if they come first. The binary header has none of its own: see
/// [`binary_header`].
pub fn put_copy_header(names: &[&str], style: &CopyStyle, out: &mut BytesMut) {
    if style.layout == CopyLayout::Binary || !style.header {
        return;
    }
    put_data(out, |out| {
        for (number, name) in names.iter().enumerate() {
            if number > 0 {
                out.put_u8(style.delimiter);
            }
            match style.layout {
                CopyLayout::Csv => put_csv(name.as_bytes(), style, false, names.len() == 1, out),
                _ => put_escaped(name.as_bytes(), style.delimiter, out),
            }
        }
        out.put_u8(b'\n');
    });
}

/// What the first message of a binary COPY begins with, be it a row or the trailer: PostgreSQL sends no message of it alone, and
/// drivers count on that.
pub fn binary_header(style: &CopyStyle) -> &'static [u8] {
    if style.layout == CopyLayout::Binary { BINARY_HEADER } else { &[] }
}

/// Appends what comes after the rows, behind `lead`.
pub fn put_copy_trailer(style: &CopyStyle, lead: &[u8], out: &mut BytesMut) {
    if style.layout == CopyLayout::Binary {
        put_data(out, |out| {
            out.put_slice(lead);
            out.put_i16(-1);
        });
    }
}

/// A CopyData message around what `content` appends.
fn put_data(out: &mut BytesMut, content: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u8(b'd');
    out.put_i32(0);
    content(out);
    let length = out.len() - start - 1;
    patch_length(out, start + 1, length);
}

impl BoundRows<'_> {
    /// Appends one row as a CopyData message, behind `lead`. On an error nothing is appended.
    ///
    /// # Errors
    /// As [`BoundRows::put_row`].
    pub fn put_copy_row(
        &self,
        row: usize,
        style: &CopyStyle,
        lead: &[u8],
        scratch: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<()> {
        let start = out.len();
        let mut result = Ok(());
        put_data(out, |out| {
            out.put_slice(lead);
            result = self.put_copy_values(row, style, scratch, out);
        });
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn put_copy_values(&self, row: usize, style: &CopyStyle, scratch: &mut BytesMut, out: &mut BytesMut) -> Result<()> {
        if style.layout == CopyLayout::Binary {
            out.put_i16(self.columns.len() as i16);
            return self.columns.iter().try_for_each(|(_, cells)| put_sized(out, cells, row, Format::Binary));
        }
        for (number, (_, cells)) in self.columns.iter().enumerate() {
            if number > 0 {
                out.put_u8(style.delimiter);
            }
            if cells.is_null(row) {
                out.put_slice(style.null.as_bytes());
                continue;
            }
            scratch.clear();
            cells.put_text(row, scratch)?;
            match style.layout {
                CopyLayout::Csv => put_csv(scratch, style, style.quotes(number), self.columns.len() == 1, out),
                _ => put_escaped(scratch, style.delimiter, out),
            }
        }
        out.put_u8(b'\n');
        Ok(())
    }
}

/// Text: what would end a value or a line gets a backslash.
fn put_escaped(value: &[u8], delimiter: u8, out: &mut BytesMut) {
    for byte in value {
        let letter = match byte {
            b'\\' => b'\\',
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            11 => b'v',
            12 => b'f',
            b'\r' => b'r',
            byte if *byte == delimiter => delimiter,
            byte => {
                out.put_u8(*byte);
                continue;
            }
        };
        out.put_u8(b'\\');
        out.put_u8(letter);
    }
}

/// CSV: quotes around what a reader would otherwise take for something else.
fn put_csv(value: &[u8], style: &CopyStyle, always: bool, alone: bool, out: &mut BytesMut) {
    let special = |byte: &u8| *byte == style.delimiter || *byte == style.quote || matches!(byte, b'\n' | b'\r');
    let quoted = always || value == style.null.as_bytes() || (alone && value == b"\\.") || value.iter().any(special);
    if !quoted {
        return out.put_slice(value);
    }
    out.put_u8(style.quote);
    for byte in value {
        if *byte == style.quote || *byte == style.escape {
            out.put_u8(style.escape);
        }
        out.put_u8(*byte);
    }
    out.put_u8(style.quote);
}
