//! Answers as cells: floats are equal to 1e-12 of their size, all else exactly.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Float(f64),
    Text(String),
}

/// Rows of an answer.
pub type Rows = Vec<Vec<Cell>>;

/// The cells of batches.
pub fn cells(batches: &[RecordBatch]) -> Rows {
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::default();
        let formatters: Vec<_> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cell = |column: usize| {
                let array = batch.column(column);
                match array.data_type() {
                    _ if array.is_null(row) => Cell::Null,
                    DataType::Float64 => Cell::Float(array.as_primitive::<Float64Type>().value(row)),
                    DataType::Boolean => Cell::Text(if array.as_boolean().value(row) { "t" } else { "f" }.to_owned()),
                    DataType::Timestamp(..) => Cell::Text(formatters[column].value(row).to_string().replace('T', " ")),
                    _ => Cell::Text(formatters[column].value(row).to_string()),
                }
            };
            rows.push((0..batch.num_columns()).map(cell).collect());
        }
    }
    rows
}

/// What came over the wire as text, in the types of the expected answer.
pub fn parsed(rows: &[Vec<Option<String>>], types: &[DataType]) -> Rows {
    let cell = |(value, data_type): (&Option<String>, &DataType)| match (value, data_type) {
        (None, _) => Cell::Null,
        (Some(text), DataType::Float64) => Cell::Float(text.parse().unwrap()),
        (Some(text), _) => Cell::Text(text.clone()),
    };
    rows.iter().map(|row| row.iter().zip(types).map(cell).collect()).collect()
}

fn order(row: &[Cell]) -> Vec<String> {
    let text = |cell: &Cell| match cell {
        Cell::Null => "~".to_owned(),
        Cell::Float(_) => String::new(),
        Cell::Text(text) => text.clone(),
    };
    // Floats last, by their leading digits.
    let floats = row.iter().map(|cell| if let Cell::Float(x) = cell { format!("{x:.3e}") } else { String::new() });
    row.iter().map(text).chain(floats).collect()
}

fn same(a: &Cell, b: &Cell) -> bool {
    match (a, b) {
        (Cell::Float(a), Cell::Float(b)) => {
            // Everything in the data is of the order of 1 to 1,000: what is far below 1 was left over by a subtraction.
            (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1.0)
        }
        (a, b) => a == b,
    }
}

/// Says where two answers differ.
pub fn difference(expected: &Rows, got: &Rows, ordered: bool) -> Option<String> {
    let (mut expected, mut got) = (expected.clone(), got.clone());
    if !ordered {
        expected.sort_by_key(|row| order(row));
        got.sort_by_key(|row| order(row));
    }
    if expected.len() != got.len() {
        return Some(format!(
            "{} rows instead of {}\nexpected {expected:?}\ngot      {got:?}",
            got.len(),
            expected.len()
        ));
    }
    let differs = |(a, b): &(&Vec<Cell>, &Vec<Cell>)| a.len() != b.len() || !a.iter().zip(*b).all(|(a, b)| same(a, b));
    let found = expected.iter().zip(&got).find(differs);
    found.map(|(a, b)| format!("\nexpected {a:?}\ngot      {b:?}"))
}

#[test]
fn differences_are_seen() {
    let row = |x: f64, t: &str| vec![vec![Cell::Float(x), Cell::Text(t.to_owned())]];
    assert_eq!(difference(&row(100.0, "a"), &row(100.0 + 5e-11, "a"), true), None);
    assert!(difference(&row(100.0, "a"), &row(100.0 + 5e-10, "a"), true).is_some());
    assert!(difference(&row(1.0, "a"), &row(1.0, "b"), true).is_some());
    assert!(difference(&row(1.0, "a"), &vec![], false).is_some());
    assert!(difference(&vec![vec![Cell::Null]], &vec![vec![Cell::Text("0".into())]], false).is_some());
}
