//! The report of a probe, built from checks. Each check is well, not well or not known, and none hides another: the report
//! begins with what is worst, and goes on with whatever else is not well.

use std::time::Duration;

use tokio::time::Instant;

use api::{Reason, platform::ProbeReason};
use outbound::RequestError;
use pod_api::report::{Check, CheckStatus, CredentialVerdict, HealthStatus, ProbeReport};

/// Something that a probe found: a fault, or a note about what is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub status: HealthStatus,
    /// Why, as one word.
    pub reason: ProbeReason,
    /// What is, and what to do. It becomes part of a condition's message, so it holds no counts and no time that is left.
    pub message: String,
    /// Whether it may pass by itself, so that it is believed only when it repeats.
    pub passing: bool,
}

impl Finding {
    /// What the platform itself states, which is believed at once.
    #[must_use]
    pub fn stated(status: HealthStatus, reason: impl Into<ProbeReason>, message: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), message: message.into(), passing: false }
    }

    /// A fault that may pass by itself.
    #[must_use]
    pub fn passing(status: HealthStatus, reason: impl Into<ProbeReason>, message: impl Into<String>) -> Self {
        Self { passing: true, ..Self::stated(status, reason, message) }
    }

    /// The same as a fault of a part: what else the platform does works without it.
    #[must_use]
    pub fn of_a_part(self) -> Self {
        Self { status: self.status.min(HealthStatus::Degraded), ..self }
    }
}

/// The reason for a request that has no usable answer; `foreign` is the one for an address that answers as something else.
#[must_use]
pub fn reason_of(cause: RequestError, foreign: impl Into<ProbeReason>) -> ProbeReason {
    match cause {
        RequestError::Timeout => Reason::Timeout.into(),
        RequestError::TlsInvalid(_) => Reason::TlsInvalid.into(),
        RequestError::Html
        | RequestError::TlsWanted
        | RequestError::Foreign(_)
        | RequestError::NotJson
        | RequestError::BodyTooLarge
        | RequestError::Redirected(_) => foreign.into(),
        _ => Reason::Unreachable.into(),
    }
}

/// How long a check took.
#[derive(Clone, Copy, Debug)]
pub struct Took(Duration);

impl From<Duration> for Took {
    fn from(took: Duration) -> Self {
        Self(took)
    }
}

impl From<Instant> for Took {
    /// Since it began.
    fn from(begun: Instant) -> Self {
        Self(begun.elapsed())
    }
}

/// A probe while it looks.
#[derive(Debug)]
pub struct Examination {
    checks: Vec<Check>,
    findings: Vec<Finding>,
    credentials: CredentialVerdict,
    credentials_message: String,
    /// Version that the platform states.
    pub version: Option<String>,
    /// Who the platform takes the credentials for. Never a credential.
    pub identity: Option<String>,
    /// The platform's own word for its state.
    pub state: Option<String>,
}

impl Examination {
    /// Begins. `unasked` is what is said of the credentials as long as nothing is known of them.
    #[must_use]
    pub fn new(unasked: impl Into<String>) -> Self {
        Self {
            checks: Vec::new(),
            findings: Vec::new(),
            credentials: CredentialVerdict::Unknown,
            credentials_message: unasked.into(),
            version: None,
            identity: None,
            state: None,
        }
    }

    fn check(&mut self, name: &str, status: CheckStatus, message: String, took: impl Into<Took>) {
        let latency_ms = u64::try_from(took.into().0.as_millis()).unwrap_or(u64::MAX);
        self.checks.push(Check { name: name.to_owned(), status, message, latency_ms });
    }

    /// A check that went well.
    pub fn well(&mut self, name: &str, message: impl Into<String>, took: impl Into<Took>) {
        self.check(name, CheckStatus::Ok, message.into(), took);
    }

    /// A check that says nothing about the connector's way to the platform, or what the verdict on the credentials says
    /// already: it is shown, and the whole is as well as it was.
    pub fn aside(&mut self, name: &str, status: HealthStatus, message: impl Into<String>, took: impl Into<Took>) {
        self.check(name, status.into(), message.into(), took);
    }

    /// A check whose outcome is not known.
    pub fn not_known(&mut self, name: &str, why: impl std::fmt::Display, took: impl Into<Took>) {
        self.check(name, CheckStatus::Unknown, format!("not known: {why}"), took);
    }

    /// A check that found something.
    pub fn found(&mut self, name: &str, finding: Finding, took: impl Into<Took>) {
        self.check(name, finding.status.into(), finding.message.clone(), took);
        self.findings.push(finding);
    }

