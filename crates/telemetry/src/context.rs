//! Trace context (W3C): where a request stands in its caller's trace, and how a request to the platform is told. Works
//! the same whether spans are exported or not, so that callers can follow a call through logs either way.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Bytes of a `tracestate` that are kept; W3C asks for 512 at least.
const MAX_TRACESTATE: usize = 512;

/// The caller's place in its trace, out of its `traceparent` and `tracestate`; nothing if the first is malformed. A
/// malformed or overlong `tracestate` is left out, as W3C has it.
#[must_use]
pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<SpanContext> {
    let lower_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let mut parts = traceparent.splitn(5, '-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Versions after 00 may have more parts.
    let form = version.len() == 2 && trace.len() == 32 && parent.len() == 16 && flags.len() == 2;
    if !form || ![version, trace, parent, flags].into_iter().all(lower_hex) {
        return None;
    }
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & TraceFlags::SAMPLED.to_u8());
    let state = tracestate.filter(|text| text.len() <= MAX_TRACESTATE);
    let state = state.and_then(|text| TraceState::from_str(text).ok()).unwrap_or_default();
    let context = SpanContext::new(TraceId::from_hex(trace).ok()?, SpanId::from_hex(parent).ok()?, flags, true, state);
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
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        if !span.is_valid() {
            return;
        }
        let parent = format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8());
        headers.extend(HeaderValue::from_str(&parent).ok().map(|value| (TRACEPARENT, value)));
        let state = span.trace_state().header();
        if !state.is_empty() {
            headers.extend(HeaderValue::from_str(&state).ok().map(|value| (TRACESTATE, value)));
        }
    });
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
