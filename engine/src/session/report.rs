//! What a statement's releases came to, site by site: for the NOTICE, for `kanon.last_query`, for Flight's metadata.
//!
//! A report says which sites answered and by what rule they withhold. It never says whether anything was withheld: that would
//! tell a cohort of k − 1 from none.

use crate::federation::client::Asked;
use crate::ledger::{Cost, Left, Spent};
use kanon_planner::facts::SiteId;
use kanon_planner::private::accuracy::MeasureNoise;
use kanon_planner::release_unit::ReleaseUnit;
use kanon_privacy::expected::Short;

/// How asking a site ended. In order: of several releases of a statement the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteStatus {
    /// It answered.
    Ok,
    /// It answered, and released nothing: it has no such rows, or withheld all. Which is not said.
    NoRelease,
    /// Its policy refuses the question.
    RefusedPolicy,
    /// The budget is spent.
    RefusedBudget,
    /// It did not answer in time.
    Timeout,
    /// It could not be reached.
    Unreachable,
    /// It speaks another version of the protocol.
    VersionMismatch,
}

impl SiteStatus {
    /// As `kanon.last_query` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            SiteStatus::Ok => "ok",
            SiteStatus::NoRelease => "no_release",
            SiteStatus::RefusedPolicy => "refused_policy",
            SiteStatus::RefusedBudget => "refused_budget",
            SiteStatus::Timeout => "timeout",
            SiteStatus::Unreachable => "unreachable",
            SiteStatus::VersionMismatch => "version_mismatch",
        }
    }

    /// Whether the site answered.
    pub fn answered(self) -> bool {
        matches!(self, SiteStatus::Ok | SiteStatus::NoRelease)
    }

    /// Why it did not, in a few words.
    fn reason(self) -> &'static str {
        match self {
            SiteStatus::Ok | SiteStatus::NoRelease => "answered",
            SiteStatus::RefusedPolicy => "refused by its policy",
            SiteStatus::RefusedBudget => "its budget is spent",
            SiteStatus::Timeout => "timed out",
            SiteStatus::Unreachable => "unreachable",
            SiteStatus::VersionMismatch => "speaks another version",
        }
    }
}

/// One site's part in a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteReport {
    /// The site.
    pub site: SiteId,
    /// How it ended.
    pub status: SiteStatus,
    /// What is withheld by rule, a constant text. `None` where no rule applies: open tables.
    pub rule: Option<String>,
    /// ε charged; `None` where no noise is added.
    pub epsilon: Option<f64>,
    /// δ charged; `None` where no noise is added.
    pub delta: Option<f64>,
    /// The answer came from the store and cost nothing.
    pub cached: bool,
    /// The columns with noise.
    pub columns: Vec<NoisyColumn>,
    /// What is left of the budgets, by kind of unit.
    pub left: Vec<Left>,
}

/// A column with noise.
#[derive(Debug, Clone, PartialEq)]
pub struct NoisyColumn {
    /// Its name as the client sees it; of a measure that is no column by itself, what it is in the plan.
    pub name: String,
    /// The noise in it.
    pub noise: MeasureNoise,
}

impl SiteReport {
    /// The columns with noise as JSON: name, mechanism, scale, and half the width of the 95% interval if it can be told before.
    pub fn columns_as_json(&self) -> serde_json::Value {
        let column = |column: &NoisyColumn| {
            serde_json::json!({
                "name": column.name,
                "mechanism": column.noise.mechanism(),
                "scale": column.noise.scale(),
                "error": column.noise.error(),
            })
        };
        self.columns.iter().map(column).collect()
    }
}

/// A statement's releases.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrivacyReport {
    sites: Vec<SiteReport>,
    /// The most ε and δ that each of several sites was asked to charge: what it did charge it tells its own people.
    asked: Option<(f64, f64)>,
    /// Whether somebody may be at several of them, for all that their operators declare.
    may_overlap: bool,
}

impl PrivacyReport {
    /// The sites that were asked, by name.
    pub fn sites(&self) -> &[SiteReport] {
        &self.sites
    }

    /// A unit was released here.
    pub fn add_local(&mut self, site: &SiteId, unit: &ReleaseUnit) {
        self.add(site.clone(), SiteStatus::Ok, rule(unit));
    }

