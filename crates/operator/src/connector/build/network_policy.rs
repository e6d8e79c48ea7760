//! Who may reach the pods, and whom they may reach. Names can't be put into a NetworkPolicy, so a platform outside the
//! cluster is a port at any address but those that nobody has business calling.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use super::{ValidatedConnector, metadata, selector};
use crate::{
    connector::validate::{EgressPlan, EgressTarget},
    context::Settings,
};
use api::{ADMIN_PORT, MCP_PORT, endpoint::REFUSED_NETWORKS};

/// The label that every namespace carries its name in.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

pub fn build_network_policy(connector: &ValidatedConnector, settings: &Settings) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(connector),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(connector)),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: Some(ingress(connector, settings)),
            egress: Some(egress(connector)),
        }),
    }
}

fn ingress(connector: &ValidatedConnector, settings: &Settings) -> Vec<NetworkPolicyIngressRule> {
    let mut rules = Vec::new();
    match &connector.caller_namespaces {
        None => rules.push(NetworkPolicyIngressRule { from: None, ports: Some(vec![tcp(MCP_PORT)]) }),
        Some(namespaces) if namespaces.is_empty() => {}
        Some(namespaces) => rules.push(NetworkPolicyIngressRule {
            from: Some(vec![NetworkPolicyPeer {
                namespace_selector: Some(LabelSelector {
                    match_expressions: Some(vec![LabelSelectorRequirement {
                        key: NAMESPACE_NAME.into(),
                        operator: "In".into(),
                        values: Some(namespaces.clone()),
                    }]),
                    ..LabelSelector::default()
                }),
                ..NetworkPolicyPeer::default()
            }]),
            ports: Some(vec![tcp(MCP_PORT)]),
        }),
    }
    rules.push(NetworkPolicyIngressRule {
        from: Some(vec![NetworkPolicyPeer {
            namespace_selector: Some(namespace(&settings.operator_namespace)),
            pod_selector: Some(LabelSelector {
                match_labels: Some(BTreeMap::from([
                    ("app.kubernetes.io/name".to_owned(), "mcp-connectors".to_owned()),
                    ("app.kubernetes.io/component".to_owned(), "operator".to_owned()),
                ])),
                ..LabelSelector::default()
            }),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(vec![tcp(MCP_PORT), tcp(ADMIN_PORT)]),
    });
    if let Some(monitoring) = &settings.monitoring_namespace {
        rules.push(NetworkPolicyIngressRule {
            from: Some(vec![NetworkPolicyPeer {
                namespace_selector: Some(namespace(monitoring)),
                ..NetworkPolicyPeer::default()
            }]),
            ports: Some(vec![tcp(ADMIN_PORT)]),
        });
    }
    rules
}

fn egress(connector: &ValidatedConnector) -> Vec<NetworkPolicyEgressRule> {
    let targets = match &connector.egress {
        EgressPlan::Any => return vec![NetworkPolicyEgressRule::default()],
        EgressPlan::Targets(targets) => targets,
    };
    // A node-local DNS cache has a link-local address, and resolvers have labels of many kinds: the port is what they
    // have in common. OpenShift's pods listen on 5353 behind it, which is what its network looks at.
    let dns = [53, 5353].into_iter().flat_map(|number| [port("UDP", number), port("TCP", number)]);
    let mut rules = vec![NetworkPolicyEgressRule { to: None, ports: Some(dns.collect()) }];
    rules.extend(targets.iter().map(|target| match target {
        EgressTarget::Pods { namespace: name, selector, port } => to_pods(
            NetworkPolicyPeer {
                namespace_selector: Some(namespace(name)),
                pod_selector: Some(LabelSelector { match_labels: Some(selector.clone()), ..LabelSelector::default() }),
                ..NetworkPolicyPeer::default()
            },
            port,
        ),
        EgressTarget::Namespace { namespace: name, port } => to_pods(
            NetworkPolicyPeer { namespace_selector: Some(namespace(name)), ..NetworkPolicyPeer::default() },
            port,
        ),
        EgressTarget::Outside { port } => {
            NetworkPolicyEgressRule { to: Some(outside()), ports: Some(vec![tcp(*port)]) }
        }
        EgressTarget::Cidrs { cidrs, port } => NetworkPolicyEgressRule {
            to: Some(cidrs.iter().map(|cidr| block(cidr.clone(), vec![])).collect()),
            ports: Some(vec![tcp(*port)]),
        },
    }));
    rules
}

fn namespace(name: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(NAMESPACE_NAME.to_owned(), name.to_owned())])),
        ..LabelSelector::default()
    }
}

/// All addresses but those that a connector never calls.
fn outside() -> Vec<NetworkPolicyPeer> {
    let families = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    let refused = |all: &IpNet| {
        let networks = REFUSED_NETWORKS.iter().map(|(network, _)| network);
        networks.filter(|network| all.contains(*network)).map(ToString::to_string).collect()
    };
    families.iter().map(|all| block(all.to_string(), refused(all))).collect()
}

fn block(cidr: String, except: Vec<String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr, except: (!except.is_empty()).then_some(except) }),
        ..NetworkPolicyPeer::default()
    }
}

/// A port of pods, by its number or its name.
fn to_pods(peer: NetworkPolicyPeer, port: &IntOrString) -> NetworkPolicyEgressRule {
    let port =
        NetworkPolicyPort { protocol: Some("TCP".into()), port: Some(port.clone()), ..NetworkPolicyPort::default() };
    NetworkPolicyEgressRule { to: Some(vec![peer]), ports: Some(vec![port]) }
}

fn tcp(number: u16) -> NetworkPolicyPort {
    port("TCP", number)
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(number))),
        ..NetworkPolicyPort::default()
    }
}
