//! A client of Flight SQL that says what it was told: rows as text, errors with their SQLSTATE.

use arrow_flight::FlightInfo;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::client::ServerError;

/// A connection, logged in.
pub struct FlightClient {
    /// Arrow's own client.
    pub inner: FlightSqlServiceClient<Channel>,
}

impl FlightClient {
    /// Connects on loopback and logs in.
    pub async fn connect(port: u16, role: (&str, &str)) -> FlightClient {
        FlightClient::attempt(port, role).await.unwrap()
    }

    /// Connects on loopback and tries to log in.
    pub async fn attempt(port: u16, role: (&str, &str)) -> Result<FlightClient, FlightError> {
        let mut client = FlightClient::bearing(port, "").await;
        client.inner.handshake(role.0, role.1).await?;
        Ok(client)
    }

    /// Connects on loopback with a token or API key.
    pub async fn bearing(port: u16, token: &str) -> FlightClient {
        let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap();
        let mut inner = FlightSqlServiceClient::new(channel);
        if !token.is_empty() {
            inner.set_token(token.to_owned());
        }
        FlightClient { inner }
    }

    /// Asks, and gives the rows: columns by `|`, NULL as nothing.
    pub async fn ask(&mut self, sql: &str) -> Result<Vec<String>, ServerError> {
        let info = self.inner.execute(sql.to_owned(), None).await.map_err(of_flight)?;
        self.fetch(info).await
    }

    async fn fetch(&mut self, info: FlightInfo) -> Result<Vec<String>, ServerError> {
        let mut lines = Vec::new();
        for endpoint in info.endpoint {
            let mut stream = self.inner.do_get(endpoint.ticket.unwrap()).await.map_err(of_flight)?;
            while let Some(batch) = stream.try_next().await.map_err(of_flight)? {
                lines.extend(lines_of(&batch));
            }
        }
        Ok(lines)
    }
}

/// The rows of a batch: columns by `|`, NULL as nothing.
pub fn lines_of(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default();
    let columns: Vec<_> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    let cell = |(text, c): (&ArrayFormatter<'_>, &ArrayRef), row| {
        if c.is_null(row) { String::new() } else { text.value(row).to_string() }
    };
    let line = |row| columns.iter().zip(batch.columns()).map(|pair| cell(pair, row)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

fn of_flight(error: FlightError) -> ServerError {
    match error {
        FlightError::Tonic(status) => of_status(&status),
        other => ServerError { code: "-".into(), message: other.to_string(), detail: None, hint: None },
    }
}

/// The error of a status, as nodes write it.
pub fn of_status(status: &Status) -> ServerError {
    let metadata = status.metadata();
    let text = |key: &str| {
        let bytes = metadata.get_bin(key)?.to_bytes().ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let code = metadata.get("kanon-sqlstate").and_then(|code| code.to_str().ok());
    ServerError {
        code: code.unwrap_or("-").to_owned(),
        message: status.message().to_owned(),
        detail: text("kanon-detail-bin"),
        hint: text("kanon-hint-bin"),
    }
}
