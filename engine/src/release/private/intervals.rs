//! The ends of intervals, behind the columns of an answer: asked for or not, they are kept with it, so that it has them when it is answered again.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Field, FieldRef};
use kanon_planner::private::accuracy::{companion_type, companions};
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::finalise::Interval;

use super::super::below;
use crate::error::{Error, Result};

/// The lower and upper ends so far, by measure.
pub(super) struct Ends(Vec<[Vec<Option<f64>>; 2]>);

impl Ends {
    /// Of so many measures.
    pub(super) fn of(measures: usize) -> Ends {
        Ends((0..measures).map(|_| [Vec::new(), Vec::new()]).collect())
    }

    /// Those of a measure in the next group.
    pub(super) fn push(&mut self, measure: usize, interval: Option<Interval>) {
        if let Some([lower, upper]) = self.0.get_mut(measure) {
            lower.push(interval.map(|interval| interval.lo));
            upper.push(interval.map(|interval| interval.hi));
        }
    }

    /// Adds them as columns, measure by measure.
    pub(super) fn add_to(
        self,
        unit: &ReleaseUnit,
        fields: &mut Vec<FieldRef>,
        arrays: &mut Vec<ArrayRef>,
    ) -> Result<()> {
        for (measure, ends) in self.0.into_iter().enumerate() {
            let of_type = companion_type(unit, measure).ok_or_else(Error::below_boundary)?;
            for (name, values) in companions(measure).into_iter().zip(ends) {
                let array: ArrayRef = Arc::new(Float64Array::from(values));
                // An end beyond the type's numbers is NULL.
                let array =
                    if *array.data_type() == of_type { array } else { cast(&array, &of_type).map_err(below)? };
                fields.push(Arc::new(Field::new(name, of_type.clone(), true)));
                arrays.push(array);
            }
        }
        Ok(())
    }
}
