//! The text of EXPLAIN: the plan with the boundary drawn. It is made from what would run and touches no data.

use datafusion::logical_expr::LogicalPlan;

use kanon_privacy::noise::Noise;
use kanon_privacy::sensitivity::Bounding;
use kanon_privacy::statistics::{Present, Statistic};

use crate::facts::Placement;
use crate::private::Question;
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

/// What a release withholds by its rules, in words: from the query and the policy, never from data.
pub fn rules(unit: &ReleaseUnit) -> Vec<String> {
    let Some(protection) = &unit.protection else { return Vec::new() };
    if let Some(question) = &unit.question {
        return mechanisms(unit.id, question, &protection.unit_kind);
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

/// What a private release adds and costs, at its policy's ε.
fn mechanisms(id: usize, question: &Question, kind: &str) -> Vec<String> {
    let mechanisms = match Mechanisms::of(question, question.rules.epsilon) {
        Ok(mechanisms) => mechanisms,
        Err(refusal) => return vec![format!("Release #{id} is refused: {}", refusal.message)],
    };
    let (epsilon, delta) = mechanisms.cost.basic();
    let mut lines = vec![format!("Release #{id} costs unit kind {kind} at most epsilon {epsilon} and delta {delta:e}")];
    if let Bounding::Sampled(bounds) = mechanisms.bounding {
        lines.push(format!(
            "Release #{id} counts at most {} groups of a unit, and {} rows in each",
            bounds.groups, bounds.rows
        ));
    }
    match (&mechanisms.selection, question.public_cells()) {
        (Some(selection), _) => lines.push(format!(
            "Release #{id} withholds keys of fewer than {} units, and those whose number of units is below {} with noise",
            selection.least(),
            selection.threshold()
        )),
        (None, Some(cells)) if !question.keys.is_empty() => {
            lines.push(format!("Release #{id} answers all {cells} public keys, whether somebody has them or not"));
        }
        _ => {}
    }
    for (statistic, noise) in mechanisms.plan.statistics().iter().zip(&mechanisms.noise) {
        let (name, scale) = match noise {
            Noise::Laplace(scale) => ("Laplace", scale.upper()),
            Noise::Gaussian(scale) => ("Gaussian", scale.upper()),
        };
        let (what, step) = described(statistic, question);
        lines.push(format!("Release #{id} adds {name} noise of scale {:.4} to {what}", scale * step));
    }
    lines.extend(ranks::told(&mechanisms, question).iter().map(|line| format!("Release #{id} {line}")));
    lines
}

/// A statistic in words, and the size of its steps.
fn described(statistic: &Statistic<usize>, question: &Question) -> (String, f64) {
    let name = |x: &usize| question.arguments.get(*x).map_or_else(String::new, |a| a.expr.to_string());
    let step = |x: &usize| question.arguments.get(*x).and_then(|a| a.grid.as_ref()).map_or(1.0, |grid| grid.step());
    let middle = |x: &usize| {
        let grid = question.arguments.get(*x).and_then(|a| a.grid.as_ref());
        grid.map_or(0.0, |grid| grid.middle() as f64 * grid.step())
    };
    match statistic {
        Statistic::Rows(Present::All) => ("the number of rows".to_owned(), 1.0),
        Statistic::Rows(Present::One(x)) => (format!("the number of rows with {}", name(x)), 1.0),
        Statistic::Rows(Present::Both(x, y)) => (format!("the number of rows with {} and {}", name(x), name(y)), 1.0),
        Statistic::Units => ("the number of units".to_owned(), 1.0),
        Statistic::Distinct(x, most) => {
            (format!("the number of values of {}, of which a unit adds at most {most}", name(x)), 1.0)
        }
        Statistic::Sum(x) => (format!("the sum of {}", name(x)), step(x)),
        Statistic::Centred(x, _) => (format!("the sum of {} less {}", name(x), middle(x)), step(x)),
        Statistic::Square(x, _) => (format!("the sum of squares of {} less {}", name(x), middle(x)), step(x) * step(x)),
        Statistic::Product(x, y) => (
            format!("the sum of products of {} less {} and {} less {}", name(x), middle(x), name(y), middle(y)),
            step(x) * step(y),
        ),
        Statistic::Ranks(x, _) => (format!("the choice among the values of {}", name(x)), step(x)),
    }
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
