//! Links that CircleCI gives for artifacts and for the output of steps. They lead to other hosts, and they are
//! credentials themselves: they are read here, and never logged or worded. The token goes to CircleCI's own hosts only,
//! and redirects from there are followed without it, to hosts that are allowed.

use std::borrow::Cow;

use http::{
    StatusCode,
    header::{CONTENT_ENCODING, LOCATION},
};
use tokio::time::Instant;
use url::{Origin, Url};

use super::{
    client::{CIRCLE_TOKEN, Error, Token},
    inflate::{Unpacked, gunzip, gunzip_end, is_gzip},
};
use api::{pattern::NamePattern, platform::circleci::CLOUD_HOST};
use outbound::{Download, MAX_BODY_BYTES, Outbound, OutboundState, Reading, Redirect, RequestError, Response};

/// Redirects that are followed one after the other.
const MAX_REDIRECTS: usize = 3;

/// Bytes of a packed file when it is unpacked.
pub(super) const MAX_UNPACKED: usize = 32 * 1024 * 1024;

/// The same where only the end is kept: CircleCI keeps 50 MB of what a step writes (facebookincubator/velox #9179).
const MAX_UNPACKED_BEFORE_THE_END: u64 = 128 * 1024 * 1024;

/// Where links may lead.
pub(super) struct Links {
    outbound: Outbound,
    platform: Url,
    allowed: Vec<NamePattern>,
}

/// What may be done with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// It may have the token.
    Own,
    /// It may be called.
    Allowed,
    /// It may not.
    Refused,
}

impl Links {
    /// `outbound` is for downloads alone, so that a slow host of files takes no place from CircleCI's API.
    pub(super) fn new(outbound: Outbound, platform: Url, allowed: Vec<NamePattern>) -> Self {
        Self { outbound, platform, allowed }
    }

    /// What the way to the hosts of files is doing now.
    pub(super) fn outbound(&self) -> OutboundState {
        self.outbound.state()
    }

    fn trust(&self, link: &Url) -> Trust {
        let is_cloud = self.platform.host_str() == Some(CLOUD_HOST);
        let host = link.host_str().unwrap_or_default();
        let encrypted = link.scheme() == "https";
        let below = |domain: &str| host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'));
        if matches!(link.origin(), Origin::Tuple(..)) && link.origin() == self.platform.origin() {
            return Trust::Own;
        }
        // A token of the cloud may go to the cloud's hosts; one of a Server never leaves it.
        if is_cloud && encrypted && (below(CLOUD_HOST) || below("circle-artifacts.com")) {
            return Trust::Own;
        }
        let by_name = self.allowed.iter().any(|pattern| pattern.matches(host));
        if by_name && (encrypted || self.platform.scheme() == "http") { Trust::Allowed } else { Trust::Refused }
    }

    /// Why a link may not be called. Its host is no secret, and is what its owner has to allow; the rest of it is one.
    fn refusal(&self, link: &Url) -> Error {
        let host = link.host_str().map(str::to_owned).filter(|host| !host.is_empty());
        let mut encrypted = link.clone();
        let would_do = encrypted.set_scheme("https").is_ok() && self.trust(&encrypted) != Trust::Refused;
        match host {
            Some(host) if link.scheme() == "http" && would_do => Error::LinkUnencrypted(host),
            host => Error::LinkElsewhere(host),
        }
    }

    /// Reads what a link leads to.
    ///
    /// # Errors
    /// [`Error::LinkElsewhere`] for a host that is not allowed, [`Error::LinkUnencrypted`] for one that is, without TLS, and
    /// whatever the host answers other than success.
    pub(super) async fn read(
        &self,
        link: &str,
        token: &Token,
        reading: Reading,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let mut link = Url::parse(link).map_err(|_| RequestError::unreadable("items[].url"))?;
        let mut with_token = true;
        for _ in 0..=MAX_REDIRECTS {
            let mut download = Download::new(link.clone(), reading);
            let trust = self.trust(&link);
            match trust {
                Trust::Own if with_token => download = download.credential(CIRCLE_TOKEN, &token.secret)?,
                Trust::Own | Trust::Allowed => {}
                Trust::Refused => return Err(self.refusal(&link)),
            }
            let response = self.outbound.download(&download, deadline).await?;
            if !response.status.is_redirection() {
                return finish(response, trust == Trust::Own && with_token);
            }
            let target = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            link = target.and_then(|text| link.join(text).ok()).ok_or(RequestError::Redirected(Redirect::OtherPath))?;
            // Where CircleCI's hosts send a reader on to, the link itself is enough.
            with_token = false;
        }
        Err(RequestError::Redirected(Redirect::OtherPath).into())
    }
}

/// `is_asked` says that CircleCI itself was asked, with the token.
fn finish(response: Response, is_asked: bool) -> Result<Response, Error> {
    match response.status {
        status if status.is_success() => Ok(response),
        // The token was good a moment ago: here it means that this file is not for it.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_asked => Err(Error::Forbidden),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => Err(Error::LinkRefused),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Error::LinkGone),
        StatusCode::TOO_MANY_REQUESTS => Err(Error::RateLimited(response.retry_after())),
        status if status.is_server_error() => Err(Error::FailedInFront(status.as_u16())),
        status => Err(Error::Status(status.as_u16())),
    }
}

/// Whether a host of files calls a file packed.
pub(super) fn is_called_packed(response: &Response) -> bool {
    !matches!(coding(response).as_str(), "" | "identity")
}

