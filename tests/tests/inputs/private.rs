//! Bad input to private access: policies that cannot be, questions that cannot be, and data that is not as declared.

use std::fmt::Write as _;

use kanon_tests::client::Client;
use kanon_tests::{Federation, SiteSpec};

use crate::{lives, node, refused};

const ANA: (&str, &str) = ("ana", "ana's password");

fn numbered(n: usize) -> Vec<u8> {
    let mut text = "id,w,age,x\n".to_owned();
    for i in 0..n {
        writeln!(text, "{i},w{},{},{}.5", i % 3, 20 + i % 50, i).unwrap();
    }
    text.into_bytes()
}

/// A node with these tables, each private with its own unit kind and a large budget, and an analyst who may read them.
async fn private_node(tables: Vec<(&str, Vec<u8>, &str)>) -> (Federation, Client, Client) {
    let mut setup = vec![
        format!("CREATE ROLE {} LOGIN PASSWORD '{}'", ANA.0, ANA.1.replace('\'', "''")),
        format!("GRANT analyst TO {}", ANA.0),
    ];
    let mut files = Vec::new();
    for (table, data, options) in tables {
        setup.push(format!("CREATE EXTERNAL TABLE {table} STORED AS CSV LOCATION '{{dir}}/{table}.csv'"));
        setup.push(format!("CREATE PRIVACY UNIT {table}_unit WITH (budget_epsilon = 1000, budget_delta = 1e-4)"));
        setup.push(format!(
            "ALTER TABLE {table} SET (access = 'private', unit = 'id', unit_kind = '{table}_unit', min_cohort = 10,
             epsilon_per_query = 1, delta_per_query = 1e-8{options})"
        ));
        setup.push(format!("GRANT SELECT ON {table} TO {}", ANA.0));
        files.push((format!("{table}.csv"), data));
    }
    let federation = Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await;
    let admin = federation.sites[0].wait().await;
    let ana = federation.sites[0].connect(ANA).await.unwrap();
    (federation, admin, ana)
}

