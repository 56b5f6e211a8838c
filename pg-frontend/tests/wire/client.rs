//! What tokio-postgres sees.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt, TryStreamExt};
use kanon_pg::Limits;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::house::{PASSWORD, Running, USER, start, start_with};

pub fn config(running: &Running) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(running.address.port()).user(USER).password(PASSWORD).dbname("kanon");
    config
}

pub async fn connect(running: &Running) -> Client {
    let (client, connection) = config(running).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn eventually(what: &str, within: Duration, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < within, "{what} did not happen within {within:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn simple_queries_answer_row_by_row_with_their_tags() {
    let running = start().await;
    let client = connect(&running).await;
    let messages =
        client.simple_query("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, NULL ORDER BY 1; SELECT 7").await.unwrap();
    let shown: Vec<String> = messages
        .iter()
        .map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect::<Vec<_>>().join("|")
            }
            SimpleQueryMessage::CommandComplete(rows) => format!("done {rows}"),
            SimpleQueryMessage::RowDescription(columns) => {
                columns.iter().map(|column| column.name().to_owned()).collect::<Vec<_>>().join(",")
            }
            _ => "?".to_owned(),
        })
        .collect();
    assert_eq!(shown, ["a,b", "1|x", "2|NULL", "done 2", "Int64(7)", "7", "done 1"]);
}

#[tokio::test]
async fn after_an_error_the_rest_of_the_text_is_not_run_and_positions_count_from_its_start() {
    let running = start().await;
    let client = connect(&running).await;
    let error = client.simple_query("SELECT 1; FAIL; SET a = b").await.unwrap_err();
    let error = error.as_db_error().unwrap().clone();
    assert_eq!((error.code(), error.message(), error.hint()), (&SqlState::SYNTAX_ERROR, "it fails", Some("Do not.")));
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(10)));
    assert_eq!(client.simple_query(" ; ").await.unwrap().len(), 1, "EmptyQueryResponse, once");
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn prepared_statements_take_and_give_binary_values() {
    let running = start().await;
    let client = connect(&running).await;
    let types = [Type::INT8, Type::TEXT, Type::FLOAT8, Type::BOOL];
    let statement = client.prepare_typed("SELECT $1 + 1, $2 || '!', $3 * 2, $4", &types).await.unwrap();
    let row = client.query_one(&statement, &[&41i64, &"hi", &1.5f64, &true]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 42);
    assert_eq!(row.get::<_, &str>(1), "hi!");
    assert_eq!(row.get::<_, f64>(2), 3.0);
    assert!(row.get::<_, bool>(3));
    let row = client.query_one("SELECT make_array(1, NULL, 3), $1 IS NULL", &[&None::<&str>]).await.unwrap();
    assert_eq!(row.get::<_, Vec<Option<i64>>>(0), [Some(1), None, Some(3)]);
    assert!(row.get::<_, bool>(1));
}

