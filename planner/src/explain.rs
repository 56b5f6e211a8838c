//! The text of EXPLAIN: the plan with the boundary drawn. It is made from what would run and touches no data.

use datafusion::logical_expr::LogicalPlan;

use kanon_privacy::expected::{Expected, Short};
use kanon_privacy::sensitivity::Bounding;

use crate::facts::Placement;
use crate::private::Question;
use crate::private::accuracy::readable;
use crate::private::mechanisms::Mechanisms;
use crate::private::ranks;
use crate::release_unit::{Decision, MeasureKind, ReleaseUnit};

/// One line a plan node: the outer plan, then each release unit's inner plan under its boundary.
pub fn explain(decision: &Decision) -> Vec<String> {
    let mut lines = Vec::new();
    match decision {
        Decision::Open(plan) => add(&mut lines, plan, ""),
        Decision::Release { outer, units } => {
            add(&mut lines, outer, "");
            for unit in units {
                lines.push(boundary(unit));
                let list = |exprs: Vec<String>| exprs.join(", ");
                let keys = list(unit.keys.iter().map(ToString::to_string).collect());
                let measures = list(unit.measures.iter().map(|m| m.aggregate.to_string()).collect());
                lines.push(format!("  Aggregate: groupBy=[[{keys}]], aggr=[[{measures}]]"));
                for m in &unit.measures {
                    if !m.conditions.is_empty() {
                        let conditions = list(m.conditions.iter().map(ToString::to_string).collect());
                        lines.push(format!("    parts of {}: {conditions}", m.aggregate));
                    }
                }
                add(&mut lines, &unit.input, "    ");
            }
        }
    }
    lines
}

/// What a release withholds by its rules, in words: from the query and the policy, never from data. Of a private one, what it adds and costs
/// at its policy's ε.
pub fn rules(unit: &ReleaseUnit) -> Vec<String> {
    let Some(protection) = &unit.protection else { return Vec::new() };
    if let Some(question) = &unit.question {
        return match Mechanisms::of(question, question.rules.epsilon) {
            Ok(mechanisms) => private_rules(unit, question, &mechanisms),
            Err(refusal) => vec![format!("Release #{} is refused: {}", unit.id, refusal.message)],
        };
    }
    let k = protection.min_cohort.get();
    let mut rules = vec![
        format!("groups of fewer than {k} units, and measures that fewer than {k} of them have a value for"),
        "the next smallest groups, where the withheld could be computed from the rest".to_owned(),
    ];
    if unit.measures.iter().any(|m| !m.conditions.is_empty()) {
        rules.push(format!("measures with a part of fewer than {k} units"));
    }
    if unit.measures.iter().any(|m| !m.dominated.is_empty()) {
        let percent = protection.dominance_percent.get();
        rules.push(format!("sums and averages of which two units hold {percent}% or more"));
    }
    if unit.measures.iter().any(|m| matches!(m.kind, MeasureKind::Quantile(_))) {
        rules.push(format!("quantiles with fewer than {k} units on either side"));
    }
    if unit.measures.iter().any(|m| m.kind == MeasureKind::Moments) {
        rules.push("variances and correlations with fewer than 10 degrees of freedom".to_owned());
    }
    rules.iter().map(|rule| format!("Release #{} withholds {rule}", unit.id)).collect()
}

