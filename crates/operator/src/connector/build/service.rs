//! The endpoint. The admin port isn't on it: probes and the operator go to the pods.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{ValidatedConnector, metadata, selector_labels};
use api::MCP_PORT;

pub fn build_service(connector: &ValidatedConnector) -> Service {
    Service {
        metadata: metadata(connector),
        spec: Some(ServiceSpec {
            selector: Some(selector_labels(&connector.name)),
            // Callers of both families where the cluster has both; a cluster of one takes it for its own.
            ip_family_policy: Some("PreferDualStack".into()),
            ports: Some(vec![ServicePort {
                name: Some("mcp".into()),
                port: i32::from(MCP_PORT),
                target_port: Some(IntOrString::String("mcp".into())),
                protocol: Some("TCP".into()),
                app_protocol: Some("http".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
