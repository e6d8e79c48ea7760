//! Where an agent puts what it has fetched: files that another process reads, or the memory of its own.

use std::{collections::BTreeMap, io, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::writing::Writer;
use credentials::supply::{Supplied, Supply};
use files::{DirectorySnapshot, FileContent};

/// Where an agent puts the credentials and its state.
pub struct Store(Place);

enum Place {
    Directory(Writer),
    Memory(watch::Sender<Supplied>),
}

impl Store {
    /// Files in a directory, as the kubelet would write them, with the state beside them.
    #[must_use]
    pub fn directory(directory: PathBuf) -> Self {
        Self(Place::Directory(Writer::new(directory)))
    }

    /// This process alone: nothing touches a disk.
    #[must_use]
    pub fn memory() -> (Self, watch::Receiver<Supplied>) {
        let (sender, receiver) = watch::channel(Supplied::default());
        (Self(Place::Memory(sender)), receiver)
    }

    /// The state that an earlier agent left.
    pub(super) fn left(&self) -> Option<Supply> {
        match &self.0 {
            Place::Directory(writer) => writer.read_state(),
            Place::Memory(sender) => sender.borrow().supply.clone(),
        }
    }

    /// Replaces the credentials by these, all at once or not at all.
    ///
    /// # Errors
    /// When they can't be written; those that are there stay.
    pub(super) fn write(&self, fields: &BTreeMap<String, SecretString>) -> io::Result<()> {
        match &self.0 {
            Place::Directory(writer) => writer.write(fields),
            Place::Memory(sender) => {
                let bytes = |value: &SecretString| Zeroizing::new(value.expose_secret().as_bytes().to_vec());
                let content = |value| FileContent::Bytes(bytes(value));
                let files = fields.iter().map(|(name, value)| (name.clone(), content(value))).collect();
                sender.send_modify(|supplied| supplied.files = DirectorySnapshot { files, any: !fields.is_empty() });
                Ok(())
            }
        }
    }

    /// Tells how the agent does.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn write_state(&self, supply: &Supply) -> io::Result<()> {
        match &self.0 {
            Place::Directory(writer) => writer.write_state(supply),
            Place::Memory(sender) => {
                sender.send_modify(|supplied| supplied.supply = Some(supply.clone()));
                Ok(())
            }
        }
    }
}