#[tokio::test]
async fn portals_stop_at_max_rows_and_go_on() {
    let running = start().await;
    let mut client = connect(&running).await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("ENDLESS", &[]).await.unwrap();
    for expected in 0..3 {
        let rows = transaction.query_portal(&portal, 10_000).await.unwrap();
        assert_eq!(rows.len(), 10_000);
        assert_eq!(rows[0].get::<_, i64>(0), expected * 10_000);
        assert_eq!(rows[9_999].get::<_, i64>(0), expected * 10_000 + 9_999);
    }
    assert_eq!(running.alive.load(Ordering::SeqCst), 1);
    transaction.commit().await.unwrap();
    eventually("the end of the portal", Duration::from_secs(1), || running.alive.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn pipelined_statements_answer_in_order_and_an_error_skips_only_its_own() {
    let running = start().await;
    let client = connect(&running).await;
    let (a, b, c) =
        futures::join!(client.query("SELECT 1", &[]), client.query("FAIL", &[]), client.query("SELECT 3", &[]));
    assert_eq!(a.unwrap()[0].get::<_, i64>(0), 1);
    assert_eq!(b.unwrap_err().code(), Some(&SqlState::SYNTAX_ERROR));
    assert_eq!(c.unwrap()[0].get::<_, i64>(0), 3);
}

#[tokio::test]
async fn a_failed_transaction_stays_failed_until_it_ends() {
    let running = start().await;
    let client = connect(&running).await;
    client.simple_query("BEGIN").await.unwrap();
    client.simple_query("FAIL").await.unwrap_err();
    let error = client.query("SELECT 1", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    client.simple_query("ROLLBACK").await.unwrap();
    client.query("SELECT 1", &[]).await.unwrap();
}

#[tokio::test]
async fn cancel_stops_a_statement_that_computes() {
    let running = start().await;
    let client = connect(&running).await;
    let token = client.cancel_token();
    let began = Instant::now();
    let (result, _) = futures::join!(client.simple_query("HANG"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        token.cancel_query(NoTls).await.unwrap();
    });
    let error = result.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(error.as_db_error().unwrap().message(), "canceling statement due to user request");
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(running.alive.load(Ordering::SeqCst), 0);
    // A request that comes too late stops nothing.
    token.cancel_query(NoTls).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.query("SELECT 1", &[]).await.unwrap();
}

#[tokio::test]
async fn cancel_stops_rows_on_their_way_to_a_reader_that_does_not_read() {
    let running = start().await;
    let client = connect(&running).await;
    let token = client.cancel_token();
    let rows = client.query_raw("ENDLESS", Vec::<i64>::new()).await.unwrap();
    tokio::pin!(rows);
    rows.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(running.alive.load(Ordering::SeqCst), 1);
    let began = Instant::now();
    token.cancel_query(NoTls).await.unwrap();
    eventually("the end of the stream", Duration::from_millis(50), || running.alive.load(Ordering::SeqCst) == 0).await;
    assert!(began.elapsed() < Duration::from_millis(100));
    let error = rows.try_for_each(|_| async { Ok(()) }).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    client.query("SELECT 1", &[]).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_stops_its_statement() {
    let running = start().await;
    for text in ["HANG", "ENDLESS"] {
        let (client, connection) = config(&running).connect(NoTls).await.unwrap();
        let task = tokio::spawn(connection);
        let query = tokio::spawn(async move { client.simple_query(text).await.map(|_| ()) });
        eventually("the start", Duration::from_secs(2), || running.alive.load(Ordering::SeqCst) == 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        task.abort();
        query.abort();
        eventually("the end", Duration::from_secs(1), || running.alive.load(Ordering::SeqCst) == 0).await;
    }
}

#[tokio::test]
async fn the_statement_timeout_bounds_computing_and_sending() {
    let running = start().await;
    let client = connect(&running).await;
    client.simple_query("SET statement_timeout = '150ms'").await.unwrap();
    for text in ["HANG", "ENDLESS"] {
        let began = Instant::now();
        let error = client.simple_query(text).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{text}");
        assert_eq!(error.as_db_error().unwrap().message(), "canceling statement due to statement timeout");
        assert!(began.elapsed() > Duration::from_millis(140));
    }
}

#[tokio::test]
async fn too_many_clients_are_refused_and_the_others_go_on() {
    let limits = Limits { max_connections: 3, ..Limits::default() };
    let running = start_with(limits).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(connect(&running).await);
    }
    let attempts = (0..100).map(|_| config(&running)).map(|config| async move {
        let Err(error) = config.connect(NoTls).await else { panic!("a fourth client") };
        let error = error.as_db_error().unwrap().clone();
        assert_eq!(
            (error.code(), error.message()),
            (&SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
        );
        assert_eq!(error.severity(), "FATAL");
    });
    futures::future::join_all(attempts).await;
    for client in &clients {
        client.query("SELECT 1", &[]).await.unwrap();
    }
    clients.pop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    connect(&running).await;
}

#[tokio::test]
async fn who_may_not_in_is_told_what_postgresql_tells() {
    let running = start().await;
    let refused = |config: Config| async move {
        let Err(error) = config.connect(NoTls).await else { panic!("let in") };
        let error = error.as_db_error().unwrap().clone();
        format!("{} {}: {}", error.severity(), error.code().code(), error.message())
    };
    let mut wrong = config(&running);
    wrong.password("wrong");
    assert_eq!(refused(wrong).await, "FATAL 28P01: password authentication failed for user \"ana\"");
    let mut unknown = config(&running);
    unknown.user("eve");
    assert_eq!(refused(unknown).await, "FATAL 28P01: password authentication failed for user \"eve\"");
    let mut elsewhere = config(&running);
    elsewhere.dbname("postgres");
    assert_eq!(refused(elsewhere).await, "FATAL 3D000: database \"postgres\" does not exist");
    let mut options = config(&running);
    options.options("-c no_such_setting=1");
    assert_eq!(refused(options).await, "FATAL 42704: unrecognized configuration parameter \"no_such_setting\"");
}

#[tokio::test]
async fn a_stopping_node_ends_idle_clients_at_once_and_running_ones_after_their_grace() {
    let limits = Limits { shutdown_grace: Duration::from_millis(400), ..Limits::default() };
    let running = start_with(limits).await;
    let (idle, idle_end) = config(&running).connect(NoTls).await.unwrap();
    let idle_end = tokio::spawn(idle_end);
    let busy = connect(&running).await;
    let busy = tokio::spawn(async move { busy.simple_query("HANG").await });
    eventually("the start", Duration::from_secs(1), || running.alive.load(Ordering::SeqCst) == 1).await;
    running.shutdown.cancel();
    let error = tokio::time::timeout(Duration::from_millis(300), idle_end).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::ADMIN_SHUTDOWN));
    assert_eq!(error.as_db_error().unwrap().message(), "terminating connection due to administrator command");
    drop(idle);
    assert!(!busy.is_finished());
    busy.await.unwrap().unwrap_err();
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn protocol_statements_can_be_deallocated_by_name() {
    let running = start().await;
    let client = connect(&running).await;
    // tokio-postgres names its statements s0, s1, …
    let statement = client.prepare("SELECT 5").await.unwrap();
    assert_eq!(client.query_one(&statement, &[]).await.unwrap().get::<_, i64>(0), 5);
    let mut done = false;
    for name in 0..20 {
        done |= client.simple_query(&format!("DEALLOCATE s{name}")).await.is_ok();
    }
    assert!(done);
    let error = client.query(&statement, &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INVALID_SQL_STATEMENT_NAME));
}

#[tokio::test]
async fn notices_and_changed_parameters_are_told() {
    let running = start().await;
    let (client, mut connection) = config(&running).connect(NoTls).await.unwrap();
    let (mut told, mut heard) = futures::channel::mpsc::unbounded();
    let watching = tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            if let tokio_postgres::AsyncMessage::Notice(notice) = message {
                told.send(notice.message().to_owned()).await.unwrap();
            }
        }
    });
    client.simple_query("NOTICE").await.unwrap();
    assert_eq!(heard.next().await.unwrap(), "two sites answered");
    drop(client);
    watching.await.unwrap();
}

