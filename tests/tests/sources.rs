//! Where data can be: files, folders, globs, S3, and HTTP; each as its steward would register it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::parquet::arrow::ArrowWriter;
use kanon_tests::client::Client;
use kanon_tests::{Federation, SiteSpec, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A table of numbers from..to, in each format.
fn rows(format: &str, from: i64, to: i64) -> Vec<u8> {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(from..to))),
        ("n", Arc::new(Int64Array::from_iter_values((from..to).map(|i| i % 7)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    match format {
        "parquet" => {
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.into_inner().unwrap()
        }
        "arrow" => {
            let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
            writer.into_inner().unwrap()
        }
        "json" => (from..to).map(|i| format!("{{\"id\":{i},\"n\":{}}}\n", i % 7)).collect::<String>().into_bytes(),
        _ => {
            let lines = (from..to).map(|i| format!("{i},{}\n", i % 7));
            std::iter::once("id,n\n".to_owned()).chain(lines).collect::<String>().into_bytes()
        }
    }
}

const FORMATS: [&str; 4] = ["parquet", "csv", "json", "arrow"];

async fn node(files: Vec<(String, Vec<u8>)>) -> (Federation, Client) {
    let federation = Federation::start(vec![SiteSpec { id: "clinic", setup: Vec::new(), files }]).await;
    let admin = federation.sites[0].wait().await;
    (federation, admin)
}

/// Registers a location and gives how many rows it has.
async fn count(client: &Client, table: &str, format: &str, location: &str) -> String {
    for sql in [
        format!("CREATE EXTERNAL TABLE {table} STORED AS {format} LOCATION '{location}'"),
        format!("ALTER TABLE {table} SET (access = 'cohort', unit = 'id', min_cohort = 5)"),
    ] {
        client.ask(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    client
        .ask(&format!("SELECT count(*) FROM {table}"))
        .await
        .unwrap_or_else(|e| panic!("{location}: {e:?}"))
        .lines()
        .join(";")
}

#[tokio::test(flavor = "multi_thread")]
async fn files_folders_and_globs_on_the_node_s_own_disk() {
    let mut files = Vec::new();
    for format in FORMATS {
        files.push((format!("{format}/a.{format}"), rows(format, 0, 100)));
        files.push((format!("{format}/b.{format}"), rows(format, 100, 300)));
        files.push((format!("{format}/README"), b"not data".to_vec()));
    }
    let (federation, admin) = node(files).await;
    let dir = federation.sites[0].dir.display().to_string();
    for format in FORMATS {
        for (name, location, expected) in [
            ("file", format!("{dir}/{format}/a.{format}"), "100"),
            ("url", format!("file://{dir}/{format}/b.{format}"), "200"),
            ("folder", format!("{dir}/{format}/"), "300"),
            ("bare", format!("{dir}/{format}"), "300"),
            ("globbed", format!("{dir}/{format}/b*.{format}"), "200"),
        ] {
            assert_eq!(count(&admin, &format!("{name}_{format}"), format, &location).await, expected, "{location}");
        }
        // A file more, and the next statement counts it.
        std::fs::write(format!("{dir}/{format}/c.{format}"), rows(format, 300, 350)).unwrap();
        assert_eq!(admin.ask(&format!("SELECT count(*) FROM folder_{format}")).await.unwrap().lines(), ["350"]);
    }
}

/// A server of the tests' own, ended with them.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_of_an_s3_compatible_server() {
    let home = PathBuf::from(std::env::var("HOME").unwrap());
    let moto = home.join(".cache/kanon/object-store/bin/moto_server");
    if !moto.is_file() {
        assert_ne!(std::env::var("KANON_TESTS_MAY_SKIP").as_deref(), Ok("0"), "no S3 server: run scripts/clients");
        eprintln!("SKIPPED: object stores need an S3-compatible server; scripts/clients installs one");
        return;
    }
    let port = free_port();
    let _server = Server(
        Command::new(moto)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let address = format!("127.0.0.1:{port}");
    let until = Instant::now() + Duration::from_secs(60);
    while http(&address, "PUT", "/kanon", &[]).await.is_none() {
        assert!(Instant::now() < until, "the S3 server does not come up");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let put = async |path: String, content: Vec<u8>| {
        assert_eq!(http(&address, "PUT", &format!("/kanon/{path}"), &content).await, Some(200), "{path}");
    };
    for format in FORMATS {
        put(format!("in/{format}/a.{format}"), rows(format, 0, 100)).await;
        put(format!("in/{format}/b.{format}"), rows(format, 100, 300)).await;
        put(format!("in/{format}/README"), b"not data".to_vec()).await;
    }
    let (mut federation, admin) = node(Vec::new()).await;
    // Without credentials in its environment the node says where they come from.
    let sql = "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://kanon/in/parquet/'";
    let error = admin.ask(sql).await.unwrap_err();
    assert!(matches!(error.code.as_str(), "58000" | "58030"), "{error:?}");
    let site = federation.site_mut("clinic");
    site.kill();
    for (name, value) in [
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "not to be told".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ] {
        site.environment.push((name.to_owned(), value));
    }
    site.spawn();
    let admin = site.wait().await;
    for format in FORMATS {
        for (name, location, expected) in [
            ("file", format!("s3://kanon/in/{format}/a.{format}"), "100"),
            ("folder", format!("s3://kanon/in/{format}/"), "300"),
            ("globbed", format!("s3://kanon/in/{format}/b*.{format}"), "200"),
        ] {
            assert_eq!(count(&admin, &format!("{name}_{format}"), format, &location).await, expected, "{location}");
        }
    }
    put("in/parquet/c.parquet".into(), rows("parquet", 300, 350)).await;
    assert_eq!(admin.ask("SELECT count(*) FROM folder_parquet").await.unwrap().lines(), ["350"]);
    // One row a unit, looked at; then a second row of one, and nothing is answered from it before its steward looks again.
    admin.ask("ALTER TABLE file_csv SET (unit_unique = true)").await.unwrap();
    put("in/csv/a.csv".into(), b"id,n\n1,1\n1,2\n2,3\n3,4\n4,5\n5,6\n6,7\n".to_vec()).await;
    assert_eq!(admin.ask("SELECT count(*) FROM file_csv").await.unwrap_err().code, "38000");
    for (location, part) in
        [("s3://kanon/nothing/", "no csv files"), ("s3://kanon/in/csv/gone.csv", ""), ("s3://nobody/in/", "")]
    {
        let sql = format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{location}'");
        let error = admin.ask(&sql).await.unwrap_err();
        assert!(matches!(error.code.as_str(), "58000" | "58030"), "{location}: {error:?}");
        assert!(error.message.contains(part), "{location}: {error:?}");
        assert!(!format!("{error:?}").contains("not to be told"));
    }
    // After a restart the node knows where its tables are.
    site.kill();
    site.spawn();
    let admin = site.wait().await;
    assert_eq!(admin.ask("SELECT count(*) FROM folder_parquet").await.unwrap().lines(), ["350"]);
    drop(_server);
    let error = admin.ask("SELECT count(*) FROM folder_parquet").await.unwrap_err();
    assert_eq!(error.code, "38000", "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_web_server_on_this_machine() {
    let files: HashMap<String, Vec<u8>> =
        FORMATS.iter().map(|format| (format!("/d/a.{format}"), rows(format, 0, 100))).collect();
    let address = serve(files).await;
    let (_federation, admin) = node(Vec::new()).await;
    for format in FORMATS {
        let location = format!("http://{address}/d/a.{format}");
        assert_eq!(count(&admin, &format!("t_{format}"), format, &location).await, "100", "{location}");
    }
    let sql = format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'http://{address}/d/gone.csv'");
    assert_eq!(admin.ask(&sql).await.unwrap_err().code, "58030");
    let sql = "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'http://192.0.2.1/d/a.csv'";
    assert_eq!(admin.ask(sql).await.unwrap_err().code, "22023");
}

/// A request over plain HTTP: the status of the answer.
async fn http(address: &str, method: &str, path: &str, body: &[u8]) -> Option<u16> {
    let mut socket = tokio::net::TcpStream::connect(address).await.ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\nAuthorization: AWS4-HMAC-SHA256 Credential=key/20240101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(body).await.ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.ok()?;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

/// A web server of files, with ranges.
async fn serve(files: HashMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let files = Arc::new(files);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let files = Arc::clone(&files);
            tokio::spawn(async move {
                let mut read = Vec::new();
                while !read.windows(4).any(|w| w == b"\r\n\r\n") {
                    let mut chunk = [0; 4096];
                    match socket.read(&mut chunk).await {
                        Ok(n) if n > 0 => read.extend_from_slice(&chunk[..n]),
                        _ => return,
                    }
                }
                let text = String::from_utf8_lossy(&read).into_owned();
                let mut words = text.split(' ');
                let (method, path) = (words.next().unwrap(), words.next().unwrap());
                let range =
                    text.lines().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
                let mut answer = match (files.get(path), range) {
                    (None, _) => b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec(),
                    (Some(file), range) => {
                        let (start, end) = match range.as_deref().and_then(|r| r.split_once('-')) {
                            Some(("", last)) => (file.len() - last.parse::<usize>().unwrap(), file.len()),
                            Some((start, "")) => (start.parse().unwrap(), file.len()),
                            Some((start, end)) => (start.parse().unwrap(), end.parse::<usize>().unwrap() + 1),
                            None => (0, file.len()),
                        };
                        let (status, range) = match range {
                            Some(_) => (
                                "206 Partial Content",
                                format!("Content-Range: bytes {start}-{}/{}\r\n", end - 1, file.len()),
                            ),
                            None => ("200 OK", String::new()),
                        };
                        let mut answer = format!(
                            "HTTP/1.1 {status}\r\nConnection: close\r\nETag: \"1\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n{range}Content-Length: {}\r\n\r\n",
                            end - start
                        )
                        .into_bytes();
                        if method == "GET" {
                            answer.extend_from_slice(&file[start..end]);
                        }
                        answer
                    }
                };
                let _ = socket.write_all(&std::mem::take(&mut answer)).await;
                let _ = socket.shutdown().await;
            });
        }
    });
    address
}
