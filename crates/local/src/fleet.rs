//! Every connector that runs here: brought into the form that the manifests ask for, as the operator would, and looked at
//! with the operator's own eyes.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use tokio::task::JoinSet;

use super::{
    LocalError,
    finding::{Finding, Level},
    manifests::{Judged, Key, Manifests},
    replica::{Replica, Route},
    serving::{Credentials, Inbound, Keyring, configure},
};
use api::{ConditionType, McpConnectorSpec, McpConnectorStatus, Reason, condition, endpoint::AddressPolicy};
use common::errors::with_causes;
use operator::plan::{self, Computed, Handshake, Plan, Planner, Rejection};

/// What replaces the message of a condition that speaks of a Deployment.
const IN_THIS_PROCESS: &str = "It runs in this process. In a cluster this is about the Deployment's replicas.";
/// What replaces the message of a condition that speaks of a Service.
const WITHOUT_A_SERVICE: &str = "A handshake in this process succeeded, and it serves this configuration. There is no Service and no NetworkPolicy \
     here.";

/// Where the requests for each connector go.
pub type Routes = Arc<RwLock<HashMap<Key, Route>>>;

/// How connectors are run.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// Where credentials may be.
    pub keyring: Keyring,
    /// Who may call.
    pub inbound: Inbound,
    /// Whether audit records are written, to standard error.
    pub audit: bool,
}

/// Every connector that runs here.
pub struct Fleet {
    settings: FleetSettings,
    planner: Planner,
    entries: BTreeMap<Key, Entry>,
    routes: Routes,
    draining: JoinSet<()>,
}

struct Entry {
    /// The file that it stands in.
    file: Arc<str>,
    spec: McpConnectorSpec,
    generation: i64,
    /// What it was when it was accepted last.
    accepted: Option<Plan>,
    /// Why what stands in the file now isn't accepted.
    rejected: Option<Rejection>,
    replica: Option<Replica>,
    handshake: Option<Handshake>,
    status: McpConnectorStatus,
}

/// A connector as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Which it is.
    pub key: Key,
    /// The status that it would have in a cluster.
    pub status: McpConnectorStatus,
    /// Whether it runs.
    pub running: bool,
    /// Where its credentials come from, in words; empty while it doesn't run.
    pub credentials: String,
}

impl Fleet {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(settings: FleetSettings) -> Self {
        Self {
            planner: Planner::new(AddressPolicy::Loopback, settings.keyring.proxies.clone()),
            settings,
            entries: BTreeMap::new(),
            routes: Routes::default(),
            draining: JoinSet::new(),
        }
    }

    /// Where requests go.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// A connector that runs.
    #[must_use]
    pub fn replica(&self, key: &Key) -> Option<&Replica> {
        self.entries.get(key)?.replica.as_ref()
    }

