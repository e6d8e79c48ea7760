//! The pods' identity: a ServiceAccount without rights, whose token isn't even mounted.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{ValidatedConnector, metadata};

pub fn build_service_account(connector: &ValidatedConnector) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(connector),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
