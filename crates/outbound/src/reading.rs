//! How much of an answer is read, for logs and files of which a part will do; and links that a platform gave, which may
//! lead to another host than the platform's own.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;

use super::{
    Held, MAX_BODY_BYTES, Outbound, Purpose, Request, RequestError, Response, address,
    memory::{Budget, Reserved, weigh},
};

/// Bytes that are let pass at most to get at the end of an answer.
const MAX_PASSED_BYTES: u64 = 128 * 1024 * 1024;
/// Time that an answer waits for memory, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How much of an answer's body is read and kept. Never more than [`MAX_BODY_BYTES`] are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// All of it. One that is larger than [`MAX_BODY_BYTES`] is an error.
    #[default]
    Whole,
    /// The first bytes, as many as these; the rest is not waited for.
    First(usize),
    /// The last bytes, as many as these; what comes before is read and dropped.
    Last(usize),
}

/// What of an answer's body was not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Bytes before those that were kept.
    pub before: u64,
    /// Whether there is more after them.
    pub after: bool,
}

/// A `GET` of a link that the platform gave. It has no credential of its own accord: whoever makes it must know where
/// the link leads before giving it one. Links may hold credentials in their query, so `Debug` shows the host only.
#[derive(Clone)]
pub struct Download {
    url: Url,
    request: Request,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Download {
    /// A download of what the link leads to.
    #[must_use]
    pub fn new(url: Url, reading: Reading) -> Self {
        let nothing: [&str; 0] = [];
        Self { url, request: Request::new(Purpose::Look, Method::GET, nothing).reading(reading) }
    }

    /// Sets a header to a credential.
    ///
    /// # Errors
    /// As [`Request::credential`].
    pub fn credential(mut self, name: HeaderName, value: &SecretString) -> Result<Self, RequestError> {
        self.request = self.request.credential(name, value)?;
        Ok(self)
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.request = self.request.header(name, value);
        self
    }
}

impl Outbound {
    /// Downloads. A redirect is an answer like any other: whoever asks decides about its target anew.
    ///
    /// # Errors
    /// As [`Outbound::send`], and [`RequestError::AddressRefused`] for an address that may not be called.
    pub async fn download(&self, download: &Download, deadline: Instant) -> Result<Response, RequestError> {
        let Download { url, request } = download;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(RequestError::Build);
        }
        if let Some(objection) = address::literal(url).and_then(|address| self.addresses.objection(address)) {
            return Err(RequestError::AddressRefused(objection));
        }
        self.stack.run(request.treatment, deadline, |until| self.send_once(request, url.clone(), until)).await
    }
}

/// Reads an answer's body. What it takes, and what it becomes as JSON, is counted against a budget, if there is one.
pub(super) async fn read(
    mut incoming: reqwest::Response,
    reading: Reading,
    budget: Option<&Budget>,
    deadline: Instant,
) -> Result<Response, RequestError> {
    let (kept_at_most, passed_at_most) = match reading {
        Reading::Whole => (MAX_BODY_BYTES, MAX_BODY_BYTES as u64),
        Reading::First(bytes) => (bytes.min(MAX_BODY_BYTES), u64::MAX),
        Reading::Last(bytes) => (bytes.min(MAX_BODY_BYTES), MAX_PASSED_BYTES),
    };
    if incoming.content_length().is_some_and(|length| length > passed_at_most) {
        return Err(RequestError::BodyTooLarge);
    }
    // Room for all of it from the start: what grows is there twice meanwhile, and it is no memory before it is written to.
    let declared = incoming.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let mut body = BytesMut::with_capacity(declared.min(kept_at_most));
    let (status, headers): (_, HeaderMap) = (incoming.status(), std::mem::take(incoming.headers_mut()));
    let mut left_out = LeftOut::default();
    let mut memory = budget.map(Budget::part);
    while let Some(chunk) = incoming.chunk().await.map_err(|error| RequestError::classify(&error))? {
        body.extend_from_slice(&chunk);
        let excess = body.len().saturating_sub(kept_at_most);
        match reading {
            _ if excess == 0 => {}
            Reading::Whole => return Err(RequestError::BodyTooLarge),
            Reading::First(_) => {
                body.truncate(kept_at_most);
                left_out.after = true;
                break;
            }
            Reading::Last(_) => {
                drop(body.split_to(excess));
                left_out.before += excess as u64;
                if left_out.before > passed_at_most {
                    return Err(RequestError::BodyTooLarge);
                }
            }
        }
        make_room(&mut memory, body.len(), deadline).await?;
    }
    let body = body.freeze();
    // Of what isn't called JSON nobody knows yet whether it will be read as such.
    let as_json = is_json(&headers);
    if as_json && memory.is_some() {
        make_room(&mut memory, body.len().saturating_add(weigh(&body).bytes()), deadline).await?;
    }
    let memory = Held { part: memory.map(Arc::new), as_json };
    Ok(Response { status, headers, left_out, body, memory })
}

