//! What the argument of a measure is made of: which arithmetic weighs everybody alike, and which could be made to weigh a few.
//!
//! Rule 1 lets arithmetic through without looking at the values, and rule 3 looks at their absolute sums. Both would be worth nothing if
//! arithmetic were free:
//! - high powers and differences of products pick values out: `(x − 20)(x − 30)…`, and the sums of x, x², x³, … of a group are its values;
//! - a constant that is added and taken away again rounds in between: `(x · 1e-16 + 1) − 1` is a comparison;
//! - `exp(1000 · (x − 40))` is nothing but its largest values;
//! - `x + 1e9` hides who is large, and one subtraction brings it back.
//!
//! So arithmetic is *plain* if every column stands in it once (twice in a square), no product has more than two columns, at most one
//! constant is added on the way, nothing is added in single precision, and ln, exp and sqrt are taken of a column as it stands, shifted
//! and (for exp: not steeper than e) scaled. Any other arithmetic is a condition: its values are parts. Products of two columns may be zero for
//! nobody or for at least k units, and for as many not: a flag times a number is the number under a filter. And dominance is tested on
//! [`terms`]: the summands without what is added to everybody.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, cast};

use crate::checked::{self, Arithmetic};
use crate::conditions::{add, constant, operands};
use crate::total::literal;

/// What is known of a plain argument.
#[derive(Debug, Clone, Default)]
struct Form {
    /// 0 for what is the same for all rows or is tested as a condition, 1 for columns, 2 for products and functions.
    degree: u8,
    /// Whether a constant was added.
    offset: bool,
    /// The columns in it, each once.
    columns: Vec<Expr>,
    /// The absolute value of the literal that the column is multiplied with.
    slope: f64,
}

/// Whether an argument is plain arithmetic. `stands` says whether a column is one of a table as it stands.
pub(crate) fn is_plain(argument: &Expr, schema: &DFSchema, stands: &dyn Fn(&Expr) -> bool) -> bool {
    form(argument, schema, stands).is_some()
}

#[recursive::recursive]
fn form(expr: &Expr, schema: &DFSchema, stands: &dyn Fn(&Expr) -> bool) -> Option<Form> {
    if constant(expr) {
        return Some(Form::default());
    }
    match step(expr, schema) {
        Step::Column => Some(Form { degree: 1, offset: false, columns: vec![expr.clone()], slope: 1.0 }),
        // Its values are parts: in each of them it is a constant.
        Step::Condition => Some(Form::default()),
        Step::Same(inner) => form(inner, schema, stands),
        Step::Sum(left, right) => {
            if matches!(expr.get_type(schema), Ok(DataType::Float16 | DataType::Float32)) {
                return None;
            }
            let adds = |expr: &Expr, form: &Form| form.offset || form.degree == 0 && !is_zero(expr);
            let (of_left, of_right) = (form(left, schema, stands)?, form(right, schema, stands)?);
            let (a, b) = (adds(left, &of_left), adds(right, &of_right));
            let (left, right, offset) = (of_left, of_right, a || b);
            if a && b && (left.degree > 0 || right.degree > 0) {
                return None;
            }
            let columns = apart(left.columns, right.columns)?;
            Some(Form { degree: left.degree.max(right.degree), offset, columns, slope: left.slope.max(right.slope) })
        }
        Step::Product(left, right) => {
            let scale = |e: &Expr| literal(e).and_then(number).map(f64::abs);
            let (by, of) = (form(left, schema, stands)?, form(right, schema, stands)?);
            match (by.degree, of.degree) {
                (0, 0) => Some(Form::default()),
                (0, _) => Some(Form { slope: of.slope * scale(left).unwrap_or(f64::INFINITY), ..of }),
                (_, 0) => Some(Form { slope: by.slope * scale(right).unwrap_or(f64::INFINITY), ..by }),
                (1, 1) if by.columns.len() == 1 && of.columns.len() == 1 => {
                    let mut columns = by.columns;
                    of.columns.into_iter().for_each(|c| add(&mut columns, c));
                    Some(Form { degree: 2, offset: by.offset || of.offset, columns, slope: f64::INFINITY })
                }
                _ => None,
            }
        }
        Step::Function(name, inner) => {
            let inner = form(inner, schema, stands)?;
            let [column] = inner.columns.as_slice() else { return None };
            // Beside a constant a small value rounds away, and the logarithm would show whether it did.
            let shifted = inner.offset && (inner.slope != 1.0 || !stands(column));
            let steep = name == "exp" && (inner.slope > 1.0 || !stands(column));
            let fine = inner.degree == 1 && !shifted && !steep;
            fine.then_some(Form { degree: 2, offset: false, columns: inner.columns, slope: f64::INFINITY })
        }
    }
}

