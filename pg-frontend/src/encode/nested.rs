//! Arrays, records and maps.

use std::ops::Range;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::*;
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use kanon_engine::error::{Error, Result, Sqlstate};
use kanon_engine::pg_catalog::types::PgType;

use super::cells::Cells;
use super::time::Zone;
use super::{Format, put_sized};

/// PostgreSQL's limit of dimensions.
const MAX_DIMENSIONS: usize = 6;

/// Where each list of an array lies among its items.
enum Ranges<'a> {
    List(&'a ListArray),
    Large(&'a LargeListArray),
    Fixed(&'a FixedSizeListArray),
    View(&'a ListViewArray),
    LargeView(&'a LargeListViewArray),
}

impl Ranges<'_> {
    fn of(&self, row: usize) -> Range<usize> {
        let (start, length) = match self {
            Ranges::List(list) => (start_of(list.value_offsets(), row), list.value_length(row) as usize),
            Ranges::Large(list) => (start_of(list.value_offsets(), row), list.value_length(row) as usize),
            Ranges::Fixed(list) => (list.value_offset(row) as usize, list.value_length() as usize),
            Ranges::View(list) => (list.value_offset(row) as usize, list.value_size(row) as usize),
            Ranges::LargeView(list) => (list.value_offset(row) as usize, list.value_size(row) as usize),
        };
        start..start + length
    }
}

fn start_of<O: OffsetSizeTrait>(offsets: &[O], row: usize) -> usize {
    offsets.get(row).map_or(0, |offset| offset.as_usize())
}

/// Lists, as arrays; lists of lists, as arrays of more dimensions.
pub(super) struct ListCells<'a> {
    ranges: Ranges<'a>,
    items: Items<'a>,
    /// An `oidvector` or `int2vector`: written without braces, counted from 0.
    is_vector: bool,
}

enum Items<'a> {
    Values(Cells<'a>),
    Lists { nulls: Option<NullBuffer>, lists: Box<ListCells<'a>> },
}

impl<'a> ListCells<'a> {
    /// `pg_type` is the array's type, the same at every depth.
    pub(super) fn new(array: &'a dyn Array, pg_type: PgType, zone: Zone) -> Result<ListCells<'a>> {
        let (ranges, items): (Ranges<'a>, &'a ArrayRef) = if let Some(list) = array.as_list_opt::<i32>() {
            (Ranges::List(list), list.values())
        } else if let Some(list) = array.as_list_opt::<i64>() {
            (Ranges::Large(list), list.values())
        } else if let Some(list) = array.as_fixed_size_list_opt() {
            (Ranges::Fixed(list), list.values())
        } else if let Some(list) = array.as_any().downcast_ref::<ListViewArray>() {
            (Ranges::View(list), list.values())
        } else if let Some(list) = array.as_any().downcast_ref::<LargeListViewArray>() {
            (Ranges::LargeView(list), list.values())
        } else {
            return Err(Error::internal("a list is not what it says"));
        };
        let nested = matches!(
            items.data_type(),
            DataType::List(_)
                | DataType::LargeList(_)
                | DataType::FixedSizeList(_, _)
                | DataType::ListView(_)
                | DataType::LargeListView(_)
        );
        let items = if nested {
            Items::Lists {
                nulls: items.logical_nulls(),
                lists: Box::new(ListCells::new(items.as_ref(), pg_type, zone)?),
            }
        } else {
            let element = match pg_type {
                PgType::OIDVECTOR => PgType::OID,
                PgType::INT2VECTOR => PgType::INT2,
                array => array.element().unwrap_or_else(|| PgType::of(items.data_type())),
            };
            Items::Values(Cells::new(items.as_ref(), element, zone)?)
        };
        let is_vector = matches!(pg_type, PgType::OIDVECTOR | PgType::INT2VECTOR);
        Ok(ListCells { ranges, items, is_vector })
    }

    /// `{1,NULL,"a b"}`, or `1 2` of a vector.
    pub(super) fn put_text(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        if let (true, Items::Values(values)) = (self.is_vector, &self.items) {
            for (number, item) in self.ranges.of(row).enumerate() {
                if number > 0 {
                    out.put_u8(b' ');
                }
                values.put_text(item, out)?;
            }
            return Ok(());
        }
        let mut scratch = BytesMut::new();
        out.put_u8(b'{');
        for (number, item) in self.ranges.of(row).enumerate() {
            if number > 0 {
                out.put_u8(b',');
            }
            match &self.items {
                Items::Lists { nulls, lists } => match nulls.as_ref().is_some_and(|nulls| nulls.is_null(item)) {
                    true => out.put_slice(b"NULL"),
                    false => lists.put_text(item, out)?,
                },
                Items::Values(values) if values.is_null(item) => out.put_slice(b"NULL"),
                Items::Values(values) => {
                    scratch.clear();
                    values.put_text(item, &mut scratch)?;
                    put_array_element(&scratch, out);
                }
            }
        }
        out.put_u8(b'}');
        Ok(())
    }

    /// Dimensions, then the elements row by row.
    pub(super) fn put_binary(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let mut dimensions = Vec::new();
        let mut elements = BytesMut::new();
        let mut has_null = false;
        self.collect(self.ranges.of(row), 0, &mut dimensions, &mut elements, &mut has_null)?;
        // A vector has its one dimension whatever its length.
        if dimensions.contains(&0) && !self.is_vector {
            dimensions.clear();
        }
        out.put_i32(dimensions.len() as i32);
        out.put_i32(i32::from(has_null));
        out.put_u32(self.element().oid);
        for length in &dimensions {
            out.put_i32(
                i32::try_from(*length).map_err(|_| Error::new(Sqlstate::StatementTooComplex, "array too large"))?,
            );
            out.put_i32(i32::from(!self.is_vector));
        }
        out.put_slice(&elements);
        Ok(())
    }

    fn element(&self) -> PgType {
        match &self.items {
            Items::Values(values) => values.pg_type,
            Items::Lists { lists, .. } => lists.element(),
        }
    }

    fn collect(
        &self,
        range: Range<usize>,
        depth: usize,
        dimensions: &mut Vec<usize>,
        elements: &mut BytesMut,
        has_null: &mut bool,
    ) -> Result<()> {
        if depth >= MAX_DIMENSIONS {
            return Err(Error::new(
                Sqlstate::StatementTooComplex,
                format!("an array has more than {MAX_DIMENSIONS} dimensions"),
            ));
        }
        match dimensions.get(depth) {
            None => dimensions.push(range.len()),
            Some(length) if *length == range.len() => {}
            Some(_) => return Err(ragged()),
        }
        for item in range {
            match &self.items {
                Items::Lists { nulls, .. } if nulls.as_ref().is_some_and(|nulls| nulls.is_null(item)) => {
                    return Err(ragged());
                }
                Items::Lists { lists, .. } => {
                    lists.collect(lists.ranges_of(item), depth + 1, dimensions, elements, has_null)?
                }
                Items::Values(values) => {
                    *has_null |= values.is_null(item);
                    put_sized(elements, values, item, Format::Binary)?;
                }
            }
        }
        Ok(())
    }

    fn ranges_of(&self, row: usize) -> Range<usize> {
        self.ranges.of(row)
    }
}

fn ragged() -> Error {
    Error::new(Sqlstate::DataException, "nested lists of unequal lengths have no binary format")
        .hint("Ask for text format.")
}

fn put_array_element(value: &[u8], out: &mut BytesMut) {
    let quoted = value.is_empty()
        || value.eq_ignore_ascii_case(b"NULL")
        || value.iter().any(|b| matches!(b, b'{' | b'}' | b'"' | b'\\' | b',' | b' ' | 9..=13));
    if !quoted {
        return out.put_slice(value);
    }
    out.put_u8(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// Structs, as records.
pub(super) struct RecordCells<'a> {
    columns: Vec<Cells<'a>>,
}

impl<'a> RecordCells<'a> {
    pub(super) fn new(array: &'a StructArray, zone: Zone) -> Result<RecordCells<'a>> {
        let columns = array
            .fields()
            .iter()
            .zip(array.columns())
            .map(|(field, column)| Cells::new(column.as_ref(), PgType::of_field(field), zone))
            .collect::<Result<_>>()?;
        Ok(RecordCells { columns })
    }

    /// `(1,,"a b")`.
    pub(super) fn put_text(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let mut scratch = BytesMut::new();
        out.put_u8(b'(');
        for (number, column) in self.columns.iter().enumerate() {
            if number > 0 {
                out.put_u8(b',');
            }
            if !column.is_null(row) {
                scratch.clear();
                column.put_text(row, &mut scratch)?;
                put_record_field(&scratch, out);
            }
        }
        out.put_u8(b')');
        Ok(())
    }

    pub(super) fn put_binary(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        out.put_i32(self.columns.len() as i32);
        for column in &self.columns {
            out.put_u32(column.pg_type.oid);
            put_sized(out, column, row, Format::Binary)?;
        }
        Ok(())
    }
}

fn put_record_field(value: &[u8], out: &mut BytesMut) {
    let quoted =
        value.is_empty() || value.iter().any(|b| matches!(b, b'(' | b')' | b'"' | b'\\' | b',' | b' ' | 9..=13));
    if !quoted {
        return out.put_slice(value);
    }
    out.put_u8(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(*byte);
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// A map as a JSON object: numbers and booleans bare, everything else as a string.
pub(super) fn put_json_map(map: &MapArray, row: usize, out: &mut BytesMut) -> Result<()> {
    let entries = map.value(row);
    let unprintable = |_| Error::unsupported(format!("values of type {}", map.data_type()));
    let options = FormatOptions::new();
    let (keys, values) = match entries.columns() {
        [keys, values] => (keys, values),
        _ => return Err(Error::internal("a map is not what it says")),
    };
    let shown_keys = ArrayFormatter::try_new(keys.as_ref(), &options).map_err(unprintable)?;
    let shown_values = ArrayFormatter::try_new(values.as_ref(), &options).map_err(unprintable)?;
    let bare = values.data_type().is_integer() || matches!(values.data_type(), DataType::Boolean);
    out.put_u8(b'{');
    for entry in 0..entries.len() {
        if entry > 0 {
            out.put_slice(b", ");
        }
        put_json_string(&shown_keys.value(entry).to_string(), out);
        out.put_slice(b": ");
        let value = shown_values.value(entry).to_string();
        if values.is_null(entry) {
            out.put_slice(b"null");
        } else if bare {
            out.put_slice(value.as_bytes());
        } else {
            put_json_string(&value, out);
        }
    }
    out.put_u8(b'}');
    Ok(())
}

fn put_json_string(value: &str, out: &mut BytesMut) {
    out.put_u8(b'"');
    for c in value.chars() {
        match c {
            '"' => out.put_slice(b"\\\""),
            '\\' => out.put_slice(b"\\\\"),
            '\n' => out.put_slice(b"\\n"),
            '\r' => out.put_slice(b"\\r"),
            '\t' => out.put_slice(b"\\t"),
            c if (c as u32) < 0x20 => out.put_slice(format!("\\u{:04x}", c as u32).as_bytes()),
            c => out.put_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.put_u8(b'"');
}
