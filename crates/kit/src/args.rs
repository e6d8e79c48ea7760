//! Arguments that many tools have, each stated once: its bounds, its default and what agents are told of it. A tool's schema
//! is made of them, calls are checked with it, and whoever reads a value gets one that is within its bounds.
//!
//! A tool takes several together with `#[serde(flatten)]`. That is possible because [`tools::ToolEntry`] closes the
//! schema of its arguments; the types themselves need not refuse what they don't know.

mod moment;

use std::{borrow::Cow, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::Error as _};

use tools::{
    Page, ToolError,
    page::{self, foreign_cursor},
};

pub use self::moment::Moment;

/// Characters of a cursor, at most. A platform's own place in a list is part of some.
const MAX_CURSOR: usize = 16_384;

/// A number from `MIN` to `MAX`; `DEFAULT` where the field has `#[serde(default)]` and the call leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bounded<const DEFAULT: usize, const MIN: usize, const MAX: usize>(usize);

/// How many entries of something: at least one.
pub type Limit<const DEFAULT: usize, const MAX: usize> = Bounded<DEFAULT, 1, MAX>;
/// How many bytes of something: so many at least that there is something to see.
pub type Bytes<const DEFAULT: usize, const MAX: usize> = Bounded<DEFAULT, 1_024, MAX>;
/// For how many seconds to wait; 0 is not at all.
pub type WaitSeconds<const DEFAULT: usize, const MAX: usize> = Bounded<DEFAULT, 0, MAX>;

impl<const DEFAULT: usize, const MIN: usize, const MAX: usize> Bounded<DEFAULT, MIN, MAX> {
    const BOUNDS: () = assert!(MIN <= DEFAULT && DEFAULT <= MAX, "the default is out of the bounds");

    /// The number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }

    /// So many seconds.
    #[must_use]
    pub const fn seconds(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl<const DEFAULT: usize, const MIN: usize, const MAX: usize> Default for Bounded<DEFAULT, MIN, MAX> {
    fn default() -> Self {
        let () = Self::BOUNDS;
        Self(DEFAULT)
    }
}

impl<'de, const DEFAULT: usize, const MIN: usize, const MAX: usize> Deserialize<'de> for Bounded<DEFAULT, MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = usize::deserialize(deserializer)?;
        if (MIN..=MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(D::Error::custom(format_args!("a number from {MIN} to {MAX} is expected")))
        }
    }
}

impl<const DEFAULT: usize, const MIN: usize, const MAX: usize> JsonSchema for Bounded<DEFAULT, MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("From{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// The default of a flag that is set unless a call says otherwise, for `#[serde(default = "yes")]`.
#[must_use]
pub const fn yes() -> bool {
    true
}

/// Where a list goes on, as an earlier answer gave it and the caller passes it back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// What the caller passed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key that it holds.
    ///
    /// # Errors
    /// When it is not one that a tool of ours gave.
    pub fn key(&self) -> Result<String, ToolError> {
        page::decode_cursor(&self.0)
    }

    /// The number, or whatever else is written as a word, that it holds.
    ///
    /// # Errors
    /// When it is not one that this tool gave.
    pub fn position<T: FromStr>(&self) -> Result<T, ToolError> {
        self.key()?.parse().map_err(|_| foreign_cursor())
    }

    /// The value that it holds as JSON.
    ///
    /// # Errors
    /// When it is not one that this tool gave.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        serde_json::from_str(&self.key()?).map_err(|_| foreign_cursor())
    }
}

impl From<String> for Cursor {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl JsonSchema for Cursor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cursor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX_CURSOR })
    }
}

/// Arguments of a tool that answers a list in pages.
#[derive(Deserialize, JsonSchema, Clone, Debug)]
pub struct PageArgs<const DEFAULT: usize, const MAX: usize> {
    /// Entries of one answer.
    #[serde(default)]
    limit: Limit<DEFAULT, MAX>,
    /// `next_cursor` of the answer before, with the same other arguments.
    #[serde(default)]
    cursor: Option<Cursor>,
}

