//! Names and messages of CircleCI and of what ran in its jobs: brought to one line, and bounded.

use kit::text::foreign;

/// A name or message on one line, without characters that aren't seen, cut to so many characters.
pub(super) fn clean(text: &str, most: usize) -> String {
    foreign::line(text, most).trim().to_owned()
}

/// Text that keeps its lines, of so many characters; one that is cut ends with `…`.
pub(super) fn lines(text: &str, most: usize) -> String {
    let text = foreign::clean(text);
    let mut characters = text.trim().chars().map(|c| if c == '\t' { ' ' } else { c });
    let mut kept: String = characters.by_ref().take(most).collect();
    kept.extend(characters.next().map(|_| '…'));
    kept
}

/// Characters of each of so many errors of a configuration: trees, whose cause often stands at the end
/// (CircleCI-Public/aws-ecr-orb #75).
pub(super) fn share(count: usize) -> usize {
    (16_000 / count.max(1)).clamp(500, 4_000)
}

/// [`clean`] for what may be empty or not there.
pub(super) fn optional(text: Option<&str>, most: usize) -> Option<String> {
    text.map(|text| clean(text, most)).filter(|text| !text.is_empty())
}
