//! Queries made at random: none makes the planner panic, and whatever it admits is sound.

use kanon_planner::boundary::{Options, decide};

use crate::world::{World, analysed, context, sound};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
    fn of(&mut self, of: &[&str]) -> String {
        of[self.roll(of.len())].to_owned()
    }
    fn relation(&mut self, depth: usize) -> String {
        match self.roll(if depth == 0 { 4 } else { 9 }) {
            0 | 1 => "SELECT pid, age, sex, weight AS w FROM patients".into(),
            2 => "SELECT pid, n AS age, kind AS sex, cost AS w FROM visits".into(),
            3 => "SELECT id AS pid, size AS age, name AS sex, 1.5 AS w FROM regions".into(),
            4 => format!(
                "SELECT pid, age, sex, w FROM ({}) AS x WHERE {}",
                self.relation(depth - 1),
                self.condition(depth - 1)
            ),
            5 => format!("{} UNION ALL {}", self.relation(depth - 1), self.relation(depth - 1)),
            6 => format!(
                "SELECT a.pid, b.age, a.sex, b.w FROM ({}) AS a {} JOIN ({}) AS b ON {}",
                self.relation(depth - 1),
                self.of(&["INNER", "LEFT", "RIGHT", "FULL"]),
                self.relation(depth - 1),
                self.of(&["a.pid = b.pid", "a.age = b.age", "a.pid = b.pid AND a.age > b.age", "true"])
            ),
            7 => format!(
                "SELECT pid, count(*) AS age, max(sex) AS sex, avg(w) AS w FROM ({}) AS x GROUP BY pid",
                self.relation(depth - 1)
            ),
            _ => format!(
                "SELECT pid, {} AS age, sex, {} AS w FROM ({}) AS x",
                self.of(&[
                    "age + 1",
                    "CASE WHEN age > 3 THEN 1 ELSE 2 END",
                    "age / 10",
                    "row_number() OVER (PARTITION BY pid ORDER BY age)"
                ]),
                self.of(&["w", "w * 2", "CAST(age AS double)", "w / age"]),
                self.relation(depth - 1)
            ),
        }
    }
    fn condition(&mut self, depth: usize) -> String {
        match self.roll(7) {
            0 => "age > 50".into(),
            1 => "sex = 'm' AND w < 3".into(),
            2 => format!("pid IN (SELECT pid FROM ({}) AS s)", self.relation(depth)),
            3 => format!("age > (SELECT avg(age) FROM ({}) AS s)", self.relation(depth)),
            4 => format!("EXISTS (SELECT 1 FROM ({}) AS s WHERE s.pid = x.pid)", self.relation(depth)),
            5 => "pid = 7".into(),
            _ => "age % 7 = 1 OR w IS NULL".into(),
        }
    }
    fn query(&mut self) -> String {
        let relation = self.relation(3);
        let aggregates = self.of(&[
            "count(*)",
            "count(DISTINCT pid), avg(age)",
            "sum(w), stddev(age)",
            "max(age)",
            "median(w), count(sex)",
        ]);
        match self.roll(5) {
            0 => format!("SELECT * FROM ({relation}) AS q"),
            1 => format!("SELECT {aggregates} FROM ({relation}) AS q"),
            2 => format!("SELECT sex, {aggregates} FROM ({relation}) AS q GROUP BY sex ORDER BY 1"),
            3 => format!("SELECT sex, age, {aggregates} FROM ({relation}) AS q GROUP BY ROLLUP (sex, age)"),
            _ => format!("SELECT DISTINCT sex, age FROM ({relation}) AS q"),
        }
    }
}

#[tokio::test]
async fn no_query_makes_the_planner_panic() {
    let ctx = context();
    let mut dice = Dice(42);
    let (mut planned, mut admitted) = (0, 0);
    for _ in 0..500 {
        let sql = dice.query();
        let Ok(plan) = analysed(&ctx, &sql).await else { continue };
        planned += 1;
        if let Ok(decision) = decide(plan, &World, &Options::default()) {
            sound(&decision);
            admitted += 1;
        }
    }
    assert!(planned > 300 && admitted > 50, "{planned} planned, {admitted} admitted");
}
