//! What of `spec.workload` an administrator has to allow: whoever may write connectors would otherwise choose what else runs
//! in the pod (injectors go by annotations and labels), whose Services and NetworkPolicies it falls under (by labels), which
//! pods make room for it, and on whose nodes it runs.

use k8s_openapi::api::core::v1::Toleration;

use super::Rejection;
use api::{Reason, connector::WorkloadSpec, pattern::NamePattern};

/// Annotations that are allowed unless an administrator says otherwise: what asks a mesh for its own proxy, as its
/// administrator set it up, and what Prometheus looks at. Nothing that chooses an image, a volume, a template or a port to
/// leave out.
pub const ALLOWED_ANNOTATIONS: [&str; 6] = [
    "linkerd.io/inject",
    "prometheus.io/path",
    "prometheus.io/port",
    "prometheus.io/scheme",
    "prometheus.io/scrape",
    "sidecar.istio.io/inject",
];
/// Labels that are allowed unless an administrator says otherwise: what asks Istio for its proxy, of which revision.
pub const ALLOWED_LABELS: [&str; 2] = ["istio.io/rev", "sidecar.istio.io/inject"];
/// Keys of taints that may be tolerated unless an administrator says otherwise: every pod tolerates them for some time.
pub const ALLOWED_TOLERATIONS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// What `spec.workload` may have, by names in which `*` stands for any run of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedWorkload {
    /// Keys of annotations.
    pub annotations: Vec<NamePattern>,
    /// Keys of labels.
    pub labels: Vec<NamePattern>,
    /// Names of `PriorityClass`es.
    pub priority_classes: Vec<NamePattern>,
    /// Keys of taints. A toleration without a key is allowed by `*` only.
    pub tolerations: Vec<NamePattern>,
}

impl AllowedWorkload {
    /// Everything, where nobody runs pods.
    #[must_use]
    pub fn anything() -> Self {
        let all = || vec![NamePattern("*".to_owned())];
        Self { annotations: all(), labels: all(), priority_classes: all(), tolerations: all() }
    }

    /// Nothing but what is allowed unless an administrator says otherwise.
    #[must_use]
    pub fn by_default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| NamePattern((*name).to_owned())).collect();
        Self {
            annotations: names(&ALLOWED_ANNOTATIONS),
            labels: names(&ALLOWED_LABELS),
            priority_classes: Vec::new(),
            tolerations: names(&ALLOWED_TOLERATIONS),
        }
    }
}

/// Refuses what is not allowed: the first such name of each field is told.
pub(super) fn check(workload: &WorkloadSpec, allowed: &AllowedWorkload) -> Result<(), Rejection> {
    fn first<'a>(allowed: &[NamePattern], mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        names.find(|name| !allowed.iter().any(|pattern| pattern.matches(name)))
    }
    let refused = [
        (
            "annotations",
            "annotations",
            first(&allowed.annotations, workload.annotations.iter().flatten().map(|(name, _)| name.as_str())),
        ),
        ("labels", "labels", first(&allowed.labels, workload.labels.iter().flatten().map(|(name, _)| name.as_str()))),
        (
            "priorityClassName",
            "priorityClasses",
            first(&allowed.priority_classes, workload.priority_class_name.iter().map(String::as_str)),
        ),
        ("tolerations", "tolerations", first(&allowed.tolerations, workload.tolerations.iter().flatten().map(taint))),
    ];
    let problems: Vec<String> = refused
        .into_iter()
        .filter_map(|(field, setting, name)| {
            let what = match name? {
                "" => "a toleration of every taint".to_owned(),
                name => format!("{name:?}"),
            };
            let flag = if setting == "priorityClasses" { "priority-classes" } else { setting };
            Some(format!(
                "spec.workload.{field}: this operator does not allow {what}; remove it, or have an administrator add it to \
                 the chart's allowWorkload.{setting} (--allow-workload-{flag})"
            ))
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Rejection::new(Reason::InvalidSpec, problems.join("; "))) }
}

