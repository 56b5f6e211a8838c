//! Quantiles, min and max over rows with private access.

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable};
use kanon_privacy::policy::Access;
use kanon_privacy::statistics::{Fraction, Rank};

use super::rows::Rows;
use crate::refusal::Refusal;
use crate::release_unit::MeasureKind;

/// Whether these rows have private access: then a value of theirs may be an answer, chosen by the exponential mechanism.
pub(super) fn are_private(rows: &Rows) -> bool {
    rows.protection.as_ref().is_some_and(|p| p.access == Access::Private)
}

/// The rank that an aggregate asks for. The quantiles 0 and 1 are the extremes: no value lies beyond them to tell where they are.
pub(super) fn rank(name: &str, kind: &MeasureKind) -> Option<Rank> {
    match (kind, name) {
        (MeasureKind::Quantile(alpha), _) if *alpha <= 0.0 => Some(Rank::Minimum),
        (MeasureKind::Quantile(alpha), _) if *alpha >= 1.0 => Some(Rank::Maximum),
        (MeasureKind::Quantile(alpha), _) => Fraction::try_from(*alpha).ok().map(Rank::Quantile),
        (MeasureKind::Extreme, "min") => Some(Rank::Minimum),
        (MeasureKind::Extreme, "max") => Some(Rank::Maximum),
        _ => None,
    }
}

/// Only numbers lie on a grid.
pub(super) fn refuse_unordered(name: &str, x: &Expr, schema: &DFSchema, about: &str) -> Result<(), Refusal> {
    if x.get_type(schema).is_ok_and(|t| t.is_numeric()) {
        return Ok(());
    }
    Err(Refusal::unsupported(format!("{name} over {about}, which has private access, needs a number"))
        .hint("Turn the value into a number first, for example with extract(epoch from …)."))
}
