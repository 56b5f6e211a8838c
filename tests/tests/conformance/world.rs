//! The same tables at a node and at PostgreSQL.

use kanon_tests::postgres::Postgres;
use kanon_tests::tools::psql;
use kanon_tests::{ANALYST, Federation, SiteSpec};

/// What is asked, by file.
pub const STATEMENTS: [(&str, &str); 10] = [
    ("queries.sql", include_str!("queries.sql")),
    ("functions.sql", include_str!("functions.sql")),
    ("types.sql", include_str!("types.sql")),
    ("shapes.sql", include_str!("shapes.sql")),
    ("more_functions.sql", include_str!("more_functions.sql")),
    ("json.sql", include_str!("json.sql")),
    ("series.sql", include_str!("series.sql")),
    ("joins.sql", include_str!("joins.sql")),
    ("texts.sql", include_str!("texts.sql")),
    ("bi.sql", include_str!("bi.sql")),
];

const COLUMNS: &str = "id INT, big BIGINT, name TEXT, city TEXT, price NUMERIC(10,2), score DOUBLE PRECISION, active BOOLEAN, born DATE, seen TIMESTAMP";

/// Twelve people, some of whom have next to nothing.
const PEOPLE: &str = "\
id,big,name,city,price,score,active,born,seen
1,10000000000,Anna,Bern,10.50,1.5,true,1980-02-29,2024-01-15 10:30:00
2,20000000000,Bert,Bern,20.00,2.25,false,1990-07-01,2024-02-29 23:59:59.5
3,,Carl,Chur,,3,true,2000-12-31,2024-03-31 02:30:00
4,40000000000,Dora,Chur,40.25,-4.75,,1975-01-01,2024-12-31 00:00:00
5,50000000000,Emil,,50.00,0.1,true,,2023-06-15 12:00:00.123456
6,60000000000,,Genf,0.00,,false,1966-06-06,
7,70000000000,Gina,Genf,70.70,1e15,true,1999-09-09,2020-02-29 13:14:15
8,80000000000,Hugo,Bern,80.80,-0.5,false,1988-08-08,2024-07-04 18:00:00
9,90000000000,ida,bern,9.99,9.999,true,2010-10-10,2024-10-10 10:10:10
10,-1,Jo_n,50%,-12.34,123456.789,true,1950-05-05,2000-01-01 00:00:01
11,0,Ümit,Zürich,0.01,0,false,2020-02-02,2021-11-11 11:11:11
12,12,O'Neil,Basel,99999999.99,42,true,1970-01-01,1970-01-01 00:00:00
";

/// A node with `people`, and the same at PostgreSQL.
pub async fn start(postgres: &Postgres) -> Federation {
    let setup = vec![
        format!("CREATE EXTERNAL TABLE people ({COLUMNS}) STORED AS CSV LOCATION '{{dir}}/people.csv'"),
        "ALTER TABLE people SET (access = 'open')".to_owned(),
    ];
    let files = vec![("people.csv".to_owned(), PEOPLE.into())];
    let federation = Federation::start(vec![SiteSpec { id: "clinic", setup, files }]).await;
    federation.grant_all(&["people"]).await;
    let rows: String = PEOPLE.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let script = format!("CREATE TABLE people ({COLUMNS});\nCOPY people FROM STDIN WITH (FORMAT csv);\n{rows}\\.\n");
    let loaded = psql(postgres.port, ANALYST, &["-v", "ON_ERROR_STOP=1"], &script).await;
    assert!(loaded.ended_well, "{}", loaded.text());
    federation
}
