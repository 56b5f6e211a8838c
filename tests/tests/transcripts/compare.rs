//! What two transcripts may differ in, and what was found.

use std::collections::HashMap;

use crate::attempts::{Attempt, Names};
use crate::flight::Heard;
use crate::oracle::{Oracle, is_true};
use crate::world::{self, K, Side, World};

type Rows = Vec<Vec<Option<String>>>;

/// The true answers, with the target and without it, to the attempts whose cohorts all hold k in both.
pub struct Truths {
    world: World,
    /// For each side: the answers of single sites and of all of them together.
    answers: HashMap<usize, [Vec<Rows>; 2]>,
}

impl Truths {
    /// Asks the files: those of node `beta`, or of both nodes, alone and together.
    pub async fn of(world: World, attempts: &[Attempt], federated: bool) -> Truths {
        let names = Names::new("", "");
        let mut sides = Vec::new();
        for side in [Side::With, Side::Without] {
            let mut all = vec![world::data(world, side)];
            if federated {
                all.push(world::data_of_alpha());
            }
            let mut oracles = Vec::new();
            for site in &all {
                oracles.push(Oracle::of(std::slice::from_ref(site)).await);
            }
            let whole = if federated { Some(Oracle::of(&all).await) } else { None };
            sides.push((oracles, whole));
        }
        let mut answers = HashMap::new();
        for (number, attempt) in attempts.iter().enumerate() {
            let Some(cohorts) = attempt.cohorts.as_ref().map(|c| names.write(c)) else { continue };
            let mut smallest = usize::MAX;
            // At each site its own cohorts count.
            for site in sides.iter().flat_map(|(sites, _)| sites) {
                smallest = smallest.min(site.smallest(&cohorts).await);
            }
            if smallest < K {
                continue;
            }
            let sql = attempt.truth.as_ref().map_or_else(|| attempt.sql(&names), |t| names.write(t));
            let mut of_sides = [Vec::new(), Vec::new()];
            for ((sites, whole), truths) in sides.iter().zip(&mut of_sides) {
                for oracle in sites.iter().chain(whole) {
                    truths.push(oracle.answer(&sql).await);
                }
            }
            answers.insert(number, of_sides);
        }
        Truths { world, answers }
    }

    /// Whether answers to an attempt may differ at all.
    pub fn is_open(&self, attempt: usize) -> bool {
        self.answers.contains_key(&attempt)
    }

    /// Whether answers may differ as they do: in numbers that are true, and in nothing else.
    pub fn allow(&self, attempt: usize, [with, without]: &[Rows; 2]) -> bool {
        let nulls = |rows: &Rows| rows.iter().flatten().map(Option::is_none).collect::<Vec<_>>();
        nulls(with) == nulls(without) && self.are_true(attempt, [with, without])
    }

    /// Whether answers show no more than that fewer than k are there who were nobody before, by what is withheld because of them. Rules 1
    /// and 2 of cohort access tell that: a part may hold 0 units or k of them, and what holds 1 to k − 1 is withheld. What is not withheld
    /// must be the same, or true of cohorts that all hold k.
    pub fn show_presence_alone(&self, attempt: usize, [with, without]: &[Rows; 2]) -> bool {
        let nothing_else = is_true(with, std::slice::from_ref(without)) && with != without;
        self.world == World::Alone && (nothing_else || self.are_true(attempt, [with, without]))
    }

    fn are_true(&self, attempt: usize, released: [&Rows; 2]) -> bool {
        self.answers
            .get(&attempt)
            .is_some_and(|truths| truths.iter().zip(released).all(|(truths, released)| is_true(released, truths)))
    }
}

/// What came of many attempts.
#[derive(Default)]
pub struct Outcome {
    /// Questions asked of both datasets.
    pub asked: usize,
    /// Answers of large cohorts that differed and were true.
    pub allowed: usize,
    /// Answers that showed that somebody is there where there was nobody, and no more.
    pub presence: usize,
    /// What differed and should not have.
    pub findings: Vec<String>,
}

impl Outcome {
    /// Adds up.
    pub fn absorb(&mut self, other: Outcome) {
        self.asked += other.asked;
        self.allowed += other.allowed;
        self.presence += other.presence;
        self.findings.extend(other.findings);
    }

    /// Two transcripts that are not equal.
    pub fn add(&mut self, allowed: bool, place: &str, sql: &str, shown: impl FnOnce() -> [String; 2]) {
        if allowed {
            self.allowed += 1;
            return;
        }
        let [with, without] = shown();
        self.findings.push(format!("{place}: {sql}\n  with the target:\n{with}  without:\n{without}"));
    }

    /// Two answers over Flight.
    pub async fn compare(
        &mut self,
        place: &str,
        sql: &str,
        with: &Heard,
        without: &Heard,
        attempt: usize,
        truths: Option<&Truths>,
    ) {
        self.asked += 1;
        if with.bytes == without.bytes {
            return;
        }
        let allowed = match truths {
            Some(truths) if truths.is_open(attempt) && with.skeleton() == without.skeleton() => {
                truths.allow(attempt, &[with.cells().await, without.cells().await])
            }
            _ => false,
        };
        self.add(allowed, place, sql, || [with, without].map(|h| format!("    {}\n", h.bytes.escape_ascii())));
    }

    /// Ends the test if anything was found.
    pub fn assert_none(&self) {
        for finding in &self.findings {
            println!("{finding}");
        }
        assert!(self.findings.is_empty(), "{} transcripts tell the target: see above", self.findings.len());
    }
}
