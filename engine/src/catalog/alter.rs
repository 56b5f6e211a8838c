//! ALTER TABLE: what it makes of a table, what is different then, and whether more is told than before.

use std::sync::Arc;

use kanon_privacy::policy::{Access, ColumnRole};

use super::options::boolean;
use super::policy::undefined_column;
use super::{Catalog, ColumnSettings, DEFAULT_UNIT_KIND, Policy, TABLE_OPTIONS, read};
use crate::audit::shown_location;
use crate::difference::{Difference, alone, both, shortened};
use crate::error::{Error, Result, Sqlstate};
use crate::store::TableRecord;

/// What ALTER TABLE changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableChange {
    /// SET (option = value, …)
    Set(Vec<(String, String)>),
    /// RESET (option, …)
    Reset(Vec<String>),
    /// ALTER COLUMN … SET (option = value, …)
    SetColumn(String, Vec<(String, String)>),
    /// ALTER COLUMN … RESET (option, …)
    ResetColumn(String, Vec<String>),
}

/// A table as it is, and as a change would make it.
pub struct ChangedTable {
    before: TableRecord,
    after: TableRecord,
    /// The data is looked at anew.
    refresh: bool,
}

impl Catalog {
    /// What a change would make of a table of schema `public`. Nothing is changed by this.
    ///
    /// # Errors
    /// 42P01, 42703, 42704, 22023 with what to write.
    pub fn changed(&self, name: &str, change: &TableChange) -> Result<ChangedTable> {
        let before = self.record(name)?;
        let mut after = before.clone();
        let mut refresh = false;
        match change {
            TableChange::Set(options) => {
                for (position, (option, value)) in options.iter().enumerate() {
                    if options.iter().take(position).any(|(earlier, _)| earlier == option) {
                        return Err(Error::new(Sqlstate::SyntaxError, format!("option \"{option}\" is given twice")));
                    }
                    if option == "refresh" {
                        refresh = boolean(option, value)?;
                    }
                    after.policy.set(option, value)?;
                }
            }
            TableChange::Reset(options) => options.iter().try_for_each(|option| after.policy.reset(option))?,
            TableChange::SetColumn(column, options) => change_column(&mut after, column, |settings| {
                options.iter().try_for_each(|(option, value)| settings.set(option, value))
            })?,
            TableChange::ResetColumn(column, options) => change_column(&mut after, column, |settings| {
                options.iter().try_for_each(|option| settings.reset(option))
            })?,
        }
        after.policy.validate(name, &after.schema, &after.columns)?;
        if let (Some(Access::Private), Some(_)) = (after.policy.access, &after.policy.unit) {
            self.join_unit_kind(&mut after)?;
        }
        Ok(ChangedTable { before, after, refresh })
    }

    /// Makes a change. The texts are NOTICEs for the steward.
    ///
    /// # Errors
    /// 55000 if another session changed the table since the change was thought out; what is wrong with its data.
    pub async fn change_table(&self, changed: ChangedTable) -> Result<Vec<String>> {
        let ChangedTable { before, after: mut record, refresh } = changed;
        let unit_changed =
            before.policy.unit != record.policy.unit || before.policy.unit_unique != record.policy.unit_unique;
        let mut notices = Vec::new();
        if refresh {
            read::recheck(&self.state, &mut record.source, &record.schema, self.data_root.as_deref()).await?;
        }
        if let Some(unit) = record.policy.unit.clone()
            && (unit_changed || refresh)
        {
            // Taken before the scan: a change while it runs makes it run again.
            record.policy.unit_data_version = Some(read::data_version(&self.state, &record.source).await?);
            record.policy.found_of_units(self.check_unit(&record, &unit, &mut notices).await?);
        }
        if let (Some(Access::Private), Some(_)) = (record.policy.access, &record.policy.unit) {
            let kind = record.policy.unit_kind.as_deref().unwrap_or(DEFAULT_UNIT_KIND);
            if !self.read().records.privacy_units.contains_key(kind) && record.policy != before.policy {
                notices.push(format!(
                    "unit kind \"{kind}\" has no budget, and nothing can be answered: CREATE PRIVACY UNIT {kind} WITH (budget_epsilon = …)"
                ));
            }
        }
        self.put(record).await?;
        Ok(notices)
    }

