//! People who opted out: no protected table is read with their rows, on whatever path.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use kanon_tests::client::{Client, lines, refused};
use kanon_tests::{ADMIN, ANALYST, Federation, SiteSpec};

/// 40 people, of whom 1 to 20 are in ward a; three visits each; and the people once more as an open table, and as one without a kind of its own.
fn spec(id: &'static str) -> SiteSpec {
    let people: String = (1..=40).map(|i| format!("{i},{},{}\n", if i <= 20 { "a" } else { "b" }, 20 + i)).collect();
    let visits: String = (1..=120).map(|i| format!("{i},{},{}\n", 1 + i % 40, i % 7)).collect();
    let setup = [
        "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 1000000)",
        "CREATE EXTERNAL TABLE people STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE people SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 5)",
        "CREATE EXTERNAL TABLE visits STORED AS CSV LOCATION '{dir}/visits.csv'",
        "ALTER TABLE visits SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', min_cohort = 5)",
        "CREATE EXTERNAL TABLE secret STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE secret SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, epsilon_per_query = 1000)",
        "CREATE EXTERNAL TABLE bare (pid text, ward text, age int) STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE bare SET (access = 'cohort', unit = 'pid', min_cohort = 5)",
        "CREATE EXTERNAL TABLE numbered STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE numbered SET (access = 'cohort', unit = 'pid', min_cohort = 5)",
        "CREATE EXTERNAL TABLE public_people STORED AS CSV LOCATION '{dir}/people.csv'",
        "ALTER TABLE public_people SET (access = 'open')",
    ];
    let files = vec![
        ("people.csv".to_owned(), format!("pid,ward,age\n{people}").into_bytes()),
        ("visits.csv".to_owned(), format!("vid,pid,days\n{visits}").into_bytes()),
    ];
    SiteSpec { id, setup: setup.map(str::to_owned).to_vec(), files }
}

const TABLES: [&str; 5] = ["people", "visits", "secret", "bare", "public_people"];

