//! Where a request goes, and where an answer would lead it: paths encoded by RFC 3986, and redirects told apart by what a
//! person would do about them.

use std::fmt;

use http::{HeaderMap, header::LOCATION};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::RequestError;

/// What is encoded in a segment of a path: all but RFC 3986's `pchar`, of which `;` is encoded too, because servers in Java
/// take what follows it for a parameter. `Url` alone lets brackets, braces, bars and carets pass, as browsers do; Jetty 12 and
/// Tomcat refuse them with 400 before Jenkins sees the request.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Words in a path that login pages have: of Jenkins' and Argo CD's plugins for single sign-on, Keycloak, Dex, oauth2-proxy,
/// Okta, Microsoft Entra and AD FS.
const LOGIN: [&str; 13] = [
    "login",
    "signin",
    "sign_in",
    "logon",
    "sso",
    "saml",
    "saml2",
    "oauth",
    "oauth2",
    "authorize",
    "commencelogin",
    "openid-connect",
    "adfs",
];

/// Where a redirect leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// To the same host, by https instead of http.
    Https,
    /// To what is a login page by its path.
    Login,
    /// To where the request was sent.
    Itself,
    /// To another host, port or scheme.
    OtherHost,
    /// To another path of the same host, or it isn't said where.
    OtherPath,
}

impl Redirect {
    /// Where an answer to a request to `asked` leads.
    pub(super) fn of(asked: &Url, headers: &HeaderMap) -> Self {
        let Some(target) = target(asked, headers) else { return Self::OtherPath };
        let is_login = |url: &Url| {
            url.path_segments().is_some_and(|mut segments| {
                segments.any(|segment| LOGIN.iter().any(|word| segment.eq_ignore_ascii_case(word)))
            })
        };
        if is_login(&target) && !is_login(asked) {
            Self::Login
        } else if target.origin() == asked.origin() {
            if is_same_resource(asked, &target) { Self::Itself } else { Self::OtherPath }
        } else if asked.scheme() == "http" && target.scheme() == "https" && target.host() == asked.host() {
            Self::Https
        } else {
            Self::OtherHost
        }
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "the answer is a redirect to https, which is not followed: the address must begin with https://",
            Self::Login => "the answer is a redirect to a login page",
            Self::Itself => {
                "the answer is a redirect to the same address, again and again: what ends TLS in front of the server doesn't tell it so, \
                 or the node sends its clients to another one"
            }
            Self::OtherHost => "the answer is a redirect to another host, port or scheme, which is never followed",
            Self::OtherPath => "the answer is a redirect, which is not followed",
        })
    }
}

fn target(asked: &Url, headers: &HeaderMap) -> Option<Url> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok())?;
    asked.join(location).ok()
}

