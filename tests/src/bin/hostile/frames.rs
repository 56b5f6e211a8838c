//! Bytes that no client of HTTP/2 would send: RFC 9113 by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf};

use crate::calls::{Wire, wire};
use crate::keys::{Over, World};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const FRAME_BYTES: usize = 16_384;
/// The longest that sending may take: a site that does not read makes it wait.
const SENDING: Duration = Duration::from_secs(20);

/// What looks random and is not: SplitMix64.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A string of HPACK, as it is.
fn text(of: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if of.len() < 127 {
        out.push(of.len() as u8);
    } else {
        out.push(127);
        let mut rest = of.len() - 127;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(of);
    out
}

fn header(name: &str, value: &[u8]) -> Vec<u8> {
    [vec![0], text(name.as_bytes()), text(value)].concat()
}

/// The headers of a call: POST, http, the path, and what gRPC wants.
fn call() -> Vec<u8> {
    let start = [vec![0x83, 0x86, 0x04], text(DO_GET.as_bytes()), vec![0x01], text(b"peer")].concat();
    [start, header("content-type", b"application/grpc"), header("te", b"trailers")].concat()
}

fn start() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// What is sent, piece by piece.
fn pieces(what: &str, seed: u64) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
    let mut chance = Chance(seed);
    let odd = |n: u32| 2 * n + 1;
    let begun = |rest: Box<dyn Iterator<Item = Vec<u8>> + Send>| Box::new(std::iter::once(start()).chain(rest));
    // More headers than anybody reads, in as many frames.
    let many = |frames: u32, ends: bool| {
        let first = frame(HEADERS, 0, 1, &call());
        let more = (1..=frames).map(move |n| {
            let block = header(&format!("x-{n}"), &[b'a'; 16_000]);
            frame(CONTINUATION, if ends && n == frames { END_HEADERS } else { 0 }, 1, &block)
        });
        std::iter::once(first).chain(more)
    };
    match what {
        "nothing" => Box::new(std::iter::empty()),
        "half a hello" => Box::new(std::iter::once(vec![0x16, 3, 1, 2, 0, 1])),
        "garbage for a hello" => {
            Box::new(std::iter::once([vec![0x16, 3, 1, 0x40, 0], chance.bytes(FRAME_BYTES)].concat()))
        }
        "half a preface" => Box::new(std::iter::once(PREFACE[..11].to_vec())),
        "garbage" => Box::new((0..64).map(move |_| chance.bytes(4_096))),
        "another protocol" => Box::new(std::iter::once(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10))),
        "a huge frame" => {
            let head = [vec![0xff, 0xff, 0xff, DATA, 0], 1_u32.to_be_bytes().to_vec()].concat();
            begun(Box::new(std::iter::once(head).chain((0..256).map(|_| vec![0; 65_536]))))
        }
        "a message of 1 GiB" => {
            let message = [vec![0, 0x40, 0, 0, 0], vec![0; 1_000]].concat();
            let frames = [frame(HEADERS, END_HEADERS, 1, &call()), frame(DATA, 0, 1, &message)];
            begun(Box::new(frames.into_iter()))
        }
        "headers without end" => begun(Box::new(many(1_000, false))),
        "a list of headers of megabytes" => begun(Box::new(many(300, true))),
        "headers that unfold" => {
            // One of 4,000 bytes goes into the table, and is named again and again by a byte.
            let entry = [vec![0x40], text(b"x"), text(&[b'a'; 4_000])].concat();
            let again = [call(), vec![0xbe; 16_000]].concat();
            let frames = [
                frame(HEADERS, END_HEADERS, 1, &[call(), entry].concat()),
                frame(HEADERS, END_HEADERS, 3, &again),
                frame(HEADERS, END_HEADERS, 5, &again),
            ];
            begun(Box::new(frames.into_iter()))
        }
        "thousands of streams" => {
            begun(Box::new((0..5_000).map(move |n| frame(HEADERS, END_HEADERS, odd(n), &call()))))
        }
        "streams that are reset at once" => begun(Box::new((0..20_000).map(move |n| {
            [frame(HEADERS, END_HEADERS, odd(n), &call()), frame(RST_STREAM, 0, odd(n), &[0, 0, 0, 8])].concat()
        }))),
        "settings without end" => {
            begun(Box::new((0..2_000).map(|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]).repeat(50))))
        }
        "pings without end" => begun(Box::new((0..2_000).map(|_| frame(PING, 0, 0, &[7; 8]).repeat(50)))),
        "a window that overflows" => {
            let window = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
            begun(Box::new([window.clone(), window].into_iter()))
        }
        "a mutated call" => {
            let message = [vec![0, 0, 0, 0, 4], vec![10, 2, 8, 1]].concat();
            let mut all = [start(), frame(HEADERS, END_HEADERS, 1, &call()), frame(DATA, 1, 1, &message)].concat();
            for _ in 0..1 + chance.below(8) {
                let at = PREFACE.len() + chance.below(all.len() - PREFACE.len());
                match chance.below(4) {
                    0 => all[at] = chance.next() as u8,
                    1 => all[at] ^= 1 << chance.below(8),
                    2 => all.insert(at, chance.next() as u8),
                    _ => drop(all.remove(at)),
                }
            }
            Box::new(std::iter::once(all))
        }
        other => panic!("{other} is nothing to send"),
    }
}

