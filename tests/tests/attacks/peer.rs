//! A coordinator that means no good: it holds the key of a node that the site trusts.

use arrow_flight::decode::FlightRecordBatchStream;
use futures::TryStreamExt as _;
use kanon_engine::federation::identity;
use kanon_tests::flight::of_status;
use kanon_tests::peer::Peer;
use kanon_tests::{ANALYST, Federation};

use crate::Row;
use crate::world::spent;

/// Rows that came, or the SQLSTATE.
async fn asked(peer: &mut Peer, sql: &str, ticket: &str) -> Result<usize, String> {
    let stream = peer.get(sql, ticket).await.map_err(|status| of_status(&status).code)?;
    let mut stream = stream.into_inner();
    let mut data = Vec::new();
    while let Some(message) = stream.message().await.map_err(|status| of_status(&status).code)? {
        data.push(Ok(message));
    }
    let batches = FlightRecordBatchStream::new_from_flight_data(futures::stream::iter(data));
    let batches: Vec<_> = batches.try_collect().await.unwrap();
    Ok(batches.iter().map(|batch| batch.num_rows()).sum())
}

pub async fn rows(federation: &Federation) -> Row {
    let mut peer = Peer::connect(federation.site("alpha"), federation.site("beta")).await;
    let texts = [
        "SELECT * FROM peer",
        "SELECT pay FROM peer WHERE town = 'Ems'",
        "SELECT pid, sum(pay) FROM peer GROUP BY pid",
        "SELECT count(*) FROM peer WHERE pid = 9017",
        "SELECT count(DISTINCT bed) FROM peer GROUP BY pid",
        "SELECT sum(bed) FROM peer",
        "ALTER TABLE peer SET (unit = 'bed')",
        "ALTER PRIVACY UNIT of_peer SET (budget_epsilon = 1000000000)",
        "COPY peer TO STDOUT",
    ];
    for sql in texts {
        let ticket = peer.asking(sql, ANALYST.0, 1e9, 0.999);
        let told = asked(&mut peer, sql, &ticket).await;
        assert!(told.is_err(), "{sql}: {told:?}");
    }
    assert_eq!(spent(federation.site("beta"), "peer").await, 0.0);
    Row::new(
        "a malicious coordinator with good tickets: raw rows, another unit, another policy",
        "private",
        texts.len().to_string(),
        "refused, each; nothing charged",
    )
}

/// An aggregate, with tickets that ask to spend 10⁹ on it.
pub async fn epsilon(federation: &Federation) -> Row {
    const ASKED: usize = 10;
    let beta = federation.site("beta");
    let mut peer = Peer::connect(federation.site("alpha"), beta).await;
    let before = spent(beta, "peer").await;
    for i in 0..ASKED {
        let sql = format!("SELECT kanon_part_count(1) FROM peer WHERE bed > -{}", i + 1);
        let ticket = peer.asking(&sql, ANALYST.0, 1e9, 0.999);
        asked(&mut peer, &sql, &ticket).await.unwrap();
    }
    let each = (spent(beta, "peer").await - before) / ASKED as f64;
    Row::new(
        "a malicious coordinator with good tickets that ask for ε = 10⁹ and δ = 0.999",
        "private",
        ASKED.to_string(),
        format!("numbers with the noise of the policy's ε, each charged (ε {each:.1})"),
    )
}

pub async fn tickets(federation: &Federation) -> Row {
    let beta = federation.site("beta");
    let mut peer = Peer::connect(federation.site("alpha"), beta).await;
    let open = "SELECT node_id FROM kanon.nodes";
    // Negative control: a good ticket is admitted, once.
    let good = peer.ticket(open, ANALYST.0);
    assert!(asked(&mut peer, open, &good).await.is_ok());
    let folder = tempfile::TempDir::new().unwrap();
    let stranger = identity::ensure(folder.path()).unwrap();
    let mut fresh = peer.ticket(open, ANALYST.0);
    let tampered = {
        let cut = fresh.len() - 4;
        fresh.truncate(cut);
        fresh + "AAAA"
    };
    let other = peer.ticket(open, ANALYST.0);
    let attempts = [
        ("replayed", open, good),
        ("forged", open, peer.forged(&stranger, open, ANALYST.0)),
        ("tampered", open, tampered),
        ("for another text", "SELECT count(*) FROM peer", other),
        ("for another site", open, peer.misdirected("gamma", open, ANALYST.0)),
        (
            "for a user who is not there",
            "SELECT count(*) FROM peer",
            peer.ticket("SELECT count(*) FROM peer", "nobody"),
        ),
    ];
    for (what, sql, ticket) in &attempts {
        let told = asked(&mut peer, sql, ticket).await;
        assert!(told.is_err(), "{what}: {told:?}");
    }
    Row::new(
        "a malicious coordinator with bad tickets: replayed, forged, tampered, for another text, site or user",
        "private",
        attempts.len().to_string(),
        "refused, each",
    )
}