    /// A private unit was released here; `cost` is what was charged for it, `None` if it was answered before.
    pub fn add_private(&mut self, site: &SiteId, unit: &ReleaseUnit, cost: Option<&Cost>) {
        let selects = unit.question.as_ref().is_some_and(|question| question.public_cells().is_none());
        let known = self.sites.iter().find(|known| known.site == *site).map(|known| (known.epsilon, known.cached));
        self.add(site.clone(), SiteStatus::Ok, if selects { rule(unit) } else { None });
        if let Some(report) = self.sites.iter_mut().find(|known| known.site == *site) {
            let add = |sum: &mut Option<f64>, more: f64| *sum = Some(sum.unwrap_or(0.0) + more);
            add(&mut report.epsilon, cost.map_or(0.0, |cost| cost.epsilon.get()));
            add(&mut report.delta, cost.map_or(0.0, |cost| cost.delta.get()));
            report.cached = cost.is_none() && known.is_none_or(|(epsilon, cached)| epsilon.is_none() || cached);
        }
    }

    /// The columns with noise of what was released at a site.
    pub fn add_columns(&mut self, site: &SiteId, columns: Vec<NoisyColumn>) {
        if let Some(report) = self.sites.iter_mut().find(|known| known.site == *site) {
            report.columns.extend(columns);
        }
    }

    /// What is left of the budgets at a site, after what was charged.
    pub fn add_left(&mut self, site: &SiteId, left: Vec<Left>) {
        if let Some(report) = self.sites.iter_mut().find(|known| known.site == *site) {
            report.left = left;
        }
    }

    /// Sites were asked for a unit, and to spend at most so much on it where access is private.
    pub fn add_sites(
        &mut self,
        statuses: impl IntoIterator<Item = (SiteId, SiteStatus)>,
        unit: &ReleaseUnit,
        asked: Option<Asked>,
    ) {
        if let Some(asked) = asked {
            let (epsilon, delta) = self.asked.unwrap_or_default();
            self.asked = Some((epsilon + asked.epsilon.get(), delta + asked.delta.get()));
            self.may_overlap |= !unit.question.as_ref().is_some_and(|question| question.units_are_disjoint);
        }
        let answers_all_keys = unit.question.as_ref().is_some_and(|question| question.public_cells().is_some());
        for (site, status) in statuses {
            self.add(site, status, if answers_all_keys { None } else { rule(unit) });
        }
    }

    /// Sites were asked for rows of open tables.
    pub fn add_rows(&mut self, statuses: impl IntoIterator<Item = (SiteId, SiteStatus)>) {
        for (site, status) in statuses {
            self.add(site, status, None);
        }
    }

    fn add(&mut self, site: SiteId, status: SiteStatus, rule: Option<String>) {
        match self.sites.binary_search_by(|known| known.site.cmp(&site)) {
            Ok(found) => {
                let Some(known) = self.sites.get_mut(found) else { return };
                // One release withheld whole beside one that was not says nothing new: the site answered.
                known.status = if known.status.answered() && status.answered() {
                    known.status.min(status)
                } else {
                    known.status.max(status)
                };
                match (&mut known.rule, rule) {
                    (Some(known), Some(rule)) if !known.split("; ").any(|part| part == rule) => {
                        known.push_str("; ");
                        known.push_str(&rule);
                    }
                    (known @ None, rule) => *known = rule,
                    _ => {}
                }
            }
            Err(place) => {
                let report = SiteReport {
                    site,
                    status,
                    rule,
                    epsilon: None,
                    delta: None,
                    cached: false,
                    columns: Vec::new(),
                    left: Vec::new(),
                };
                self.sites.insert(place, report);
            }
        }
    }

