//! Names and messages of CircleCI and of what ran in its jobs: brought to one line, and bounded.

/// A name or message on one line, without control characters, cut to so many characters.
pub(super) fn clean(text: &str, most: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    plain.trim().to_owned()
}

/// [`clean`] for what may be empty or not there.
pub(super) fn optional(text: Option<&str>, most: usize) -> Option<String> {
    text.map(|text| clean(text, most)).filter(|text| !text.is_empty())
}
