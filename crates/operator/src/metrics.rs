//! The operator's metrics, under the names that dashboards for controllers know (controller-runtime's), and the state of
//! every connector's conditions.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, core::DeserializeGuard, runtime::reflector::Store};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

use super::{
    health::WatchHealth,
    rollout::{Figures, Rollout},
};
use api::McpConnector;
use telemetry::process::ProcessFigures;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByController {
    controller: &'static str,
}

/// Counts that the reconcilers add to.
#[derive(Clone, Debug)]
pub struct Metrics {
    total: Family<Outcome, Counter>,
    errors: Family<ByController, Counter>,
    seconds: Family<ByController, Histogram, fn() -> Histogram>,
    leads: Gauge,
}

fn reconcile_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            total: Family::default(),
            errors: Family::default(),
            seconds: Family::new_with_constructor(reconcile_histogram as fn() -> Histogram),
            leads: Gauge::default(),
        }
    }
}

impl Metrics {
    /// One reconcile ended.
    pub fn observe_reconcile(&self, controller: &'static str, took: Duration, succeeded: bool) {
        let result = if succeeded { "success" } else { "error" };
        self.total.get_or_create(&Outcome { controller, result }).inc();
        if !succeeded {
            self.errors.get_or_create(&ByController { controller }).inc();
        }
        self.seconds.get_or_create(&ByController { controller }).observe(took.as_secs_f64());
    }

    /// This replica leads from now on, until its process ends.
    pub fn lead(&self) {
        self.leads.set(1);
    }

    /// A registry with what every replica tells. Operators of all kinds tell whether they lead; the name of the Lease tells
    /// them apart.
    pub fn registry(&self, health: WatchHealth, lease: &str) -> SharedRegistry {
        let mut registry = Registry::default();
        registry.register("controller_runtime_reconcile", "Reconciles by their result", self.total.clone());
        registry.register("controller_runtime_reconcile_errors", "Reconciles that failed", self.errors.clone());
        registry.register(
            "controller_runtime_reconcile_time_seconds",
            "Time that reconciles took",
            self.seconds.clone(),
        );
        registry.sub_registry_with_label(("name".into(), lease.to_owned().into())).register(
            "leader_election_master_status",
            "1 for the replica that leads, 0 for those that stand by",
            self.leads.clone(),
        );
        registry.register_collector(Box::new(Watches(health)));
        registry.register_collector(Box::new(ProcessFigures));
        Arc::new(Mutex::new(registry))
    }
}

/// A registry to which the leader adds.
pub type SharedRegistry = Arc<Mutex<Registry>>;

/// Adds what only the leader knows: the conditions of the connectors it watches, and how far a roll-out is.
pub fn register_leader(registry: &SharedRegistry, connectors: Store<DeserializeGuard<McpConnector>>, rollout: Rollout) {
    let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
    registry.register_collector(Box::new(Conditions(connectors)));
    registry.register_collector(Box::new(RolloutFigures(rollout)));
}

/// How far a roll-out of a change of the operator's own is.
#[derive(Debug)]
struct RolloutFigures(Rollout);

impl Collector for RolloutFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Figures { pending, running, failed, stopped } = self.0.figures(Timestamp::now());
        for (name, help, value) in [
            ("mcpconnector_rollout_pending", "Connectors that wait for a change of the operator's own", pending),
            ("mcpconnector_rollout_running", "Connectors that were changed and have time yet to become Ready", running),
            ("mcpconnector_rollout_failed", "Connectors that were changed and did not become Ready in time", failed),
            (
                "mcpconnector_rollout_stopped",
                "1 while nobody gets a turn because too many failed",
                usize::from(stopped),
            ),
        ] {
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

/// The state of every connector's conditions, taken from the watched objects, so that it can't differ from the status.
struct Conditions(Store<DeserializeGuard<McpConnector>>);

impl std::fmt::Debug for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Conditions")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    namespace: String,
    name: String,
    r#type: String,
    status: &'static str,
}

impl Collector for Conditions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "mcpconnector_status_condition",
            "1 for the status that a condition has, 0 for those that it hasn't",
            None,
            MetricType::Gauge,
        )?;
        for connector in self.0.state() {
            let Ok(valid) = &connector.0 else { continue };
            for condition in valid.status.iter().flat_map(|status| &status.conditions) {
                for status in ["True", "False", "Unknown"] {
                    let labels = ConditionLabels {
                        namespace: connector.namespace().unwrap_or_default(),
                        name: connector.name_any(),
                        r#type: condition.type_.clone(),
                        status,
                    };
                    let value = ConstGauge::new(i64::from(condition.status == status));
                    value.encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Watches(WatchHealth);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind(&'static str);

impl EncodeLabelSet for Kind {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        [("kind", self.0)].encode(encoder)
    }
}

impl Collector for Watches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "watch_last_event_seconds",
            "Seconds since the watch of a kind last told something",
            None,
            MetricType::Gauge,
        )?;
        for (kind, seconds) in self.0.last_events() {
            ConstGauge::new(seconds).encode(family.encode_family(&Kind(kind))?)?;
        }
        let stuck = self.0.stuck();
        let mut family = encoder.encode_descriptor(
            "watch_stalled",
            "1 if the watch of a kind is no longer answered",
            None,
            MetricType::Gauge,
        )?;
        for (kind, _) in self.0.last_events() {
            ConstGauge::new(i64::from(stuck.contains(&kind))).encode(family.encode_family(&Kind(kind))?)?;
        }
        Ok(())
    }
}
