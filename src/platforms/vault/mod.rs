//! HashiCorp Vault.

pub mod spec;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use self::spec::VaultSpec;
use crate::{
    platforms::{ConnectError, Platform, PlatformEnvironment, ProbeReport},
    tools::ToolEntry,
};

/// A Vault server.
pub struct Vault {}

impl Vault {
    /// Makes the client.
    ///
    /// # Errors
    /// When the spec can't be used.
    pub fn connect(_spec: VaultSpec, _environment: PlatformEnvironment) -> Result<Self, ConnectError> {
        Ok(Self {})
    }
}

#[async_trait]
impl Platform for Vault {
    fn tools(self: Arc<Self>) -> Vec<ToolEntry> {
        Vec::new()
    }

    async fn probe(&self, _timeout: Duration) -> ProbeReport {
        unreachable!()
    }

    fn instructions(&self) -> String {
        String::new()
    }
}
