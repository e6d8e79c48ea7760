//! What a platform needs: named fields, in alternative combinations, each with the form its value must have. The
//! operator uses it to check a `CredentialSource` before any pod exists, `serve` to check the files.

/// The form that a field's value must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldForm {
    /// One line of visible ASCII characters: tokens, ids, passwords that travel in headers.
    Line,
    /// One or more PEM blocks.
    Pem,
    /// Any text that isn't empty.
    Text,
}

/// One field that a platform needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, which is also the file's name.
    pub name: &'static str,
    /// The form its value must have.
    pub form: FieldForm,
}

impl Field {
    /// A field of one line of visible ASCII characters.
    #[must_use]
    pub const fn line(name: &'static str) -> Self {
        Self { name, form: FieldForm::Line }
    }
}

/// Alternative combinations of fields; the first one that is complete is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    alternatives: &'static [&'static [Field]],
}

impl Requirement {
    /// Any of these combinations will do.
    #[must_use]
    pub const fn any_of(alternatives: &'static [&'static [Field]]) -> Self {
        Self { alternatives }
    }

    /// The combinations, in order of preference.
    #[must_use]
    pub const fn alternatives(&self) -> &'static [&'static [Field]] {
        self.alternatives
    }

    /// Whether `available` holds every field of some combination.
    #[must_use]
    pub fn is_met_by(&self, available: &dyn Fn(&str) -> bool) -> bool {
        self.alternatives.iter().any(|fields| fields.iter().all(|field| available(field.name)))
    }

    /// The combinations in words, without those that only add to another one: `token`, or
    /// `role_id and secret_id, or token`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let combination = |fields: &[Field]| fields.iter().map(|field| field.name).collect::<Vec<_>>().join(" and ");
        self.smallest().map(combination).collect::<Vec<_>>().join(", or ")
    }

    /// Fields that add something to a combination that would do without them.
    #[must_use]
    pub fn optional(&self) -> Vec<&'static str> {
        let needed = |name| self.smallest().any(|fields| fields.iter().any(|field| field.name == name));
        let mut names: Vec<&str> = self.alternatives.iter().copied().flatten().map(|field| field.name).collect();
        names.retain(|name| !needed(*name));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn smallest(&self) -> impl Iterator<Item = &'static [Field]> {
        let within = |small: &[Field], large: &[Field]| {
            small.len() < large.len() && small.iter().all(|one| large.iter().any(|other| other.name == one.name))
        };
        let alternatives = self.alternatives;
        alternatives.iter().copied().filter(move |fields| !alternatives.iter().any(|other| within(other, fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_complete_combination_will_do() {
        const REQUIREMENT: Requirement =
            Requirement::any_of(&[&[Field::line("role"), Field::line("key")], &[Field::line("token")]]);
        assert!(REQUIREMENT.is_met_by(&|name| name == "token"));
        assert!(REQUIREMENT.is_met_by(&|name| name == "role" || name == "key"));
        assert!(!REQUIREMENT.is_met_by(&|name| name == "role"));
        assert_eq!(REQUIREMENT.in_words(), "role and key, or token");
        assert!(REQUIREMENT.optional().is_empty());
    }

    #[test]
    fn what_only_adds_to_another_combination_is_optional() {
        const KEY: Field = Field::line("key");
        const REQUIREMENT: Requirement = Requirement::any_of(&[
            &[KEY, Field::line("session"), Field::line("end")],
            &[KEY, Field::line("session")],
            &[KEY],
        ]);
        assert_eq!(REQUIREMENT.in_words(), "key");
        assert_eq!(REQUIREMENT.optional(), ["end", "session"]);
    }
}