/// What COPY sends, as text.
async fn copied(client: &Client, text: &str) -> Vec<u8> {
    let data: Vec<bytes::Bytes> = client.copy_out(text).await.unwrap().try_collect().await.unwrap();
    data.concat()
}

#[tokio::test]
async fn copy_writes_what_postgresql_writes() {
    let running = start().await;
    let client = connect(&running).await;
    let rows =
        "SELECT * FROM (VALUES (1, E'a\\tb'), (2, NULL), (3, 'c,\"d\"'), (4, ''), (5, E'\\\\x')) t(n, s) ORDER BY 1";
    let text = copied(&client, &format!("COPY ({rows}) TO STDOUT")).await;
    assert_eq!(String::from_utf8(text).unwrap(), "1\ta\\tb\n2\t\\N\n3\tc,\"d\"\n4\t\n5\t\\\\x\n");
    let csv = copied(&client, &format!("COPY ({rows}) TO STDOUT CSV")).await;
    assert_eq!(String::from_utf8(csv).unwrap(), "n,s\n1,a\tb\n2,\n3,\"c,\"\"d\"\"\"\n4,\"\"\n5,\\x\n");
    let binary = copied(&client, "COPY (SELECT CAST(7 AS bigint)) TO STDOUT BINARY").await;
    let expected: &[&[u8]] =
        &[b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", b"\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x07", b"\xff\xff"];
    assert_eq!(binary, expected.concat());
    // And the connection goes on.
    client.query("SELECT 1", &[]).await.unwrap();
}
