//! A policy in plain words: `kanon.explain_policy`.

use kanon_planner::facts::PrivatePolicy;
use kanon_planner::private::defaults::{DISTINCT, GROUPS, ROWS};
use kanon_privacy::policy::{Access, ColumnRole};

use super::{qualified, sites};
use crate::catalog::Table;
use crate::ledger::Budget;

/// What may be asked of a table. `budget` is of its kind of unit at this site.
pub(super) fn explain(table: &Table, budget: Option<Budget>) -> String {
    let name = qualified(table);
    let mut text = match &table.facts.closed {
        Some(why) => format!("Nothing is answered from table {name}: it {why}."),
        None => match &table.facts.protection {
            None => format!("Table {name} is open: those who have SELECT on it may read its rows."),
            Some(protection) => {
                let k = protection.min_cohort.get();
                let units = format!("{}s, which column {} names", protection.unit_kind, protection.unit_column);
                let mut text = match protection.access {
                    Access::Open | Access::Cohort => format!(
                        "Table {name} has cohort access: it answers aggregates over at least {k} different units ({units}), never rows. \
                         Smaller groups are withheld, and with them other groups from which they could be worked out. \
                         A sum or average is withheld if the two largest units make up {} percent of it or more.",
                        protection.dominance_percent.get()
                    ),
                    Access::Private => format!(
                        "Table {name} has private access: it answers aggregates with noise (differential privacy) over units ({units}), \
                         never rows."
                    ),
                };
                if protection.access == Access::Cohort {
                    text.push_str(
                        " This is k-anonymous, not differentially private: several overlapping questions may still single a person out.",
                    );
                }
                text
            }
        },
    };
    for (role, what) in [
        (ColumnRole::Identifier, "may appear nowhere in a query"),
        (ColumnRole::Measure, "may be aggregated, but be no condition and no key"),
        (ColumnRole::Unit, "may be counted, joined on and grouped by for each unit, and is never shown"),
    ] {
        let columns: Vec<_> =
            table.facts.roles.iter().filter(|(_, r)| **r == role).map(|(column, _)| column.as_str()).collect();
        if !columns.is_empty() && table.facts.closed.is_none() {
            let noun = if columns.len() == 1 { "Column" } else { "Columns" };
            text.push_str(&format!(" {noun} {} {what}.", columns.join(", ")));
        }
    }
    for (column, domain) in table.facts.domains.iter().filter(|_| table.facts.closed.is_none()) {
        let values = domain.values().len();
        text.push_str(&format!(" SELECT DISTINCT {column} answers the {values} values that are declared of it."));
    }
    if let Some(private) = &table.facts.private {
        text.push_str(&private_rules(table, private));
        if let (Some(protection), "public") = (&table.facts.protection, table.schema_name.as_str()) {
            text.push_str(&budget_text(&protection.unit_kind, budget));
        }
        text.push_str(PRIVATE_ANSWERS);
    }
    if table.sites.len() > 1 {
        text.push_str(&format!(
            " It is at {} sites ({}), and each applies its own rules.",
            table.sites.len(),
            sites(table)
        ));
    }
    text
}

/// What holds for every private table.
const PRIVATE_ANSWERS: &str = " The same question about the same data is answered again for nothing, with the same numbers; EXPLAIN (PRIVACY) \
     tells the noise and the cost of a question before it is asked, and kanon.budget what is left.";

/// What everybody together may spend.
fn budget_text(kind: &str, budget: Option<Budget>) -> String {
    match budget {
        None => format!(" Unit kind {kind} has no budget, so nothing is answered (CREATE PRIVACY UNIT)."),
        Some(budget) => {
            let time = budget.window.map_or_else(|| "for life".to_owned(), |window| format!("in any {window}"));
            let (epsilon, delta) = (budget.epsilon.get(), budget.delta.get());
            format!(
                " Everybody together may spend an epsilon of {epsilon} and a delta of {delta} on unit kind {kind} {time}."
            )
        }
    }
}

/// What the steward set for private access, whether or not anything is answered now.
fn private_rules(table: &Table, private: &PrivatePolicy) -> String {
    let mut text = String::new();
    match (private.epsilon_per_query, private.delta_per_query) {
        (Some(epsilon), Some(delta)) => text.push_str(&format!(
            " A query may spend an epsilon of {} and a delta of {} of the budget of its unit kind.",
            epsilon.get(),
            delta.get()
        )),
        (Some(epsilon), None) => {
            text.push_str(&format!(
                " A query may spend an epsilon of {} of the budget of its unit kind.",
                epsilon.get()
            ));
        }
        (None, _) => text.push_str(" What a query may spend is not set yet (epsilon_per_query)."),
    }
    if let Some(epsilon) = private.epsilon_per_job {
        text.push_str(&format!(" A job may spend an epsilon of {}.", epsilon.get()));
    }
    // As declared: whether it is true is for the steward to know.
    if table.policy.unit_unique {
        text.push_str(" Each unit has one row at most, by declaration.");
    }
    let distinct = private.max_distinct.unwrap_or(DISTINCT);
    text.push_str(&format!(
        " Where a unit has several rows at most {} groups, {} rows in a group and {distinct} different values in a group count.",
        private.max_groups_per_unit.unwrap_or(GROUPS),
        private.max_rows_per_group.unwrap_or(ROWS),
    ));
    if let Some(norm) = private.max_norm {
        text.push_str(&format!(
            " The rows of a unit count less if the L2 norm of its row counts by group is above {}.",
            norm.get()
        ));
    } else if private.max_groups_per_unit.is_none() && private.max_rows_per_group.is_none() {
        text.push_str(
            " Where all keys are public and no quantile or different values are asked, all rows of a unit count, those above a norm that is chosen privately less.",
        );
    }
    if private.disjoint {
        text.push_str(
            " Nobody in it is at another site, as its operator declares: units of several sites may be added up.",
        );
    }
    if private.min_cohort_public {
        text.push_str(" Keys of declared domains are selected like others.");
    }
    if let Some(protection) = &table.facts.protection {
        let k = protection.min_cohort.get();
        text.push_str(&match private.delta_per_query {
            Some(_) => format!(
                " Keys that are not public are told if at least {k} units, and enough for the noise, are behind them."
            ),
            None => " Keys that are not public are not told (delta_per_query is not set).".to_owned(),
        });
    }
    if !private.columns.values().any(|column| column.bounds.is_some()) {
        text.push_str(
            " No column has bounds: sums and averages need them in the query, as in avg(LEAST(GREATEST(x, 0), 100)).",
        );
    }
    for (name, column) in &private.columns {
        if let Some(bounds) = column.bounds {
            let (lower, upper) = (bounds.lower(), bounds.upper());
            text.push_str(&format!(" Values of column {name} count as between {lower} and {upper}."));
        }
        if let Some(domain) = &column.domain {
            text.push_str(&format!(" The {} values of column {name} are public", domain.values().len()));
            text.push_str(&match domain.other() {
                Some(other) => format!("; {other} stands for all others."),
                None => ".".to_owned(),
            });
        }
    }
    text
}
