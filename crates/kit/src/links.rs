//! Addresses of pages that people paste where a name is asked for: taken apart, never called. What the parts mean is for each
//! platform to say. A page of another installation names something of that one, and something here may have the same name, so
//! [`Home`] refuses it.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use percent_encoding::percent_decode_str;
use tools::ToolError;
use url::Url;

/// Bytes of a text that are read as a link, at most.
const MAX_LINK: usize = 4_096;

/// Hosts that are remembered by which a platform calls itself.
const MAX_HOSTS: usize = 8;

/// A link to a page, without user information and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    host: String,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    fragment: String,
}

impl Link {
    /// Reads an `http` or `https` URL, with what chats and documents put around it: blanks, quotes, `<…>`, `<…|a label>`.
    /// Nothing for anything else, and for a URL that no page has: with control characters in it, or not UTF-8.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut text = text.trim();
        if text.len() > MAX_LINK {
            return None;
        }
        if let Some(inner) = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            text = inner.split('|').next().unwrap_or_default();
        }
        for quote in ['"', '\'', '`'] {
            if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
                text = inner;
            }
        }
        text = text.trim();
        if text.chars().any(char::is_control) {
            return None;
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let decoded = |part: &str| -> Option<String> {
            let part = percent_decode_str(part).decode_utf8().ok()?;
            (!part.chars().any(char::is_control)).then(|| part.into_owned())
        };
        let segments =
            url.path_segments()?.filter(|segment| !segment.is_empty()).map(decoded).collect::<Option<_>>()?;
        let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        if query.iter().any(|(_, value)| value.chars().any(char::is_control)) {
            return None;
        }
        let fragment = decoded(url.fragment().unwrap_or_default())?;
        Some(Self { host: url.host_str()?.to_owned(), segments, query, fragment })
    }

    /// The host's name, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The segments of the path, decoded, without empty ones. One may hold a slash.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The segments after the first that is this word, as below the root path of a platform: none if it is not there.
    #[must_use]
    pub fn after(&self, word: &str) -> Option<&[String]> {
        let at = self.segments.iter().position(|segment| segment == word)?;
        self.segments.get(at + 1..)
    }

    /// The first parameter of the query with this name, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What stands after `#`, decoded once; empty if nothing does.
    #[must_use]
    pub fn fragment(&self) -> &str {
        &self.fragment
    }
}

/// Where the pages of a connector's own platform are. People often reach it by another name than the connector, so beside the
/// host that the connector calls, those count by which the platform calls itself.
#[derive(Debug)]
pub struct Home {
    /// The platform's name as people write it.
    title: &'static str,
    /// The host that the connector calls.
    called: String,
    /// Hosts whose links are taken, with all below them, whatever the connector calls.
    others: &'static [&'static str],
    /// The hosts by which the platform calls itself, once it was asked.
    stated: Mutex<Option<Vec<String>>>,
}

