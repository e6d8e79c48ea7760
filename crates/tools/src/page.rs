//! Paging: lists are cut to `limit` and go on at `cursor`. A cursor is opaque to the agent, and any replica can read it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ToolError;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The entries, in a stable order.
    pub items: Vec<T>,
    /// Whether there are more.
    pub truncated: bool,
    /// Pass this as `cursor` to go on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// What to know or to try, above all when the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// A cursor, as an agent sees it: a list goes on after the entry with this key. Keys stay valid when entries come and go, as
/// offsets don't.
#[must_use]
pub fn encode_cursor(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key.as_bytes())
}

/// The key in what an agent sends back.
///
/// # Errors
/// When it is not a cursor of ours.
pub fn decode_cursor(text: &str) -> Result<String, ToolError> {
    URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(foreign_cursor)
}

/// What is said of a cursor that the tool didn't give.
#[must_use]
pub fn foreign_cursor() -> ToolError {
    ToolError::invalid_argument("cursor is not one that this tool gave")
        .with_argument("cursor")
        .with_remedy("pass next_cursor of the previous answer unchanged, or leave cursor out to begin anew")
}

/// Keeps as many entries as fit into a number of bytes, as JSON. Tells whether some were left out.
#[must_use]
pub fn fit<T: Serialize>(entries: Vec<T>, bytes: usize) -> (Vec<T>, bool) {
    let count = entries.len();
    let mut room = bytes;
    let kept: Vec<T> = entries
        .into_iter()
        .take_while(|entry| {
            let size = serde_json::to_vec(entry).map_or(usize::MAX, |text| text.len().saturating_add(1));
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        })
        .collect();
    let cut = kept.len() < count;
    (kept, cut)
}

impl<T> Page<T> {
    /// Cuts a whole list, which is put into the order of its keys, to one page.
    ///
    /// # Errors
    /// When `cursor` is not one of ours.
    pub fn cut(
        mut entries: Vec<T>,
        key: impl Fn(&T) -> &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Self, ToolError> {
        entries.sort_by(|a, b| key(a).cmp(key(b)));
        let after = cursor.map(decode_cursor).transpose()?;
        let mut rest =
            entries.into_iter().filter(|entry| after.as_ref().is_none_or(|after| key(entry) > after.as_str()));
        let items: Vec<T> = rest.by_ref().take(limit).collect();
        let truncated = rest.next().is_some();
        let next_cursor = items.last().filter(|_| truncated).map(|last| encode_cursor(key(last)));
        Ok(Self { items, truncated, next_cursor, hints: Vec::new() })
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_give_every_entry_once(entries in proptest::collection::btree_set("[a-z/]{1,8}", 0..60), limit in 1usize..20) {
            let all: Vec<String> = entries.into_iter().collect();
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = Page::cut(all.clone(), String::as_str, cursor.as_deref(), limit).unwrap();
                prop_assert_eq!(page.truncated, page.next_cursor.is_some());
                prop_assert!(page.items.len() <= limit);
                seen.extend(page.items);
                match page.next_cursor {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(seen, all);
        }
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        let error = Page::<String>::cut(vec![], String::as_str, Some("not a cursor"), 1).unwrap_err();
        assert_eq!(error.argument.as_deref(), Some("cursor"));
    }
}
