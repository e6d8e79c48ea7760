//! The keys: credential files in one directory, read as a set, checked, and handed to whoever calls the platform.
//!
//! ```text
//! kubelet (or any writer that swaps the directory) ─▶ directory ─▶ read as one set ─▶ check ─▶ CredentialsHandle
//! ```
//! Where the pods have an identity of their own instead ([`identity`]), that identity is the set.
//!
//! A set that can't be used never replaces one that can. No credential is ever part of a text.

mod client_certificate;
pub mod directory;
pub mod identity;
mod layout;
mod requirement;
pub mod supply;

use std::{collections::BTreeMap, fmt, sync::Arc};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use self::{
    client_certificate::CLIENT_CERTIFICATE,
    layout::Layout,
    requirement::{Field, FieldForm, Requirement},
    supply::Supply,
};

/// One usable set of credentials: every field that the platform needs, of one generation.
pub struct CredentialSet {
    /// Counts the sets of this process, from 1; equal numbers mean the same set.
    pub generation: u64,
    fields: BTreeMap<String, SecretString>,
}

impl CredentialSet {
    /// Makes a set out of fields that were checked already.
    #[must_use]
    pub fn new(generation: u64, fields: BTreeMap<String, SecretString>) -> Self {
        Self { generation, fields }
    }

    /// The value of a field, without the newline that files end with.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&SecretString> {
        self.fields.get(name)
    }
}

impl fmt::Debug for CredentialSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialSet").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// What is known of the credential files, as `/status` and the conditions show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsState {
    /// `Loaded`, `NoFields`, `FieldMissing` or `FieldInvalid`: about what is mounted now. With one of the last three, an
    /// older set may still be in use. An agent that supplies the files adds its own reasons.
    pub reason: String,
    /// What is, and what to do. Names fields and files, never values.
    pub message: String,
    /// Revision of what is mounted now; none while nothing is, or before it was computed.
    pub mounted_revision: Option<String>,
    /// Revision of the set in use; none while there is none, or before it was computed.
    pub loaded_revision: Option<String>,
    /// How the agent does that supplies the files; none where the kubelet does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supply: Option<Supply>,
}

/// The credentials as they are now and as they change. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CredentialsHandle {
    current: watch::Receiver<Option<Arc<CredentialSet>>>,
    reread: watch::Sender<u64>,
}

impl CredentialsHandle {
    /// Ties a handle to the two ends that a reader of credential files keeps: where it puts sets, and where it is asked
    /// to read again.
    #[must_use]
    pub fn new(current: watch::Receiver<Option<Arc<CredentialSet>>>, reread: watch::Sender<u64>) -> Self {
        Self { current, reread }
    }

    /// The set in use, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<Arc<CredentialSet>> {
        self.current.borrow().clone()
    }

    /// Waits until another set is in use than when this handle last looked; for ever if nobody reads files any more.
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Asks for the files to be read again at once, as after the platform refused the credentials.
    pub fn reread(&self) {
        self.reread.send_modify(|count| *count = count.wrapping_add(1));
    }
}
