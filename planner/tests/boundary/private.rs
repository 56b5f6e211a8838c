//! The question of a private release: arguments and their bounds, public keys, what is refused.

use datafusion::common::ScalarValue;
use kanon_planner::boundary::{Options, decide};
use kanon_planner::private::Question;
use kanon_planner::private::mechanisms::Mechanisms;
use kanon_planner::release_unit::Decision;
use kanon_privacy::norms::Level;
use kanon_privacy::statistics::{Aggregate, Fraction, Rank, Statistic};

use crate::world::{World, analysed, context, decided};

async fn question(sql: &str) -> Result<Question, String> {
    let plan = analysed(&context(), sql).await.unwrap();
    match decide(plan, &World, &Options::default()) {
        Ok(Decision::Release { units, .. }) => Ok(units[0].question.as_ref().unwrap().as_ref().clone()),
        Ok(other) => panic!("{sql}: {other:?}"),
        Err(refusal) => Err(refusal.message),
    }
}

fn bounds(question: &Question) -> Vec<Option<(f64, f64)>> {
    question.arguments.iter().map(|a| a.grid.map(|g| (g.lower(), g.upper()))).collect()
}

#[tokio::test]
async fn bounds_come_from_columns_and_from_the_query() {
    for (argument, expected) in [
        ("age", (0.0, 110.0)),
        ("age + 1", (1.0, 111.0)),
        ("LEAST(GREATEST(weight, 30), 150)", (30.0, 150.0)),
        ("CASE WHEN smoker THEN age ELSE -5 END", (-5.0, 110.0)),
        ("2", (0.0, 2.0)),
    ] {
        let found = question(&format!("SELECT avg({argument}) FROM secret")).await.unwrap();
        assert_eq!(bounds(&found), [Some(expected)], "{argument}");
    }
    for unbounded in ["weight", "weight + age", "GREATEST(weight, 0)", "bill"] {
        let error = question(&format!("SELECT sum({unbounded}) FROM secret")).await.unwrap_err();
        assert!(error.contains("has no bounds"), "{unbounded}: {error}");
    }
    // Names and inner queries do not lose them; an aggregate within a unit has other values.
    let found =
        question("SELECT avg(a) FROM (SELECT pid, age AS a FROM secret) x JOIN secret_visits v ON x.pid = v.pid").await;
    assert_eq!(bounds(&found.unwrap()), [Some((0.0, 110.0))]);
    assert!(question("SELECT avg(s) FROM (SELECT pid, sum(age) AS s FROM secret GROUP BY pid) x").await.is_err());
    let found =
        question("SELECT avg(LEAST(n, 9)) FROM (SELECT pid, count(*) AS n FROM secret_visits GROUP BY pid) x").await;
    assert_eq!(bounds(&found.unwrap()), [Some((0.0, 9.0))]);
}

#[tokio::test]
async fn equal_measures_are_asked_once() {
    let found = question("SELECT avg(age), count(age), sum(age), avg(age) + 1, count(*) FROM secret").await.unwrap();
    assert_eq!(found.arguments.len(), 1);
    assert_eq!(found.aggregates.len(), 4, "the two averages are one");
    let mechanisms = Mechanisms::of(&found, found.rules.epsilon).unwrap();
    assert_eq!(mechanisms.plan.statistics().len(), 3, "rows, rows with an age, and their sum");
    // All of it costs what one query may.
    assert!(mechanisms.cost.basic().0 <= found.rules.epsilon.get());
    let found = question("SELECT count(*) FILTER (WHERE age > 5), count(DISTINCT pid) FROM secret").await.unwrap();
    assert_eq!(found.aggregates, [Aggregate::Count(0), Aggregate::CountUnits]);
}

#[tokio::test]
async fn keys_are_public_by_domain_or_by_the_query() {
    let cells = |found: Result<Question, String>| found.unwrap().public_cells();
    assert_eq!(cells(question("SELECT count(*) FROM secret").await), Some(1));
    assert_eq!(cells(question("SELECT sex, count(*) FROM secret GROUP BY sex").await), Some(2));
    let two = "SELECT sex, CASE WHEN age < 18 THEN 'y' WHEN age < 65 THEN 'm' END, count(*) FROM secret GROUP BY 1, 2";
    assert_eq!(cells(question(two).await), Some(6), "two, y and NULL");
    assert_eq!(cells(question("SELECT age IS NULL, count(*) FROM secret GROUP BY 1").await), Some(2));
    for selected in ["age", "upper(sex)", "smoker", "sex, age"] {
        let found = question(&format!("SELECT {selected}, count(*) FROM secret GROUP BY {selected}")).await;
        assert_eq!(cells(found), None, "{selected}");
    }
    let found = question("SELECT sex, count(*) FROM secret GROUP BY sex").await.unwrap();
    let text = |t: &str| ScalarValue::Utf8(Some(t.to_owned()));
    assert_eq!(found.keys[0].public.as_ref().unwrap().values, [text("female"), text("male")]);
    assert!(
        question("SELECT kind, count(*) FROM secret_visits GROUP BY kind")
            .await
            .unwrap_err()
            .contains("delta_per_query")
    );
}

