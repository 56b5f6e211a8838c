//! A policy in plain words: `kanon.explain_policy`.

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
    if table.sites.len() > 1 {
        text.push_str(&format!(
            " It is at {} sites ({}), and each applies its own rules.",
            table.sites.len(),
            sites(table)
        ));
    }
    text
}
