//! What clients are told of the noise in an answer's columns: its mechanism in the columns' metadata, and with `kanon.show_accuracy` the ends of
//! their intervals as columns beside them.
//!
//! ```text
//! outer plan ─► kanon_planner::intervals ─► which columns are measures as they stand ─► Shown: a plan and its columns
//! ```
//!
//! What is described and what is answered are made by the same steps, from the query, the policies and the settings. Which columns have
//! intervals beside them is settled when a statement is prepared: a driver that was told of its columns gets those.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use kanon_planner::facts::{Facts, Placement};
use kanon_planner::intervals::{Noisy, Origin, noisy, with_intervals};
use kanon_planner::private::accuracy::{MeasureNoise, readable};
use kanon_planner::private::part_noise::NOISE_KEY;
use kanon_planner::release_unit::{Decision, ReleaseUnit};

use super::context::PlanFacts;
use super::parameters::Parameters;
use super::query::Planned;
use super::report::NoisyColumn;
use super::told::Told;
use super::{Prepared, Session};
use crate::error::Result;
use crate::statement::Statement;

/// The key of a field's metadata that names the mechanism of its noise: `laplace` or `gaussian`; several, separated by commas, if the column is
/// computed from several numbers with noise.
pub const MECHANISM_KEY: &str = "kanon.mechanism";
/// The key of a field's metadata with the scale of its noise, one a mechanism: `12.5`, or `12.5 norm` in the description of what chooses a norm when it runs.
pub const SCALE_KEY: &str = "kanon.scale";
/// The key of a field's metadata with half the width of its 95% interval: a number, or one over the number of rows, `12.5/n`; both may be followed by ` norm`.
pub const ERROR_KEY: &str = "kanon.error";
/// The key of a field's metadata that says which end of the interval of the column before it is: `lower` or `upper`.
pub const INTERVAL_KEY: &str = "kanon.interval";

/// The keys of metadata that a client may see: no file can set them.
pub const KEYS: [&str; 5] = [MECHANISM_KEY, SCALE_KEY, ERROR_KEY, NOISE_KEY, INTERVAL_KEY];

/// Which columns have intervals beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Intervals {
    /// All that can have one, if `kanon.show_accuracy` is on.
    AsSet,
    /// These, counted without intervals.
    At(Vec<usize>),
}

impl Intervals {
    /// Those of a statement's columns as it was prepared.
    pub(super) fn of(prepared: &Prepared) -> Intervals {
        match (&*prepared.statement, &prepared.schema) {
            (Statement::Query(_), Some(schema)) => Intervals::At(with_intervals_beside(schema)),
            _ => Intervals::AsSet,
        }
    }
}

/// The columns that have intervals beside them, counted without those.
fn with_intervals_beside(schema: &Schema) -> Vec<usize> {
    let mut found = Vec::new();
    let mut columns = 0_usize;
    for field in schema.fields() {
        match field.metadata().get(INTERVAL_KEY).map(String::as_str) {
            Some("lower") => found.extend(columns.checked_sub(1)),
            Some(_) => {}
            None => columns += 1,
        }
    }
    found
}

/// An outer plan as it is answered, and its columns.
pub(super) struct Shown {
    pub(super) plan: LogicalPlan,
    /// Without what is known of noise.
    schema: SchemaRef,
    /// The columns with noise: their place in `schema`, and which measure they are.
    noisy: Vec<(usize, Origin)>,
}

