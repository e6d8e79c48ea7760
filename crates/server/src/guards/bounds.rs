//! What an answer may be: not larger than the limit, without characters that a terminal or a reader takes for something
//! else than text (escape sequences, and what isn't seen, in which instructions hide), and without what looks like a secret.

use std::borrow::Cow;

use serde_json::Value;

use super::redaction;
use common::foreign::clean;
use tools::{ErrorCode, ToolError};

/// Characters of an error's text, at most.
const MAX_ERROR_TEXT: usize = 2_000;
/// Words of a platform beside an error, at most, and characters of one.
const MAX_ERROR_WORDS: usize = 50;
const MAX_ERROR_WORD: usize = 1_000;

/// An answer that may go out.
pub struct Bounded {
    /// The answer.
    pub value: Value,
    /// The same as JSON text.
    pub text: String,
    /// Secrets that were taken out.
    pub redactions: u64,
}

impl Bounded {
    /// An answer that was kept as its text.
    ///
    /// # Errors
    /// When the text is none, which is a fault of this program.
    pub fn read_back(text: &str) -> Result<Self, ToolError> {
        let value = serde_json::from_str(text).map_err(|_| ToolError::internal("a kept answer can't be read"))?;
        Ok(Self { value, text: text.to_owned(), redactions: 0 })
    }
}

/// Cleans an answer and measures it. A sensitive answer is not changed: a secret's value with a character less is
/// another value.
///
/// # Errors
/// When it is too large.
pub fn apply(mut value: Value, max_bytes: usize, sensitive: bool) -> Result<Bounded, ToolError> {
    let redactions = if sensitive { 0 } else { clean_value(&mut value) };
    let text = value.to_string();
    if text.len() > max_bytes {
        let message = format!("the answer has {} bytes, and may have {max_bytes}", text.len());
        return Err(ToolError::new(ErrorCode::ResultTooLarge, message)
            .with_remedy("narrow the call: a smaller limit, a shorter time range, a filter, or one object at a time"));
    }
    Ok(Bounded { value, text, redactions })
}

/// Cleans and cuts the texts of an error of a tool, which may quote the platform.
#[must_use]
pub fn apply_to_error(mut error: ToolError) -> ToolError {
    let tidy = |text: &mut String, most: usize| {
        clean_text(text);
        if let Some((end, _)) = text.char_indices().nth(most) {
            text.truncate(end);
            text.push('…');
        }
    };
    if let Some(words) = &mut error.platform_words {
        let all = words.len();
        words.truncate(MAX_ERROR_WORDS);
        for word in words.iter_mut() {
            tidy(word, MAX_ERROR_WORD);
        }
        if all > words.len() {
            let cut = format!("platform_words has {MAX_ERROR_WORDS} of {all}");
            error.remedy = Some(error.remedy.map_or_else(|| cut.clone(), |remedy| format!("{remedy}; {cut}")));
        }
    }
    tidy(&mut error.message, MAX_ERROR_TEXT);
    for text in error.remedy.iter_mut().chain(&mut error.argument) {
        tidy(text, MAX_ERROR_TEXT);
    }
    error.of_platform = true;
    error
}