/// Columns of two summands, if they have none in common.
fn apart(mut left: Vec<Expr>, right: Vec<Expr>) -> Option<Vec<Expr>> {
    if right.iter().any(|c| left.contains(c)) {
        return None;
    }
    left.extend(right);
    Some(left)
}

/// The values whose absolute sums a unit are tested for dominance: the summands of an argument, without the constants that are added to
/// everybody and without the literals that they are multiplied with. One at least.
pub(crate) fn terms(argument: &Expr, schema: &DFSchema) -> Vec<Expr> {
    let mut found = Vec::new();
    let (terms, _) = split(argument, schema);
    terms.into_iter().for_each(|t| add(&mut found, t));
    if found.is_empty() {
        found.push(argument.clone());
    }
    found
}

/// Products of two different columns in an argument, without what is added to either.
pub(crate) fn products(argument: &Expr, schema: &DFSchema) -> Vec<Expr> {
    let mut found = Vec::new();
    collect_products(argument, schema, &mut found);
    found
}

#[recursive::recursive]
fn collect_products(expr: &Expr, schema: &DFSchema, found: &mut Vec<Expr>) {
    match step(expr, schema) {
        Step::Column | Step::Condition | Step::Function(..) => {}
        Step::Same(inner) => collect_products(inner, schema, found),
        Step::Sum(left, right) => {
            collect_products(left, schema, found);
            collect_products(right, schema, found);
        }
        Step::Product(left, right) => {
            collect_products(left, schema, found);
            collect_products(right, schema, found);
            if constant(left) || constant(right) {
                return;
            }
            for a in split(left, schema).0 {
                for b in split(right, schema).0.iter().filter(|b| **b != a) {
                    if !constant(&a) && !constant(b) {
                        add(found, times(&a, b));
                    }
                }
            }
        }
    }
}

/// The summands that differ from row to row, and whether a constant is among them.
#[recursive::recursive]
fn split(expr: &Expr, schema: &DFSchema) -> (Vec<Expr>, bool) {
    if constant(expr) {
        return (vec![], !is_zero(expr));
    }
    match step(expr, schema) {
        Step::Column | Step::Condition | Step::Function(..) => (vec![expr.clone()], false),
        Step::Same(inner) => match split(inner, schema) {
            // A column stays under its cast: that is what is summed.
            (terms, false) if matches!(terms.as_slice(), [one] if one == inner) => (vec![expr.clone()], false),
            other => other,
        },
        Step::Sum(left, right) => {
            let (mut terms, a) = split(left, schema);
            let (more, b) = split(right, schema);
            terms.extend(more);
            (terms, a || b)
        }
        Step::Product(left, right) => {
            if constant(left) {
                return split(right, schema);
            }
            if constant(right) {
                return split(left, schema);
            }
            let (a, a_offset) = split(left, schema);
            let (b, b_offset) = split(right, schema);
            let mut terms = Vec::new();
            for x in &a {
                terms.extend(b.iter().map(|y| times(x, y)));
            }
            if a_offset {
                terms.extend(b);
            }
            if b_offset {
                terms.extend(a);
            }
            (terms, a_offset && b_offset)
        }
    }
}

/// One node of an argument.
enum Step<'a> {
    Column,
    Condition,
    /// A sign, an alias or a cast that loses nothing.
    Same(&'a Expr),
    Sum(&'a Expr, &'a Expr),
    Product(&'a Expr, &'a Expr),
    Function(String, &'a Expr),
}

fn step<'a>(expr: &'a Expr, schema: &DFSchema) -> Step<'a> {
    let Some(inner) = operands(expr, schema) else { return Step::Condition };
    let op = match (checked::as_arithmetic(expr), expr) {
        (Some((op, ..)), _) => Some(op),
        (None, Expr::BinaryExpr(e)) if matches!(e.op, Operator::Plus | Operator::Minus | Operator::Multiply) => {
            Arithmetic::of(e.op)
        }
        _ => None,
    };
    match (op, inner.as_slice(), expr) {
        (Some(Arithmetic::Multiply), [left, right], _) => Step::Product(left, right),
        (Some(_), [left, right], _) => Step::Sum(left, right),
        (None, [one], Expr::ScalarFunction(call)) => Step::Function(call.func.name().to_owned(), one),
        (None, [one], _) => Step::Same(one),
        (None, [], Expr::Column(_)) => Step::Column,
        _ => Step::Condition,
    }
}

/// A product of ours: in double precision, which neither fails nor minds the types.
fn times(a: &Expr, b: &Expr) -> Expr {
    cast(a.clone(), DataType::Float64) * cast(b.clone(), DataType::Float64)
}

/// As in the negation of an integer: zero less the value.
fn is_zero(expr: &Expr) -> bool {
    literal(expr).and_then(number) == Some(0.0)
}

fn number(value: ScalarValue) -> Option<f64> {
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(Some(x))) => Some(x),
        _ => None,
    }
}
