//! The same statements over Flight SQL: the same columns and values as PostgreSQL's, and errors with its codes and words. They are asked with
//! `kanon.exact_numerics`; without it, as programs find it that read Arrow, none of them is a bug of the node's own.
//!
//! A line `-- over Flight SQL: why` before a statement says that its answer is another there: then it must be so still. What is known to
//! differ over the wire is not asked here.

use std::collections::BTreeMap;

use arrow_flight::error::FlightError;
use bytes::BytesMut;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use futures::TryStreamExt as _;
use kanon_pg::encode::RowEncoder;
use kanon_pg::encode::time::Zone;
use kanon_tests::ANALYST;
use kanon_tests::flight::{FlightClient, of_status};
use kanon_tests::postgres::Postgres;
use kanon_tests::wire::{Wire, messages, query};

use crate::world;

/// Parts of statements that fail with XX000 without `kanon.exact_numerics`: the digits that are planned for `round` of a decimal are not those
/// that it answers.
const KNOWN_BUGS: [&str; 2] = ["round(avg(price), 2)", "round(avg(score)::numeric, 2)"];

/// What must be the same.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    /// Names, and what kind of values.
    columns: Vec<(String, &'static str)>,
    /// As text.
    rows: Vec<Vec<Option<String>>>,
    /// Code and words.
    error: Option<(String, String)>,
}

/// What of PostgreSQL's types Arrow's types can tell apart.
fn kind_of_oid(oid: u32) -> &'static str {
    match oid {
        16 => "boolean",
        20 => "bigint",
        21 => "smallint",
        23 => "integer",
        700 => "real",
        701 => "double precision",
        1700 => "numeric",
        17 => "bytea",
        1082 => "date",
        1083 => "time",
        1114 => "timestamp",
        1184 => "timestamp with time zone",
        1186 => "interval",
        26 | 28 => "oid",
        1000..=1028 | 1115 | 1182 | 1183 | 1185 | 1187 | 1231 | 199 | 3807 | 2951 | 143 => "array",
        2249 => "record",
        _ => "text",
    }
}

fn kind_of_arrow(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Int64 => "bigint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "numeric"
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea",
        DataType::Date32 => "date",
        DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Interval(_) => "interval",
        DataType::UInt32 => "oid",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => "array",
        DataType::Struct(_) => "record",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        // A NULL alone is text to PostgreSQL.
        DataType::Null => "text",
        _ => "another type",
    }
}

/// What PostgreSQL answers.
fn of_wire(bytes: &[u8]) -> Answer {
    let mut answer = Answer::default();
    for (kind, body) in messages(bytes) {
        match kind {
            b'T' => {
                let mut rest = &body[2..];
                while let Some(end) = rest.iter().position(|byte| *byte == 0) {
                    let oid = u32::from_be_bytes(rest[end + 7..end + 11].try_into().unwrap());
                    answer.columns.push((String::from_utf8_lossy(&rest[..end]).into_owned(), kind_of_oid(oid)));
                    rest = &rest[end + 19..];
                }
            }
            b'D' => answer.rows.push(values(body)),
            b'E' => {
                let fields: BTreeMap<u8, String> = body
                    .split(|byte| *byte == 0)
                    .filter(|field| !field.is_empty())
                    .map(|field| (field[0], String::from_utf8_lossy(&field[1..]).into_owned()))
                    .collect();
                // An error in the middle of rows is the answer.
                answer = Answer { error: Some((fields[&b'C'].clone(), fields[&b'M'].clone())), ..Answer::default() };
            }
            _ => {}
        }
    }
    answer
}

/// The values of a DataRow.
fn values(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = &body[2..];
    let mut values = Vec::new();
    while rest.len() >= 4 {
        let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
        let end = 4 + usize::try_from(length).unwrap_or(0);
        values.push((length >= 0).then(|| String::from_utf8_lossy(&rest[4..end]).into_owned()));
        rest = &rest[end..];
    }
    values
}

