//! Bytes, frames and calls that are no conversation: each connection is ended or refused, and nobody else notices.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

/// What must come of it.
enum Comes {
    /// The site ends every connection within so many seconds.
    Ends(f64),
    /// The site refuses what was sent: it answers with an error, resets the stream, or says goodbye.
    Answers,
    /// It does what it likes, as long as it lives.
    Lives,
}
use Comes::{Answers, Ends, Lives};

const ATTEMPTS: [(&str, &[&str], u64, Comes); 17] = [
    ("garbage", &["own", "none", "plain"], 5, Ends(5.0)),
    ("another protocol", &["own", "none", "plain"], 5, Ends(5.0)),
    ("garbage for a hello", &["plain"], 20, Ends(5.0)),
    ("a huge frame", &["own", "none"], 3, Answers),
    ("a message of 1 GiB", &["own", "none"], 3, Answers),
    ("headers without end", &["own", "none"], 3, Answers),
    ("a list of headers of megabytes", &["own", "none"], 3, Answers),
    ("headers that unfold", &["own", "none"], 3, Answers),
    ("thousands of streams", &["own", "none"], 3, Answers),
    ("streams that are reset at once", &["own", "none"], 3, Answers),
    ("settings without end", &["own", "none"], 3, Lives),
    ("pings without end", &["own", "none"], 3, Lives),
    ("a window that overflows", &["own", "none"], 3, Answers),
    ("a mutated call", &["own"], 40, Lives),
    ("a mutated call", &["none"], 40, Lives),
    ("a mutated call", &["plain"], 40, Lives),
    ("a mutated call", &["plain"], 40, Lives),
];

fn sends(what: &str, over: &str, times: u64, seed: usize, comes: &Comes) -> Value {
    let (wanted, seconds) = match comes {
        Ends(seconds) => ("end", *seconds),
        Answers => ("answer", 10.0),
        Lives => ("answer", 1.0),
    };
    json!({"do": "frames", "what": what, "over": over, "times": times, "seed": seed, "wanted": wanted, "seconds": seconds})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_sends_harms_nobody() {
    let mut world = World::start("").await;
    for (seed, (what, all, times, comes)) in ATTEMPTS.iter().enumerate() {
        for over in *all {
            let answer = world.hostile.does(&sends(what, over, *times, seed, comes));
            let ended = answer["ended"].as_u64().unwrap();
            match comes {
                Ends(_) => assert_eq!(ended, *times, "{what} over {over}: {answer}"),
                Answers => {
                    let told = ["resets", "headers"].iter().map(|name| answer[name].as_u64().unwrap()).sum::<u64>();
                    let goodbyes = answer["goaway"].as_array().unwrap().len() as u64;
                    assert!(ended + told + goodbyes >= *times, "{what} over {over}: {answer}");
                }
                Lives => {}
            }
            println!("{what} over {over}: {answer}, {} MiB more", world.grown_mib());
            world.is_well(what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_never_end_do_not_fill_its_memory() {
    let mut world = World::start("").await;
    let most = (4_u64 << 20) - 1;
    for (over, mib) in [("none", 50), ("plain", 50), ("own", 150)] {
        let command =
            json!({"do": "frames", "what": "messages that never end", "over": over, "streams": 200, "bytes": most});
        let answer = world.hostile.does(&command);
        println!("over {over}: {answer}, {} MiB more", world.grown_mib());
        assert!(world.grown_mib() < mib, "over {over}: {} MiB more, {answer}", world.grown_mib());
        world.is_well("messages that never end").await;
        world.hostile.does(&json!({"do": "frames", "what": "let go"}));
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.is_well("they were let go").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_keeps_nobody_out() {
    // As many as there are places, in all states in which a connection is before its first call.
    let mut world = World::start("max_connections = 40").await;
    for (what, over) in
        [("half a hello", "plain"), ("nothing", "none"), ("half a preface", "plain"), ("nothing", "own")]
    {
        let answer = world.hostile.does(&sends(what, over, 60, 1, &Ends(14.0)));
        assert_eq!(answer["ended"], json!(60), "{what} over {over}: {answer}");
        world.is_well(what).await;
        let again = world.hostile.does(&json!({"do": "ask", "sql": "SELECT 41 + 1"}));
        assert_eq!(again["rows"], json!(["42"]), "after {what} over {over}: {again}");
    }
}
