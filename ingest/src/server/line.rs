//! A connection's socket, read in large pieces and watched: a peer that does not read what it is sent is given up.
//!
//! Not a limit of rate: any byte that leaves is progress. Called by `listen` only.

use std::{
    cell::Cell,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Read at once. HTTP/2 asks for half a frame at a time, and asking the kernel costs as much as copying a few thousand
/// bytes, of which small requests have fewer.
const AHEAD_BYTES: usize = 64 << 10;
/// Whoever has room for so much is not read ahead for.
const LARGE_BYTES: usize = 32 << 10;

thread_local! {
    /// Room for reading ahead, while no connection of this thread holds it.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Bytes that were read and not taken yet.
#[derive(Debug)]
struct Ahead {
    room: Box<[u8]>,
    from: usize,
    until: usize,
}

/// A stream whose writes fail once nothing has left for so long.
#[derive(Debug)]
pub(crate) struct Line<S> {
    stream: S,
    ahead: Option<Ahead>,
    patience: Duration,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Line<S> {
    pub(crate) const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, ahead: None, patience, stall: None }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall = None;
            return polled;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        if stall.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        metrics::counter!("geophone_refused_connections_total", "reason" => "slow_reader").increment(1);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answers")))
    }
}

impl<S: AsyncRead + Unpin> Line<S> {
    /// Reads what is there, as far as there is room; nothing is the end of the stream.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ahead>> {
        let mut room = SPARE.take().unwrap_or_else(|| vec![0; AHEAD_BYTES].into());
        let mut read = ReadBuf::new(&mut room);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut read);
        let until = read.filled().len();
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(Ahead { room, from: 0, until })),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                SPARE.set(Some(room));
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None if buf.remaining() >= LARGE_BYTES => return Pin::new(&mut self.stream).poll_read(cx, buf),
            None => ready!(self.read_ahead(cx))?,
        };
        let taken = buf.remaining().min(ahead.until - ahead.from);
        buf.put_slice(&ahead.room[ahead.from..ahead.from + taken]);
        ahead.from += taken;
        if ahead.from < ahead.until {
            self.ahead = Some(ahead);
        } else {
            SPARE.set(Some(ahead.room));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.judge(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn every_byte_comes_once_and_in_order_however_much_is_asked_for() {
        let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        let (mut theirs, ours) = duplex(AHEAD_BYTES + 7);
        let mut line = Line::new(ours, Duration::from_secs(60));
        let writer = async {
            theirs.write_all(&sent).await.expect("the line reads");
            drop(theirs);
        };
        let reader = async {
            let (mut read, mut sizes) = (Vec::new(), [9, 8_192, 1, LARGE_BYTES, 100, AHEAD_BYTES].into_iter().cycle());
            loop {
                let mut piece = vec![0; sizes.next().expect("it goes round")];
                let length = line.read(&mut piece).await.expect("nothing breaks");
                if length == 0 {
                    return read;
                }
                read.extend_from_slice(&piece[..length]);
            }
        };
        let ((), read) = tokio::join!(writer, reader);
        assert!(read == sent);
    }

    #[tokio::test]
    async fn who_reads_is_served_and_who_does_not_read_is_given_up() {
        let (ours, mut theirs) = duplex(8);
        let patience = Duration::from_millis(200);
        let mut line = Line::new(ours, patience);
        let reader = async {
            let mut read = [0; 4];
            for _ in 0..6 {
                tokio::task::yield_now().await;
                theirs.read_exact(&mut read).await.expect("the line is open");
            }
            theirs
        };
        let (written, theirs) = tokio::join!(line.write_all(&[7; 24]), reader);
        written.expect("the peer reads");
        let error = line.write_all(&[7; 32]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }
}
