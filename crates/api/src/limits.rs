//! What one client may take: requests in a time, and time for a body.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Addresses that are counted. Beyond these, the ones that have all their tokens are forgotten, and if
/// that makes no room, all are.
const MAX_PEERS: usize = 4096;

/// Requests by address: so many in a second on the average, and twice as many at once.
pub(crate) struct Rates {
    /// Tokens a second; 0 for no limit.
    rate: u32,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Rates {
    pub(crate) fn new(rate: u32) -> Self {
        Self {
            rate,
            buckets: Mutex::default(),
        }
    }

    /// Takes a token; how long until there is one, where there is none.
    pub(crate) fn take(&self, peer: IpAddr) -> Result<(), Duration> {
        if self.rate == 0 {
            return Ok(());
        }
        let rate = f64::from(self.rate);
        let most = rate * 2.0;
        let now = Instant::now();
        let filled = |bucket: &Bucket| {
            let since = now.duration_since(bucket.filled).as_secs_f64();
            (bucket.tokens + since * rate).min(most)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_PEERS && !buckets.contains_key(&peer) {
            buckets.retain(|_, bucket| filled(bucket) < most);
            if buckets.len() >= MAX_PEERS {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(peer).or_insert(Bucket {
            tokens: most,
            filled: now,
        });
        bucket.tokens = filled(bucket);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / rate))
    }
}

/// Nothing of a body came for too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing more of the request's body came in time")]
pub(crate) struct BodyTimeout;

/// A body of which something must come within a time.
pub(crate) struct Timed<B> {
    body: B,
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<B> Timed<B> {
    pub(crate) fn new(body: B, limit: Duration) -> Self {
        Self {
            body,
            limit,
            sleep: None,
        }
    }
}

impl<B> Body for Timed<B>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = B::Data;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = this.limit;
        let sleep = this
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(BodyTimeout.into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_address_has_its_own_tokens() {
        let rates = Rates::new(10);
        let (a, b) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        assert_eq!((0..100).filter(|_| rates.take(a).is_ok()).count(), 20);
        assert!(rates.take(b).is_ok());
        let wait = rates.take(a).unwrap_err();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!((0..100).filter(|_| rates.take(a).is_ok()).count(), 5);
        assert!(Rates::new(0).take(a).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_without_end_take_no_memory_without_end() {
        let rates = Rates::new(1);
        for n in 0..20_000_u32 {
            rates.take(IpAddr::V4(n.into())).unwrap();
        }
        assert!(rates.buckets.lock().unwrap().len() <= MAX_PEERS);
    }
}
