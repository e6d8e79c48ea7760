//! What the files of a set amount to: whether they can be used, and in words what is wrong. Nothing here ever puts a value
//! into a text.

use std::collections::BTreeMap;

use rustls_pki_types::pem::{PemObject, SectionKind};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{super::client_certificate, MAX_FILE_BYTES};
use api::{
    Reason,
    requirement::{Field, FieldForm, Requirement},
};
use files::{DirectorySnapshot, FileContent};

/// What the files amount to.
pub(super) struct Assessment {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// The fields, if they can be put in use.
    pub(super) usable: Option<BTreeMap<String, SecretString>>,
    /// Every field that counts, with its length before it, so that no two different sets look the same.
    pub(super) content: Option<Zeroizing<Vec<u8>>>,
}

/// What a set is made of.
pub(super) struct Given<'a> {
    pub(super) mounted: &'a DirectorySnapshot,
    pub(super) values: &'a BTreeMap<String, FileContent>,
}

impl Given<'_> {
    fn get(&self, name: &str) -> Option<&FileContent> {
        self.mounted.files.get(name).or_else(|| self.values.get(name))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let values = self.values.keys().filter(|name| !self.mounted.files.contains_key(*name));
        self.mounted.files.keys().chain(values).map(String::as_str)
    }

    /// A field that comes from two places.
    fn twice(&self) -> Option<&str> {
        self.values.keys().find(|name| self.mounted.files.contains_key(*name)).map(String::as_str)
    }
}

pub(super) fn assess(given: &Given<'_>, requirement: Requirement) -> Assessment {
    let present = |name: &str| match given.get(name) {
        None => false,
        Some(FileContent::Bytes(bytes)) => !trimmed(bytes).is_empty(),
        Some(FileContent::TooLarge | FileContent::Unreadable(_)) => true,
    };
    let whole = |fields: &&&[Field]| fields.iter().all(|field| present(field.name));
    let complete: Option<Vec<Field>> = requirement.alternatives().iter().find(whole).map(|fields| {
        let added = requirement.additions().iter().filter(whole);
        fields.iter().chain(added.copied().flatten()).copied().collect()
    });
    let content = match &complete {
        Some(fields) => encode(given, &mut fields.iter().map(|field| field.name)),
        None => encode(given, &mut given.names()),
    };
    if !given.mounted.any && given.mounted.files.is_empty() {
        let message = format!(
            "no credentials are mounted: make the Secret that the CredentialSource names, with keys for: {}",
            requirement.in_words()
        );
        return Assessment { reason: Reason::NoFields, message, usable: None, content: None };
    }
    let Some(fields) = complete else {
        let message = missing(given, requirement, &present);
        return Assessment { reason: Reason::FieldMissing, message, usable: None, content };
    };
    if let Some((lacking, group)) = requirement.incomplete_addition(&present) {
        let message = format!("{}; needed together: {group}", faults(given, lacking));
        return Assessment { reason: Reason::FieldMissing, message, usable: None, content };
    }
    let invalid =
        |message: String, content| Assessment { reason: Reason::FieldInvalid, message, usable: None, content };
    if let Some(name) = given.twice() {
        let message = format!(
            "`{name}` is mounted, and stands in spec.values of the CredentialSource, too: take it out of one of the two"
        );
        return invalid(message, content);
    }
    let mut usable = BTreeMap::new();
    for field in &fields {
        match check(*field, given.get(field.name)) {
            Ok(value) => {
                usable.insert(field.name.to_owned(), value);
            }
            Err(fault) => return invalid(format!("key `{}` {fault}", field.name), content),
        }
    }
    if let Some(fault) = client_certificate::fault(&usable) {
        return invalid(fault.to_owned(), content);
    }
    let names = fields.iter().map(|field| field.name).collect::<Vec<_>>().join(" and ");
    Assessment { reason: Reason::Loaded, message: format!("{names} loaded"), usable: Some(usable), content }
}

/// Says what is missing of the combination that lacks least.
fn missing(given: &Given<'_>, requirement: Requirement, present: &dyn Fn(&str) -> bool) -> String {
    let lacking = |fields: &[Field]| -> Vec<&str> {
        fields.iter().map(|field| field.name).filter(|name| !present(name)).collect()
    };
    let closest = requirement.alternatives().iter().map(|fields| lacking(fields)).min_by_key(Vec::len);
    format!("{}; needed: {}", faults(given, closest.unwrap_or_default()), requirement.in_words())
}

/// Says of fields that aren't there how they aren't.
fn faults(given: &Given<'_>, lacking: Vec<&str>) -> String {
    let fault = |name: &str| {
        let what = if given.get(name).is_some() { "is empty" } else { "is missing" };
        format!("key `{name}` {what}")
    };
    lacking.into_iter().map(fault).collect::<Vec<_>>().join(", ")
}

fn check(field: Field, content: Option<&FileContent>) -> Result<SecretString, String> {
    let bytes = match content {
        Some(FileContent::Bytes(bytes)) => trimmed(bytes),
        Some(FileContent::TooLarge) => return Err(format!("has more than {MAX_FILE_BYTES} bytes")),
        Some(FileContent::Unreadable(kind)) => return Err(format!("can't be read: {kind}")),
        None => return Err("is missing".to_owned()),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| "is not text in UTF-8".to_owned())?;
    match field.form {
        FieldForm::Line if text.contains(['\n', '\r']) => Err("has more than one line; it must be one".to_owned()),
        FieldForm::Line if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) => {
            Err("holds a control character or one outside of ASCII; it must be one line of visible ASCII".to_owned())
        }
        FieldForm::Line if text.trim() != text => Err("begins or ends with a blank".to_owned()),
        FieldForm::Pem if !holds_pem(bytes) => Err("is not PEM".to_owned()),
        FieldForm::Text if text.contains('\0') => Err("holds a NUL character".to_owned()),
        FieldForm::Line | FieldForm::Pem | FieldForm::Text => Ok(SecretString::from(text)),
    }
}

fn holds_pem(bytes: &[u8]) -> bool {
    let mut blocks = 0_usize;
    for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        match block {
            Ok((_, der)) => {
                drop(Zeroizing::new(der));
                blocks += 1;
            }
            Err(_) => return false,
        }
    }
    blocks > 0
}

/// The value without the newlines that editors and `echo` put at its end.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

pub(super) fn encode(given: &Given<'_>, names: &mut dyn Iterator<Item = &str>) -> Option<Zeroizing<Vec<u8>>> {
    let mut fields: Vec<(&str, &[u8])> = names
        .filter_map(|name| match given.get(name)? {
            FileContent::Bytes(bytes) => Some((name, trimmed(bytes))),
            FileContent::TooLarge | FileContent::Unreadable(_) => None,
        })
        .collect();
    fields.sort_unstable();
    if fields.is_empty() {
        return None;
    }
    let length = fields.iter().map(|(name, value)| 16 + name.len() + value.len()).sum();
    let mut content = Zeroizing::new(Vec::with_capacity(length));
    for part in fields.iter().flat_map(|(name, value)| [name.as_bytes(), *value]) {
        content.extend_from_slice(&(part.len() as u64).to_be_bytes());
        content.extend_from_slice(part);
    }
    Some(content)
}