impl Shown {
    /// `schema` is the plan's as clients see it.
    pub(super) fn of(plan: LogicalPlan, schema: &SchemaRef, intervals: &[usize]) -> Result<Shown> {
        let found = noisy(&plan);
        let beside = |column: &usize| intervals.contains(column);
        let plan = if intervals.is_empty() { plan } else { with_intervals(&plan, intervals)? };
        let (mut fields, mut noisy) = (Vec::new(), Vec::new());
        for (column, field) in schema.fields().iter().enumerate() {
            if let Some(Noisy { origin: Some(origin), .. }) = found.iter().find(|noisy| noisy.column == column) {
                noisy.push((fields.len(), *origin));
            }
            fields.push(field.as_ref().clone());
            if beside(&column) {
                for (suffix, end) in [("lo", "lower"), ("hi", "upper")] {
                    let of_type = plan.schema().fields().get(fields.len());
                    let of_type = of_type.map_or(field.data_type(), |field| field.data_type()).clone();
                    let metadata = HashMap::from([(INTERVAL_KEY.to_owned(), end.to_owned())]);
                    fields
                        .push(Field::new(format!("{}_{suffix}", field.name()), of_type, true).with_metadata(metadata));
                }
            }
        }
        if plan.schema().fields().len() > fields.len() {
            fields.push(Field::new("_sites", DataType::Int64, true));
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        Ok(Shown { plan, schema, noisy })
    }

    /// The columns, with what is known of the noise of the measures.
    pub(super) fn schema(&self, noise: impl Fn(Origin) -> Option<MeasureNoise>) -> SchemaRef {
        let mut fields: Vec<Field> = self.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (place, origin) in &self.noisy {
            if let (Some(field), Some(noise)) = (fields.get_mut(*place), noise(*origin)) {
                let mut metadata = field.metadata().clone();
                metadata.insert(MECHANISM_KEY.to_owned(), noise.mechanism());
                metadata.insert(SCALE_KEY.to_owned(), noise.scale());
                metadata.extend(noise.error().map(|error| (ERROR_KEY.to_owned(), error)));
                metadata.extend(noise.exact.map(|exact| (NOISE_KEY.to_owned(), exact.to_string())));
                field.set_metadata(metadata);
            }
        }
        Arc::new(Schema::new_with_metadata(fields, self.schema.metadata().clone()))
    }

    /// The columns with noise of a unit, for the report: by the name that the client sees, if it sees it.
    pub(super) fn columns_of(
        &self,
        unit: &ReleaseUnit,
        noise: impl Fn(Origin) -> Option<MeasureNoise>,
    ) -> Vec<NoisyColumn> {
        let columns = unit.measures.iter().enumerate().filter_map(|(measure, of)| {
            let origin = Origin { unit: unit.id, measure };
            let shown = self.noisy.iter().find(|(_, shown)| *shown == origin);
            let name = match shown.and_then(|(place, _)| self.schema.fields().get(*place)) {
                Some(field) => field.name().clone(),
                None => readable(&of.aggregate),
            };
            Some(NoisyColumn { name, noise: noise(origin)? })
        });
        columns.collect()
    }
}

impl Session {
    /// The columns of an outer plan that have intervals beside them.
    pub(super) fn intervals(&self, plan: &LogicalPlan, wanted: &Intervals) -> Vec<usize> {
        match wanted {
            Intervals::At(columns) => columns.clone(),
            // Coordinators take them along.
            Intervals::AsSet
                if self.asked.is_some() || self.setting("kanon.show_accuracy").as_deref() == Some("on") =>
            {
                noisy(plan).into_iter().map(|noisy| noisy.column).collect()
            }
            Intervals::AsSet => Vec::new(),
        }
    }

    /// The columns of a planned query as they will be answered. Nothing is charged, and no data is read.
    pub(super) async fn columns(&self, planned: &mut Planned, wanted: &Intervals) -> Result<SchemaRef> {
        let schema = planned.schema();
        if !is_private(&planned.plan) {
            return Ok(schema);
        }
        // What is refused has no columns to describe, and is refused when it runs.
        let Ok(decision) = self.decide(planned.plan.clone()) else { return Ok(schema) };
        let Decision::Release { outer, units } = planned.decided.insert(decision).clone() else { return Ok(schema) };
        let intervals = self.intervals(&outer, wanted);
        let shown = Shown::of(outer, &schema, &intervals)?;
        // Of what sites answer together, each knows its own.
        let here = units.iter().filter(|unit| unit.placement == Placement::Local);
        let private: Vec<_> = here.filter_map(|unit| Some((unit, unit.question.as_ref()?))).collect();
        let mechanisms = match private.as_slice() {
            // Alone it has all of ε, whatever it is: that need not be looked up.
            [(unit, question)] if units.len() == 1 => {
                self.mechanisms(unit, question, 1).map(|(_, _, it)| BTreeMap::from([(unit.id, it)]))
            }
            _ => self.proposed(&units).await.map(|(all, _)| all.into_iter().map(|it| (it.id, it.mechanisms)).collect()),
        };
        let mechanisms = mechanisms.unwrap_or_default();
        Ok(shown.schema(|origin| {
            let (_, question) = private.iter().find(|(unit, _)| unit.id == origin.unit)?;
            mechanisms.get(&origin.unit)?.of_measure(question, origin.measure)
        }))
    }

    /// The columns of a prepared statement with these parameters, as they will be answered now: what is said of noise may depend on values
    /// and settings.
    ///
    /// # Errors
    /// As when it is prepared.
    pub async fn columns_with(&self, prepared: &Prepared, parameters: Vec<ScalarValue>) -> Result<Option<SchemaRef>> {
        let Statement::Query(query) = &*prepared.statement else { return Ok(prepared.schema.clone()) };
        if parameters.len() < prepared.parameters.len() {
            return Ok(prepared.schema.clone());
        }
        let (mut planned, _) = self.plan(query, Parameters::Values(parameters, Told::clone(&prepared.told))).await?;
        self.columns(&mut planned, &Intervals::of(prepared)).await.map(Some)
    }
}

/// Whether a plan reads a table with private access.
fn is_private(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::TableScan(scan) if PlanFacts.of(scan).private.is_some());
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || walked.is_err()
}