/// A count with noise that is far less than one.
async fn counted(client: &Client, sql: &str) -> i64 {
    lines(client, sql).await[0].parse::<f64>().unwrap().round() as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_opted_out_is_in_no_protected_scan() {
    let mut federation = Federation::start(vec![spec("clinic")]).await;
    federation.grant_all(&TABLES).await;
    let site = &federation.sites[0];
    let (ana, admin) = (site.connect(ANALYST).await.unwrap(), site.connect(ADMIN).await.unwrap());
    let joined = "SELECT count(DISTINCT p.pid), count(*) FROM people p JOIN visits v ON v.pid = p.pid";
    let cases = [
        ("SELECT count(*), sum(age) FROM people", "40|1620", "39|1597"),
        ("SELECT count(*) FROM people WHERE age < 100 AND ward = 'a'", "20", "19"),
        ("SELECT count(*), count(DISTINCT pid) FROM visits", "120|40", "117|39"),
        (joined, "40|120", "39|117"),
        ("SELECT count(*) FROM visits WHERE pid IN (SELECT pid FROM people WHERE ward = 'a')", "60", "57"),
        ("SELECT count(*) FROM (SELECT pid FROM people UNION ALL SELECT pid FROM visits) x", "160", "156"),
        ("SELECT count(*) FROM (SELECT pid, count(*) AS n FROM visits GROUP BY pid) x", "40", "39"),
    ];
    for (sql, before, _) in cases {
        assert_eq!(lines(&ana, sql).await, [before], "{sql}");
    }
    let prepared = ana.inner.prepare("SELECT count(*) FROM people").await.unwrap();
    let secret = "SELECT count(*) FROM secret";
    assert_eq!(counted(&ana, secret).await, 40);
    let spent = async || lines(&ana, "SELECT spent_epsilon FROM kanon.budget WHERE scope = 'principal'").await;
    let first = spent().await;

    assert_eq!(refused(&ana, "CALL kanon.exclude_unit('patient', '3')").await.code, "42501");
    assert_eq!(refused(&admin, "CALL kanon.exclude_unit('pateint', '3')").await.code, "42704");
    assert_eq!(refused(&admin, "CALL kanon.exclude_unit('patient')").await.code, "42883");
    for value in ["three", "3.5"] {
        let error = refused(&admin, &format!("CALL kanon.exclude_unit('patient', '{value}')")).await;
        assert_eq!(error.code, "22023", "no table has a patient {value}: {error:?}");
    }
    let told = admin.ask("CALL kanon.exclude_unit('patient', '3')").await.unwrap();
    assert!(told.notices.iter().any(|notice| notice.contains("open tables")), "{told:?}");
    for (sql, _, after) in cases {
        assert_eq!(lines(&ana, sql).await, [after], "{sql}");
    }
    let rows = ana.inner.query(&prepared, &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 39, "a plan that was kept");
    // The answer that counts the person is not given again, and the new one is charged.
    assert_eq!(counted(&ana, secret).await, 39);
    assert_ne!(spent().await, first);
    let second = spent().await;
    assert_eq!(counted(&ana, secret).await, 39);
    assert_eq!(spent().await, second);
    // Of another kind of unit nobody opted out; of open tables nobody can.
    assert_eq!(lines(&ana, "SELECT count(*) FROM bare").await, ["40"]);
    assert_eq!(lines(&ana, "SELECT count(*) FROM public_people").await, ["40"]);
    admin.ask("CALL kanon.exclude_unit('unit', '7')").await.unwrap();
    assert_eq!(lines(&ana, "SELECT count(*) FROM bare").await, ["39"], "tables without a kind are of kind unit");

    let told = admin.ask("CALL kanon.exclude_unit('unit', 'p-7')").await.unwrap();
    assert!(told.notices.iter().any(|notice| notice.contains("unit column of numbered")), "{told:?}");
    admin.ask("CALL kanon.include_unit('unit', 'p-7')").await.unwrap();

    // Who it is stands in no entry but sealed, and only stewards see the list.
    let listed = "SELECT unit_kind, unit, excluded_by FROM kanon.excluded_units ORDER BY 1";
    assert_eq!(lines(&admin, listed).await, ["patient|3|root", "unit|7|root"]);
    assert_eq!(lines(&ana, listed).await, Vec::<String>::new());
    let entry = "SELECT action, object, statement, literals FROM kanon.audit_log WHERE object = 'privacy unit patient' AND statement LIKE 'CALL kanon.exclude_unit(%' AND decision = 'allowed'";
    assert_eq!(
        lines(&admin, entry).await,
        ["policy|privacy unit patient|CALL kanon.exclude_unit(kind => ?, unit => ?)|[\"patient\",\"3\"]"]
    );

    // After a restart too; and back.
    federation.sites[0].terminate().await;
    federation.sites[0].spawn();
    let admin = federation.sites[0].wait().await;
    let ana = federation.sites[0].connect(ANALYST).await.unwrap();
    assert_eq!(lines(&ana, joined).await, ["39|117"]);
    admin.ask("CALL kanon.include_unit('patient', '3')").await.unwrap();
    assert_eq!(lines(&ana, joined).await, ["40|120"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_site_leaves_its_own_people_out_whoever_asks() {
    let federation = Federation::start(vec![spec("basel"), spec("zurich")]).await;
    federation.grant_all(&["people", "visits"]).await;
    let ana = federation.site("basel").connect(ANALYST).await.unwrap();
    let sql = "SELECT site, count(*) FROM federation.people GROUP BY site ORDER BY site";
    assert_eq!(lines(&ana, sql).await, ["basel|40", "zurich|40"]);
    let zurich = federation.site("zurich").connect(ADMIN).await.unwrap();
    zurich.ask("CALL kanon.exclude_unit('patient', '3')").await.unwrap();
    zurich.ask("CALL kanon.exclude_unit('patient', '4')").await.unwrap();
    assert_eq!(lines(&ana, sql).await, ["basel|40", "zurich|38"]);
    assert_eq!(lines(&ana, "SELECT count(*) FROM federation.visits").await, ["234"]);
}
