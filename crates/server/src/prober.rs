//! Asks the platform how it does, for ever: at its interval, or sooner where the platform says so, at once when the
//! credentials change or somebody asks for it, and whatever happened before. One lost packet is no outage: a fault that may
//! pass is believed only when it repeats. Such a fault is looked at again soon, however long the interval is.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{guards::bounds, metrics::Metrics};
use api::Reason;
use credentials::CredentialsHandle;
use kit::{CredentialVerdict, HealthStatus, Platform, ProbeReport};
use pod_api::config::ProbeConfig;

/// The longest time until the next probe after a fault that may pass. It is the default of the interval, so only longer ones
/// are cut short.
const AFTER_A_FAULT: Duration = Duration::from_secs(30);
/// The same while nothing is believed yet: a pod's network may not be there when it starts.
const AT_THE_START: Duration = Duration::from_secs(5);

/// A finding that is believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was found.
    pub report: ProbeReport,
    /// How long the probe took.
    pub latency: Duration,
    /// When it ended.
    pub at: Instant,
    /// What was found since, if it is a fault that may pass: it isn't believed yet.
    pub doubt: Option<ProbeReport>,
    /// Probes in a row that ended with an error, believed or not.
    pub failure_count: u32,
}

/// What is believed, and how often something else was found since.
struct Belief {
    failure_threshold: u32,
    passing_faults: u32,
    failures: u32,
    judged: Option<Judged>,
}

/// What the platform thought last of a set of credentials.
struct Judged {
    generation: Option<u64>,
    credentials: CredentialVerdict,
    credentials_message: String,
    identity: Option<String>,
}

impl Belief {
    fn new(failure_threshold: u32) -> Self {
        Self { failure_threshold: failure_threshold.max(1), passing_faults: 0, failures: 0, judged: None }
    }

    /// Fills in what the platform thought last of these credentials, if it works and just didn't say so again: one that
    /// limits the rate has not changed its mind.
    fn complete(&mut self, report: &mut ProbeReport, generation: Option<u64>) {
        if report.credentials != CredentialVerdict::Unknown {
            self.judged = Some(Judged {
                generation,
                credentials: report.credentials,
                credentials_message: report.credentials_message.clone(),
                identity: report.identity.clone(),
            });
        } else if report.status == HealthStatus::Degraded
            && let Some(judged) = self.judged.as_ref().filter(|judged| judged.generation == generation)
        {
            report.credentials = judged.credentials;
            report.credentials_message.clone_from(&judged.credentials_message);
            report.identity.clone_from(&judged.identity);
        }
    }

    /// Whether a report is to be believed. Recovery is, and so is a fault that the platform states itself; a fault that
    /// may pass is only when it has repeated.
    fn believes(&mut self, report: &ProbeReport) -> bool {
        self.failures = if report.status == HealthStatus::Error { self.failures.saturating_add(1) } else { 0 };
        if report.status == HealthStatus::Ok || !report.passing {
            self.passing_faults = 0;
            return true;
        }
        self.passing_faults = self.passing_faults.saturating_add(1);
        self.passing_faults >= self.failure_threshold
    }
}

/// Probes a platform until `shutdown`.
pub struct Prober {
    /// The platform.
    pub platform: Arc<dyn Platform>,
    /// Its name in `spec.platform`.
    pub name: &'static str,
    /// How to probe it.
    pub config: ProbeConfig,
    /// Tells when the credentials change.
    pub credentials: CredentialsHandle,
    /// Asks for a probe at once. One that is asked for while another runs comes right after it.
    pub asked: Arc<Notify>,
    /// Where findings go.
    pub findings: watch::Sender<Option<Arc<Finding>>>,
    /// Where every probe is counted.
    pub metrics: Arc<Metrics>,
}