impl<const DEFAULT: usize, const MAX: usize> PageArgs<DEFAULT, MAX> {
    /// Entries that a page may have.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit.get()
    }

    /// Where the page begins; at the beginning, if nothing is said.
    #[must_use]
    pub const fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// The number that the cursor holds; 0 without one.
    ///
    /// # Errors
    /// When it is not one that this tool gave.
    pub fn position<T: FromStr + Default>(&self) -> Result<T, ToolError> {
        self.cursor().map_or_else(|| Ok(T::default()), Cursor::position)
    }

    /// Cuts a whole list, which is put into the order of its keys, to the page.
    ///
    /// # Errors
    /// When the cursor is not one that this tool gave.
    pub fn cut<T>(&self, entries: Vec<T>, key: impl Fn(&T) -> &str) -> Result<Page<T>, ToolError> {
        Page::cut(entries, key, self.cursor().map(Cursor::as_str), self.limit())
    }

    /// The same for entries whose keys are no part of them.
    ///
    /// # Errors
    /// When the cursor is not one that this tool gave.
    pub fn cut_keyed<T>(&self, entries: Vec<(String, T)>) -> Result<Page<T>, ToolError> {
        let Page { items, truncated, next_cursor, hints } = self.cut(entries, |entry| entry.0.as_str())?;
        let items = items.into_iter().map(|(_, entry)| entry).collect();
        Ok(Page { items, truncated, next_cursor, hints })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use tools::{CallContext, ToolDeclaration, ToolEntry, publish};

    #[derive(Deserialize, JsonSchema)]
    struct ListInput {
        /// Whose.
        of: String,
        #[serde(flatten)]
        page: PageArgs<20, 100>,
        /// Seconds to wait.
        #[serde(default)]
        wait_seconds: WaitSeconds<0, 120>,
    }

    fn read(value: Value) -> Option<ListInput> {
        serde_json::from_value(value).ok()
    }

    #[test]
    fn agents_are_told_bounds_and_defaults() {
        let declaration = ToolDeclaration::read("list_fake_things", "List", "Lists.");
        let tool = ToolEntry::read(declaration, |input: ListInput, _: CallContext| async move {
            input.page.cut(vec![input.of], String::as_str)
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "of": { "type": "string", "description": "Whose." },
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 100,
                    "default": 20,
                    "description": "Entries of one answer.",
                },
                "cursor": {
                    "type": "string",
                    "minLength": 1,
                    "description": "`next_cursor` of the answer before, with the same other arguments.",
                },
                "wait_seconds": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 120,
                    "default": 0,
                    "description": "Seconds to wait.",
                },
            },
            "required": ["of"],
        });
        assert_eq!(Value::Object(publish::arguments(&tool.input_schema)), expected);
    }

    #[test]
    fn what_is_left_out_is_the_default_and_what_is_out_of_bounds_is_refused() {
        let input = read(json!({ "of": "a" })).unwrap();
        assert_eq!((input.page.limit(), input.page.cursor(), input.wait_seconds.get()), (20, None, 0));
        assert_eq!(input.page.position::<u64>().unwrap(), 0);
        let input = read(json!({ "of": "a", "limit": 7, "cursor": "NQ", "wait_seconds": 120 })).unwrap();
        assert_eq!((input.page.limit(), input.wait_seconds.seconds()), (7, Duration::from_mins(2)));
        assert_eq!(input.page.position::<u64>().unwrap(), 5);
        for wrong in
            [json!({ "of": "a", "limit": 0 }), json!({ "of": "a", "limit": 101 }), json!({ "of": "a", "limit": "7" })]
        {
            assert!(read(wrong.clone()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_of_another_tool_is_refused_by_name() {
        let input = read(json!({ "of": "a", "cursor": page::encode_cursor("web") })).unwrap();
        let cursor = input.page.cursor().unwrap();
        assert_eq!(cursor.key().unwrap(), "web");
        for error in [cursor.position::<u64>().unwrap_err(), cursor.value::<Vec<u64>>().unwrap_err()] {
            assert_eq!(error.argument.as_deref(), Some("cursor"));
        }
    }

    proptest! {
        #[test]
        fn keyed_pages_give_every_entry_once(keys in proptest::collection::btree_set("[a-z]{1,5}", 0..40), limit in 1usize..9) {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = PageArgs::<20, 100> { limit: Bounded(limit), cursor };
                let entries = keys.iter().enumerate().map(|(number, key)| (key.clone(), number)).collect();
                let answered = page.cut_keyed(entries).unwrap();
                seen.extend(answered.items);
                match answered.next_cursor {
                    Some(next) => cursor = Some(Cursor(next)),
                    None => break,
                }
            }
            prop_assert_eq!(seen, (0..keys.len()).collect::<Vec<_>>());
        }
    }
}
