//! Addresses of pages that people paste where a name is asked for: taken apart, never called. What the parts mean is for each
//! platform to say; the host is not held against the connector's, because people and connectors often reach a platform by
//! different names.

use percent_encoding::percent_decode_str;
use url::Url;

/// Bytes of a text that are read as a link, at most.
const MAX_LINK: usize = 4_096;

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