impl Prober {
    /// Goes on until `shutdown`; never gives up before.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut belief = Belief::new(self.config.failure_threshold);
        loop {
            let generation = self.credentials.current().map(|set| set.generation);
            let mut finding = tokio::select! {
                () = shutdown.cancelled() => return,
                finding = probe(self.platform.as_ref(), self.config.timeout.0) => finding,
            };
            belief.complete(&mut finding.report, generation);
            self.metrics.probed(self.name, &finding.report.reason, finding.latency);
            let is_believed = belief.believes(&finding.report);
            let may_pass = finding.report.status != HealthStatus::Ok && finding.report.passing;
            finding.failure_count = belief.failures;
            if is_believed {
                self.publish(finding);
            } else {
                tracing::info!(reason = finding.report.reason, "the platform did not answer well; asking again");
                self.doubt(finding);
            }
            let interval = match self.config.interval.0 {
                long if self.findings.borrow().is_none() => long.min(AT_THE_START),
                long if may_pass => long.min(AFTER_A_FAULT),
                interval => interval,
            };
            let interval = self.platform.probe_again_in().map_or(interval, |sooner| sooner.min(interval));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(shortened(interval)) => {}
                () = self.credentials.changed() => {}
                () = self.asked.notified() => {}
            }
        }
    }

    /// Notes a fault that isn't believed. What is believed stays the same, so nobody is woken.
    fn doubt(&self, found: Finding) {
        self.findings.send_if_modified(|finding| {
            if let Some(believed) = finding {
                *believed = Arc::new(Finding {
                    doubt: Some(found.report),
                    failure_count: found.failure_count,
                    ..(**believed).clone()
                });
            }
            false
        });
    }

    fn publish(&self, finding: Finding) {
        let same = self.findings.borrow().as_ref().is_some_and(|old| {
            (old.report.status, &old.report.reason, old.report.credentials)
                == (finding.report.status, &finding.report.reason, finding.report.credentials)
        });
        if !same {
            tracing::info!(
                platform = self.name,
                status = ?finding.report.status,
                reason = finding.report.reason,
                detail = finding.report.message,
                credentials = ?finding.report.credentials,
                "platform health"
            );
        }
        self.findings.send_replace(Some(Arc::new(finding)));
    }
}

/// Probes once. A probe that hangs is cut, one that panics is a finding like any other.
pub async fn probe(platform: &dyn Platform, timeout: Duration) -> Finding {
    let started = Instant::now();
    // The platform gets a little less, so that its own words for a timeout come before ours.
    let asked = AssertUnwindSafe(platform.probe(timeout.mul_f64(0.95))).catch_unwind();
    let report = match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(report)) => tidied(report),
        Ok(Err(_)) => fault(Reason::UnexpectedResponse, "the probe ended with a fault of the connector: see its log"),
        Err(_) => fault(Reason::Timeout, "the platform did not answer in time"),
    };
    Finding { report, latency: started.elapsed(), at: Instant::now(), doubt: None, failure_count: 0 }
}

/// The report with the platform's words as they may be shown: conditions, Events, log lines and answers repeat them.
fn tidied(mut report: ProbeReport) -> ProbeReport {
    let whole = [&mut report.message, &mut report.credentials_message];
    let stated = [&mut report.version, &mut report.identity, &mut report.state].into_iter().flatten();
    let checks = report.checks.iter_mut().flat_map(|check| [&mut check.name, &mut check.message]);
    for text in whole.into_iter().chain(stated).chain(checks) {
        *text = bounds::tidy(text);
    }
    report
}

fn fault(reason: Reason, message: &str) -> ProbeReport {
    ProbeReport {
        status: HealthStatus::Error,
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
        passing: true,
        credentials: CredentialVerdict::Unknown,
        credentials_message: "the platform could not be asked".to_owned(),
        version: None,
        identity: None,
        state: None,
        checks: Vec::new(),
    }
}