impl Home {
    /// The pages of the platform that the connector calls at a host. `others` are hosts whose links are taken, too, with all below
    /// them.
    #[must_use]
    pub fn new(title: &'static str, called: &str, others: &'static [&'static str]) -> Self {
        Self { title, called: called.to_ascii_lowercase(), others, stated: Mutex::default() }
    }

    /// Remembers an address by which the platform calls itself; of one that is none, that it was asked.
    pub fn learn(&self, stated: &str) {
        let host = Url::parse(stated).ok().and_then(|url| url.host_str().map(str::to_owned));
        let mut stated = self.stated.lock().unwrap_or_else(PoisonError::into_inner);
        let hosts = stated.get_or_insert_default();
        if let Some(host) = host.filter(|host| !hosts.contains(host)) {
            hosts.push(host);
        }
        // The newest count, if they change.
        let surplus = hosts.len().saturating_sub(MAX_HOSTS);
        hosts.drain(..surplus);
    }

    /// Whether the platform has been asked how it calls itself.
    #[must_use]
    pub fn is_learned(&self) -> bool {
        self.stated.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Says no to a text that is a link to another installation than the connector's. Where neither host is one by which people
    /// could reach a page, such as that of a Service in the cluster, nothing is known, and every link is taken.
    ///
    /// # Errors
    /// [`tools::ErrorCode::InvalidArgument`] for `argument`.
    pub fn check(&self, text: &str, argument: &str) -> Result<(), ToolError> {
        let Some(Link { host, .. }) = Link::read(text) else { return Ok(()) };
        let (title, called) = (self.title, &self.called);
        let stated = self.stated.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stated: Vec<String> = stated.into_iter().flatten().filter(|own| own != called).collect();
        let is_own = |own: &String| own == called || stated.contains(own);
        let is_below =
            |domain: &&str| host.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let is_known = std::iter::once(called).chain(&stated).any(|own| is_reached_by_people(own));
        if is_own(&host) || self.others.iter().any(is_below) || !is_known {
            return Ok(());
        }
        let other_names =
            if stated.is_empty() { String::new() } else { format!(", and calls itself {}", stated.join(" or ")) };
        Err(ToolError::invalid_argument(format!(
            "{argument} is a link to {host}; this connector's {title} is {called}{other_names}"
        ))
        .with_argument(argument)
        .with_remedy(format!(
            "another {title} needs a connector of its own; if {host} is this one by another name, give the name or path that the \
             link leads to instead of the link"
        )))
    }
}

/// Whether a host is one that people may have in their links: neither an address nor a name of a cluster's or machine's own.
fn is_reached_by_people(host: &str) -> bool {
    const INTERNAL: [&str; 5] = [".svc", ".local", ".internal", ".localhost", ".localdomain"];
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    host.contains('.') && !is_address && !INTERNAL.iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_put_around_a_link_is_taken_off() {
        let plain = Link::read("https://ci.example.com/job/a%20b/job/feature%252Flogin/12/?x=1&y=a+b#top").unwrap();
        assert_eq!(plain.host(), "ci.example.com");
        assert_eq!(plain.segments(), ["job", "a b", "job", "feature%2Flogin", "12"]);
        assert_eq!((plain.query("y"), plain.query("z"), plain.fragment()), (Some("a b"), None, "top"));
        assert_eq!(plain.after("a b").unwrap().len(), 3);
        assert_eq!(plain.after("nothing"), None);
        let bare = "https://user:secret@CI.example.com:8443//job/a//";
        for around in [bare.to_owned(), format!(" <{bare}> "), format!("<{bare}|build>"), format!("`{bare}`\n")] {
            let link = Link::read(&around).unwrap();
            assert_eq!((link.host(), link.segments()), ("ci.example.com", &["job".to_owned(), "a".to_owned()][..]));
            assert!(!format!("{link:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_link_is_a_name() {
        let long = format!("https://x/{}", "a".repeat(MAX_LINK));
        for name in [
            "team/web",
            "ftp://x/y",
            "mailto:a@b",
            "https://",
            "http:///",
            "https://x/%ff",
            "https://x/a%0ab",
            &long,
            "",
        ] {
            assert_eq!(Link::read(name), None, "{name}");
        }
    }

    #[test]
    fn a_link_to_another_installation_is_refused() {
        let taken = |home: &Home, link: &str| home.check(link, "job").is_ok();
        let home = Home::new("Jenkins", "ci.example.com", &[]);
        assert!(taken(&home, "https://CI.example.com:8443/job/a") && taken(&home, "team/web"));
        assert!(!taken(&home, "https://staging.example.com/job/a") && !taken(&home, "https://x.ci.example.com/job/a"));
        let refused = home.check("<https://staging.example.com/job/a>", "job").unwrap_err();
        assert_eq!(refused.argument.as_deref(), Some("job"));
        assert_eq!(refused.message, "job is a link to staging.example.com; this connector's Jenkins is ci.example.com");
        home.learn("https://ci.example.com/");
        home.learn("https://jenkins.example.com/");
        home.learn("https://build.example.com/");
        let refused = home.check("https://staging.example.com/job/a", "job").unwrap_err();
        let names = "is ci.example.com, and calls itself jenkins.example.com or build.example.com";
        assert!(refused.message.ends_with(names), "{}", refused.message);
        // By the name of a Service nobody pastes links: until Jenkins says how it calls itself, nothing is known.
        for inside in ["jenkins.ci.svc", "jenkins", "10.0.0.7", "[::1]", "jenkins.ci.svc.cluster.local"] {
            let home = Home::new("Jenkins", inside, &[]);
            assert!(taken(&home, "https://ci.example.com/job/a") && !home.is_learned(), "{inside}");
            home.learn("no address");
            assert!(home.is_learned() && taken(&home, "https://ci.example.com/job/a"), "{inside}");
            home.learn("https://ci.example.com/jenkins/");
            assert!(taken(&home, "https://ci.example.com/job/a"), "{inside}");
            assert!(!taken(&home, "https://staging.example.com/job/a"), "{inside}");
        }
        let cloud = Home::new("CircleCI", "circleci.com", &["circleci.com", "github.com"]);
        assert!(taken(&cloud, "https://app.circleci.com/pipelines/x") && taken(&cloud, "https://github.com/a/b"));
        assert!(!taken(&cloud, "https://evilcircleci.com/x") && !taken(&cloud, "https://circle.example.com/x"));
    }

    proptest! {
        #[test]
        fn any_path_is_read_as_it_was_written(parts in proptest::collection::vec("[^\\x00-\\x1f\\x7f-\\x9f]{1,8}", 1..5)) {
            prop_assume!(!parts.iter().any(|part| part == "." || part == ".."));
            let mut url = Url::parse("https://x/").unwrap();
            url.path_segments_mut().unwrap().pop().extend(&parts);
            let link = Link::read(url.as_str()).unwrap();
            prop_assert_eq!(link.segments(), &parts[..]);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Link::read(&text);
            let _ = Link::read(&format!("https://x/{text}"));
        }
    }
}
