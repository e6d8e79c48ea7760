//! Texts of a platform that are part of an answer: messages, results, repository URLs. They may hold what
//! people put into URLs, and they may be long.

use std::borrow::Cow;

pub use common::foreign;
use url::Url;

use crate::log::plain;

/// Characters that are kept of one text.
const MAX_TEXT: usize = 500;

/// A text on one line, without the user information of URLs in it, without what a terminal hides and characters that aren't seen,
/// and cut.
pub fn clean(text: &str) -> String {
    let text = shown(text);
    // First, because a character that isn't seen could keep a URL from being known as one.
    let text = &*foreign::clean(&text);
    let mut clean = String::with_capacity(text.len().min(MAX_TEXT * 4));
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        // The authority ends at the first of these; an `@` in it ends what nobody may see.
        let end = after.find(|c: char| "/?#\"'` ".contains(c) || c.is_control()).unwrap_or(after.len());
        let (authority, following) = after.split_at(end);
        clean.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        rest = following;
    }
    clean.push_str(rest);
    let clean = clean.trim().replace(['\n', '\t'], " ");
    let mut kept: String = clean.chars().take(MAX_TEXT + 1).collect();
    if kept.chars().count() > MAX_TEXT {
        kept = kept.chars().take(MAX_TEXT - 1).chain(['…']).collect();
    }
    kept
}

/// What a terminal would show of a text. Platforms answer what programs print, too: Jenkins' causes may have console notes.
fn shown(text: &str) -> Cow<'_, str> {
    if text.contains('\u{1b}') { Cow::Owned(plain(&text.replace('\r', "\n"))) } else { Cow::Borrowed(text) }
}

/// A name that a platform states, without characters that aren't seen and cut to `max` characters.
pub fn name(text: &str, max: usize) -> String {
    foreign::clean(text).chars().filter(|c| !c.is_control()).take(max).collect()
}

/// What a server states of its version, cut to what a version can look like; nothing if nothing is left.
pub fn version(text: &str) -> Option<String> {
    let version: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || ".+-_".contains(*c)).take(64).collect();
    Some(version).filter(|version| !version.is_empty())
}

/// [`clean`] for what may be missing or empty.
pub fn optional(text: &str) -> Option<String> {
    Some(clean(text)).filter(|text| !text.is_empty())
}

/// A repository's address without user information and query, where tokens stand.
pub fn repository(address: &str) -> String {
    match Url::parse(address) {
        Ok(mut url) if url.has_host() => {
            let _no_password = url.set_password(None);
            // An ssh URL's user name is part of the address, and no secret.
            if url.scheme() != "ssh" {
                let _no_user = url.set_username("");
            }
            url.set_query(None);
            url.set_fragment(None);
            clean_kept(url.as_str().trim_end_matches('/'))
        }
        _ => clean(address),
    }
}

fn clean_kept(text: &str) -> String {
    foreign::line(text, MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn user_information_goes_and_the_rest_stays() {
        for (text, expected) in [
            (
                "failed to fetch https://bot:planted@git.example.com/a.git: no",
                "failed to fetch https://git.example.com/a.git: no",
            ),
            ("https://planted@a/x and \"https://u:p@b\"", "https://a/x and \"https://b\""),
            ("https://u:pl@nted@host/x", "https://host/x"),
            ("ends with ://", "ends with ://"),
            ("two\nlines\u{1b}[1m", "two lines"),
            // Console notes of Jenkins, and what hides in a user's name.
            (
                "\u{1b}[8mha:////4AAA+x==\u{1b}[0msign #45\u{1b}[8mha:////4BBB\u{1b}[0m failed\rtwice",
                "sign #45 failed twice",
            ),
            ("https://us\u{1b}[0mer:planted@a/x", "https://a/x"),
            ("https:\u{200b}//pl\u{fe00}anted@host and \u{e0041}x", "https://host and x"),
        ] {
            assert_eq!(clean(text), expected);
        }
        assert_eq!(clean(&"ü".repeat(900)).chars().count(), MAX_TEXT);
        assert_eq!(
            repository("https://bot:planted@git.example.com/a.git?token=planted"),
            "https://git.example.com/a.git"
        );
        assert_eq!(repository("ssh://git@git.example.com/a.git"), "ssh://git@git.example.com/a.git");
        assert_eq!(repository("git@git.example.com:a/b.git"), "git@git.example.com:a/b.git");
    }

    proptest! {
        #[test]
        fn a_password_in_a_url_never_stays(before in "[a-z :]{0,9}", password in "[A-Z]{8}", after in "\\PC{0,20}") {
            let text = format!("{before}https://user:{password}@host/{after}");
            prop_assert!(!clean(&text).contains(&password) || after.contains(&password));
        }

        #[test]
        fn what_is_concealed_is_not_told(before in "[a-z ]{0,9}", note in "[a-zA-Z0-9+/=:]{1,900}", after in "[a-z ]{0,9}") {
            let told = clean(&format!("{before}\u{1b}[8m{note}\u{1b}[0m{after}"));
            prop_assert_eq!(told, clean(&format!("{before}{after}")));
        }
    }
}
