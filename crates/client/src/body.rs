//! Bodies of requests.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// Bytes read from an upload at once.
const CHUNK: usize = 64 * 1024;

type Source = ReaderStream<Pin<Box<dyn AsyncRead + Send>>>;

/// Something long to send, read as it goes.
pub struct Upload {
    source: Source,
    length: Option<u64>,
}

impl Upload {
    /// Sends what the reader gives, to its end. An error of the reader's breaks the request off.
    pub fn new(reader: impl AsyncRead + Send + 'static) -> Self {
        let reader: Pin<Box<dyn AsyncRead + Send>> = Box::pin(reader);
        Self {
            source: ReaderStream::with_capacity(reader, CHUNK),
            length: None,
        }
    }

    /// Says how many bytes there will be, so that they go without chunk heads.
    #[must_use]
    pub fn with_length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }
}

/// A request's body.
pub(crate) enum RequestBody {
    Empty,
    Whole(Bytes),
    Upload(Upload),
}

impl RequestBody {
    /// Another one with the same bytes; none of an upload, which can be read once.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Whole(bytes) => Some(Self::Whole(bytes.clone())),
            Self::Upload(_) => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(_) => {
                let whole = std::mem::replace(&mut *self, Self::Empty);
                let Self::Whole(bytes) = whole else {
                    return Poll::Ready(None);
                };
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Upload(upload) => {
                let source = Pin::new(&mut upload.source);
                futures_core::Stream::poll_next(source, cx)
                    .map(|item| item.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upload(upload) => upload
                .length
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