#[tokio::test]
async fn one_row_a_unit_is_bounded_by_itself_and_all_else_by_policy() {
    for (sql, groups, rows) in [
        ("SELECT age, count(*) FROM secret GROUP BY age", 1, 1),
        ("SELECT count(*) FROM secret_visits", 3, 2),
        ("SELECT count(*) FROM secret s JOIN secret_visits v ON s.pid = v.pid", 3, 2),
        ("SELECT count(*) FROM secret s JOIN regions r ON s.region = r.id", 4, 8),
        ("SELECT count(*) FROM (SELECT pid FROM secret UNION ALL SELECT pid FROM secret) u", 4, 8),
        ("SELECT count(*) FROM secret WHERE pid IN (SELECT pid FROM secret_visits WHERE cost > 1)", 1, 1),
        ("SELECT count(*) FROM (SELECT pid, count(*) AS n FROM secret_visits GROUP BY pid) x", 1, 1),
    ] {
        let found = question(sql).await.unwrap().rules.bounds;
        assert_eq!((found.groups.get(), found.rows.get()), (groups, rows), "{sql}");
    }
}

#[tokio::test]
async fn a_norm_is_chosen_where_nothing_is_declared() {
    // A join that fans out, of a table whose steward declared no bounds.
    let from = "FROM secret s JOIN regions r ON s.region = r.id";
    let chosen = async |sql: String| {
        let found = question(&sql).await.unwrap();
        (Mechanisms::of(&found, found.rules.epsilon).unwrap(), found)
    };
    let (mechanisms, found) = chosen(format!("SELECT count(*), avg(age), count(DISTINCT pid) {from}")).await;
    let choice = mechanisms.norm.clone().unwrap();
    // With one key the choice matters more than noise does.
    assert!(choice.epsilon().get() > 0.25, "{choice:?}");
    assert!((0.499_999..=0.5).contains(&mechanisms.cost.basic().0));
    let at = mechanisms.at(Level::numbered(8).unwrap()).unwrap();
    assert_eq!((at.cost, &at.norm), (mechanisms.cost, &None));
    for (place, statistic) in mechanisms.plan.statistics().iter().enumerate() {
        let grown = at.noise[place].scale().upper() / mechanisms.noise[place].scale().upper();
        let expected = if *statistic == Statistic::Units { 1.0 } else { 4.0 };
        assert!((grown - expected).abs() < 1e-9, "{statistic:?}: {grown}");
        assert_eq!(mechanisms.grows_with_norm(place), expected > 1.0);
    }
    assert!(at.at(Level::ONE).is_none(), "it is chosen once");
    let told = mechanisms.of_measure(&found, 0).unwrap();
    assert!(told.is_of_norm && told.exact.is_none() && told.scale().ends_with(" norm"), "{told:?}");
    assert!(!mechanisms.of_measure(&found, 2).unwrap().is_of_norm, "units have a weight of their own");
    assert!(at.of_measure(&found, 0).unwrap().exact.is_some());
    // With many keys it is the noise that matters.
    let keys = (0..300).map(|age| format!("WHEN {age} THEN {age}")).collect::<Vec<_>>().join(" ");
    let (mechanisms, _) = chosen(format!("SELECT CASE age {keys} ELSE -1 END, count(*) {from} GROUP BY 1")).await;
    let of_norm = mechanisms.norm.map(|choice| choice.epsilon().get());
    assert!(of_norm.is_some_and(|epsilon| epsilon < 0.11), "{of_norm:?}");
    for whole in ["median(age)", "count(DISTINCT age)", "count(DISTINCT pid)"] {
        assert_eq!(chosen(format!("SELECT {whole} {from}")).await.0.norm, None, "{whole}");
    }
    // One row a unit needs none; and a steward may have declared how many rows count.
    assert_eq!(chosen("SELECT count(*) FROM secret".to_owned()).await.0.norm, None);
    assert_eq!(chosen("SELECT count(*) FROM secret_visits".to_owned()).await.0.norm, None);
}

fn ranks(found: &Question) -> Vec<Rank> {
    let of = |a: &Aggregate<usize>| match a {
        Aggregate::Rank(_, rank) => *rank,
        other => panic!("{other:?}"),
    };
    found.aggregates.iter().map(of).collect()
}

