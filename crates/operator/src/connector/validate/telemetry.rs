//! What `spec.telemetry` comes to: the server's configuration, with every default resolved, and where the pods have to
//! connect to for it.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{EgressTarget, Rejection};
use crate::context::Settings;
use api::{
    Reason,
    endpoint::{Endpoint, PlatformUrl},
    telemetry::{AuditSpec, TelemetrySpec, TracesSpec},
};
use pod_api::config::{AuditConfig, AuditFileConfig, TelemetryConfig, TracesConfig};

const DEFAULT_SAMPLE_PERCENT: i32 = 100;
const DEFAULT_AUDIT_BYTES: i64 = 16 * 1024 * 1024;
const DEFAULT_AUDIT_FILES: i32 = 4;

/// Resolves the telemetry of a connector. Where it names no collector, it is the one of the operator's settings.
///
/// # Errors
/// When the collector's URL can't be called.
pub fn resolve(
    spec: Option<&TelemetrySpec>,
    settings: &Settings,
) -> Result<(TelemetryConfig, Option<EgressTarget>), Rejection> {
    let traces = spec.and_then(|spec| spec.traces.clone()).unwrap_or_default();
    let audit = spec.and_then(|spec| spec.audit.clone()).unwrap_or_default();
    let collector = resolve_collector(&traces, settings)?;
    let percent = traces.sample_percent.unwrap_or(DEFAULT_SAMPLE_PERCENT).clamp(0, 100);
    let collector = collector.filter(|_| percent > 0);
    let config = TelemetryConfig {
        traces: collector.as_ref().map(|collector| TracesConfig {
            endpoint: collector.url.clone(),
            sample_percent: u8::try_from(percent).unwrap_or(100),
        }),
        audit: resolve_audit(&audit),
    };
    Ok((config, collector.map(|collector| derive_target(&collector))))
}

fn resolve_collector(traces: &TracesSpec, settings: &Settings) -> Result<Option<Endpoint>, Rejection> {
    let (url, field) = match (&traces.endpoint, settings.otlp_endpoint.as_deref()) {
        (Some(url), _) => (url.as_str(), "spec.telemetry.traces.endpoint"),
        (None, Some(url)) => (url, "the operator's --otlp-endpoint"),
        (None, None) => return Ok(None),
    };
    // Spans hold no credentials, so nobody has to say that http is meant.
    let endpoint = PlatformUrl(url.to_owned())
        .endpoint(true, settings.addresses)
        .map_err(|error| Rejection::new(Reason::InvalidSpec, format!("{field}: {error}")))?;
    Ok(Some(endpoint))
}

fn resolve_audit(audit: &AuditSpec) -> AuditConfig {
    AuditConfig {
        file: audit.file.as_ref().map(|file| AuditFileConfig {
            max_bytes: u64::try_from(file.max_bytes.unwrap_or(DEFAULT_AUDIT_BYTES)).unwrap_or(1),
            files: u32::try_from(file.files.unwrap_or(DEFAULT_AUDIT_FILES)).unwrap_or(1),
        }),
        hash_chain: audit.hash_chain.unwrap_or_default(),
    }
}

/// Where the pods have to connect to. A Service's selector is not looked up for this: its namespace is enough.
fn derive_target(collector: &Endpoint) -> EgressTarget {
    let mut labels = collector.host.trim_end_matches('.').split('.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some(_), Some(namespace), Some("svc")) => {
            let port = IntOrString::Int(i32::from(collector.port));
            EgressTarget::Namespace { namespace: namespace.to_owned(), port }
        }
        _ => EgressTarget::Outside { port: collector.port },
    }
}
