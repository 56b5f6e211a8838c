//! `kanon sql`, and the connection that the demo asks its questions through.

mod tls;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use kanon_engine::config::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Connection, NoTls, SimpleQueryMessage, Socket};

use crate::{ConnectArgs, SqlArgs};
use tls::Tls;

/// One answer: names of columns, rows as text, NOTICEs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Names of columns.
    pub columns: Vec<String>,
    /// Values as text; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A connection that collects the NOTICEs of its statements.
pub(crate) struct Client {
    inner: tokio_postgres::Client,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Client {
    /// Connects on loopback, without TLS.
    pub async fn connect(host: &str, port: u16, user: &str, password: &str) -> Result<Client> {
        let config = settings(host, port, user, password);
        let (inner, connection) = config.connect(NoTls).await.map_err(plain)?;
        Ok(Client::over(inner, connection))
    }

    /// Connects over TLS, or not at all.
    async fn connect_over(tls: Tls, host: &str, port: u16, user: &str, password: &str) -> Result<Client> {
        let mut config = settings(host, port, user, password);
        let (inner, connection) = config.ssl_mode(SslMode::Require).connect(tls).await.map_err(plain)?;
        Ok(Client::over(inner, connection))
    }

    fn over<S>(inner: tokio_postgres::Client, mut connection: Connection<Socket, S>) -> Client
    where
        S: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
    {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&notices);
        tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message
                    && let Ok(mut sink) = sink.lock()
                {
                    sink.push(notice.message().to_owned());
                }
            }
        });
        Client { inner, notices }
    }

    /// Asks, and gives the answer of each statement with rows, and the NOTICEs.
    pub async fn ask(&self, sql: &str) -> Result<(Vec<Table>, Vec<String>)> {
        let answer = self.inner.simple_query(sql).await.map_err(plain);
        let notices = self.notices.lock().map(|mut n| std::mem::take(&mut *n)).unwrap_or_default();
        let mut tables: Vec<Table> = Vec::new();
        for message in answer? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => tables
                    .push(Table { columns: columns.iter().map(|c| c.name().to_owned()).collect(), rows: Vec::new() }),
                SimpleQueryMessage::Row(row) => {
                    let values = (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect();
                    if let Some(table) = tables.last_mut() {
                        table.rows.push(values);
                    }
                }
                _ => {}
            }
        }
        Ok((tables, notices))
    }
}

fn settings(host: &str, port: u16, user: &str, password: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host(host).port(port).user(user).password(password).dbname("kanon").application_name("kanon");
    config.connect_timeout(std::time::Duration::from_secs(5));
    config
}

/// The server's own words, with hint, instead of "db error".
fn plain(error: tokio_postgres::Error) -> anyhow::Error {
    match error.as_db_error() {
        Some(db) => anyhow!("{}", db_text(db)),
        None => anyhow!(error),
    }
}

fn db_text(error: &DbError) -> String {
    let hint = error.hint().map(|h| format!("\nHint: {h}")).unwrap_or_default();
    format!("{} ({}){hint}", error.message(), error.code().code())
}

/// The table as people read it.
pub(crate) fn render(table: &Table) -> String {
    let width = |i: usize| {
        let cells = table.rows.iter().filter_map(|r| r.get(i)).map(|v| v.as_deref().map_or(0, |v| v.chars().count()));
        cells.chain(table.columns.get(i).map(|c| c.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| {
                let fill = " ".repeat(width.saturating_sub(cell.chars().count()));
                let numeric = cell.starts_with(|c: char| c.is_ascii_digit() || c == '-') && cell.parse::<f64>().is_ok();
                if numeric { format!(" {fill}{cell} ") } else { format!(" {cell}{fill} ") }
            })
            .collect();
        padded.join("|").trim_end().to_owned() + "\n"
    };
    let mut out = line(table.columns.iter().map(String::as_str).collect());
    out.push_str(&widths.iter().map(|w| "-".repeat(w + 2)).collect::<Vec<_>>().join("+"));
    out.push('\n');
    for row in &table.rows {
        out.push_str(&line(row.iter().map(|v| v.as_deref().unwrap_or("")).collect()));
    }
    out.push_str(&format!("({} row{})\n", table.rows.len(), if table.rows.len() == 1 { "" } else { "s" }));
    out
}

/// A connection to the node that the arguments name: over TLS, unless it is on loopback. A password goes nowhere in the clear.
pub(crate) async fn connect(args: &ConnectArgs) -> Result<Client> {
    let (host, port, tls) = match &args.connect {
        Some(address) => {
            let (host, port) = address.rsplit_once(':').context("--connect takes host:port")?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let tls = match &args.root_cert {
                Some(file) => Some(Tls::of_authorities(file)?),
                None if is_loopback(&host) => None,
                None => bail!(
                    "{host} is another machine: name the authority of its TLS certificate with --root-cert FILE (its own tls.crt, if it is self-signed)"
                ),
            };
            (host, port.parse().context("--connect takes host:port")?, tls)
        }
        None => {
            let config = Config::load(&args.config)?;
            let at = config.pg_listen;
            let host = match at.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            let tls = config.tls_required_on(at).then(|| Tls::of_certificate(&config.tls_files().0)).transpose()?;
            (host.to_string(), at.port(), tls)
        }
    };
    let password = match std::env::var("PGPASSWORD") {
        Ok(password) => password,
        Err(_) => bail!("set PGPASSWORD to the password of \"{}\"", args.user),
    };
    match tls {
        Some(tls) => Client::connect_over(tls, &host, port, &args.user, &password).await,
        None => Client::connect(&host, port, &args.user, &password).await,
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `kanon sql`.
pub(crate) async fn run(args: SqlArgs) -> Result<()> {
    let query = match args.query {
        Some(query) => query,
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
    };
    let client = connect(&args.connect).await?;
    let (tables, notices) = client.ask(&query).await?;
    for table in &tables {
        if args.json {
            for row in &table.rows {
                let object: serde_json::Map<String, serde_json::Value> = table
                    .columns
                    .iter()
                    .cloned()
                    .zip(row.iter().map(|v| v.clone().map_or(serde_json::Value::Null, serde_json::Value::String)))
                    .collect();
                println!("{}", serde_json::Value::Object(object));
            }
        } else {
            print!("{}", render(table));
        }
    }
    for notice in notices {
        eprintln!("NOTICE:  {notice}");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let table = Table {
            columns: vec!["sex".into(), "count".into()],
            rows: vec![vec![Some("female".into()), Some("47".into())], vec![None, Some("313".into())]],
        };
        assert_eq!(render(&table), " sex    | count\n--------+-------\n female |    47\n        |   313\n(2 rows)\n");
    }
}
