//! Arrays: what they are as text, how long, and without some of their elements.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, Scalar, new_empty_array};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::kernels::cmp::{distinct, lt_eq, not_distinct};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::{cast, concat, filter};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::lengths::{MOST_OF_ONE, too_large};
use super::of_arrays;
use super::rows::Kind::{Any, List, Text, Whole};
use super::rows::{Give, Row, Spec, Value, missing, spec};
use super::shown::shown;
use crate::error::{Error, Result, Sqlstate};

/// The most dimensions of an array, and the most elements of one that is filled.
const MOST_DIMENSIONS: usize = 6;
const MOST_FILLED: i64 = 1_000_000;

pub(super) const SPECS: [Spec; 6] = [
    spec("array_length", &[&[List, Whole]], Give::Int4, |row, _| {
        Ok(length(row, row.whole(1).unwrap_or(0)).map_or(Value::Null, Value::Int))
    }),
    spec("array_ndims", &[&[List]], Give::Int4, |row, _| {
        let dimensions = dimensions(row);
        Ok(i64::try_from(dimensions.len()).ok().filter(|count| *count > 0).into())
    }),
    spec("array_dims", &[&[List]], Give::Text, |row, _| {
        let text: String = dimensions(row).iter().map(|length| format!("[1:{length}]")).collect();
        Ok(Some(text).filter(|text| !text.is_empty()).into())
    }),
    spec("kanon_generate_subscripts", &[&[List, Whole]], Give::Int4s, |row, _| {
        let length = length(row, row.whole(1).unwrap_or(0)).and_then(|length| i32::try_from(length).ok());
        Ok(Value::Ints((1..=length.unwrap_or(0)).collect()))
    }),
    Spec {
        of_nulls: true,
        ..spec("array_to_string", &[&[List, Text], &[List, Text, Text]], Give::Text, |row, _| {
            let (Some(items), Some(delimiter)) = (row.items(0), row.text(1)) else { return Ok(Value::Null) };
            let mut out = Joined { text: String::new(), is_first: true };
            join(&mut out, &items, delimiter, row.text(2), row)?;
            Ok(Value::Text(out.text))
        })
    },
    spec("kanon_width_bucket", &[&[Any, List]], Give::Int4, |row, _| {
        let Some(thresholds) = row.items(1) else { return Ok(Value::Null) };
        if thresholds.null_count() > 0 {
            let message = "thresholds array must not contain NULLs";
            return Err(Error::new(Sqlstate::NullNotAllowed, message));
        }
        let Some(operand) = row.one(0) else { return Ok(Value::Null) };
        let is_number = thresholds.data_type().is_numeric() && operand.data_type().is_numeric();
        let common = if is_number { DataType::Float64 } else { thresholds.data_type().clone() };
        let (thresholds, operand) = (cast(&thresholds, &common), cast(&operand, &common));
        let (thresholds, operand) = (thresholds.map_err(Error::internal)?, operand.map_err(Error::internal)?);
        let reached = lt_eq(&thresholds, &Scalar::new(operand)).map_err(Error::internal)?;
        Ok(i64::try_from(reached.true_count()).ok().into())
    }),
];

/// How many elements each dimension has: none for an empty array.
fn dimensions(row: &Row<'_>) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut items = row.items(0);
    while let Some(of_dimension) = items.filter(|items| !items.is_empty() && lengths.len() < MOST_DIMENSIONS) {
        lengths.push(of_dimension.len());
        items = of_dimension.as_list_opt::<i32>().filter(|lists| lists.is_valid(0)).map(|lists| lists.value(0));
    }
    lengths
}

fn length(row: &Row<'_>, dimension: i64) -> Option<i64> {
    let lengths = dimensions(row);
    let length = lengths.get(usize::try_from(dimension.checked_sub(1)?).ok()?)?;
    i64::try_from(*length).ok()
}

struct Joined {
    text: String,
    is_first: bool,
}

fn join(out: &mut Joined, items: &ArrayRef, delimiter: &str, null: Option<&str>, row: &Row<'_>) -> Result<()> {
    if let Some(lists) = items.as_list_opt::<i32>() {
        return lists.iter().flatten().try_for_each(|items| join(out, &items, delimiter, null, row));
    }
    for item in 0..items.len() {
        let text = match null {
            _ if items.is_valid(item) => shown(items.as_ref(), item, row.zone())?,
            Some(null) => null.to_owned(),
            None => continue,
        };
        if !out.is_first {
            out.text.push_str(delimiter);
        }
        out.is_first = false;
        out.text.push_str(&text);
        if out.text.len() as u64 > MOST_OF_ONE {
            return Err(too_large());
        }
    }
    Ok(())
}

/// A function that gives an array of the type of one that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    /// `array_remove(array, element)`: without all that are like it.
    Remove,
    /// `array_replace(array, from, to)`: all of them.
    Replace,
    /// `trim_array(array, n)`: without the last.
    Trim,
    /// `array_fill(element, lengths)`.
    Fill,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfLists {
    what: What,
    signature: Signature,
}

/// Those functions.
pub(super) fn all() -> [ScalarUDF; 4] {
    [What::Remove, What::Replace, What::Trim, What::Fill].map(|what| {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::new_from_impl(OfLists { what, signature })
    })
}

