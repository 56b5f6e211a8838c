//! A policy in plain words: `kanon.explain_policy`.

use kanon_planner::facts::PrivatePolicy;
use kanon_privacy::policy::{Access, ColumnRole};

use super::{qualified, sites};
use crate::catalog::Table;

/// What may be asked of a table.
pub(super) fn explain(table: &Table) -> String {
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
    if let Some(private) = &table.facts.private {
        text.push_str(&private_rules(private));
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

/// What the steward set for private access, whether or not anything is answered now.
fn private_rules(private: &PrivatePolicy) -> String {
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
    let bounds = [
        (private.max_groups_per_unit, "groups"),
        (private.max_rows_per_group, "rows in a group"),
        (private.max_distinct, "different values in a group"),
    ];
    for (most, what) in bounds.iter().filter_map(|(most, what)| most.map(|most| (most, what))) {
        text.push_str(&format!(" Of a unit at most {most} {what} count."));
    }
    if let Some(norm) = private.max_norm {
        text.push_str(&format!(
            " The rows of a unit count less if the L2 norm of its row counts by group is above {}.",
            norm.get()
        ));
    }
    if private.min_cohort_public {
        text.push_str(" Keys of declared domains are selected like others.");
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