    /// The one NOTICE after a release: who answered, who did not, what is withheld by rule.
    pub fn notice(&self) -> Option<String> {
        if self.sites.is_empty() {
            return None;
        }
        let (answered, silent): (Vec<_>, Vec<_>) = self.sites.iter().partition(|s| s.status.answered());
        let total = self.sites.len();
        let sites = if total == 1 { "site" } else { "sites" };
        let mut text = format!("{} of {total} {sites} answered", answered.len());
        if !answered.is_empty() {
            let names: Vec<_> = answered.iter().map(|s| s.site.as_str()).collect();
            text.push_str(&format!(": {}", names.join(", ")));
        }
        if !silent.is_empty() {
            let names: Vec<_> = silent.iter().map(|s| format!("{} ({})", s.site, s.status.reason())).collect();
            text.push_str(&format!("; no answer from {}", names.join(", ")));
        }
        let mut rules: Vec<&str> = Vec::new();
        for rule in self.sites.iter().filter_map(|s| s.rule.as_deref()).flat_map(|r| r.split("; ")) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        for rule in rules {
            text.push_str(&format!("; {rule}"));
        }
        for site in &self.sites {
            match (site.epsilon, site.delta) {
                _ if site.cached => text.push_str(&format!("; {} answered from its ledger, at no cost", site.site)),
                (Some(epsilon), Some(delta)) => {
                    // As the ledger enters it: in units of 10^-9, rounded up.
                    let epsilon = (epsilon * 1e9).ceil() / 1e9;
                    text.push_str(&format!("; {} charged {}", site.site, amounts(epsilon, delta)));
                }
                _ => {}
            }
            for left in &site.left {
                text.push_str(&format!("; {}", what_is_left(left)));
            }
        }
        if let Some((epsilon, delta)) = self.asked {
            let bears = match self.may_overlap {
                true => "a person at several of them bears the sum",
                false => "nobody is at several of them, as their operators declare",
            };
            let each = amounts((epsilon * 1e9).ceil() / 1e9, delta);
            text.push_str(&format!("; each charges at most {each}, and {bears}"));
        }
        Some(text)
    }
}

/// What is left of a kind's budget, in words.
pub(super) fn what_is_left(left: &Left) -> String {
    // Rounded down: what is told is there.
    let spent = |spent: &Spent| amounts((spent.epsilon * 1e6).floor() / 1e6, spent.delta);
    let Left { kind, principal, own, everybody, .. } = left;
    if own == everybody {
        return format!("left of unit kind {kind} are {} for {principal}, as for everybody together", spent(own));
    }
    format!(
        "left of unit kind {kind} are {} for {principal} and {} for everybody together",
        spent(own),
        spent(everybody)
    )
}

fn amounts(epsilon: f64, delta: f64) -> String {
    format!("epsilon {epsilon} and delta {}", Short(delta))
}

/// What a unit's rules withhold: from the policy, never from the data.
fn rule(unit: &ReleaseUnit) -> Option<String> {
    let protection = unit.protection.as_ref()?;
    Some(format!("groups of fewer than {} are withheld", protection.min_cohort.get()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn report(sites: &[(&str, SiteStatus)]) -> PrivacyReport {
        let mut report = PrivacyReport::default();
        for (site, status) in sites {
            report.add(SiteId::new(*site), *status, Some("groups of fewer than 10 are withheld".to_owned()));
        }
        report
    }

    #[test]
    fn the_notice_names_sites_and_rules_and_nothing_of_the_data() {
        assert_eq!(PrivacyReport::default().notice(), None);
        let all = [("cleveland", SiteStatus::Ok), ("basel", SiteStatus::Ok)];
        assert_eq!(
            report(&all).notice().unwrap(),
            "2 of 2 sites answered: basel, cleveland; groups of fewer than 10 are withheld"
        );
        // A site that withheld everything is not told from one that did not.
        let one_withheld = [("cleveland", SiteStatus::NoRelease), ("basel", SiteStatus::Ok)];
        assert_eq!(report(&one_withheld).notice(), report(&all).notice());
        let partial =
            [("cleveland", SiteStatus::Ok), ("basel", SiteStatus::Timeout), ("zurich", SiteStatus::Unreachable)];
        assert_eq!(
            report(&partial).notice().unwrap(),
            "1 of 3 sites answered: cleveland; no answer from basel (timed out), zurich (unreachable); groups of fewer than 10 are withheld"
        );
    }

    #[test]
    fn several_releases_of_a_statement_are_one_line_a_site() {
        let mut twice = report(&[("basel", SiteStatus::Ok), ("basel", SiteStatus::Timeout)]);
        twice.add(SiteId::new("basel"), SiteStatus::Ok, Some("groups of fewer than 20 are withheld".to_owned()));
        assert_eq!(twice.sites().len(), 1);
        assert_eq!(twice.sites()[0].status, SiteStatus::Timeout);
        assert_eq!(
            twice.sites()[0].rule.as_deref(),
            Some("groups of fewer than 10 are withheld; groups of fewer than 20 are withheld")
        );
    }
}
