//! The operator's files, as a process reads them once, at start.

use std::path::Path;

use api::owned_name;
use pod_api::config::{CONFIG_FILE, ConfigError, ServeConfig, StartFiles};
use telemetry::TraceSettings;

/// The operator's files, read.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The configuration.
    pub config: ServeConfig,
    /// Digest of the file that it was read from, and of the CA bundle.
    pub digest: String,
    /// The platform's CA bundle.
    pub platform_ca: Option<String>,
}

impl LoadedConfig {
    /// Reads the operator's files, as [`StartFiles::read`] does.
    ///
    /// # Errors
    /// When the configuration is missing, wrong, or not that which the pod was made with. Missing keys come later.
    pub fn read(directory: &Path, made_with: Option<&str>) -> Result<Self, ConfigError> {
        let StartFiles { config, platform_ca } = StartFiles::read(directory, made_with)?;
        Self::parse(&directory.join(CONFIG_FILE).display().to_string(), &config, platform_ca)
    }

    /// Reads the text of the operator's file; `path` names it in errors.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub fn parse(path: &str, text: &str, platform_ca: Option<String>) -> Result<Self, ConfigError> {
        let config: ServeConfig =
            serde_json::from_str(text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
        let digest = ServeConfig::digest(text, platform_ca.as_deref());
        Ok(Self { config, digest, platform_ca })
    }

    /// `namespace/name` of the connector.
    #[must_use]
    pub fn connector(&self) -> String {
        let connector = &self.config.connector;
        format!("{}/{}", connector.namespace, connector.name)
    }

    /// Where traces go; nothing where they go nowhere.
    #[must_use]
    pub fn trace_settings(&self) -> Option<TraceSettings> {
        let traces = self.config.telemetry.traces.as_ref()?;
        Some(TraceSettings {
            endpoint: traces.endpoint.clone(),
            ratio: f64::from(traces.sample_percent) / 100.0,
            service: owned_name(&self.config.connector.name),
            namespace: self.config.connector.namespace.clone(),
        })
    }

    /// Logs what was configured: what there is and how much of it, and no URL but the collector's host.
    pub(super) fn log(&self) {
        let Self { config, digest, platform_ca } = self;
        let traces = config.telemetry.traces.as_ref();
        tracing::info!(
            config_digest = digest,
            mutations = ?config.tools.mutations,
            tools_allowed = config.tools.allow.len(),
            tools_denied = config.tools.deny.len(),
            access_rules = config.access.allow.len(),
            audiences = config.access.audiences.len(),
            anonymous = config.access.anonymous,
            platform_ca_bytes = platform_ca.as_ref().map_or(0, String::len),
            proxy = config.proxy.is_some(),
            traces_to = traces.and_then(|traces| traces.endpoint.host_str()),
            traces_percent = traces.map(|traces| traces.sample_percent),
            audit_file = config.telemetry.audit.file.is_some(),
            audit_hash_chain = config.telemetry.audit.hash_chain,
            "configuration read"
        );
    }
}