/// Cleans all texts of a value, and tells how many secrets there were.
fn clean_value(value: &mut Value) -> u64 {
    match value {
        Value::String(text) => clean_text(text),
        Value::Array(items) => items.iter_mut().map(clean_value).sum(),
        Value::Object(map) => {
            // Names first: one that is not what it looks like would hide that its value is a secret.
            let mut redactions = 0;
            if map.keys().any(|key| is_foreign(key)) {
                let tidy = |(mut key, value): (String, Value)| {
                    redactions += clean_text(&mut key);
                    (key, value)
                };
                *map = std::mem::take(map).into_iter().map(tidy).collect();
            }
            let clean_field = |(name, value): (&String, &mut Value)| {
                if redaction::redact_field(name, value) { 1 } else { clean_value(value) }
            };
            redactions + map.iter_mut().map(clean_field).sum::<u64>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Whether the name of a field may be a platform's word: the connector's own names are of small letters.
fn is_foreign(key: &str) -> bool {
    !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Secrets are looked for in what is left: characters that aren't seen could break them up.
fn clean_text(text: &mut String) -> u64 {
    if let Cow::Owned(cleaned) = clean(text) {
        *text = cleaned;
    }
    let (redacted, count) = redaction::redact(text);
    if let Cow::Owned(redacted) = redacted {
        *text = redacted;
    }
    count
}

/// A text of a platform that is told beside answers: clean, and without secrets.
#[must_use]
pub fn tidy(text: &str) -> String {
    let mut text = text.to_owned();
    clean_text(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use common::foreign::is_seen;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_seen_is_taken_out_of_texts_and_names() {
        let mut value = json!({"a\u{200b}": ["\u{7}x\u{fe00}\u{3164}"], "pass\u{34f}word": "x"});
        assert_eq!(clean_value(&mut value), 1);
        assert_eq!(value, json!({"a": ["x"], "password": "[redacted: field]"}));
        let mut named = json!({"env": {(format!("ghp_{}", "a1".repeat(18))): "x"}});
        assert_eq!(clean_value(&mut named), 1);
        assert_eq!(named, json!({"env": {"[redacted: github_token]": "x"}}));
    }

    #[test]
    fn a_sensitive_answer_is_not_changed() {
        let value = json!({"value": "a\u{200b}b"});
        assert_eq!(apply(value.clone(), 1_000, true).unwrap_or_else(|_| unreachable!()).value, value);
    }

    #[test]
    fn secrets_are_found_in_fields_and_behind_what_is_not_seen() {
        let token = format!("ghp\u{200b}_{}", "a1".repeat(18));
        let bounded = apply(json!({"log": [token], "password": "x", "user": "x"}), 1_000, false);
        let bounded = bounded.unwrap_or_else(|_| unreachable!());
        let expected = json!({"log": ["[redacted: github_token]"], "password": "[redacted: field]", "user": "x"});
        assert_eq!((bounded.value, bounded.redactions), (expected, 2));
        let error = ToolError::internal(format!("failed with {token}"));
        assert_eq!(apply_to_error(error).message, "failed with [redacted: github_token]");
    }

    #[test]
    fn words_beside_an_error_are_cleaned_and_bounded_which_is_said() {
        let token = format!("ghp\u{200b}_{}", "a1".repeat(18));
        let words =
            std::iter::once(token).chain((0..60).map(|number| format!("{number}\u{1b}[31m{}", "x".repeat(2_000))));
        let error = ToolError::internal("no").with_remedy("look").with_platform_words(words);
        let error = apply_to_error(error);
        let words = error.platform_words.unwrap();
        assert!(error.of_platform);
        assert_eq!((words.len(), words[0].as_str()), (50, "[redacted: github_token]"));
        assert!(words[1].chars().count() == 1_001 && words.iter().all(|word| word.chars().all(is_seen)));
        assert_eq!(error.remedy.as_deref(), Some("look; platform_words has 50 of 61"));
    }

    #[test]
    fn a_large_answer_says_how_to_narrow() {
        let error = apply(json!({"text": "x".repeat(100)}), 50, false).err().unwrap();
        assert_eq!(error.code, ErrorCode::ResultTooLarge);
        assert!(error.remedy.unwrap().contains("limit"));
    }

    proptest! {
        #[test]
        fn no_secret_hides_and_nothing_unseen_is_left(
            (text, kind, secret) in prop::sample::select(redaction::tests::secrets()),
            places in prop::collection::vec((any::<prop::sample::Index>(), unseen()), 1..12),
        ) {
            let mut broken: Vec<char> = text.chars().collect();
            for (place, c) in places {
                broken.insert(place.index(broken.len() + 1), c);
            }
            let broken = String::from_iter(broken);
            let bounded = apply(json!({"log": broken, "lines": [broken]}), 100_000, false);
            let bounded = bounded.unwrap_or_else(|_| unreachable!());
            prop_assert!(!bounded.text.contains(&secret) && bounded.text.contains(kind), "{}", bounded.text);
            let log = bounded.value["log"].as_str().unwrap_or_default();
            prop_assert!(log.chars().all(is_seen), "{log:?}");
        }
    }

    /// A character that isn't seen, and begins no escape sequence, which would take something with it.
    fn unseen() -> impl Strategy<Value = char> {
        let ranges = [
            ('\0', '\u{1a}'),
            ('\u{ad}', '\u{34f}'),
            ('\u{1160}', '\u{206f}'),
            ('\u{3164}', '\u{3164}'),
            ('\u{e000}', '\u{ffff}'),
            ('\u{1d159}', '\u{1d17a}'),
            ('\u{e0000}', '\u{e01ef}'),
        ];
        prop_oneof![
            prop::sample::select(vec![
                '\u{200c}',
                '\u{200d}',
                '\u{fe0e}',
                '\u{fe0f}',
                '\u{3164}',
                '\u{2062}',
                '\u{e0100}'
            ]),
            prop::sample::select(ranges.to_vec()).prop_flat_map(|(first, last)| prop::char::range(first, last)),
        ]
        .prop_filter("is seen", |c| !is_seen(*c))
    }
}
