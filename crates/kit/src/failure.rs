//! What an agent is told of a request that has no usable answer, the same for every platform. What a platform answers in
//! its own way is worded by the platform.

use outbound::{RequestError, Seldom};
use tools::{ErrorCode, ToolError};

const CHECK_FIRST: &str = "a read, or what is said to have changed nothing, can be tried again; after any other change, \
                           check first whether it was carried out";
const OWNER: &str = "whoever owns the McpConnector must check";

/// What differs from platform to platform.
pub struct Way {
    /// The platform's name as people write it.
    pub title: &'static str,
    /// The connector's own tool, by its name.
    pub check_tool: &'static str,
    /// Path in the manifest of the field that says where it is.
    pub address: &'static str,
    /// What to ask for instead of an answer that is too large.
    pub narrower: &'static str,
}

/// Says in the log that the platform refused, or failed, in a way for which there are no words here: once a minute and kind.
/// `code` is the platform's own word for it and `request_id` its name of the request, as far as it states them; its text is
/// not logged, because it may hold anything.
pub fn unknown_refusal(platform: &'static str, status: u16, code: Option<&str>, request_id: Option<&str>) {
    static LOGGED: Seldom<(&str, u16, Option<String>)> = Seldom::new();
    let code = code.and_then(word);
    if LOGGED.is_due((platform, status, code.clone())) {
        tracing::info!(
            platform,
            status,
            code,
            platform_request_id = request_id.and_then(word),
            "the platform refuses a request for a reason that is not known here"
        );
    }
}

/// A code or an id, without what neither has, cut; nothing if nothing is left.
fn word(text: &str) -> Option<String> {
    let word: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.:".contains(*c)).take(80).collect();
    Some(word).filter(|word| !word.is_empty())
}

/// Words an error of the way to a platform.
pub fn request_failed(way: &Way, cause: RequestError) -> ToolError {
    use ErrorCode as Code;
    let Way { title, check_tool, address, narrower } = way;
    match cause {
        RequestError::Busy(wait) => {
            let message = format!("too many requests of this connector to {title} are on their way");
            ToolError::new(Code::RateLimited, message)
                .with_remedy("make fewer calls at a time; spec.limits.platform says how many requests there may be")
                .with_retry_after(wait)
        }
        RequestError::TooFast(wait) => {
            let message = format!("{title} is asked as often as it may be");
            ToolError::new(Code::RateLimited, message)
                .with_remedy(format!("make fewer calls; {check_tool} tells how many requests there may be"))
                .with_retry_after(wait)
        }
        RequestError::CircuitOpen(wait) => {
            let message = format!("{title} failed to answer several times, and is left alone for a while");
            ToolError::new(Code::PlatformUnavailable, message)
                .with_remedy(format!("wait; {check_tool} tells how the platform does"))
                .with_retry_after(wait)
        }
        RequestError::Build => {
            ToolError::invalid_argument(format!("an argument can't be part of a request to {title}"))
                .with_remedy("names can't be . or .., and can't hold line breaks, tabs or other control characters")
        }
        RequestError::ClientCertificate => {
            let message = format!("the connector's client certificate for {title} can't be used");
            ToolError::new(Code::CredentialsUnavailable, message)
                .with_remedy("whoever owns the connector must correct tls_certificate and tls_key of its credentials")
        }
        RequestError::CredentialForm => ToolError::new(
            Code::CredentialsUnavailable,
            format!("the connector's {title} credentials hold characters that can't be sent"),
        )
        .with_remedy("whoever owns the connector must correct its credentials"),
        RequestError::Unreachable | RequestError::DnsFailed | RequestError::TlsInvalid(_) => {
            ToolError::new(Code::PlatformUnavailable, format!("{title} can't be reached: {cause}"))
        }
        RequestError::AddressRefused(_) | RequestError::Redirected(_) | RequestError::TlsWanted => {
            ToolError::new(Code::PlatformError, format!("{title} can't be called: {cause}"))
                .with_remedy(format!("{OWNER} {address}"))
        }
        RequestError::Timeout => {
            ToolError::new(Code::DeadlineExceeded, format!("{title} did not answer in time")).with_remedy(CHECK_FIRST)
        }
        RequestError::Interrupted => {
            let message = format!("the connection to {title} ended before the answer did");
            ToolError::new(Code::PlatformUnavailable, message).with_remedy(CHECK_FIRST)
        }
        RequestError::BodyTooLarge => {
            ToolError::new(Code::ResultTooLarge, format!("{title}'s answer is not read: {cause}"))
                .with_remedy(*narrower)
        }
        RequestError::Foreign(status) => {
            let message = format!("something in front of {title} answers with status {status}, and not {title} itself");
            ToolError::new(Code::PlatformError, message).with_remedy(format!(
                "{OWNER} what stands between them (a proxy, a gateway, a login), {address} and workload.proxy; credentials and names \
                 may be right"
            ))
        }
        RequestError::Unreadable(place) => {
            // Names of members may be what somebody wrote at the platform.
            let message = format!("{title} answered something that this version of the connector can't read");
            let told = ToolError::new(Code::PlatformError, message);
            if place.is_empty() {
                told.with_remedy("other tools may work; whoever owns the connector finds it in its log, to report it")
            } else {
                told.with_remedy(
                    "platform_words is the place, for whoever owns the connector to report it; other tools may work",
                )
                .with_platform_words([place.as_str()])
            }
        }
        RequestError::Html | RequestError::NotJson => {
            let message =
                format!("the address does not answer as the API of {title} (its path, or a proxy with a login)");
            ToolError::new(Code::PlatformError, message).with_remedy(format!("{OWNER} {address} and workload.proxy"))
        }
    }
}