/// The URL below `base` that these segments and parameters make. Its path has these segments and no others: that is looked at
/// in the finished URL, since `Url` drops some segments and some characters silently.
///
/// # Errors
/// [`RequestError::Build`] for a segment that would lead to another resource, or that holds a control character: no platform
/// has such names, and what stands before one (a proxy, a servlet container) may drop it and read `.` or `..`.
pub(super) fn below<Name: AsRef<str>>(
    base: &Url,
    segments: &[String],
    query: &[(Name, String)],
) -> Result<Url, RequestError> {
    if base.cannot_be_a_base() || segments.iter().any(|segment| segment.chars().any(char::is_control)) {
        return Err(RequestError::Build);
    }
    let mut url = base.clone();
    let mut path = url.path().trim_end_matches('/').to_owned();
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, SEGMENT));
    }
    url.set_path(&path);
    if url.path() != path || segments.iter().any(|segment| is_step(segment)) {
        return Err(RequestError::Build);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

/// Whether a segment leads to another resource: one that is encoded does where it is decoded twice on its way.
fn is_step(segment: &str) -> bool {
    segment.starts_with(['.', '%'])
        && matches!(percent_decode_str(segment).collect::<Vec<u8>>().as_slice(), b"." | b"..")
}

/// Whether two URLs of one origin name the same resource, however each encodes its path.
fn is_same_resource(one: &Url, other: &Url) -> bool {
    let segments = |url: &Url| -> Vec<Vec<u8>> {
        url.path().split('/').map(|segment| percent_decode_str(segment).collect()).collect()
    };
    one.query() == other.query() && segments(one) == segments(other)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn led(asked: &str, location: &str) -> Redirect {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_str(location).unwrap());
        Redirect::of(&asked.parse().unwrap(), &headers)
    }

    #[test]
    fn a_redirect_is_told_by_where_it_leads() {
        let asked = "http://ci.example.com/job/a%5Bb?x=1";
        for (location, expected) in [
            ("https://ci.example.com/job/a%5Bb?x=1", Redirect::Https),
            ("https://ci.example.com/", Redirect::Https),
            ("https://ci.example.com:8443/", Redirect::Https),
            ("/job/a[b?x=1", Redirect::Itself),
            ("http://ci.example.com/job/a%5bb?x=1", Redirect::Itself),
            ("/job/a%5Bb", Redirect::OtherPath),
            ("/job/a/b?x=1", Redirect::OtherPath),
            ("/securityRealm/commenceLogin?from=%2F", Redirect::Login),
            ("https://login.microsoftonline.com/common/oauth2/authorize", Redirect::Login),
            ("https://sso.example.com/realms/x/protocol/openid-connect/auth", Redirect::Login),
            ("https://ci.example.com/login?from=%2F", Redirect::Login),
            ("http://ci.example.com:81/job/a%5Bb?x=1", Redirect::OtherHost),
            ("//other.example.com/job", Redirect::OtherHost),
            ("http://[", Redirect::OtherPath),
        ] {
            assert_eq!(led(asked, location), expected, "{location}");
        }
        assert_eq!(led("https://x/", "http://x/"), Redirect::OtherHost);
        assert_eq!(led("https://x/v1/auth/approle/login", "/v1/auth/approle/login/"), Redirect::OtherPath);
        assert_eq!(Redirect::of(&"https://x/".parse().unwrap(), &HeaderMap::new()), Redirect::OtherPath);
    }

    proptest! {
        #[test]
        fn a_segment_is_data_whatever_it_holds(
            segments in proptest::collection::vec("\\PC{0,12}|[\\[\\]{}|^;?#%/\\\\ <>\"'`=,&]{1,6}", 1..4),
        ) {
            prop_assume!(!segments.iter().any(|segment| is_step(segment)));
            let base: Url = "https://ci.example.com/jenkins/".parse().unwrap();
            let url = below::<&str>(&base, &segments, &[]).unwrap();
            let path = url.path().strip_prefix("/jenkins/").unwrap();
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@%/".contains(&byte);
            prop_assert!(path.bytes().all(allowed), "{path}");
            let read: Vec<String> =
                path.split('/').map(|one| percent_decode_str(one).decode_utf8().unwrap().into_owned()).collect();
            prop_assert_eq!(read, segments);
            prop_assert_eq!((url.query(), url.fragment()), (None, None));
        }

        #[test]
        fn no_segment_changes_how_many_there_are(
            segments in proptest::collection::vec(
                "[.%2eEfF5cC/\\\\\t\r\n;?#\u{0}\u{85}\u{2028}\u{ff0e} a]{0,8}|(\\.|%2e|%252E|\t|\r|\n){1,4}",
                1..5,
            ),
            root in prop::sample::select(vec!["https://x", "https://x/", "https://x/a", "https://x/a/b/"]),
        ) {
            let base: Url = root.parse().unwrap();
            let above = base.path().trim_end_matches('/').to_owned();
            match below::<&str>(&base, &segments, &[]) {
                Ok(url) => {
                    let path = url.path().strip_prefix(&above).and_then(|path| path.strip_prefix('/')).unwrap();
                    let read: Vec<String> =
                        path.split('/').map(|one| percent_decode_str(one).decode_utf8().unwrap().into_owned()).collect();
                    prop_assert!(!read.iter().any(|one| is_step(one) || one.chars().any(char::is_control)), "{url}");
                    prop_assert_eq!(read, segments);
                    // A client or a server that reads the URL again finds the same.
                    prop_assert_eq!(Url::parse(url.as_str()).unwrap(), url);
                }
                Err(_) => prop_assert!(
                    segments.iter().any(|one| is_step(one) || one.chars().any(char::is_control)),
                    "{segments:?}"
                ),
            }
        }
    }
}