    /// What is different after a change.
    pub fn difference(&self, changed: &ChangedTable) -> Difference {
        let ChangedTable { before, after, .. } = changed;
        let mut difference = Difference::default();
        difference.stands_on(before.oid);
        let loosens_option = |option: &str| self.loosens(&before.policy, &after.policy, option);
        // A table that answered nothing tells nothing until it has a policy: then all of that is new.
        let begins = before.policy.access.is_none() && after.policy.access.is_some();
        let answers = before.policy.access.is_some() && after.policy.access.is_some();
        let is_guarded = answers && before.policy.is_protected();
        if begins {
            let source = &before.source;
            let location = shown_location(&source.location);
            difference.add(format!("table {:?} reads {} {location:?}", before.name, source.kind.as_str()), true);
        }
        for option in TABLE_OPTIONS {
            let (was, is) = (before.policy.shown(option), after.policy.shown(option));
            match (was == is, is) {
                (true, Some(is)) if begins => difference.add(alone(option, is), true),
                (true, _) => {}
                (false, is) => difference.add(both(option, was, is), begins || is_guarded && loosens_option(option)),
            }
        }
        let none = ColumnSettings::default();
        for (name, is) in &after.columns {
            let was = before.columns.get(name).unwrap_or(&none);
            let what = format!("column {name:?}");
            if was != is {
                let tells_more =
                    freedom(is.role) > freedom(was.role) || ColumnSettings { role: is.role, ..was.clone() } != *is;
                let line = format!("{what}: {} → {}", shortened(was.shown()), shortened(is.shown()));
                difference.add(line, begins || is_guarded && tells_more);
            } else if begins && *is != none {
                difference.add(format!("{what}: {}", shortened(is.shown())), true);
            }
        }
        difference
    }

    /// Whether a protected table tells more, or less safely, by another value of an option: what is not plainly stricter does.
    fn loosens(&self, before: &Policy, after: &Policy, option: &str) -> bool {
        let strictness = |policy: &Policy| match policy.access {
            Some(Access::Open) => 0,
            Some(Access::Cohort) => 1,
            Some(Access::Private) => 2,
            None => 3,
        };
        let cohort = |policy: &Policy| policy.min_cohort.unwrap_or(self.default_min_cohort);
        // What is not set is not comparable.
        let grows = |was: Option<f64>, is: Option<f64>| !was.zip(is).is_some_and(|(was, is)| is <= was);
        match option {
            "access" => strictness(after) < strictness(before),
            "min_cohort" => cohort(after) < cohort(before),
            "dominance_percent" => {
                let percent = |policy: &Policy| policy.dominance_percent.unwrap_or_default();
                percent(after) > percent(before)
            }
            "suspended" => before.suspended && !after.suspended,
            "min_cohort_public" => before.min_cohort_public && !after.min_cohort_public,
            "epsilon_per_query" => {
                grows(before.epsilon_per_query.map(|e| e.get()), after.epsilon_per_query.map(|e| e.get()))
            }
            "epsilon_per_job" => grows(before.epsilon_per_job.map(|e| e.get()), after.epsilon_per_job.map(|e| e.get())),
            "delta_per_query" => grows(before.delta_per_query.map(|d| d.get()), after.delta_per_query.map(|d| d.get())),
            _ => true,
        }
    }

    /// People have one budget, however often their data is registered: a table takes the kind of unit of those that read the same.
    ///
    /// # Errors
    /// 22023 if it is said to have another one.
    fn join_unit_kind(&self, record: &mut TableRecord) -> Result<()> {
        let records = Arc::clone(&self.read().records);
        for other in records.tables.iter().filter(|other| other.name != record.name) {
            let theirs = other.policy.unit_kind.as_deref().unwrap_or(DEFAULT_UNIT_KIND);
            if other.policy.access != Some(Access::Private) || !other.source.overlaps(&record.source) {
                continue;
            }
            match record.policy.unit_kind.as_deref() {
                None => record.policy.unit_kind = Some(theirs.to_owned()),
                Some(own) if own == theirs => {}
                Some(_) => {
                    let message = format!(
                        "table \"{}\" reads the same data as table \"{}\", whose unit kind is \"{theirs}\"",
                        record.name, other.name
                    );
                    let hint = format!(
                        "Set unit_kind = '{theirs}': people have one budget, however often their data is registered."
                    );
                    return Err(Error::new(Sqlstate::InvalidParameterValue, message).hint(hint));
                }
            }
        }
        Ok(())
    }
}

/// How much may be done with a column of a role.
fn freedom(role: ColumnRole) -> u8 {
    match role {
        ColumnRole::None => 2,
        ColumnRole::Measure => 1,
        ColumnRole::Unit | ColumnRole::Identifier => 0,
    }
}

fn change_column(
    record: &mut TableRecord,
    column: &str,
    change: impl FnOnce(&mut ColumnSettings) -> Result<()>,
) -> Result<()> {
    let Ok(field) = record.schema.field_with_name(column) else {
        return Err(undefined_column(column, &record.name, &record.schema));
    };
    let settings = record.columns.entry(column.to_owned()).or_default();
    change(settings)?;
    settings.validate(column, field.data_type())
}