async fn number(client: &Client, sql: &str) -> f64 {
    let answer = client.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    answer.rows[0][0].as_deref().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_and_bounds_that_cannot_be() {
    let (federation, admin) = node(
        vec![("t.csv", numbered(50))],
        &[
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{dir}/t.csv'",
            "ALTER TABLE t SET (access = 'private', unit = 'id', unit_unique = true, min_cohort = 10)",
        ],
    )
    .await;
    for amount in ["epsilon_per_query", "epsilon_per_job"] {
        for (value, part) in [
            ("0", "must be greater than 0, not 0"),
            ("-1", "must be greater than 0, not -1"),
            ("'NaN'", "must be a number, not \"NaN\""),
            ("'inf'", "must be a number, not \"inf\""),
            ("'1e400'", "must be a number, not \"1e400\""),
            ("'much'", "must be a number, not \"much\""),
        ] {
            refused(&admin, &format!("ALTER TABLE t SET ({amount} = {value})"), "22023", part).await;
        }
    }
    for (value, part) in [
        ("-1e-9", "at least 0 and less than 1, not -1e-9"),
        ("1", "at least 0 and less than 1, not 1"),
        ("'NaN'", "must be a number"),
        ("0.5", "less than one in the number of people, and 0.5 is not if there are 10"),
        ("0.1", "less than one in the number of people"),
    ] {
        let error = refused(&admin, &format!("ALTER TABLE t SET (delta_per_query = {value})"), "22023", part).await;
        assert!(value == "'NaN'" || error.hint.as_deref().unwrap().contains("1e-8"), "{error:?}");
    }
    for (set, part) in [
        ("max_groups_per_unit = 0", "between 1 and"),
        ("max_groups_per_unit = -3", "between 1 and"),
        ("max_rows_per_group = 1.5", "whole number"),
        ("max_rows_per_group = 99999999999", "between 1 and"),
        ("max_distinct = 'many'", "whole number"),
        ("max_norm = 0", "greater than 0"),
        ("max_norm = 'inf'", "must be a number"),
    ] {
        refused(&admin, &format!("ALTER TABLE t SET ({set})"), "22023", part).await;
    }
    for (options, part) in [
        ("budget_epsilon = 0", "must be greater than 0"),
        ("budget_epsilon = -1", "must be greater than 0"),
        ("budget_epsilon = 'NaN'", "must be a number"),
        ("budget_epsilon = 'inf'", "must be a number"),
        ("budget_epsilon = 1e9", "at most 1000000"),
        ("budget_epsilon = 1, budget_delta = 1", "less than 1"),
        ("budget_epsilon = 1, budget_delta = -1", "at least 0"),
        ("budget_epsilon = 1, budget_window = '-1 days'", "budget_window"),
        ("budget_delta = 1e-6", "needs budget_epsilon"),
    ] {
        refused(&admin, &format!("CREATE PRIVACY UNIT person WITH ({options})"), "22023", part).await;
    }
    for (column, set, part) in [
        ("age", "lower = 100, upper = 0", "must be less than upper (100, 0)"),
        ("age", "lower = 5, upper = 5", "must be less than upper (5, 5)"),
        ("age", "lower = '-inf', upper = 0", "lower must be a number, not \"-inf\""),
        ("age", "lower = 0, upper = 'Infinity'", "upper must be a number, not \"Infinity\""),
        ("age", "lower = 'NaN', upper = 1", "lower must be a number, not \"NaN\""),
        ("w", "lower = 0, upper = 1", "holds no numbers"),
        ("w", "domain = '{a,b,a}'", "\"a\" is twice"),
        ("w", "domain = '{a,NULL}'", "cannot hold NULL"),
        ("w", "domain = '{}'", "at least one value"),
        ("w", "domain = 'a,b'", "malformed array"),
        ("w", "domain = '{a,b}', other = 'rest'", "other must be a value of the domain"),
        ("w", "other = 'rest'", "needs a domain"),
        ("age", "domain = '{1,01}'", "\"01\" is twice"),
        ("age", "domain = '{1,young}'", "\"young\" in the domain of column \"age\" is no value of its type"),
    ] {
        let error = refused(&admin, &format!("ALTER TABLE t ALTER COLUMN {column} SET ({set})"), "22023", part).await;
        assert!(error.hint.is_some() || part.contains("must be a number"), "what to do: {error:?}");
    }
    let many: Vec<String> = (0..100_000).map(|n| format!("k{n}")).collect();
    let sql = format!("ALTER TABLE t ALTER COLUMN w SET (domain = '{{{}}}')", many.join(","));
    let error = refused(&admin, &sql, "22023", "at most 10000 values, not 100000").await;
    assert!(error.hint.unwrap().contains("selected with noise"));
    // One bound is none, and what was refused has changed nothing.
    admin.ask("ALTER TABLE t ALTER COLUMN age SET (lower = 0)").await.unwrap();
    admin.ask("ALTER TABLE t SET (epsilon_per_query = 1)").await.unwrap();
    let error = refused(&admin, "SELECT avg(age) FROM t", "42501", "column \"age\" of table \"t\" has no bounds").await;
    assert!(error.hint.unwrap().contains("lower = …, upper = …"));
    let error = refused(&admin, "SELECT count(*) FROM t", "53400", "unit kind \"unit\" has no privacy budget").await;
    assert!(error.hint.unwrap().contains("CREATE PRIVACY UNIT"));
    lives(&federation, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epsilons_that_a_question_cannot_have() {
    let (federation, admin, ana) = private_node(vec![("t", numbered(500), ", unit_unique = true")]).await;
    for value in ["0", "-0.1", "NaN", "inf", "-inf", "1e999", "one"] {
        let sql = format!("SET kanon.epsilon = '{value}'");
        let error = refused(&ana, &sql, "22023", &format!("\"kanon.epsilon\": \"{value}\"")).await;
        assert!(error.hint.unwrap().contains("above 0"));
    }
    let spent = async || number(&ana, "SELECT spent_epsilon FROM kanon.budget WHERE scope = 'principal'").await;
    for (value, code, part) in [
        ("1.0000001", "22023", "kanon.epsilon is 1.0000001, and t allows 1 a query"),
        ("1e300", "22023", "t allows 1 a query"),
        ("1e-300", "0A000", "epsilon is too small for this query"),
    ] {
        // With a delta there is Gaussian noise for any epsilon.
        admin.ask("ALTER TABLE t RESET (delta_per_query)").await.unwrap();
        ana.ask(&format!("SET kanon.epsilon = '{value}'")).await.unwrap();
        let error = refused(&ana, "SELECT count(*) FROM t", code, part).await;
        assert!(error.hint.unwrap().contains("kanon.epsilon"), "what to do");
        // Said before it is asked, too.
        let told = ana.ask("EXPLAIN (PRIVACY) SELECT count(*) FROM t").await.unwrap().lines().join("\n");
        assert!(told.contains(&format!("Refused ({code})")) && told.contains(part), "{told}");
    }
    assert_eq!(spent().await, 0.0);
    ana.ask("RESET kanon.epsilon").await.unwrap();
    number(&ana, "SELECT count(*) FROM t").await;
    assert_eq!(spent().await, 1.0);
    // Bounds of the query's own.
    for (x, code, part) in [
        ("LEAST(x, 10)", "42501", "has no bounds"),
        ("GREATEST(LEAST(x, 'Infinity'::float8), 0)", "42501", "has no bounds"),
        ("GREATEST(LEAST(x, 1e300), -1e300)", "0A000", "bounds must be of size 1e144"),
    ] {
        refused(&ana, &format!("SELECT avg({x}) FROM t"), code, part).await;
    }
    // Reversed ones hold one value.
    let same = number(&ana, "SELECT avg(LEAST(GREATEST(x, 10), 5)) FROM t").await;
    assert!((0.0..=5.0).contains(&same), "{same}");
    lives(&federation, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_outside_their_bounds_are_clamped() {
    let (federation, admin, ana) = private_node(vec![("t", numbered(3000), ", unit_unique = true")]).await;
    admin.ask("ALTER TABLE t ALTER COLUMN age SET (lower = 30, upper = 40)").await.unwrap();
    // Ages from 20 to 69: ten in fifty are 30 at most, ten between, thirty 40 at least.
    let average = number(&ana, "SELECT avg(age) FROM t").await;
    let truth = (0..50).map(|i| f64::from(20 + i).clamp(30.0, 40.0)).sum::<f64>() / 50.0;
    assert!((average - truth).abs() < 0.5, "{average} and {truth}");
    admin.ask("ALTER TABLE t ALTER COLUMN w SET (domain = '{w0,w1,none}', other = 'none')").await.unwrap();
    let answer = ana.ask("SELECT w, count(*) FROM t GROUP BY w").await.unwrap();
    let keys: Vec<&str> = answer.rows.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(keys, ["none", "w0", "w1"]);
    for row in &answer.rows {
        assert!((row[1].as_deref().unwrap().parse::<f64>().unwrap() - 1000.0).abs() < 60.0, "{answer:?}");
    }
    lives(&federation, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_no_names() {
    // A thousand people, a thousand rows of nobody, and ten people with names of a megabyte.
    let mut texts = "id,w,f\n".to_owned();
    for i in 0..1000 {
        writeln!(texts, "p{i},a,{i}.5").unwrap();
        writeln!(texts, ",b,{i}.5").unwrap();
    }
    for i in 0..10 {
        writeln!(texts, "{}{i},c,1.5", "n".repeat(1 << 20)).unwrap();
    }
    let (federation, admin, ana) = private_node(vec![("t", texts.into_bytes(), "")]).await;
    let all = number(&ana, "SELECT count(DISTINCT id) FROM t").await;
    assert!((all - 1010.0).abs() < 60.0, "{all}");
    // Nobody's rows count nowhere, and their key is told to nobody.
    let keys = ana.ask("SELECT w, count(*) FROM t GROUP BY w").await.unwrap();
    assert_eq!(keys.rows.iter().map(|row| row[0].as_deref().unwrap()).collect::<Vec<_>>(), ["a"]);
    let error = refused(&admin, "ALTER TABLE t SET (unit = 'f')", "42804", "of type Float64 cannot be the unit").await;
    assert!(error.hint.unwrap().contains("whole number, a text or a date"));
    refused(&admin, "ALTER TABLE t SET (unit = 'nothing')", "42703", "\"nothing\"").await;
    lives(&federation, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_hundred_thousand_values_tells_none() {
    let mut rows = "id,k\n".to_owned();
    for i in 0..100_000 {
        writeln!(rows, "{i},k{i}").unwrap();
    }
    for i in 100_000..100_500 {
        writeln!(rows, "{i},common").unwrap();
    }
    let data = rows.into_bytes();
    let (federation, admin, ana) =
        private_node(vec![("u", data.clone(), ", unit_unique = true"), ("m", data, "")]).await;
    for table in ["u", "m"] {
        let answer = ana.ask(&format!("SELECT k, count(*) FROM {table} GROUP BY k")).await.unwrap();
        assert_eq!(answer.rows.iter().map(|row| row[0].as_deref().unwrap()).collect::<Vec<_>>(), ["common"]);
    }
    lives(&federation, &admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_declared_unique_and_are_not() {
    // Of each of 2,000 people three rows; in the other table one.
    let mut thrice = "id,w,age,x\n".to_owned();
    for i in 0..6000 {
        writeln!(thrice, "{},w{},{},1.5", i % 2000, i % 3, 20 + i % 50).unwrap();
    }
    let unique = ", unit_unique = true";
    let (federation, admin, ana) =
        private_node(vec![("thrice", thrice.into_bytes(), unique), ("once", numbered(2000), unique)]).await;
    for table in ["thrice", "once"] {
        admin.ask(&format!("ALTER TABLE {table} ALTER COLUMN age SET (lower = 0, upper = 100)")).await.unwrap();
    }
    // Its steward is told; nobody else, and not by the plan, the noise or the cost.
    let told = admin.ask("ALTER TABLE thrice SET (refresh = true)").await.unwrap().notices.join("\n");
    assert!(
        told.contains("column \"id\" of table \"thrice\" is not unique") && told.contains("one row of each is read"),
        "{told}"
    );
    assert!(
        !admin.ask("ALTER TABLE once SET (refresh = true)").await.unwrap().notices.join("\n").contains("not unique")
    );
    let explained = async |table: &str| {
        let sql = format!("EXPLAIN (PRIVACY) SELECT w, count(*), avg(age) FROM {table} GROUP BY w");
        let lines = ana.ask(&sql).await.unwrap().lines().join("\n");
        lines.replace(table, "x")
    };
    assert_eq!(explained("thrice").await, explained("once").await);
    for table in ["thrice", "once"] {
        let n = number(&ana, &format!("SELECT count(*) FROM {table} WHERE age >= 0")).await;
        assert!((n - 2000.0).abs() < 60.0, "{table}: {n}");
        let policy = ana.ask(&format!("SELECT unit_unique FROM kanon.policies WHERE table_name = '{table}'")).await;
        assert_eq!(policy.unwrap().lines(), ["t"], "as declared");
    }
    // Data that changes so later is bounded too, and what was unique again is read whole.
    let path = federation.sites[0].dir.join("once.csv");
    let mut file = String::from_utf8(numbered(2000)).unwrap();
    for i in 0..2000 {
        writeln!(file, "{i},w9,30,1.5").unwrap();
    }
    std::fs::write(&path, &file).unwrap();
    let n = number(&ana, "SELECT count(*) FROM once WHERE age >= 0").await;
    assert!((n - 2000.0).abs() < 60.0, "{n}");
    std::fs::write(&path, numbered(4000)).unwrap();
    let n = number(&ana, "SELECT count(*) FROM once WHERE age >= 0").await;
    assert!((n - 4000.0).abs() < 60.0, "{n}");
    lives(&federation, &admin).await;
}
