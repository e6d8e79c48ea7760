//! What the guards say beside an answer: for programs in `_meta`, for models as text after the answer.

use rmcp::model::{ContentBlock, MetaObject};
use serde::Serialize;

use super::{cache::CacheNote, repeats::Repetition};

/// Where an answer says whether it was kept.
const META_CACHE: &str = "mcp-connectors.io/cache";
/// Where an answer says that it was asked for before.
const META_REPEATED: &str = "mcp-connectors.io/repeated";

/// Where an answer says that it is that of the same call made before.
const META_REPLAYED: &str = "mcp-connectors.io/replayed";

/// What there is to say.
#[derive(Debug, Default)]
pub struct Notes {
    /// That the call repeats others.
    pub repetition: Option<Repetition>,
    /// That it was answered from what the same call did before.
    pub replayed: bool,
    /// Whether the answer was kept, where it could have been.
    pub cache: Option<CacheNote>,
}

impl Notes {
    /// Adds it to a result's `_meta`.
    pub fn write(&self, meta: &mut MetaObject) {
        insert(meta, META_REPEATED, self.repetition.as_ref());
        insert(meta, META_CACHE, self.cache.as_ref());
        insert(meta, META_REPLAYED, self.replayed.then_some(&true));
    }

    /// What a model reads after the answer of `tool`. The answer itself stays the first block, and stays JSON.
    #[must_use]
    pub fn blocks(&self, tool: &str) -> Vec<ContentBlock> {
        self.repetition.iter().map(|repetition| ContentBlock::text(repetition.warning(tool))).collect()
    }
}

fn insert(meta: &mut MetaObject, name: &str, note: Option<&impl Serialize>) {
    if let Some(note) = note.and_then(|note| serde_json::to_value(note).ok()) {
        meta.insert(name.to_owned(), note);
    }
}