/// What the site did meanwhile.
#[derive(Default)]
struct Seen {
    /// Whether it closed the connection.
    ended: bool,
    goaway: Vec<u32>,
    resets: usize,
    headers: usize,
    bytes: usize,
    /// What may be sent: on the connection beyond the first 65,535 bytes, on each stream beyond its first ones, and how many these are.
    window: i64,
    windows: BTreeMap<u32, i64>,
    first: i64,
}

async fn listen(mut wire: ReadHalf<Box<dyn Wire>>, seen: Arc<Mutex<Seen>>) {
    let mut held: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let read = wire.read(&mut buffer).await.unwrap_or(0);
        let mut seen = seen.lock().unwrap();
        if read == 0 {
            seen.ended = true;
            return;
        }
        seen.bytes += read;
        held.extend_from_slice(&buffer[..read]);
        while held.len() >= 9 {
            let length = usize::from(held[0]) << 16 | usize::from(held[1]) << 8 | usize::from(held[2]);
            if held.len() < 9 + length {
                break;
            }
            let number = |at: usize| u32::from_be_bytes(held[at..at + 4].try_into().unwrap());
            match held[3] {
                SETTINGS => {
                    for at in (9..9 + length).step_by(6).filter(|at| held[*at..*at + 2] == [0, 4]) {
                        seen.first = i64::from(number(at + 2));
                    }
                }
                WINDOW_UPDATE if number(5) == 0 => seen.window += i64::from(number(9)),
                WINDOW_UPDATE => *seen.windows.entry(number(5)).or_default() += i64::from(number(9)),
                HEADERS => seen.headers += 1,
                RST_STREAM => seen.resets += 1,
                GOAWAY if length >= 8 => seen.goaway.push(number(13)),
                _ => {}
            }
            held.drain(..9 + length);
        }
    }
}

/// Connections that are kept open after the answer, until `let go`.
static KEPT: Mutex<Vec<Box<dyn std::any::Any + Send>>> = Mutex::new(Vec::new());

/// Connects `times` times at once (1 if it does not say) and sends `what`; then waits until the site ends the connection, or answers where that is what is `wanted`
/// (`end`, `answer`), for `seconds` at most. Says what the site did, over all connections.
pub async fn attack(world: &World, command: &Value) -> Value {
    let what = command["what"].as_str().unwrap();
    match what {
        "let go" => {
            KEPT.lock().unwrap().clear();
            return json!({});
        }
        "messages that never end" => return hoard(world, command).await,
        _ => {}
    }
    let times = command["times"].as_u64().unwrap_or(1);
    let seed = command["seed"].as_u64().unwrap_or(1);
    let all = (0..times).map(|n| once(world, command, what, seed.wrapping_mul(1_000_003) + n));
    let began = Instant::now();
    let all = futures::future::join_all(all).await;
    let goaway: Vec<u32> = all.iter().flat_map(|seen| seen.goaway.clone()).collect();
    json!({
        "ended": all.iter().filter(|seen| seen.ended).count(),
        "goaway": goaway,
        "resets": all.iter().map(|seen| seen.resets).sum::<usize>(),
        "headers": all.iter().map(|seen| seen.headers).sum::<usize>(),
        "bytes": all.iter().map(|seen| seen.bytes).sum::<usize>(),
        "seconds": began.elapsed().as_secs_f64(),
    })
}