fn coding(response: &Response) -> String {
    let coding = response.headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    coding.trim().to_ascii_lowercase()
}

/// The end of what a link leads to, and how many bytes come before it.
///
/// # Errors
/// [`Error::Compressed`] for what is packed in another way, broken, or has no beginning, and for one that is too large.
pub(super) fn end_unpacked(response: &Response) -> Result<(Cow<'_, [u8]>, u64), Error> {
    let before = response.left_out.before;
    match coding(response).as_str() {
        "" | "identity" => Ok((Cow::Borrowed(response.body()), before)),
        // As in `unpacked`.
        "gzip" | "x-gzip" if before == 0 && !is_gzip(response.body()) => Ok((Cow::Borrowed(response.body()), 0)),
        "gzip" | "x-gzip" if before == 0 => {
            let end = gunzip_end(response.body(), MAX_BODY_BYTES, MAX_UNPACKED_BEFORE_THE_END);
            end.map(|(bytes, before)| (Cow::Owned(bytes), before)).ok_or(Error::Compressed)
        }
        _ => Err(Error::Compressed),
    }
}

/// The bytes of what a link leads to, `most` of them at most, and whether that is all that was read. A host of files answers as
/// the file was stored, whatever was asked for; one that calls it packed means the file itself otherwise.
///
/// # Errors
/// [`Error::Compressed`] for what is packed in another way, or broken.
pub(super) fn unpacked(response: &Response, most: usize) -> Result<(Cow<'_, [u8]>, bool), Error> {
    match coding(response).as_str() {
        // What unpacks on the way may leave the header as it was.
        "" | "identity" => Ok((Cow::Borrowed(response.body()), true)),
        "gzip" | "x-gzip" if !is_gzip(response.body()) => Ok((Cow::Borrowed(response.body()), true)),
        "gzip" | "x-gzip" => {
            let Unpacked { bytes, whole } = gunzip(response.body(), most).ok_or(Error::Compressed)?;
            Ok((Cow::Owned(bytes), whole))
        }
        _ => Err(Error::Compressed),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use api::{
        endpoint::{AddressPolicy, PlatformUrl},
        platform::circleci,
    };
    use outbound::{OutboundLimits, OutboundSettings, classify_by_status};

    fn links(url: &str) -> Links {
        let endpoint = PlatformUrl(url.into()).endpoint(true, AddressPolicy::Cluster).unwrap();
        let spec = circleci::example().platform.circle_ci.unwrap();
        let (platform, hosts) = (endpoint.url.clone(), spec.download_hosts(&endpoint.host));
        let settings = OutboundSettings {
            endpoint,
            ca_pem: Some(include_str!("../../../outbound/src/fixtures/ca.pem").into()),
            addresses: AddressPolicy::Cluster,
            proxy: None,
            name: "circleCiFiles",
            classify: classify_by_status,
            client_certificate: None,
            limits: OutboundLimits::default(),
            metrics: Arc::default(),
        };
        Links::new(Outbound::new(settings).unwrap(), platform, hosts)
    }

    #[test]
    fn the_token_goes_to_circlecis_hosts_only() {
        for (platform, link, expected) in [
            ("https://circleci.com", "https://circleci.com/x", Trust::Own),
            ("https://circleci.com", "https://output.circle-artifacts.com/x", Trust::Own),
            ("https://circleci.com", "https://dl.circleci.com/x", Trust::Own),
            ("https://circleci.com", "http://dl.circleci.com/x", Trust::Refused),
            ("https://circleci.com", "https://evilcircleci.com/x", Trust::Refused),
            ("https://circleci.com", "https://circle-artifacts.com.evil.com/x", Trust::Refused),
            ("https://circleci.com", "https://bucket.s3.amazonaws.com/x", Trust::Allowed),
            ("https://circleci.com", "https://example.com/x", Trust::Refused),
            ("https://ci.example.com", "https://ci.example.com/x", Trust::Own),
            ("https://ci.example.com", "https://ci.example.com:8443/x", Trust::Refused),
            ("https://ci.example.com", "https://output.circle-artifacts.com/x", Trust::Refused),
            ("https://ci.example.com", "https://circleci.com/x", Trust::Refused),
            ("https://circleci.com", "data:text/plain,x", Trust::Refused),
        ] {
            assert_eq!(links(platform).trust(&link.parse().unwrap()), expected, "{platform} {link}");
        }
    }

    #[test]
    fn a_refusal_names_the_host_and_nothing_else() {
        let elsewhere = |host: &str| Error::LinkElsewhere(Some(host.to_owned()));
        let unencrypted = |host: &str| Error::LinkUnencrypted(host.to_owned());
        for (link, expected) in [
            (
                "https://user:planted@files.example.com:8443/planted?X-Amz-Signature=planted",
                elsewhere("files.example.com"),
            ),
            ("http://files.example.com/planted", elsewhere("files.example.com")),
            ("http://dl.circleci.com/planted", unencrypted("dl.circleci.com")),
            ("http://bucket.s3.amazonaws.com/planted", unencrypted("bucket.s3.amazonaws.com")),
            ("ftp://dl.circleci.com/planted", elsewhere("dl.circleci.com")),
            ("data:text/plain,planted", Error::LinkElsewhere(None)),
        ] {
            assert_eq!(links("https://circleci.com").refusal(&link.parse().unwrap()), expected, "{link}");
        }
    }
}
