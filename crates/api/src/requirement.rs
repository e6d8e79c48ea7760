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
    /// Whether its value is no secret, and may stand in a manifest.
    pub is_public: bool,
}

impl Field {
    /// A field of one line of visible ASCII characters.
    #[must_use]
    pub const fn line(name: &'static str) -> Self {
        Self { name, form: FieldForm::Line, is_public: false }
    }

    /// A field of any text.
    #[must_use]
    pub const fn text(name: &'static str) -> Self {
        Self { name, form: FieldForm::Text, is_public: false }
    }

    /// A field of PEM blocks.
    #[must_use]
    pub const fn pem(name: &'static str) -> Self {
        Self { name, form: FieldForm::Pem, is_public: false }
    }

    /// The same, as one whose value is no secret.
    #[must_use]
    pub const fn public(self) -> Self {
        Self { is_public: true, ..self }
    }
}

/// Of a client certificate (mTLS), which a self-hosted platform may ask for: the certificate, PEM, with the intermediate ones
/// after it.
pub const TLS_CERTIFICATE: Field = Field::pem("tls_certificate").public();
/// Its private key, PEM, not encrypted.
pub const TLS_KEY: Field = Field::pem("tls_key");
/// What makes a client certificate; none of it, or all.
pub const CLIENT_CERTIFICATE: &[Field] = &[TLS_CERTIFICATE, TLS_KEY];

/// Alternative combinations of fields, of which the first one that is complete is taken; and groups that may be added to
/// any of them, each whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement {
    alternatives: &'static [&'static [Field]],
    additions: &'static [&'static [Field]],
}

impl Requirement {
    /// Any of these combinations will do.
    #[must_use]
    pub const fn any_of(alternatives: &'static [&'static [Field]]) -> Self {
        Self { alternatives, additions: &[] }
    }

    /// The same, with groups of fields that may be added. A part of a group alone is a fault.
    #[must_use]
    pub const fn with_additions(self, additions: &'static [&'static [Field]]) -> Self {
        Self { additions, ..self }
    }

    /// The combinations, in order of preference.
    #[must_use]
    pub const fn alternatives(&self) -> &'static [&'static [Field]] {
        self.alternatives
    }

    /// The groups that may be added.
    #[must_use]
    pub const fn additions(&self) -> &'static [&'static [Field]] {
        self.additions
    }

    /// Every field that is looked at, each once, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.fields().map(|field| field.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The fields whose values are no secrets, each once, sorted.
    #[must_use]
    pub fn public_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.fields().filter(|field| field.is_public).map(|field| field.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.alternatives.iter().chain(self.additions).copied().flatten()
    }

    /// What is missing of a group of which `available` holds only a part: the fields that it lacks, and the whole group.
    #[must_use]
    pub fn incomplete_addition(&self, available: &dyn Fn(&str) -> bool) -> Option<(Vec<&'static str>, String)> {
        self.additions.iter().find_map(|group| {
            let lacking: Vec<_> = group.iter().map(|field| field.name).filter(|name| !available(name)).collect();
            (!lacking.is_empty() && lacking.len() < group.len()).then(|| (lacking, in_words(group)))
        })
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
        self.smallest().map(in_words).collect::<Vec<_>>().join(", or ")
    }

    /// Fields of a combination that would do without them. Not those of [`Requirement::additions`].
    #[must_use]
    pub fn optional(&self) -> Vec<&'static str> {
        let needed = |name| self.smallest().any(|fields| fields.iter().any(|field| field.name == name));
        let added = |name| self.additions.iter().any(|group| group.iter().any(|field| field.name == name));
        let mut names = self.names();
        names.retain(|name| !needed(*name) && !added(*name));
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

fn in_words(fields: &[Field]) -> String {
    fields.iter().map(|field| field.name).collect::<Vec<_>>().join(" and ")
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

    #[test]
    fn additions_are_optional_and_whole() {
        const PAIR: &[Field] = &[Field::line("certificate").public(), Field::line("key")];
        const REQUIREMENT: Requirement = Requirement::any_of(&[&[Field::line("token")]]).with_additions(&[PAIR]);
        assert_eq!(REQUIREMENT.names(), ["certificate", "key", "token"]);
        assert_eq!(REQUIREMENT.public_names(), ["certificate"]);
        assert_eq!(REQUIREMENT.in_words(), "token");
        assert!(REQUIREMENT.optional().is_empty());
        assert_eq!(REQUIREMENT.incomplete_addition(&|name| name == "token"), None);
        assert_eq!(REQUIREMENT.incomplete_addition(&|_| true), None);
        let missing = REQUIREMENT.incomplete_addition(&|name| name != "key");
        assert_eq!(missing, Some((vec!["key"], "certificate and key".to_owned())));
    }
}