    /// Brings the connectors into the form of the manifests. `findings` are those of the documents: a connector that can't
    /// be read any more goes on as it was, one that is gone is ended. Returns what else was found.
    ///
    /// # Errors
    /// When a connector's configuration can't be made, which is a fault of this program.
    pub fn apply(&mut self, manifests: &Manifests, findings: &[Finding]) -> Result<Vec<Finding>, LocalError> {
        let mut found = Vec::new();
        let here = self.planner.clone();
        let cluster = Planner::new(AddressPolicy::Cluster, self.settings.keyring.proxies.clone());
        let mut there = Vec::new();
        for (judged, in_cluster) in manifests.judge(&here).zip(manifests.judge(&cluster)) {
            there.push(judged.key.clone());
            if let (Ok(_), Err(rejection)) = (&judged.verdict, &in_cluster.verdict) {
                found.push(judged.works_here_only(rejection));
            }
            found.extend(self.apply_one(&judged, manifests)?);
        }
        let unreadable = |key: &Key, entry: &Entry| {
            findings.iter().filter(|finding| finding.level == Level::Error).any(|finding| match &finding.object {
                Some(object) => *object == format!("McpConnector {key}"),
                None => finding.file == entry.file,
            })
        };
        let gone: Vec<Key> = self
            .entries
            .iter()
            .filter(|(key, entry)| !there.contains(key) && !unreadable(key, entry))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.stop(&key);
            self.entries.remove(&key);
        }
        Ok(found)
    }

    fn apply_one(&mut self, judged: &Judged<'_>, manifests: &Manifests) -> Result<Option<Finding>, LocalError> {
        let key = judged.key.clone();
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry {
            file: judged.file().clone(),
            spec: judged.connector.spec.clone(),
            generation: 1,
            accepted: None,
            rejected: None,
            replica: None,
            handshake: None,
            status: McpConnectorStatus::default(),
        });
        entry.file = judged.file().clone();
        if entry.spec != judged.connector.spec {
            entry.spec = judged.connector.spec.clone();
            entry.generation += 1;
        }
        let plan = match &judged.verdict {
            Ok(plan) => plan,
            Err(rejection) => {
                entry.rejected = Some(rejection.clone());
                return Ok(Some(judged.finding(Level::Error, rejection.reason.as_str(), &rejection.message)));
            }
        };
        entry.rejected = None;
        entry.accepted = Some(plan.clone());
        if !plan.has_pods() {
            self.stop(&key);
            return Ok(None);
        }
        let loaded = configure(plan, &self.settings.inbound).map_err(LocalError::Configure)?;
        let source = &judged.connector.spec.credentials.name;
        let credentials = Credentials::find(&key, plan, source, manifests, &self.settings.keyring);
        let caution = match &credentials {
            Credentials::NotHere(message) => Some(judged.finding(Level::Warning, Reason::NoFields.as_str(), message)),
            _ => None,
        };
        let goes_on = entry
            .replica
            .as_mut()
            .is_some_and(|replica| replica.digest == loaded.digest && replica.takes(&credentials));
        if goes_on {
            return Ok(caution);
        }
        let records: Box<dyn io::Write + Send> =
            if self.settings.audit { Box::new(io::stderr()) } else { Box::new(io::sink()) };
        match Replica::start(&loaded, credentials, &self.settings.inbound, records) {
            Ok(replica) => {
                let route = replica.route.clone();
                // The new one answers before the old one ends, as in a roll-out.
                self.routes.write().unwrap_or_else(PoisonError::into_inner).insert(key, route);
                entry.handshake = None;
                if let Some(old) = entry.replica.replace(replica) {
                    self.draining.spawn(old.drain());
                }
                Ok(caution)
            }
            Err(error) => Ok(Some(judged.finding(Level::Error, "serve", &with_causes(&error)))),
        }
    }

    fn stop(&mut self, key: &Key) {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(replica) = self.entries.get_mut(key).and_then(|entry| entry.replica.take()) {
            self.draining.spawn(replica.drain());
        }
    }

    /// Looks at every connector, and returns what the status of each would be.
    pub async fn observe(&mut self) -> Vec<View> {
        let mut views = Vec::new();
        for (key, entry) in &mut self.entries {
            let met = matches!(entry.handshake, Some(Handshake::Succeeded(_)));
            entry.handshake = match &entry.replica {
                Some(replica) if !met => Some(replica.shake_hands().await),
                Some(_) => entry.handshake.take(),
                None => None,
            };
            let computed = entry.compute();
            let conditions = condition::merge(
                &entry.status.conditions,
                &computed.findings,
                Some(entry.generation),
                Timestamp::now(),
            );
            entry.status =
                McpConnectorStatus { observed_generation: Some(entry.generation), conditions, ..computed.status };
            let credentials = entry.replica.as_ref().map(|replica| replica.credentials.to_string());
            views.push(View {
                key: key.clone(),
                status: entry.status.clone(),
                running: entry.replica.is_some(),
                credentials: credentials.unwrap_or_default(),
            });
        }
        views
    }

    /// Ends every connector, and waits until the calls that run are finished.
    pub async fn drain(mut self) {
        let keys: Vec<Key> = self.entries.keys().cloned().collect();
        for key in &keys {
            self.stop(key);
        }
        while self.draining.join_next().await.is_some() {}
    }
}

impl Entry {
    fn compute(&self) -> Computed {
        if let Some(rejection) = &self.rejected {
            return plan::rejected_status(&self.spec, &self.status, rejection);
        }
        let Some(plan) = &self.accepted else { return empty() };
        let digest = self.replica.as_ref().map_or("", |replica| replica.digest.as_str());
        let mut computed = plan.status(self.replica.as_ref().map(Replica::status), digest, self.handshake.clone());
        for finding in computed.findings.iter_mut().filter(|finding| finding.status == Some(true)) {
            match finding.type_ {
                ConditionType::Available => IN_THIS_PROCESS.clone_into(&mut finding.message),
                ConditionType::EndpointReady => WITHOUT_A_SERVICE.clone_into(&mut finding.message),
                _ => {}
            }
        }
        computed.status.url = None;
        computed
    }
}

fn empty() -> Computed {
    Computed { status: McpConnectorStatus::default(), findings: Vec::new(), is_moving: true }
}

/// The conditions that changed between two looks, each as it is now.
pub fn changes<'a>(before: &'a [Condition], after: &'a [Condition]) -> impl Iterator<Item = &'a Condition> {
    after.iter().filter(move |condition| {
        let earlier = before.iter().find(|earlier| earlier.type_ == condition.type_);
        earlier.is_none_or(|earlier| {
            (&earlier.status, &earlier.reason, &earlier.message)
                != (&condition.status, &condition.reason, &condition.message)
        })
    })
}