/// The key of the taints that are tolerated; empty for all.
fn taint(toleration: &Toleration) -> &str {
    toleration.key.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::{MINIMAL, connector, found, settings};
    use crate::{connector::validate::validate, context::Settings};

    fn refusal(workload: &str, allowed: AllowedWorkload) -> Option<String> {
        let settings = Settings { allowed_workload: allowed, ..settings() };
        let rejection = validate(&connector(&format!("{MINIMAL}\nworkload: {workload}")), &found(), &settings).err()?;
        assert_eq!(rejection.reason, Reason::InvalidSpec);
        Some(rejection.message)
    }

    #[test]
    fn what_chooses_what_runs_in_the_pod_is_refused_and_the_setting_named() {
        for (workload, parts) in [
            (
                "{annotations: {sidecar.istio.io/proxyImage: 'evil.example.net/proxy:1'}}",
                ["sidecar.istio.io/proxyImage", "allowWorkload.annotations (--allow-workload-annotations)"],
            ),
            (
                "{annotations: {sidecar.istio.io/userVolumeMount: '[]'}}",
                ["sidecar.istio.io/userVolumeMount", "allowWorkload.annotations"],
            ),
            (
                "{annotations: {inject.istio.io/templates: a}}",
                ["inject.istio.io/templates", "allowWorkload.annotations"],
            ),
            (
                "{annotations: {vault.hashicorp.com/agent-inject: 'true'}}",
                ["vault.hashicorp.com/agent-inject", "allowWorkload.annotations"],
            ),
            (
                "{annotations: {config.linkerd.io/proxy-image: a}}",
                ["config.linkerd.io/proxy-image", "allowWorkload.annotations"],
            ),
            ("{labels: {app: payments}}", ["\"app\"", "allowWorkload.labels (--allow-workload-labels)"]),
            (
                "{priorityClassName: system-node-critical}",
                [
                    "spec.workload.priorityClassName",
                    "allowWorkload.priorityClasses (--allow-workload-priority-classes)",
                ],
            ),
            ("{tolerations: [{operator: Exists}]}", ["a toleration of every taint", "allowWorkload.tolerations"]),
            (
                "{tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]}",
                ["control-plane", "(--allow-workload-tolerations)"],
            ),
        ] {
            let message =
                refusal(workload, AllowedWorkload::by_default()).unwrap_or_else(|| panic!("{workload} passes"));
            assert!(parts.iter().all(|part| message.contains(part)), "{workload}: {message}");
            assert_eq!(refusal(workload, AllowedWorkload::anything()), None);
            assert!(refusal(workload, AllowedWorkload::default()).is_some());
        }
    }

    #[test]
    fn what_asks_for_the_meshs_own_proxy_passes() {
        let workload = "{replicas: 2, annotations: {linkerd.io/inject: enabled, prometheus.io/scrape: 'true'}, \
                        labels: {sidecar.istio.io/inject: 'true'}, nodeSelector: {disk: ssd}, \
                        tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, tolerationSeconds: 5}]}";
        assert_eq!(refusal(workload, AllowedWorkload::by_default()), None);
        let message = refusal(workload, AllowedWorkload::default()).unwrap();
        assert_eq!(message.matches("this operator does not allow").count(), 3, "each field is told: {message}");
    }

    #[test]
    fn the_charts_defaults_are_the_programs() {
        let values: serde_json::Value =
            serde_saphyr::from_str(include_str!("../../../../../charts/mcp-connectors/values.yaml")).unwrap();
        let names = |field: &str| -> Vec<NamePattern> {
            serde_json::from_value(values["allowWorkload"][field].clone()).unwrap()
        };
        let charts = AllowedWorkload {
            annotations: names("annotations"),
            labels: names("labels"),
            priority_classes: names("priorityClasses"),
            tolerations: names("tolerations"),
        };
        assert_eq!(charts, AllowedWorkload::by_default());
    }

    #[test]
    fn patterns_allow_what_they_match() {
        let allowed = AllowedWorkload {
            annotations: vec![NamePattern("example.com/*".into())],
            priority_classes: vec![NamePattern("tenant-*".into())],
            ..AllowedWorkload::default()
        };
        let refusal = |workload: &str| refusal(workload, allowed.clone());
        assert_eq!(refusal("{annotations: {example.com/team: a}, priorityClassName: tenant-high}"), None);
        assert!(refusal("{annotations: {example.community/team: a}}").is_some());
        assert!(refusal("{annotations: {example.com/team: a, other: b}}").unwrap().contains("\"other\""));
    }
}
