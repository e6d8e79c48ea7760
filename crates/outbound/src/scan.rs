//! Answers that are read piece by piece and never kept whole: logs and files, of which a part is wanted. Everything else
//! is as for [`Outbound::send`]: breaker, bulkhead, retries, redirects, the deadline.

use std::{
    ops::ControlFlow,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    Held, Outbound, Redirect, Request, RequestError, Response,
    reading::{self, LeftOut, Reading},
    uri,
};

/// Time that is kept of an attempt's own, so that what was read can still be used when the time is up.
const RESERVE: Duration = Duration::from_millis(250);

/// What takes an answer's body piece by piece.
pub trait Scan: Send {
    /// Takes the next piece. After a break no more is read, and the connection is given up.
    fn take(&mut self, piece: &[u8]) -> ControlFlow<()>;
}

/// Why an answer's body was read no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// It was read to its end.
    Whole,
    /// The scan wanted no more.
    Enough,
    /// The time was up, or the connection ended before the answer did.
    Cut,
}

/// A body that was scanned.
#[derive(Debug)]
pub struct Scanned<T> {
    /// What took it.
    pub scan: T,
    /// Why it was read no further.
    pub end: ScanEnd,
}

impl Outbound {
    /// Sends a request and hands the body of a good answer (2xx) to a scan that `begin` makes out of its headers; each
    /// attempt has its own. Any other answer is read whole, and is not scanned.
    ///
    /// # Errors
    /// As [`Outbound::send`]. A body that ends too soon, or for which the time is up, is no error, but
    /// [`ScanEnd::Cut`].
    pub async fn scan<T: Scan>(
        &self,
        request: &Request,
        deadline: Instant,
        begin: &(dyn Fn(&HeaderMap) -> T + Sync),
    ) -> Result<(Response, Option<Scanned<T>>), RequestError> {
        let url = uri::below(&self.base, &request.segments, &request.query)?;
        let scanned = Mutex::new(None);
        let keep = |outcome| *scanned.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
        let response = self
            .stack
            .run(request.treatment, deadline, |until| self.attempt_scan(request, url.clone(), until, begin, &keep))
            .await?;
        Ok((response, scanned.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn attempt_scan<T: Scan>(
        &self,
        request: &Request,
        url: Url,
        deadline: Instant,
        begin: &(dyn Fn(&HeaderMap) -> T + Sync),
        keep: &(dyn Fn(Option<Scanned<T>>) + Sync),
    ) -> Result<Response, RequestError> {
        keep(None);
        let mut incoming = self.open(request, url.clone(), deadline).await?;
        let status = incoming.status();
        if !status.is_success() {
            let response = reading::read(incoming, Reading::Whole, Some(&self.memory), deadline).await?;
            if response.status.is_redirection() {
                return Err(RequestError::Redirected(Redirect::of(&url, &response.headers)));
            }
            return Ok(response);
        }
        let headers = std::mem::take(incoming.headers_mut());
        let head =
            Response { status, headers, left_out: LeftOut::default(), body: Bytes::new(), memory: Held::default() };
        let mut scan = begin(&head.headers);
        let until = deadline.checked_sub(RESERVE).unwrap_or(deadline);
        let end = loop {
            match timeout_at(until, incoming.chunk()).await {
                Ok(Ok(Some(piece))) => {
                    if scan.take(&piece).is_break() {
                        break ScanEnd::Enough;
                    }
                }
                Ok(Ok(None)) => break ScanEnd::Whole,
                Ok(Err(_)) | Err(_) => break ScanEnd::Cut,
            }
        };
        keep(Some(Scanned { scan, end }));
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;

    use super::*;
    use crate::{OutboundLimits, OutboundSettings, Purpose, classify_by_status};
    use api::endpoint::{AddressPolicy, PlatformUrl};
    use test_upstream::{Fault, Faulty};

    /// Keeps bytes up to a number.
    struct Keep(Vec<u8>, usize);

    impl Scan for Keep {
        fn take(&mut self, piece: &[u8]) -> ControlFlow<()> {
            self.0.extend_from_slice(piece);
            if self.0.len() >= self.1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    async fn scan(fault: Fault, most: usize) -> Result<(u16, Option<(usize, ScanEnd)>), RequestError> {
        let faulty = Faulty::start(fault);
        let outbound = Outbound::new(OutboundSettings {
            endpoint: PlatformUrl(faulty.url()).endpoint(true, AddressPolicy::Loopback).unwrap(),
            ca_pem: None,
            addresses: AddressPolicy::Loopback,
            proxy: None,
            name: "test",
            classify: classify_by_status,
            client_certificate: None,
            limits: OutboundLimits { max_attempts: 1, ..OutboundLimits::default() },
            metrics: Arc::default(),
        })
        .unwrap();
        let request = Request::new(Purpose::Look, Method::GET, ["log"]);
        let deadline = Instant::now() + Duration::from_secs(1);
        let (response, scanned) = outbound.scan(&request, deadline, &|_| Keep(Vec::new(), most)).await?;
        Ok((response.status.as_u16(), scanned.map(|scanned| (scanned.scan.0.len(), scanned.end))))
    }

    #[tokio::test]
    async fn a_body_beyond_the_cap_is_scanned_and_left_when_it_is_enough() {
        let huge = vec![b'x'; super::super::MAX_BODY_BYTES + 1];
        let fault = || Fault::Answers("HTTP/1.1 200 OK\r\ncontent-type: text/plain".to_owned(), huge.clone());
        assert_eq!(scan(fault(), usize::MAX).await, Ok((200, Some((huge.len(), ScanEnd::Whole)))));
        let (status, scanned) = scan(fault(), 1_000).await.unwrap();
        let (read, end) = scanned.unwrap();
        assert_eq!((status, end), (200, ScanEnd::Enough));
        assert!(read < huge.len());
    }

    #[tokio::test]
    async fn only_good_answers_are_scanned() {
        assert_eq!(scan(Fault::answer(404, "text/plain", "no"), 9).await, Ok((404, None)));
        assert_eq!(
            scan(Fault::answer(302, "text/plain\r\nlocation: /login", ""), 9).await,
            Err(RequestError::Redirected(Redirect::Login))
        );
        assert_eq!(scan(Fault::Closes, 9).await, Err(RequestError::Interrupted));
    }
}