/// What a private release costs, bounds and adds with these mechanisms, in words: from public parameters only.
pub fn private_rules(unit: &ReleaseUnit, question: &Question, mechanisms: &Mechanisms) -> Vec<String> {
    let id = unit.id;
    let kind = unit.protection.as_ref().map_or("", |protection| protection.unit_kind.as_str());
    let (epsilon, delta) = mechanisms.cost.basic();
    let (rho, zcdp_delta) = mechanisms.cost.zcdp();
    // As a ledger enters it: in units of 10^-9, rounded up.
    let epsilon = (epsilon * 1e9).ceil() / 1e9;
    let mut lines = vec![format!(
        "Release #{id} costs unit kind {kind} epsilon {epsilon} and delta {}, or by zCDP rho {} and delta {}",
        Short(delta),
        Short(rho),
        Short(zcdp_delta)
    )];
    lines.push(match (mechanisms.bounding, &mechanisms.norm) {
        (Bounding::Sampled(bounds), _) => {
            format!("Release #{id} counts at most {} groups of a unit, and {} rows in each", bounds.groups, bounds.rows)
        }
        (Bounding::Clipped(_), Some(choice)) => format!(
            "Release #{id} counts all rows of a unit, and less of each if the L2 norm of its rows by group is above the norm, \
             which it chooses with epsilon {:.4} of the cost: about {} units are above, with 99.9% fewer than {}; an answer about fewer units than that may be cut to little",
            choice.epsilon().get(),
            choice.aim(),
            choice.aim().saturating_mul(3)
        ),
        (Bounding::Clipped(clip), None) => format!(
            "Release #{id} counts all rows of a unit, and less of each if the L2 norm of its rows by group is above {}",
            Short(clip.norm.rows())
        ),
    });
    for argument in &question.arguments {
        if let Some(grid) = &argument.grid {
            let (lower, upper) = (grid.lower(), grid.upper());
            lines.push(format!(
                "Release #{id} takes values of {} as between {lower} and {upper}",
                readable(&argument.expr)
            ));
        }
    }
    match (&mechanisms.selection, question.public_cells()) {
        (Some(selection), _) => {
            lines.push(format!(
                "Release #{id} withholds keys of fewer than {} units, and those whose number of units is below {} with noise",
                selection.least(),
                selection.threshold()
            ));
            if mechanisms.selects_first {
                lines.push(format!(
                    "Release #{id} decides that first, by at most {} groups of a unit, and then reads the rows of the keys it may tell",
                    question.rules.bounds.groups
                ));
            }
        }
        (None, Some(cells)) if !question.keys.is_empty() => {
            lines.push(format!("Release #{id} answers all {cells} public keys, whether somebody has them or not"));
        }
        _ => {}
    }
    for (place, measure) in unit.measures.iter().enumerate() {
        let Some(noise) = mechanisms.of_measure(question, place) else { continue };
        let times_norm = if noise.is_of_norm { " times the norm" } else { "" };
        let adds = noise.parts.iter().map(|part| {
            let name = if part.mechanism == "laplace" { "Laplace" } else { "Gaussian" };
            format!("{name} noise of scale {}{times_norm} to {}", Short(part.scale), part.of)
        });
        let error = match noise.expected {
            Some(Expected::Fixed(half)) => format!("expected error {}{times_norm}, half a 95% interval", Short(half)),
            Some(Expected::OverRows(half)) => {
                format!("expected error about {}/n{times_norm} over n rows, half a 95% interval", Short(half))
            }
            None => "an error that depends on the data".to_owned(),
        };
        let adds = adds.collect::<Vec<_>>().join(" and ");
        lines.push(format!("Release #{id} answers {} with {adds}: {error}", readable(&measure.aggregate)));
    }
    lines.extend(ranks::told(mechanisms, question).iter().map(|line| format!("Release #{id} {line}")));
    lines
}

fn add(lines: &mut Vec<String>, plan: &LogicalPlan, indent: &str) {
    lines.extend(plan.display_indent().to_string().lines().map(|l| format!("{indent}{l}")));
}

fn boundary(unit: &ReleaseUnit) -> String {
    let mut facts = Vec::new();
    match &unit.protection {
        Some(p) => {
            facts.push(p.access.as_str().to_owned());
            facts.push(format!("unit {}", p.unit_column));
            facts.push(format!("k = {}", p.min_cohort.get()));
            if unit.one_row_a_unit {
                facts.push("one row a unit".to_owned());
            }
        }
        None => facts.push("open".to_owned()),
    }
    if let Placement::Sites { sites, .. } = &unit.placement {
        facts.push(format!("at {}", sites.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ")));
    }
    format!("--- boundary: release #{} ({}) ---", unit.id, facts.join(", "))
}
