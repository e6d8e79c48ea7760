//! How the fields of a set lie on this machine, where that differs from one file a field, named like it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the fields of a set are. By default each is in the file of its own name.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Layout {
    /// Field to file, for a directory whose files have names of their own. Only these fields are read then; all if it is
    /// empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Fields that are no secrets, with their values. They are in no file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

impl Layout {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The file of each field that is to be read, as pairs of field and file.
    pub(super) fn files_of<'a>(&'a self, fields: &'a [&'static str]) -> Vec<(&'a str, &'a str)> {
        let named = |field: &&'static str| self.files.get(*field).map(|file| (*field, file.as_str()));
        if self.files.is_empty() {
            return fields.iter().map(|field| (*field, *field)).collect();
        }
        fields.iter().filter_map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_in_the_file_of_its_name_unless_something_else_is_said() {
        let mut layout = Layout::default();
        assert_eq!(layout.files_of(&["token", "user"]), [("token", "token"), ("user", "user")]);
        layout.files.insert("token".into(), "team/key".into());
        assert_eq!(layout.files_of(&["token", "user"]), [("token", "team/key")]);
    }
}