/// Has memory for so many bytes, and waits for it.
async fn make_room(memory: &mut Option<Reserved>, bytes: usize, deadline: Instant) -> Result<(), RequestError> {
    match memory {
        Some(memory) => {
            let until = deadline.min(Instant::now() + LONGEST_WAIT);
            memory.grow(bytes, until).await.map_err(|_| RequestError::BodyTooLarge)
        }
        None => Ok(()),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|form| form.contains("json"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    use super::*;
    use crate::testing::outbound;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn the_first_or_the_last_bytes_are_kept() {
        let server = MockServer::start().await;
        let body: Vec<u8> = (0..20_000_000_u32).map(|n| b'0' + u8::try_from(n % 10).unwrap()).collect();
        Mock::given(matchers::any()).respond_with(ResponseTemplate::new(200).set_body_bytes(body)).mount(&server).await;
        let out = outbound(&server.uri());
        let whole = Request::new(Purpose::Look, Method::GET, ["log"]);
        assert_eq!(out.send(&whole, soon()).await.unwrap_err(), RequestError::BodyTooLarge);
        let first = out.send(&whole.clone().reading(Reading::First(12)), soon()).await.unwrap();
        assert_eq!(&first.body()[..], b"012345678901");
        assert_eq!(first.left_out, LeftOut { before: 0, after: true });
        let last = out.send(&whole.reading(Reading::Last(3)), soon()).await.unwrap();
        assert_eq!(&last.body()[..], b"789");
        assert_eq!(last.left_out, LeftOut { before: 19_999_997, after: false });
    }

    #[tokio::test]
    async fn an_answer_is_read_if_there_is_memory_for_it_and_for_what_it_becomes() {
        let server = MockServer::start().await;
        let wide = serde_json::to_vec(&vec![0; 20_000]).unwrap();
        for (form, route) in [("application/json", "/api"), ("text/plain", "/text")] {
            let answer = ResponseTemplate::new(200).set_body_raw(wide.clone(), form);
            Mock::given(matchers::path(route)).respond_with(answer).mount(&server).await;
        }
        let mut out = outbound(&server.uri());
        let request = |path| Request::new(Purpose::Look, Method::GET, [path]);
        let needed = wide.len() + weigh(&wide).bytes();

        out.memory = Budget::new(needed - 1_024);
        assert_eq!(out.send(&request("api"), soon()).await.unwrap_err(), RequestError::BodyTooLarge);
        assert_eq!(out.memory.left(), out.memory.bytes(), "it was given back");
        assert!(out.send(&request("api").probe(), soon()).await.is_ok(), "the connector's own look is always read");
        // As a text it has room, and it may turn out to be read as JSON.
        let text = out.send(&request("text"), soon()).await.unwrap();
        assert!(out.memory.left() < out.memory.bytes());
        assert_eq!(text.json::<Vec<u8>>().unwrap_err(), RequestError::BodyTooLarge);
        drop(text);

        out.memory = Budget::new(needed + 4_096);
        let call = crate::on_behalf_of(crate::CallerKey::of(&"one"), async {
            let answer = out.send(&request("api"), soon()).await.unwrap();
            let read: Vec<u8> = answer.json().unwrap();
            drop(answer);
            assert!(out.memory.left() < needed, "the call still has what was read");
            read.len()
        });
        assert_eq!(call.await, 20_000);
        assert_eq!(out.memory.left(), out.memory.bytes());

        let first = out.send(&request("api"), soon()).await.unwrap();
        let freed = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(first);
        };
        let again = request("api");
        let (second, ()) = tokio::join!(out.send(&again, soon()), freed);
        assert!(second.is_ok(), "it waited");
    }

    #[tokio::test]
    async fn a_download_goes_to_any_host_but_those_that_are_never_called() {
        let (platform, elsewhere) = (MockServer::start().await, MockServer::start().await);
        let found = ResponseTemplate::new(302).insert_header("location", platform.uri());
        Mock::given(matchers::path("/file")).respond_with(found).mount(&elsewhere).await;
        let out = outbound(&platform.uri());
        let link: Url = format!("{}/file?signature=secret", elsewhere.uri()).parse().unwrap();
        let download = Download::new(link, Reading::Whole);
        assert!(!format!("{download:?}").contains("secret"));
        let answer = out.download(&download, soon()).await.unwrap();
        assert_eq!((answer.status.as_u16(), platform.received_requests().await.unwrap().len()), (302, 0));
        for refused in ["http://169.254.169.254/latest", "http://[fe80::1]/"] {
            let download = Download::new(refused.parse().unwrap(), Reading::Whole);
            let error = out.download(&download, soon()).await.unwrap_err();
            assert!(matches!(error, RequestError::AddressRefused(_)), "{refused}: {error}");
        }
        let file = Download::new("file:///etc/passwd".parse().unwrap(), Reading::Whole);
        assert_eq!(out.download(&file, soon()).await.unwrap_err(), RequestError::Build);
    }
}
