//! A connection's two directions, which can be used at the same time: reading goes on while a query writes.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What leaves at once: rows are collected up to here, then written before the next are made.
const FLUSH_BYTES: usize = 64 * 1024;
/// What is read ahead while a statement runs; beyond it, the client waits.
const READ_AHEAD_BYTES: usize = 256 * 1024;
/// Buffers that grew beyond this are let go when empty.
const KEEP_BYTES: usize = 1024 * 1024;

/// Any stream of bytes: TCP, or TLS over it.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// The client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Gone {
        Gone
    }
}

/// What comes in.
pub struct Reader {
    half: ReadHalf<Box<dyn Io>>,
    /// Bytes not yet taken.
    pub buffer: BytesMut,
}

impl Reader {
    /// Reads more into the buffer.
    pub async fn fill(&mut self) -> Result<(), Gone> {
        match self.half.read_buf(&mut self.buffer).await? {
            0 => Err(Gone),
            _ => Ok(()),
        }
    }

    /// Resolves when the client has gone; what else it sends is kept for later, up to a bound.
    async fn until_gone(&mut self) -> Gone {
        loop {
            if self.buffer.len() >= READ_AHEAD_BYTES {
                return std::future::pending().await;
            }
            if self.fill().await.is_err() {
                return Gone;
            }
        }
    }
}

/// What goes out.
pub struct Writer {
    half: WriteHalf<Box<dyn Io>>,
    /// Whole messages not yet sent.
    pub buffer: BytesMut,
}

impl Writer {
    /// Sends all. What was not sent when the future is dropped stays in the buffer, so a statement can be stopped here without
    /// tearing a message.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        while !self.buffer.is_empty() {
            if self.half.write_buf(&mut self.buffer).await? == 0 {
                return Err(Gone);
            }
        }
        self.half.flush().await?;
        if self.buffer.capacity() > KEEP_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    /// Whether enough has come together to be sent.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= FLUSH_BYTES
    }
}

/// Both directions.
pub struct Wire {
    /// What comes in.
    pub reader: Reader,
    /// What goes out.
    pub writer: Writer,
}

impl Wire {
    /// Over a stream, with what was already read from it.
    pub fn new(stream: Box<dyn Io>, input: BytesMut) -> Wire {
        let (read, write) = tokio::io::split(stream);
        Wire {
            reader: Reader { half: read, buffer: input },
            writer: Writer { half: write, buffer: BytesMut::with_capacity(2 * FLUSH_BYTES) },
        }
    }

    /// Sends what is left and closes, so that the client reads the last message before it sees the end.
    pub async fn close(mut self) {
        let farewell = async {
            self.writer.flush().await?;
            self.writer.half.shutdown().await?;
            // Closing with unread bytes would reset the connection and take our last message with it.
            loop {
                self.reader.buffer.clear();
                self.reader.fill().await?;
            }
        };
        let _: Result<Result<(), Gone>, _> = tokio::time::timeout(Duration::from_millis(500), farewell).await;
    }
}

/// Why a running statement stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// Another connection asked for it.
    Canceled,
    /// It took too long.
    TimedOut,
    /// The client went away.
    Gone,
    /// The session was ended from outside.
    Ended,
}

/// What may stop a statement.
pub struct Guard {
    /// Fires when the statement is cancelled.
    pub canceled: CancellationToken,
    /// Fires when the session is ended from outside, whatever its client does meanwhile.
    pub ended: CancellationToken,
    /// When it has taken too long.
    pub deadline: Option<Instant>,
}

impl Guard {
    async fn fired(&self) -> Interrupt {
        let timed_out = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Interrupt::Ended,
            () = self.canceled.cancelled() => Interrupt::Canceled,
            () = timed_out => Interrupt::TimedOut,
        }
    }
}

/// Runs a part of a statement while the socket and the guard are watched; dropped as soon as one of them says so. Work may use up all that the task may do at a
/// time: the socket is watched beyond that.
pub async fn guarded<T>(reader: &mut Reader, guard: &Guard, work: impl Future<Output = T>) -> Result<T, Interrupt> {
    tokio::select! {
        biased;
        why = guard.fired() => Err(why),
        done = work => Ok(done),
        Gone = tokio::task::unconstrained(reader.until_gone()) => Err(Interrupt::Gone),
    }
}
