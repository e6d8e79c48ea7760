//! The server's files: its configuration, which a pod reads once, and the token keys and the log level, which it follows.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{ValidatedConnector, metadata};
use pod_api::config::{CONFIG_FILE, LOG_LEVEL_FILE, PLATFORM_CA_FILE, TOKEN_KEYS_FILE};

pub fn build_config_map(connector: &ValidatedConnector, config: String, token_keys: String) -> ConfigMap {
    let mut data = BTreeMap::from([(CONFIG_FILE.to_owned(), config), (TOKEN_KEYS_FILE.to_owned(), token_keys)]);
    if let Some(level) = connector.log_level {
        data.insert(LOG_LEVEL_FILE.to_owned(), level.to_string());
    }
    if let Some(pem) = &connector.platform_ca {
        data.insert(PLATFORM_CA_FILE.to_owned(), pem.to_string());
    }
    ConfigMap { metadata: metadata(connector), data: Some(data), ..ConfigMap::default() }
}
