//! The same over Flight SQL: columns and their metadata, told before and with the answer.

use std::sync::Arc;

use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, Ticket};
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use futures::TryStreamExt;
use kanon_tests::Site;
use tonic::transport::{Channel, Endpoint};

use super::{ANA, clinic};

async fn connect(site: &Site) -> FlightSqlServiceClient<Channel> {
    let channel =
        Endpoint::from_shared(format!("http://127.0.0.1:{}", site.flight_port)).unwrap().connect().await.unwrap();
    let mut client = FlightSqlServiceClient::new(channel);
    client.handshake(ANA.0, ANA.1).await.unwrap();
    client
}

/// The columns as promised, as they came, and the rows.
async fn fetch(
    client: &mut FlightSqlServiceClient<Channel>,
    info: FlightInfo,
) -> (Schema, SchemaRef, Vec<RecordBatch>) {
    let ticket: Ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut stream = client.do_get(ticket).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await.unwrap() {
        batches.push(batch);
    }
    let came = Arc::clone(stream.schema().unwrap());
    (info.try_decode_schema().unwrap(), came, batches)
}

fn said<'a>(field: &'a Field, key: &str) -> Option<&'a str> {
    field.metadata().get(key).map(String::as_str)
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|f| f.name().as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_with_noise_say_so_in_their_metadata() {
    let federation = clinic("1000").await;
    let mut client = connect(&federation.sites[0]).await;
    let sql = "SELECT sex, count(*) AS n, avg(age) AS a, avg(age) * 2 AS twice FROM patients GROUP BY sex ORDER BY 1";
    let info = client.execute(sql.into(), None).await.unwrap();
    let (told, came, batches) = fetch(&mut client, info).await;
    assert_eq!(&told, came.as_ref(), "what was promised is what came, metadata and all");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert_eq!(names(&told), ["sex", "n", "a", "twice"]);
    let (n, a) = (told.field(1), told.field(2));
    assert_eq!(said(n, "kanon.mechanism"), Some("laplace"));
    assert!(said(n, "kanon.scale").unwrap().parse::<f64>().unwrap() > 1.0);
    assert!(said(n, "kanon.error").unwrap().parse::<f64>().unwrap() > said(n, "kanon.scale").unwrap().parse().unwrap());
    assert_eq!(said(a, "kanon.mechanism"), Some("laplace, laplace"));
    assert_eq!(said(a, "kanon.scale").unwrap().split(", ").count(), 2);
    assert!(said(a, "kanon.error").unwrap().strip_suffix("/n").unwrap().parse::<f64>().unwrap() > 1.0);
    // A key has no noise, and of what is computed nothing is said.
    assert!(told.field(0).metadata().is_empty() && told.field(3).metadata().is_empty());

    // With intervals.
    let info = client.execute("SET kanon.show_accuracy = on".into(), None).await.unwrap();
    fetch(&mut client, info).await;
    let info = client.execute(sql.into(), None).await.unwrap();
    let (told, came, with) = fetch(&mut client, info).await;
    assert_eq!(&told, came.as_ref());
    assert_eq!(names(&told), ["sex", "n", "n_lo", "n_hi", "a", "a_lo", "a_hi", "twice"]);
    assert_eq!(said(told.field(2), "kanon.interval"), Some("lower"));
    assert_eq!(said(told.field(6), "kanon.interval"), Some("upper"));
    let count = |batches: &[RecordBatch], column: usize| batches[0].column(column).as_primitive::<Int64Type>().value(0);
    assert_eq!(count(&with, 1), count(&batches, 1), "the same release");
    assert!(count(&with, 2) < count(&with, 1) && count(&with, 1) < count(&with, 3));

    // Less of epsilon, more of noise; and open tables have none.
    let scale = |schema: &Schema| said(schema.field(1), "kanon.scale").unwrap().parse::<f64>().unwrap();
    let info = client.execute("SET kanon.epsilon = 0.5".into(), None).await.unwrap();
    fetch(&mut client, info).await;
    let info = client.execute(sql.into(), None).await.unwrap();
    let (less, came, _) = fetch(&mut client, info).await;
    assert_eq!(&less, came.as_ref());
    assert!((scale(&less) / scale(&told) - 2.0).abs() < 0.01, "{} {}", scale(&less), scale(&told));
    let info = client.execute("SELECT code, count(*) AS n FROM names GROUP BY code".into(), None).await.unwrap();
    let (told, came, _) = fetch(&mut client, info).await;
    assert_eq!(&told, came.as_ref());
    assert!(told.fields().iter().all(|field| field.metadata().is_empty()) && told.fields().len() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_say_the_same() {
    let federation = clinic("1000").await;
    let mut client = connect(&federation.sites[0]).await;
    let info = client.execute("SET kanon.show_accuracy = on".into(), None).await.unwrap();
    fetch(&mut client, info).await;
    let sql = "SELECT count(*) AS n, avg(LEAST(GREATEST(age, 0), 50)) AS a FROM patients WHERE age > $1";
    let mut statement = client.prepare(sql.into(), None).await.unwrap();
    let promised = statement.dataset_schema().unwrap().clone();
    assert_eq!(names(&promised), ["n", "n_lo", "n_hi", "a", "a_lo", "a_hi"]);
    for least in [30_i64, 40] {
        let batch = RecordBatch::try_from_iter([("$1", Arc::new(Int64Array::from(vec![least])) as _)]).unwrap();
        statement.set_parameters(batch).unwrap();
        let info = statement.execute().await.unwrap();
        let (told, came, batches) = fetch(&mut client, info).await;
        assert_eq!(&told, came.as_ref());
        assert_eq!(told, promised);
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    }
    // Another setting since: what is told is what comes.
    let info = client.execute("SET kanon.epsilon = 0.25".into(), None).await.unwrap();
    fetch(&mut client, info).await;
    let info = statement.execute().await.unwrap();
    let (told, came, _) = fetch(&mut client, info).await;
    assert_eq!(&told, came.as_ref());
    assert_eq!(names(&told), names(&promised));
    assert_ne!(told.field(0).metadata(), promised.field(0).metadata());
    statement.close().await.unwrap();
}
