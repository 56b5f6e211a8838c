//! COPY (query) TO STDOUT: the same bytes as PostgreSQL's, over the simple and the extended protocol.

use futures::TryStreamExt;
use kanon_tests::ANALYST;
use tokio_postgres::NoTls;

use super::world;
use kanon_tests::postgres::Postgres;
use kanon_tests::tools::psql;

const QUERIES: &[&str] = &[
    "SELECT * FROM kinds ORDER BY id",
    "SELECT 1::int2, 2::int4, 3::int8, true, false, NULL::text",
    // With their scale: Arrow's decimals have one, and `numeric` alone gets ten digits.
    "SELECT 1.5::numeric(10,2), '-0.0001'::numeric(10,4), '12345678901234567890.123'::numeric(30,3), 0::numeric(10,0), 10000::numeric(10,2)",
    "SELECT 0.1::float4, 1e10::float4, 1e-5::float8, 1e15::float8, 123456789012345680::float8, '-0'::float8, 'NaN'::float8, '-Infinity'::float4",
    "SELECT 'a,b', 'q\"q', E'new\\nline', E'tab\\there', E'back\\\\slash', '', '\\.', 'é', ' spaces ', E'\\r'",
    "SELECT '\\.'",
    "SELECT ''",
    "SELECT NULL::text",
    "SELECT date '2024-02-29', date '0001-01-01', date '9999-12-31'",
    "SELECT time '00:00:00', time '23:59:59.999999', time '12:30:00.5'",
    "SELECT timestamp '2024-02-29 23:59:59.999999', timestamp '1969-12-31 23:59:59.5', timestamp '1700-01-01 00:00:00'",
    "SELECT timestamptz '2024-02-29 23:59:59.999999+00', timestamptz '1969-12-31 23:59:59.5-03'",
    "SELECT interval '1 year 2 mons 3 days 04:05:06.789', interval '-1 mons +2 days -00:00:01', interval '0', interval '100 hours'",
    "SELECT '\\x'::bytea, '\\x00ff5c22'::bytea",
    "SELECT '{}'::int4[], '{1,NULL,-3}'::int4[], '{{1,2},{3,4}}'::int8[], '{a,\"b c\",NULL,\"NULL\",\"q\\\"\"}'::text[], '{1.5,NULL}'::float8[], '{t,f}'::bool[]",
    "SELECT '{2024-02-29}'::date[], '{\"2024-02-29 12:00:00\"}'::timestamp[]",
    "SELECT g, g * 2 FROM generate_series(1::int8, 20000) AS t(g) ORDER BY g",
    "SELECT 1 AS a WHERE false",
];

const OPTIONS: &[&str] = &[
    "",
    " (FORMAT csv)",
    " (FORMAT csv, HEADER, QUOTE '''', NULL 'none', FORCE_QUOTE *)",
    " (FORMAT text, DELIMITER '|', NULL '')",
    " (FORMAT binary)",
];

/// Over the extended protocol.
async fn extended(port: u16, statement: &str) -> Result<Vec<u8>, String> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(ANALYST.0).password(ANALYST.1).dbname("kanon");
    let (client, connection) = config.connect(NoTls).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    let describe = |e: tokio_postgres::Error| e.as_db_error().map_or(e.to_string(), |e| e.message().to_owned());
    client.batch_execute("SET TimeZone = 'UTC'").await.map_err(describe)?;
    let rows = client.copy_out(statement).await.map_err(describe)?;
    let parts: Vec<bytes::Bytes> = rows.try_collect().await.map_err(describe)?;
    Ok(parts.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_writes_the_bytes_that_postgresql_writes() {
    let Some(postgres) = Postgres::start().await else { return };
    let federation = world::start().await;
    let node = federation.site("cleveland").pg_port;
    let table = std::fs::read_to_string(format!("{}/clients/kinds.sql", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let made = psql(postgres.port, ANALYST, &["-v", "ON_ERROR_STOP=1"], &table).await;
    assert!(made.ended_well, "{}", made.text());
    let (mut compared, mut failures) = (0, String::new());
    for query in QUERIES {
        for options in OPTIONS {
            let statement = format!("COPY ({query}) TO STDOUT{options}");
            let theirs = extended(postgres.port, &statement).await.unwrap();
            let ours = extended(node, &statement).await;
            if ours.as_ref() != Ok(&theirs) {
                failures += &format!("{statement}\n  {}\n  not\n  {}\n", shown(&ours), shown(&Ok(theirs.clone())));
                continue;
            }
            let simple = psql(node, ANALYST, &["-c", &statement], "").await;
            if simple.all != theirs {
                failures += &format!("{statement}, simple\n  {}\n  not\n  {}\n", simple.text(), shown(&Ok(theirs)));
            }
            compared += 1;
        }
    }
    assert!(failures.is_empty(), "{compared} of {} are equal\n{failures}", QUERIES.len() * OPTIONS.len());
    // The comparison sees what is not the same.
    assert_ne!(
        extended(node, "COPY (SELECT 1) TO STDOUT").await,
        extended(postgres.port, "COPY (SELECT 2) TO STDOUT").await
    );
}

fn shown(bytes: &Result<Vec<u8>, String>) -> String {
    match bytes {
        Ok(bytes) => bytes.iter().take(600).flat_map(|b| std::ascii::escape_default(*b)).map(char::from).collect(),
        Err(error) => error.clone(),
    }
}