impl OfLists {
    fn form(&self, types: &[DataType]) -> Option<Vec<DataType>> {
        let item = |list: &DataType| match list {
            DataType::List(item) => Some(item.data_type().clone()),
            _ => None,
        };
        // Of the type of the elements, which are wide where the other is narrow.
        let of_item = |list: &DataType, others: &[&DataType]| {
            let item = item(list)?;
            let is_like = |other: &DataType| {
                other.is_null()
                    || *other == item
                    || (other.is_integer() && item.is_integer())
                    || item.is_null()
                    || (other.is_numeric() && item.is_floating())
            };
            others.iter().all(|other| is_like(other)).then_some(item)
        };
        match (self.what, types) {
            (What::Remove, [list, element]) => of_item(list, &[element]).map(|item| vec![list.clone(), item]),
            (What::Replace, [list, from, to]) => {
                of_item(list, &[from, to]).map(|item| vec![list.clone(), item.clone(), item])
            }
            (What::Trim, [list, count]) => {
                (item(list).is_some() && count.is_integer()).then(|| vec![list.clone(), DataType::Int64])
            }
            (What::Fill, [element, lengths]) => {
                item(lengths).filter(DataType::is_integer)?;
                Some(vec![element.clone(), DataType::new_list(DataType::Int64, true)])
            }
            _ => None,
        }
    }
}

impl ScalarUDFImpl for OfLists {
    fn name(&self) -> &str {
        match self.what {
            What::Remove => "kanon_array_remove",
            What::Replace => "kanon_array_replace",
            What::Trim => "trim_array",
            What::Fill => "array_fill",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        // What is not taken is refused where its type is asked for: an error here would be put into other words.
        Ok(self.form(types).unwrap_or_else(|| types.to_vec()))
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.form(types).ok_or_else(|| missing(self.name(), types))?;
        let first = types.first().cloned().unwrap_or(DataType::Null);
        Ok(if self.what == What::Fill { DataType::new_list(first, true) } else { first })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        of_arrays(&args, |arrays| {
            let Some(first) = arrays.first() else { return Err(missing(self.name(), &[]).into()) };
            let mut parts: Vec<Option<ArrayRef>> = Vec::with_capacity(first.len());
            for row in 0..first.len() {
                parts.push(self.one(arrays, row)?);
            }
            let item = match (self.what, first.data_type()) {
                (What::Fill, item) => Arc::new(Field::new_list_field(item.clone(), true)),
                (_, DataType::List(item)) => Arc::clone(item),
                _ => return Err(missing(self.name(), &[]).into()),
            };
            let lengths = parts.iter().map(|part| part.as_ref().map_or(0, |part| part.len()));
            let offsets = OffsetBuffer::from_lengths(lengths);
            let nulls: NullBuffer = parts.iter().map(Option::is_some).collect();
            let all: Vec<&dyn Array> = parts.iter().flatten().map(AsRef::as_ref).collect();
            let values = if all.is_empty() { new_empty_array(item.data_type()) } else { concat(&all)? };
            Ok(Arc::new(ListArray::try_new(item, offsets, values, Some(nulls))?) as ArrayRef)
        })
    }
}

impl OfLists {
    /// The elements of the array of a row.
    fn one(&self, arrays: &[ArrayRef], row: usize) -> DfResult<Option<ArrayRef>> {
        let value = |i: usize| arrays.get(i).map(|array| Scalar::new(array.slice(row, 1)));
        let list = |i: usize| {
            let lists = arrays.get(i)?.as_list_opt::<i32>()?;
            lists.is_valid(row).then(|| lists.value(row))
        };
        let number = |i: usize| {
            let numbers = arrays.get(i)?.as_primitive_opt::<Int64Type>()?;
            numbers.is_valid(row).then(|| numbers.value(row))
        };
        Ok(match self.what {
            What::Remove => match (list(0), value(1)) {
                (Some(items), Some(element)) => Some(filter(&items, &distinct(&items, &element)?)?),
                _ => None,
            },
            What::Replace => match (list(0), value(1), value(2)) {
                (Some(items), Some(from), Some(to)) => Some(zip(&not_distinct(&items, &from)?, &to, &items)?),
                _ => None,
            },
            What::Trim => match (list(0), number(1)) {
                (Some(items), Some(count)) => {
                    let count = usize::try_from(count).ok().and_then(|count| items.len().checked_sub(count));
                    let message = || format!("number of elements to trim must be between 0 and {}", items.len());
                    let left = count.ok_or_else(|| Error::new(Sqlstate::ArraySubscriptError, message()))?;
                    Some(items.slice(0, left))
                }
                _ => None,
            },
            What::Fill => {
                let Some(lengths) = list(1) else {
                    let message = "dimension array or low bound array cannot be null";
                    return Err(Error::new(Sqlstate::NullNotAllowed, message).into());
                };
                let lengths = lengths.as_primitive::<Int64Type>();
                if lengths.len() > 1 {
                    return Err(Error::unsupported("array_fill with more than one dimension is not supported").into());
                }
                let length = lengths.iter().next().flatten().unwrap_or(0);
                if !(0..=MOST_FILLED).contains(&length) {
                    return Err(too_large().into());
                }
                let Some(element) = arrays.first().map(|array| array.slice(row, 1)) else { return Ok(None) };
                let count = usize::try_from(length).unwrap_or(0);
                let all: Vec<&dyn Array> = std::iter::repeat_n(element.as_ref(), count).collect();
                Some(if all.is_empty() { new_empty_array(element.data_type()) } else { concat(&all)? })
            }
        })
    }
}