#[tokio::test]
async fn quantiles_and_extremes_are_ranks_of_bounded_arguments() {
    let quantile = |alpha| Rank::Quantile(Fraction::try_from(alpha).unwrap());
    let found = question(
        "SELECT median(age), min(age), percentile_cont(0.25) WITHIN GROUP (ORDER BY age DESC), max(age), approx_median(age),
         approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY age), percentile_cont(0) WITHIN GROUP (ORDER BY age) FROM secret",
    );
    let found = found.await.unwrap();
    let (low, high) = (Rank::Minimum, Rank::Maximum);
    assert_eq!(ranks(&found), [quantile(0.5), low, quantile(0.75), high, quantile(0.5), quantile(0.9), low]);
    assert_eq!(bounds(&found), [Some((0.0, 110.0))], "one argument");
    let mechanisms = Mechanisms::of(&found, found.rules.epsilon).unwrap();
    assert!(mechanisms.noise.is_empty() && mechanisms.choices.len() == 5, "equal ones are chosen once");
    assert_eq!(mechanisms.choices[0].candidates().count().get(), 111);
    let (epsilon, delta) = mechanisms.cost.basic();
    assert!(epsilon <= 0.5 && epsilon > 0.499_999 && delta == 0.0, "{epsilon} {delta}");
    // FILTER, expressions with bounds; an average beside it.
    let found = question("SELECT avg(age), max(LEAST(GREATEST(weight, 30), 150)) FILTER (WHERE smoker) FROM secret");
    let found = found.await.unwrap();
    assert_eq!(bounds(&found), [Some((0.0, 110.0)), Some((30.0, 150.0))]);
    let mechanisms = Mechanisms::of(&found, found.rules.epsilon).unwrap();
    assert_eq!((mechanisms.noise.len(), mechanisms.choices.len()), (2, 1));
    assert!(mechanisms.choice(1).is_none() && mechanisms.choice(2).is_some() && mechanisms.choice(3).is_none());
    assert!(mechanisms.cost.basic().0 <= 0.5);
}

#[tokio::test]
async fn each_group_of_a_unit_has_a_share_of_a_choice() {
    let of = |keys: &'static str| async move {
        let group = if keys.is_empty() { String::new() } else { format!("GROUP BY {keys}") };
        let sql = format!("SELECT median(LEAST(GREATEST(cost, 0), 90)) FROM secret_visits {group}");
        let found = question(&sql).await.unwrap();
        let mechanisms = Mechanisms::of(&found, found.rules.epsilon).unwrap();
        let choice = mechanisms.choices[0].clone();
        // Two rows a unit and group, by policy.
        assert_eq!(choice.utility().sensitivity(found.rules.bounds.rows).get(), 1 << 30);
        (choice.epsilon().get(), mechanisms.cost.basic().0, mechanisms.cost.zcdp().0)
    };
    assert_eq!(of("").await, (0.5, 0.5, (0.25_f64 / 8.0).next_up().next_up().next_up()));
    // Two public keys, of the three that a policy allows.
    let (each, all, rho) = of("cost > 5 IS TRUE").await;
    assert_eq!((each, all), (0.25, 0.5));
    assert!((rho - 2.0 * 0.0625 / 8.0).abs() < 1e-12 && rho >= 2.0 * 0.0625 / 8.0);
}

#[tokio::test]
async fn what_has_no_order_or_no_bounds_is_refused() {
    for (measure, why) in [
        ("min(born)", "needs a number"),
        ("max(sex)", "needs a number"),
        ("min(smoker)", "needs a number"),
        ("median(weight)", "has no bounds"),
        ("min(bill)", "has no bounds"),
        ("max(pid)", "cannot be used"),
        ("median(DISTINCT age)", "is not supported"),
        ("string_agg(sex, ',')", "would tell of single units"),
        ("first_value(age)", "would tell of single units"),
    ] {
        let error = question(&format!("SELECT {measure} FROM secret")).await.unwrap_err();
        assert!(error.contains(why), "{measure}: {error}");
    }
}

#[tokio::test]
async fn every_grouping_set_is_a_release_of_its_own() {
    for (sets, keys) in [
        ("ROLLUP (sex, region)", &[&["sex", "region"][..], &["sex"], &[]][..]),
        ("CUBE (sex, region)", &[&["sex", "region"], &["region"], &["sex"], &[]]),
        ("GROUPING SETS ((sex), (region), ())", &[&["sex"], &["region"], &[]]),
        ("region, ROLLUP (sex)", &[&["region"], &["region", "sex"]]),
    ] {
        let sql =
            format!("SELECT sex, region, count(*), median(age), grouping(sex, region) FROM secret GROUP BY {sets}");
        let decision = decided(&context(), &sql).await.unwrap();
        let Decision::Release { units, outer } = decision else { panic!("{sql}") };
        let found: Vec<Vec<String>> = units
            .iter()
            .map(|u| u.keys.iter().map(|k| k.to_string().split('.').next_back().unwrap().to_owned()).collect())
            .collect();
        assert_eq!(found, keys, "{sql}");
        for unit in &units {
            let question = unit.question.as_ref().unwrap();
            // Sexes are public, regions are selected: each set has the keys of its own.
            assert_eq!(question.public_cells().is_some(), !unit.keys.iter().any(|k| k.to_string().contains("region")));
            assert_eq!(question.aggregates.len(), 2);
        }
        assert_eq!(outer.display_indent().to_string().matches("Release #").count(), keys.len());
    }
    assert!(question("SELECT sex FROM secret GROUP BY ROLLUP (sex)").await.unwrap_err().contains("need an aggregate"));
    let many = "SELECT count(*) FROM secret GROUP BY CUBE (sex, age, weight, bill, smoker, region, born)";
    assert!(question(many).await.unwrap_err().contains("more than 64"));
}
