//! How long a request is active: until the last byte of its answer is handed over, so that open streams count.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::metrics::ActiveRequest;

/// An answer's body, for whose length its request counts as active.
pub struct ActiveBody {
    body: Body,
    _active: ActiveRequest,
}

impl ActiveBody {
    /// The body of the answer to a request.
    pub fn new(body: Body, active: ActiveRequest) -> Self {
        Self { body, _active: active }
    }
}

impl HttpBody for ActiveBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