/// The interval, up to a fifth shorter, so that replicas don't ask in step. Never longer: how late a fault is seen is
/// promised.
fn shortened(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - rand::random_range(0.0..0.2))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, VecDeque},
        sync::Mutex,
    };

    use async_trait::async_trait;

    use super::*;
    use api::duration::ApiDuration;
    use credentials::CredentialSet;
    use tools::ToolEntry;

    type Step = fn() -> ProbeReport;

    /// A platform whose probes go as they are told: a report, a panic, or (with none left) no answer at all.
    #[derive(Default)]
    struct Scripted {
        steps: Mutex<VecDeque<Step>>,
        probed: Mutex<Vec<Instant>>,
        again_in: Mutex<Option<Duration>>,
    }

    #[async_trait]
    impl Platform for Scripted {
        fn tools(self: Arc<Self>) -> Vec<ToolEntry> {
            Vec::new()
        }

        async fn probe(&self, _timeout: Duration) -> ProbeReport {
            self.probed.lock().unwrap().push(Instant::now());
            let step = self.steps.lock().unwrap().pop_front();
            match step {
                Some(step) => step(),
                None => std::future::pending().await,
            }
        }

        fn probe_again_in(&self) -> Option<Duration> {
            *self.again_in.lock().unwrap()
        }

        fn check_tool(&self) -> &'static str {
            "check_fake_connector"
        }

        fn instructions(&self) -> String {
            String::new()
        }

        fn outbound(&self) -> Vec<outbound::OutboundState> {
            Vec::new()
        }
    }

    fn ok() -> ProbeReport {
        ProbeReport { status: HealthStatus::Ok, passing: false, ..fault(Reason::Healthy, "well") }
    }

    fn sealed() -> ProbeReport {
        ProbeReport { passing: false, reason: "Sealed".into(), ..fault(Reason::ServerError, "sealed") }
    }

    fn lost() -> ProbeReport {
        fault(Reason::Unreachable, "gone")
    }

    struct Running {
        findings: watch::Receiver<Option<Arc<Finding>>>,
        sets: watch::Sender<Option<Arc<CredentialSet>>>,
        platform: Arc<Scripted>,
        asked: Arc<Notify>,
        _guard: tokio_util::sync::DropGuard,
    }

    fn start(steps: &[Step]) -> Running {
        start_at_interval(steps, 30)
    }

    fn start_at_interval(steps: &[Step], seconds: u64) -> Running {
        let platform = Arc::new(Scripted { steps: Mutex::new(steps.iter().copied().collect()), ..Scripted::default() });
        let (sets, current) = watch::channel(None);
        let (findings, receiver) = watch::channel(None);
        let (shutdown, asked) = (CancellationToken::new(), Arc::new(Notify::new()));
        let prober = Prober {
            platform: platform.clone(),
            name: "fake",
            config: ProbeConfig {
                interval: ApiDuration::from_secs(seconds),
                timeout: ApiDuration::from_secs(10),
                failure_threshold: 2,
            },
            credentials: CredentialsHandle::new(current, watch::channel(0).0),
            asked: asked.clone(),
            findings,
            metrics: Arc::new(Metrics::new()),
        };
        tokio::spawn(prober.run(shutdown.clone()));
        Running { findings: receiver, sets, platform, asked, _guard: shutdown.drop_guard() }
    }

    async fn next(running: &mut Running) -> String {
        running.findings.changed().await.unwrap();
        running.findings.borrow_and_update().as_ref().unwrap().report.reason.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_fault_is_believed_when_it_repeats_and_recovery_at_once() {
        let mut running = start(&[ok, lost, ok, lost, lost, ok]);
        let mut reasons = Vec::new();
        for _ in 0..4 {
            reasons.push(next(&mut running).await);
        }
        assert_eq!(reasons, ["Healthy", "Healthy", "Unreachable", "Healthy"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_that_is_not_believed_yet_is_noted_until_the_next_probe_is_well() {
        let mut running = start(&[ok, lost, ok, lost, lost, lost]);
        next(&mut running).await;
        let noted = |running: &Running| {
            let finding = running.findings.borrow().as_ref().unwrap().clone();
            (
                finding.report.reason.clone(),
                finding.doubt.as_ref().map(|doubt| doubt.reason.clone()),
                finding.failure_count,
            )
        };
        assert_eq!(noted(&running), ("Healthy".into(), None, 0));
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(noted(&running), ("Healthy".into(), Some("Unreachable".into()), 1));
        next(&mut running).await;
        assert_eq!(noted(&running), ("Healthy".into(), None, 0));
        for _ in 0..2 {
            next(&mut running).await;
        }
        assert_eq!(noted(&running), ("Unreachable".into(), None, 3), "the second is believed");
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_start_nothing_is_believed_before_it_repeats() {
        let mut running = start(&[lost, sealed]);
        assert_eq!(next(&mut running).await, "Sealed");
        assert_eq!(running.platform.probed.lock().unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_that_may_pass_is_looked_at_again_soon_however_long_the_interval() {
        let mut running = start_at_interval(&[lost, ok, lost, lost, ok, sealed], 3_600);
        let mut reasons = Vec::new();
        for _ in 0..4 {
            reasons.push(next(&mut running).await);
        }
        assert_eq!(reasons, ["Healthy", "Unreachable", "Healthy", "Sealed"]);
        let probed = running.platform.probed.lock().unwrap().clone();
        let gaps: Vec<Duration> = probed.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (gap, most) in gaps.iter().zip([5, 3_600, 30, 30, 3_600]) {
            assert!(*gap <= Duration::from_secs(most) && *gap > Duration::from_secs(most * 3 / 4), "{gaps:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_platform_states_itself_is_believed_at_once() {
        let mut running = start(&[ok, sealed]);
        assert_eq!([next(&mut running).await, next(&mut running).await], ["Healthy", "Sealed"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_probe_is_cut_and_the_loop_goes_on() {
        let mut running = start(&[ok]);
        next(&mut running).await;
        let started = Instant::now();
        assert_eq!(next(&mut running).await, "Timeout");
        // Two intervals and two timeouts, at most.
        assert!(started.elapsed() <= Duration::from_secs(80), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_fault_and_not_the_end() {
        let panics: Step = || panic!("a bug");
        let mut running = start(&[panics, panics, ok]);
        assert_eq!([next(&mut running).await, next(&mut running).await], ["UnexpectedResponse", "Healthy"]);
    }

    #[tokio::test(start_paused = true)]
    async fn new_credentials_are_tried_at_once() {
        let mut running = start(&[ok, sealed]);
        next(&mut running).await;
        let started = Instant::now();
        running.sets.send_replace(Some(Arc::new(CredentialSet::new(1, BTreeMap::new()))));
        assert_eq!(next(&mut running).await, "Sealed");
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_a_probe_gets_one_at_once() {
        let mut running = start(&[ok, sealed, ok]);
        next(&mut running).await;
        let started = Instant::now();
        running.asked.notify_one();
        assert_eq!(next(&mut running).await, "Sealed");
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(next(&mut running).await, "Healthy");
        assert!(started.elapsed() >= Duration::from_secs(20), "the interval goes on: {:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_platform_that_is_about_to_change_is_asked_sooner_and_never_later() {
        let mut running = start(&[ok, sealed, ok, sealed]);
        *running.platform.again_in.lock().unwrap() = Some(Duration::from_secs(10));
        for (reason, again_in) in [("Healthy", 10), ("Sealed", 300), ("Healthy", 300), ("Sealed", 300)] {
            assert_eq!(next(&mut running).await, reason);
            *running.platform.again_in.lock().unwrap() = Some(Duration::from_secs(again_in));
        }
        let probed = running.platform.probed.lock().unwrap().clone();
        let gaps: Vec<Duration> = probed.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (gap, most) in gaps.iter().zip([10, 10, 30]) {
            assert!(*gap <= Duration::from_secs(most) && *gap > Duration::from_secs(most * 3 / 4), "{gaps:?}");
        }
        assert_eq!(gaps.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_platform_that_limits_the_rate_still_accepts_the_credentials_that_it_accepted() {
        use CredentialVerdict::{Accepted, Unknown};
        let limited: Step = || ProbeReport {
            status: HealthStatus::Degraded,
            reason: "RateLimited".into(),
            passing: false,
            ..fault(Reason::RateLimited, "")
        };
        let accepted: Step = || ProbeReport { credentials: Accepted, ..ok() };
        let mut running = start(&[accepted, limited, limited, lost, lost]);
        let mut verdicts = Vec::new();
        for reason in ["Healthy", "RateLimited", "RateLimited", "Unreachable"] {
            if verdicts.len() == 2 {
                // Nobody has judged the new ones.
                running.sets.send_replace(Some(Arc::new(CredentialSet::new(1, BTreeMap::new()))));
            }
            assert_eq!(next(&mut running).await, reason);
            verdicts.push(running.findings.borrow().as_ref().unwrap().report.credentials);
        }
        assert_eq!(verdicts, [Accepted, Accepted, Unknown, Unknown]);
    }

    #[test]
    fn jitter_only_shortens() {
        for _ in 0..1_000 {
            let interval = shortened(Duration::from_secs(30));
            assert!(interval <= Duration::from_secs(30) && interval > Duration::from_millis(23_999));
        }
    }
}
