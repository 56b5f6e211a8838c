//! A client that keeps all it is told: rows as text, NOTICEs, errors with every field.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, NoTls, SimpleQueryMessage};

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Names of columns.
    pub columns: Vec<String>,
    /// Values as text; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// NOTICEs sent with it.
    pub notices: Vec<String>,
}

impl Answer {
    /// The rows as text: columns by `|`, NULL as nothing.
    pub fn lines(&self) -> Vec<String> {
        self.rows.iter().map(|r| r.iter().map(|v| v.as_deref().unwrap_or("")).collect::<Vec<_>>().join("|")).collect()
    }
}

/// An error with all that the server says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The SQLSTATE.
    pub code: String,
    /// What happened.
    pub message: String,
    /// More.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl From<&DbError> for ServerError {
    fn from(e: &DbError) -> Self {
        ServerError {
            code: e.code().code().to_owned(),
            message: e.message().to_owned(),
            detail: e.detail().map(str::to_owned),
            hint: e.hint().map(str::to_owned),
        }
    }
}

/// A connection.
pub struct Client {
    /// tokio-postgres's own client, for the extended protocol.
    pub inner: tokio_postgres::Client,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Client {
    /// Connects on loopback.
    pub async fn connect(port: u16, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user(user).password(password).dbname("kanon");
        config.connect_timeout(std::time::Duration::from_secs(10));
        let (inner, mut connection) = config.connect(NoTls).await?;
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&notices);
        tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message {
                    sink.lock().unwrap().push(notice.message().to_owned());
                }
            }
        });
        Ok(Client { inner, notices })
    }

    /// Asks over the simple protocol: the last answer with rows.
    pub async fn ask(&self, sql: &str) -> Result<Answer, ServerError> {
        let result = self.inner.simple_query(sql).await;
        let notices = std::mem::take(&mut *self.notices.lock().unwrap());
        let messages = result.map_err(|e| match e.as_db_error() {
            Some(db) => db.into(),
            None => ServerError { code: "-".into(), message: e.to_string(), detail: None, hint: None },
        })?;
        let mut answer = Answer { notices, ..Answer::default() };
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    answer.columns = columns.iter().map(|c| c.name().to_owned()).collect();
                    answer.rows.clear();
                }
                SimpleQueryMessage::Row(row) => {
                    answer.rows.push((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect());
                }
                _ => {}
            }
        }
        Ok(answer)
    }
}

/// The answer to what is answered.
pub async fn run(client: &Client, sql: &str) -> Answer {
    client.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

/// Its rows as text.
pub async fn lines(client: &Client, sql: &str) -> Vec<String> {
    run(client, sql).await.lines()
}

/// The error of what is refused.
pub async fn refused(client: &Client, sql: &str) -> ServerError {
    match client.ask(sql).await {
        Ok(answer) => panic!("{sql} was answered: {answer:?}"),
        Err(error) => error,
    }
}

/// Its SQLSTATE.
pub async fn code(client: &Client, sql: &str) -> String {
    refused(client, sql).await.code
}
