//! Trace context (W3C): where a request stands in its caller's trace, and how a request to the platform is told. Works
//! the same whether spans are exported or not, so that callers can follow a call through logs either way.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Bytes of a `traceparent` of version 00; those of later versions may be longer.
const TRACEPARENT_LENGTH: usize = 55;
/// Bytes of a `tracestate` that are kept; W3C asks for 512 at least.
const MAX_TRACESTATE: usize = 512;

static PROPAGATOR: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);

/// What a caller sent.
struct Received<'a> {
    traceparent: &'a str,
    tracestate: Option<&'a str>,
}

impl Extractor for Received<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.traceparent),
            TRACESTATE => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

/// The headers of a request; an empty `tracestate` is none.
struct Sent<'a>(&'a mut HeaderMap);

impl Injector for Sent<'_> {
    fn set(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            self.0.extend(HeaderName::try_from(key).ok().zip(HeaderValue::try_from(value).ok()));
        }
    }
}

/// The caller's place in its trace, out of its `traceparent` and `tracestate`; nothing if the first is malformed. A
/// malformed or overlong `tracestate` is left out, as W3C has it.
#[must_use]
pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    // The propagator takes shorter parts, signs, blanks and a dash at the end, too.
    let head = traceparent.as_bytes().get(..TRACEPARENT_LENGTH)?;
    let is_longer = traceparent.len() > TRACEPARENT_LENGTH;
    if !head.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
        || (is_longer && traceparent.starts_with("00"))
    {
        return None;
    }
    let tracestate = tracestate.filter(|text| text.len() <= MAX_TRACESTATE);
    let context = PROPAGATOR.extract_with_context(&Context::new(), &Received { traceparent, tracestate });
    let context = context.span().span_context().clone();
    context.is_valid().then_some(context)
}

/// A trace of our own for a request whose caller has none. It is not sampled: nobody exports it.
#[must_use]
pub fn start() -> SpanContext {
    let trace = TraceId::from(rand::random_range(1..=u128::MAX));
    let span = SpanId::from(rand::random_range(1..=u64::MAX));
    SpanContext::new(trace, span, TraceFlags::default(), false, TraceState::default())
}

/// Puts `traceparent` and `tracestate` of the running call on an outgoing request: of its span where spans are
/// exported, as the caller sent it otherwise. Puts nothing where there is no trace.
pub fn propagate(headers: &mut HeaderMap) {
    Context::map_current(|context| PROPAGATOR.inject_context(context, &mut Sent(headers)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    #[test]
    fn only_well_formed_contexts_are_taken() {
        let context = parse(GOOD, Some("vendor=one,other=2")).unwrap();
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((context.is_sampled(), context.is_remote()), (true, true));
        assert_eq!(context.trace_state().header(), "vendor=one,other=2");
        assert!(parse("cc-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-what-comes", None).is_some());
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-",
            "00-+af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            " 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(bad, None), None, "{bad}");
        }
        let long = format!("a={}", "x".repeat(MAX_TRACESTATE));
        assert_eq!(parse(GOOD, Some(&long)).unwrap().trace_state().header(), "");
    }

    #[test]
    fn a_request_to_the_platform_carries_the_trace_of_its_call() {
        let mut headers = HeaderMap::new();
        propagate(&mut headers);
        assert!(headers.is_empty(), "no trace, no header");

        let caller = parse(GOOD, Some("vendor=one")).unwrap();
        let _attached = Context::new().with_remote_span_context(caller).attach();
        propagate(&mut headers);
        assert_eq!(headers[TRACEPARENT], GOOD);
        assert_eq!(headers[TRACESTATE], "vendor=one");
    }

    proptest! {
        #[test]
        fn no_header_panics(parent in "\\PC{0,80}", state in "\\PC{0,80}") {
            let _any = parse(&parent, Some(&state));
        }
    }
}
