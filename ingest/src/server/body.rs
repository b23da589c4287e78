//! Reads a request's body within limit, budget and time.

use super::{
    budget::Permit,
    reception::{Reception, over_budget},
    refusal::Refusal,
};
use crate::access::Account;
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// A body of unknown length starts with this share of the budget; more as it comes.
pub(crate) const FIRST_SHARE_BYTES: usize = 16 << 10;

/// Single pieces up to this size are copied.
const COPIED_BYTES_MAX: usize = 32 << 10;

/// Room for an announced size up to this is made at once: joining pieces then copies each byte once. Beyond it, who
/// announces much and sends little shall not cost memory.
const EXPECTED_BYTES_MAX: usize = 1 << 20;

/// Bytes read so far, of a body or of a gRPC stream.
pub(crate) struct Intake<'r> {
    reception: &'r Reception,
    account: Arc<Account>,
    pub(crate) permit: Permit,
    pieces: Pieces,
    /// What is announced, as far as room is made for it at once.
    expected: usize,
    deadline: Instant,
}

/// One piece is kept as it came, more are joined.
enum Pieces {
    One(Bytes),
    Joined(BytesMut),
}

impl<'r> Intake<'r> {
    /// Takes a share of the budget before anything is read.
    pub(crate) fn open(reception: &'r Reception, account: &Arc<Account>, share_bytes: usize) -> Result<Self, Refusal> {
        let permit = reception.permit(account, share_bytes)?;
        Ok(Self {
            reception,
            account: Arc::clone(account),
            permit,
            pieces: Pieces::One(Bytes::new()),
            expected: 0,
            deadline: Instant::now() + reception.patience.whole_body,
        })
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.pieces {
            Pieces::One(bytes) => bytes,
            Pieces::Joined(bytes) => bytes,
        }
    }

    /// Reads the next piece; false at the end. Refuses what exceeds `bytes_max` in sum.
    pub(crate) async fn piece<B>(&mut self, body: &mut B, bytes_max: usize) -> Result<bool, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let deadline = self.deadline.min(Instant::now() + self.reception.patience.piece);
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| Refusal::slow())?;
        let Some(frame) = frame else { return Ok(false) };
        let frame = frame.map_err(|error| Refusal::malformed(format!("the body broke off: {error}")))?;
        if let Ok(piece) = frame.into_data() {
            self.join(piece, bytes_max)?;
        }
        Ok(true)
    }

    fn join(&mut self, piece: Bytes, bytes_max: usize) -> Result<(), Refusal> {
        let len = self.bytes().len() + piece.len();
        if len > bytes_max {
            return Err(Refusal::too_large(self.reception.request_bytes_max));
        }
        if len > self.permit.bytes() {
            // Ahead where there is room, else just what came.
            let ahead = self.permit.grow_to(len.saturating_mul(2).min(bytes_max));
            ahead.or_else(|_| self.reserve(len))?;
        }
        match &mut self.pieces {
            Pieces::One(first) if first.is_empty() => *first = piece,
            Pieces::One(first) => {
                let mut joined = BytesMut::with_capacity(if self.expected >= len { self.expected } else { self.permit.bytes().max(len) });
                joined.extend_from_slice(first);
                joined.extend_from_slice(&piece);
                self.pieces = Pieces::Joined(joined);
            }
            Pieces::Joined(joined) => joined.extend_from_slice(&piece),
        }
        Ok(())
    }

    /// Refuses an announced size that does not fit now. Holds nothing for it: a sender who announces
    /// much and sends slowly must not keep others out.
    pub(crate) fn foresee(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.expected = if bytes <= EXPECTED_BYTES_MAX { bytes } else { 0 };
        let more = bytes.saturating_sub(self.permit.bytes());
        self.reception.permit(&self.account, more).map(drop)
    }

    /// Takes a larger share of the budget.
    fn reserve(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.permit.grow_to(bytes).map_err(|over| over_budget(over, &self.reception.pressure))
    }

    /// What was read, and its share. A short piece is copied: it would keep the whole buffer alive into
    /// which the connection reads, for as long as the log keeps the request.
    pub(crate) fn finish(self) -> (Bytes, Permit) {
        let bytes = match self.pieces {
            Pieces::One(bytes) if bytes.len() <= COPIED_BYTES_MAX => Bytes::copy_from_slice(&bytes),
            Pieces::One(bytes) => bytes,
            Pieces::Joined(bytes) => bytes.freeze(),
        };
        (bytes, self.permit)
    }
}
