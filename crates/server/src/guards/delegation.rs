//! Agents that call agents: a chain that comes back to a connector it went through would never end. Whoever calls on
//! behalf of another says so in `X-Agent-Trace`, the names of all before it with commas between them; a call whose chain
//! names this connector is refused. The header goes nowhere else.

use http::{HeaderMap, HeaderName};

/// The header.
pub const AGENT_TRACE: HeaderName = HeaderName::from_static("x-agent-trace");
/// Names of a chain, at most.
const MAX_NAMES: usize = 32;
/// Bytes of a name, at most.
const MAX_NAME: usize = 128;

/// Why a chain can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    /// It comes back to this connector.
    #[error(
        "circular delegation: X-Agent-Trace already names this connector; answer with what is known, and stop here"
    )]
    Circular,
    /// It is too long, or no chain.
    #[error(
        "X-Agent-Trace must be names of letters, digits and ._:/@- with commas between them: {MAX_NAMES} at most, each of \
         {MAX_NAME} characters at most"
    )]
    Malformed,
}

/// Checks a request's chain. `own` is this connector, as `namespace/name`.
///
/// # Errors
/// When it names this connector, or is malformed.
pub fn check(headers: &HeaderMap, own: &str) -> Result<(), DelegationError> {
    let mut count = 0;
    for value in headers.get_all(AGENT_TRACE) {
        for name in value.to_str().map_err(|_| DelegationError::Malformed)?.split(',').map(str::trim) {
            count += 1;
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte);
            if count > MAX_NAMES || name.len() > MAX_NAME || !name.bytes().all(known) {
                return Err(DelegationError::Malformed);
            }
            if name.eq_ignore_ascii_case(own) {
                return Err(DelegationError::Circular);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(values: &[&str]) -> Result<(), DelegationError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AGENT_TRACE, value.parse().unwrap());
        }
        check(&headers, "agents/fake")
    }

    #[test]
    fn a_chain_that_comes_back_is_refused() {
        let long = "a".repeat(MAX_NAME + 1);
        let many = vec!["a"; MAX_NAMES + 1].join(",");
        for (values, expected) in [
            (&[][..], Ok(())),
            (&["planner, agents/other"], Ok(())),
            (&["agents/fakes,other/agents/fake"], Ok(())),
            (&["planner,agents/fake , triage"], Err(DelegationError::Circular)),
            (&["planner", "Agents/Fake"], Err(DelegationError::Circular)),
            (&[&long], Err(DelegationError::Malformed)),
            (&[&many], Err(DelegationError::Malformed)),
            (&["planner;agents/fake"], Err(DelegationError::Malformed)),
        ] {
            assert_eq!(checked(values), expected, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(value in "[ -~]{0,300}") {
            let _verdict = checked(&[&value]);
        }
    }
}