async fn once(world: &World, command: &Value, what: &str, seed: u64) -> Seen {
    let Ok(wire) = wire(world.port, world.client(Over::of(command))).await else {
        return Seen { ended: true, ..Seen::default() };
    };
    let (read, mut write) = tokio::io::split(wire);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let listening = tokio::spawn(listen(read, Arc::clone(&seen)));
    let sending = async {
        for piece in pieces(what, seed) {
            write.write_all(&piece).await?;
        }
        write.flush().await
    };
    // A site that has closed the connection takes no more.
    let _ = tokio::time::timeout(SENDING, sending).await;
    let until = Instant::now() + Duration::from_secs_f64(command["seconds"].as_f64().unwrap_or(10.0));
    let wants_answer = command["wanted"].as_str() == Some("answer");
    loop {
        {
            let seen = seen.lock().unwrap();
            let answered = seen.headers + seen.resets + seen.goaway.len() > 0;
            if seen.ended || wants_answer && answered || Instant::now() > until {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    listening.abort();
    drop(write);
    std::mem::take(&mut *seen.lock().unwrap())
}

/// Begins `streams` calls on one connection with messages of `bytes` each, sends as much of them as the site takes but never their last byte, and keeps all open until
/// `let go`.
async fn hoard(world: &World, command: &Value) -> Value {
    let streams = u32::try_from(command["streams"].as_u64().unwrap()).unwrap();
    let bytes = usize::try_from(command["bytes"].as_u64().unwrap()).unwrap();
    let wire = wire(world.port, world.client(Over::of(command))).await.unwrap();
    let (read, mut write) = tokio::io::split(wire);
    let seen = Arc::new(Mutex::new(Seen { window: 65_535, first: 65_535, ..Seen::default() }));
    let listening = tokio::spawn(listen(read, Arc::clone(&seen)));
    let prefix = [&[0][..], &u32::try_from(bytes).unwrap().to_be_bytes()].concat();
    let mut sent = vec![0_usize; streams as usize];
    let all = async {
        write.write_all(&start()).await?;
        for n in 0..streams {
            let begun = [frame(HEADERS, END_HEADERS, 2 * n + 1, &call()), frame(DATA, 0, 2 * n + 1, &prefix)].concat();
            write.write_all(&begun).await?;
            sent[n as usize] = prefix.len();
            seen.lock().unwrap().window -= i64::try_from(prefix.len()).unwrap();
        }
        let mut last = Instant::now();
        while last.elapsed() < Duration::from_secs(1) {
            for n in 0..streams {
                let so_far = &mut sent[n as usize];
                let (window, first, more) = {
                    let seen = seen.lock().unwrap();
                    if seen.ended {
                        return Ok(());
                    }
                    (seen.window, seen.first, seen.windows.get(&(2 * n + 1)).copied().unwrap_or(0))
                };
                let open = window.min(first + more - i64::try_from(*so_far).unwrap());
                let open = usize::try_from(open).unwrap_or(0).min(prefix.len() + bytes - 1 - *so_far).min(FRAME_BYTES);
                if open > 0 {
                    write.write_all(&frame(DATA, 0, 2 * n + 1, &vec![0; open])).await?;
                    seen.lock().unwrap().window -= i64::try_from(open).unwrap();
                    *so_far += open;
                    last = Instant::now();
                }
            }
            write.flush().await?;
            tokio::task::yield_now().await;
        }
        std::io::Result::Ok(())
    };
    let done = tokio::time::timeout(SENDING, all).await.is_ok_and(|done| done.is_ok());
    let (resets, headers, ended, goaway) = {
        let seen = seen.lock().unwrap();
        (seen.resets, seen.headers, seen.ended, seen.goaway.clone())
    };
    KEPT.lock().unwrap().push(Box::new((listening, write)));
    json!({"sent": sent.iter().sum::<usize>(), "all": done, "resets": resets, "headers": headers, "ended": ended, "goaway": goaway})
}
