//! What an answer may be: not larger than the limit, without characters that a terminal or a reader takes for something
//! else than text (escape sequences, direction marks, invisible characters in which instructions hide), and without what
//! looks like a secret.

use std::borrow::Cow;

use serde_json::Value;

use super::redaction;
use tools::{ErrorCode, ToolError};

/// Characters of an error's text, at most.
const MAX_ERROR_TEXT: usize = 2_000;

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

/// Cleans and cuts an error's texts.
#[must_use]
pub fn apply_to_error(mut error: ToolError) -> ToolError {
    let tidy = |text: &mut String| {
        clean_text(text);
        if let Some((end, _)) = text.char_indices().nth(MAX_ERROR_TEXT) {
            text.truncate(end);
            text.push('…');
        }
    };
    tidy(&mut error.message);
    error.remedy.as_mut().map(tidy);
    error.argument.as_mut().map(tidy);
    error
}

/// Cleans all texts of a value, and tells how many secrets there were.
fn clean_value(value: &mut Value) -> u64 {
    match value {
        Value::String(text) => clean_text(text),
        Value::Array(items) => items.iter_mut().map(clean_value).sum(),
        Value::Object(map) => {
            let clean_field = |(name, value): (&String, &mut Value)| {
                if redaction::redact_field(name, value) { 1 } else { clean_value(value) }
            };
            let redactions = map.iter_mut().map(clean_field).sum();
            if map.keys().any(|key| matches!(clean(key), Cow::Owned(_))) {
                *map = std::mem::take(map).into_iter().map(|(key, value)| (clean(&key).into_owned(), value)).collect();
            }
            redactions
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
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

/// The text without escape sequences and without characters that aren't seen. Newlines and tabs stay.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unwanted) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => rest = after_escape(rest),
            // The one-character form of the same introducer.
            '\u{9b}' => skip_control_sequence(&mut rest),
            c if is_unwanted(c) => {}
            c => cleaned.push(c),
        }
    }
    Cow::Owned(cleaned)
}

/// What follows an escape sequence whose first character was read.
fn after_escape(mut rest: std::str::Chars<'_>) -> std::str::Chars<'_> {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            skip_control_sequence(&mut ahead);
            ahead
        }
        // Titles, hyperlinks and the like, which end with BEL or ESC \. Without an end, only the introducer goes.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let after_introducer = ahead.clone();
            while let Some(c) = ahead.next() {
                match c {
                    '\u{7}' | '\u{9c}' => return ahead,
                    '\u{1b}' => {
                        let _backslash = ahead.next();
                        return ahead;
                    }
                    _ => {}
                }
            }
            after_introducer
        }
        Some(' '..='/') => {
            let _final = ahead.next();
            ahead
        }
        Some('0'..='~') => {
            let _final = rest.next();
            rest
        }
        _ => rest,
    }
}

/// Skips parameters and the final character of a control sequence; a character that can't be part of one stays.
fn skip_control_sequence(rest: &mut std::str::Chars<'_>) {
    loop {
        let before = rest.clone();
        match rest.next() {
            Some(' '..='?') => {}
            Some('@'..='~') | None => return,
            Some(_) => {
                *rest = before;
                return;
            }
        }
    }
}

fn is_unwanted(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Soft hyphen, joiners and fillers; zero-width characters and direction marks; lines and paragraphs; direction
        // overrides; invisible operators; annotations; tags and supplementary variation selectors, which spell out
        // hidden text.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{180e}'
        | '\u{feff}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_seen_is_taken_out() {
        let cases = [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]8;;http://evil\u{7}link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]unfinished", "unfinished"),
            ("a\u{9b}2Jb", "ab"),
            ("\u{1b}(Bx", "x"),
            ("\u{1b}cx", "x"),
            ("end\u{1b}", "end"),
            ("one\r\ntwo", "one\ntwo"),
            ("a\u{202e}b\u{200b}c\u{feff}d", "abcd"),
            ("a\u{e0041}\u{e0042}b", "ab"),
            ("ünïcödé 漢字 🙂", "ünïcödé 漢字 🙂"),
        ];
        for (text, expected) in cases {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        let mut value = json!({"a\u{200b}": ["\u{7}x"]});
        clean_value(&mut value);
        assert_eq!(value, json!({"a": ["x"]}));
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
    fn a_large_answer_says_how_to_narrow() {
        let error = apply(json!({"text": "x".repeat(100)}), 50, false).err().unwrap();
        assert_eq!(error.code, ErrorCode::ResultTooLarge);
        assert!(error.remedy.unwrap().contains("limit"));
    }

    proptest! {
        #[test]
        fn clean_text_is_clean_and_stays(text in any::<String>()) {
            let once = clean(&text).into_owned();
            prop_assert!(!once.chars().any(is_unwanted));
            prop_assert_eq!(clean(&once), once.as_str());
        }

        #[test]
        fn escape_sequences_never_panic(text in "[\u{1b}\u{9b}\\[\\]0-9;mPX\u{7}\\\\ab ]{0,30}") {
            prop_assert!(!clean(&text).chars().any(is_unwanted));
        }

        #[test]
        fn visible_text_is_kept(text in "[a-zA-Z0-9 äöü\n\t.,;]{0,60}") {
            prop_assert_eq!(clean(&text), text.as_str());
        }
    }
}