async fn over_flight(client: &mut FlightClient, sql: &str) -> Answer {
    match asked(client, sql).await {
        Ok((schema, batches)) => {
            let columns = schema.fields().iter().map(|f| (f.name().clone(), kind_of_arrow(f.data_type()))).collect();
            let encoder = RowEncoder::new(&schema, &[], Zone::parse("UTC")).unwrap();
            let mut rows = Vec::new();
            for batch in &batches {
                let bound = encoder.bind(batch).unwrap();
                for row in 0..batch.num_rows() {
                    let mut message = BytesMut::new();
                    bound.put_row(row, &mut message).unwrap();
                    rows.push(values(&message[5..]));
                }
            }
            Answer { columns, rows, error: None }
        }
        Err(FlightError::Tonic(status)) => {
            let error = of_status(&status);
            Answer { error: Some((error.code, error.message)), ..Answer::default() }
        }
        Err(other) => Answer { error: Some(("-".to_owned(), other.to_string())), ..Answer::default() },
    }
}

async fn asked(client: &mut FlightClient, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), FlightError> {
    let info = client.inner.execute(sql.to_owned(), None).await?;
    let described = info.clone().try_decode_schema()?;
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut stream = client.inner.do_get(ticket).await?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        batches.push(batch);
    }
    // What was said before the rows holds for the rows.
    for batch in &batches {
        assert_eq!(batch.schema().fields(), described.fields(), "{sql}");
    }
    Ok((described.into(), batches))
}

/// Where two answers differ first.
fn difference(expected: &Answer, found: &Answer) -> String {
    let row = expected.rows.iter().zip(&found.rows).find(|(a, b)| a != b);
    match (&expected.error, &found.error) {
        (a, b) if a != b => format!("      - {:?}\n      + {:?}", a, b),
        _ if expected.columns != found.columns => {
            format!("      - {:?}\n      + {:?}", expected.columns, found.columns)
        }
        _ => match row {
            Some((a, b)) => format!("      - {a:?}\n      + {b:?}"),
            None => format!("      - {} rows\n      + {} rows", expected.rows.len(), found.rows.len()),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_answered_over_flight_sql_as_postgresql_answers_them() {
    let Some(postgres) = Postgres::start().await else { return };
    let federation = world::start(&postgres).await;
    let mut client = FlightClient::connect(federation.sites[0].flight_port, ANALYST).await;
    client.ask("SET kanon.exact_numerics = on").await.unwrap();
    let mut inexact = FlightClient::connect(federation.sites[0].flight_port, ANALYST).await;
    let mut theirs = Wire::connect(postgres.port).await;
    let only = std::env::var("KANON_CONFORMANCE").unwrap_or_default();
    let tell_marked = std::env::var_os("KANON_CONFORMANCE_MARKED").is_some();
    let (mut checks, mut wrong) = (0, Vec::new());
    for (file, text) in world::STATEMENTS {
        for case in crate::cases(text).into_iter().filter(|case| !case.differs && case.sql.contains(&only)) {
            let expected = of_wire(&theirs.exchange(&query(&case.sql), 1).await);
            let found = over_flight(&mut client, &case.sql).await;
            checks += 1;
            let of_doubles = over_flight(&mut inexact, &case.sql).await;
            let is_bug = of_doubles.error.is_some_and(|(code, _)| code == "XX000" || code == "-");
            match (is_bug, KNOWN_BUGS.iter().any(|part| case.sql.contains(part))) {
                (true, false) => wrong.push(format!("{file}: {}: of doubles it is a bug", case.sql)),
                (false, true) => wrong.push(format!("{file}: {}: of doubles it is no bug any more", case.sql)),
                _ => {}
            }
            let said = || format!("{file}: {}\n{}", case.sql, difference(&expected, &found));
            match (case.differs_over_flight, expected == found) {
                (false, false) => wrong.push(said()),
                (true, false) if tell_marked => println!("{}", said()),
                (true, true) => wrong.push(format!("{file}: is the same now: {}", case.sql)),
                _ => {}
            }
        }
    }
    println!("{checks} checks over Flight SQL, {} statements differ", wrong.len());
    assert!(wrong.is_empty(), "{} statements differ:\n{}", wrong.len(), wrong.join("\n"));
}