    /// A finding whose check says it in other words.
    pub fn found_in(&mut self, name: &str, words: impl Into<String>, finding: Finding, took: impl Into<Took>) {
        self.check(name, finding.status.into(), words.into(), took);
        self.findings.push(finding);
    }

    /// What the platform thinks of the credentials.
    pub fn judge(&mut self, verdict: CredentialVerdict, message: impl Into<String>) {
        self.credentials = verdict;
        self.credentials_message = message.into();
    }

    /// A check that found something about the credentials.
    pub fn judged(&mut self, name: &str, verdict: CredentialVerdict, finding: Finding, took: impl Into<Took>) {
        self.judge(verdict, finding.message.clone());
        self.found(name, finding, took);
    }

    /// What the platform thinks of the credentials, as far as that is known.
    #[must_use]
    pub const fn verdict(&self) -> CredentialVerdict {
        self.credentials
    }

    /// Whether nothing was found so far.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.findings.is_empty()
    }

    /// The report; `well` is what it says if nothing was found.
    #[must_use]
    pub fn finish(self, well: Finding) -> ProbeReport {
        let Self { checks, mut findings, credentials, credentials_message, version, identity, state } = self;
        // The worst first, and of several the one that was found first: it is nearer to the cause.
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.status));
        let mut findings = findings.into_iter();
        let Finding { status, reason, mut message, passing } = findings.next().unwrap_or(well);
        for other in findings {
            // Two checks may have met the same fault.
            if other.status != HealthStatus::Ok && !message.contains(&other.message) {
                message.push_str("; also: ");
                message.push_str(&other.message);
            }
        }
        let unknown = checks.iter().filter(|check| check.status == CheckStatus::Unknown);
        let unknown: Vec<&str> = unknown.map(|check| check.name.as_str()).collect();
        if !unknown.is_empty() {
            message.push_str("; not known: ");
            message.push_str(&unknown.join(", "));
        }
        ProbeReport {
            status,
            reason: reason.as_str().to_owned(),
            message,
            passing,
            credentials,
            credentials_message,
            version,
            identity,
            state,
            checks,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn well() -> Finding {
        Finding::stated(HealthStatus::Ok, Reason::Healthy, "all is well")
    }

    fn statuses() -> impl Strategy<Value = HealthStatus> {
        prop_oneof![Just(HealthStatus::Ok), Just(HealthStatus::Degraded), Just(HealthStatus::Error)]
    }

    #[test]
    fn what_is_not_known_is_said_and_makes_nothing_worse() {
        let mut examination = Examination::new("not asked");
        examination.well("version", "it answers", NOW);
        examination.not_known("rights", "it did not answer in time", NOW);
        let report = examination.finish(well());
        assert_eq!((report.status, report.reason.as_str()), (HealthStatus::Ok, "Healthy"));
        assert_eq!(report.message, "all is well; not known: rights");
        assert_eq!(report.checks[1].status, CheckStatus::Unknown);
        assert_eq!(
            (report.credentials, report.credentials_message.as_str()),
            (CredentialVerdict::Unknown, "not asked")
        );
    }

    #[test]
    fn an_aside_is_shown_and_changes_nothing() {
        let mut examination = Examination::new("not asked");
        examination.aside("queue", HealthStatus::Degraded, "items are stuck", NOW);
        let report = examination.finish(well());
        assert_eq!((report.status, report.message.as_str()), (HealthStatus::Ok, "all is well"));
        assert_eq!(report.checks[0].status, CheckStatus::Degraded);
    }

    proptest! {
        #[test]
        fn no_finding_hides_another(found in proptest::collection::vec((statuses(), any::<bool>()), 1..6)) {
            let mut examination = Examination::new("not asked");
            for (number, (status, passing)) in found.iter().enumerate() {
                let finding = Finding { passing: *passing, ..Finding::stated(*status, Reason::ServerError, format!("<{number}>")) };
                examination.found("part", finding, NOW);
            }
            let report = examination.finish(well());
            let worst = found.iter().map(|(status, _)| *status).max().unwrap();
            let first = found.iter().position(|(status, _)| *status == worst).unwrap();
            prop_assert_eq!((report.status, report.passing), (worst, found[first].1));
            let names = |number: usize| format!("<{number}>");
            prop_assert!(report.message.starts_with(&names(first)));
            for (number, (status, _)) in found.iter().enumerate() {
                prop_assert!(*status == HealthStatus::Ok || report.message.contains(&names(number)));
            }
            prop_assert_eq!(report.checks.len(), found.len());
        }
    }
}
