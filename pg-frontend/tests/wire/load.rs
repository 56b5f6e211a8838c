//! Not a test: a listener to point psql at, for measuring and for looking.

use kanon_pg::Limits;

use crate::house::start_at;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs until stopped"]
async fn serve() {
    let address = std::env::var("KANON_PG_LISTEN").unwrap_or_else(|_| "127.0.0.1:15499".to_owned());
    let running = start_at(&address, Limits::default(), None).await;
    running.ended.await.unwrap().unwrap();
}
