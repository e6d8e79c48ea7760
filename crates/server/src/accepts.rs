//! What a client takes as an answer, by its `Accept` header. The protocol wants both JSON and a stream of events named; many
//! clients name one of them, anything, or nothing, and what they mean is clear.

use axum::body::{Body, to_bytes};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::refusal::Refusal;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
/// What the protocol's layer wants to see.
pub(super) const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// What a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// JSON, and a stream of events where there is something to tell before the answer.
    Both,
    /// One answer in JSON.
    Json,
    /// A stream of events only.
    Events,
}

impl Accepts {
    /// Reads it from a request's headers. Who names nothing, or anything, gets JSON: a stream is for those who name it.
    ///
    /// # Errors
    /// When neither is taken.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let (mut named, mut json, mut events) = (false, false, false);
        for range in
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','))
        {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default();
            named |= !essence.is_empty();
            if parts.any(is_refusal) {
                continue;
            }
            json |= [JSON, "application/*", "*/*"].iter().any(|one| essence.eq_ignore_ascii_case(one));
            events |= essence.eq_ignore_ascii_case(EVENTS);
        }
        match (json || !named, events) {
            (true, true) => Ok(Self::Both),
            (true, false) => Ok(Self::Json),
            (false, true) => Ok(Self::Events),
            (false, false) => {
                let message = format!("answers are {JSON} or {EVENTS}, and the Accept header takes neither");
                Err(Refusal::rpc(StatusCode::NOT_ACCEPTABLE, -32600, &message))
            }
        }
    }

    /// Gives an answer the form that is taken.
    pub(super) async fn give(self, response: Response<Body>) -> Response<Body> {
        if self != Self::Events || response.status() != StatusCode::OK || !is_json(response.headers()) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENTS));
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        parts.headers.remove(header::CONTENT_LENGTH);
        // It is one line, and there already.
        let answer = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let event = [&b"event: message\ndata: "[..], &answer, b"\n\n"].concat();
        Response::from_parts(parts, Body::from(event))
    }
}

/// Whether a parameter of a media range says that it is not taken: a weight of 0.
fn is_refusal(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("q") && weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
}

/// Whether headers say that what follows is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let essence = |text: &str| text.split(';').next().is_some_and(|e| e.trim().eq_ignore_ascii_case(JSON));
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(essence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<Accepts> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        Accepts::read(&headers).ok()
    }

    #[test]
    fn what_is_meant_is_clear() {
        let cases: [(&[&str], Option<Accepts>); 12] = [
            (&["application/json, text/event-stream"], Some(Accepts::Both)),
            (&["application/json", "text/event-stream"], Some(Accepts::Both)),
            (&["text/event-stream;q=0.5, */*;q=0.1"], Some(Accepts::Both)),
            (&["APPLICATION/JSON; charset=utf-8"], Some(Accepts::Json)),
            (&["application/json, text/event-stream;q=0"], Some(Accepts::Json)),
            (&["*/*"], Some(Accepts::Json)),
            (&["application/*"], Some(Accepts::Json)),
            (&[], Some(Accepts::Json)),
            (&[""], Some(Accepts::Json)),
            (&["text/event-stream"], Some(Accepts::Events)),
            (&["text/html"], None),
            (&["application/json;q=0"], None),
        ];
        for (values, expected) in cases {
            assert_eq!(read(values), expected, "{values:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_one_event_for_who_takes_events_only() {
        let answer = || Response::builder().header("content-type", JSON).body(Body::from(r#"{"id":1}"#)).unwrap();
        let response = Accepts::Events.give(answer()).await;
        assert_eq!(response.headers()["content-type"], EVENTS);
        let body = to_bytes(response.into_body(), 1_000).await.unwrap();
        assert_eq!(body, "event: message\ndata: {\"id\":1}\n\n");
        assert_eq!(Accepts::Json.give(answer()).await.headers()["content-type"], JSON);
    }
}
