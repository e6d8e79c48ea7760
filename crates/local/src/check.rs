//! `local --check`: everything that can be said of manifests without running them, and with `--probe` what their
//! platforms say.

use tokio::sync::watch;

use super::{
    LocalError,
    documents::{Sources, read_objects},
    finding::{Finding, Level},
    manifests::{Judged, Manifests},
    schema::Schemas,
    serving::{Credentials, Inbound, Keyring, configure, serve_settings},
};
use api::{Reason, endpoint::AddressPolicy};
use credentials::directory::Source;
use operator::plan::{self, Plan, Planner};
use pod_api::report::{CredentialVerdict, HealthStatus};
use server::{Upstream, prober};

/// What is checked.
#[derive(Clone, Debug)]
pub struct CheckSettings {
    /// Where the manifests are.
    pub sources: Sources,
    /// Where credentials may be.
    pub keyring: Keyring,
    /// Whether each platform is asked once.
    pub probe: bool,
}

/// Checks manifests, and returns what was found, by file and line.
///
/// # Errors
/// When they can't be checked: they can't be read, or there is nothing to check.
pub async fn check(settings: &CheckSettings) -> Result<Vec<Finding>, LocalError> {
    let schemas = Schemas::new().map_err(LocalError::Schema)?;
    let texts = settings.sources.read(&mut None).map_err(LocalError::Read)?;
    let (objects, mut findings) = read_objects(&texts, &schemas, &settings.sources.namespace);
    drop(texts);
    if objects.is_empty() && findings.is_empty() {
        return Err(LocalError::NothingThere);
    }
    let (manifests, twice) = Manifests::collect(objects);
    findings.extend(twice);
    findings.extend(judge(&manifests, settings).await?);
    findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Ok(findings)
}

async fn judge(manifests: &Manifests, check: &CheckSettings) -> Result<Vec<Finding>, LocalError> {
    let mut findings = Vec::new();
    let planner = |addresses| Planner::new(addresses, check.keyring.proxies.clone());
    let (cluster, here) = (planner(AddressPolicy::Cluster), planner(AddressPolicy::Loopback));
    for (judged, in_cluster) in manifests.judge(&here).zip(manifests.judge(&cluster)) {
        match (&judged.verdict, &in_cluster.verdict) {
            (Err(rejection), _) => {
                // Bundles are often made in the cluster; everything else belongs to the connector.
                let elsewhere =
                    rejection.reason == Reason::CaBundleInvalid && !plan::has_bundles(judged.connector, manifests);
                let level = if elsewhere { Level::Warning } else { Level::Error };
                findings.push(judged.finding(level, rejection.reason.as_str(), &rejection.message));
            }
            (Ok(plan), verdict) => {
                findings.extend(verdict.as_ref().err().map(|rejection| judged.works_here_only(rejection)));
                let idle = plan.idle_mutations();
                findings.extend(idle.map(|message| judged.finding(Level::Warning, "mutations", message)));
                findings.extend(Box::pin(try_out(&judged, plan, manifests, check)).await?);
            }
        }
    }
    Ok(findings)
}

/// Loads the credentials of a connector, if they are given, and asks its platform, if that is wanted.
async fn try_out(
    judged: &Judged<'_>,
    plan: &Plan,
    manifests: &Manifests,
    check: &CheckSettings,
) -> Result<Vec<Finding>, LocalError> {
    let source = &judged.connector.spec.credentials.name;
    let credentials = Credentials::find(judged.key, plan, source, manifests, &check.keyring);
    match &credentials {
        Credentials::NotHere(message) => {
            let level = if check.probe { Level::Error } else { Level::Warning };
            return Ok(vec![judged.finding(level, Reason::NoFields.as_str(), message)]);
        }
        // A Secret is rarely kept where manifests are, and nobody is asked without --probe.
        Credentials::Missing | Credentials::Vault { .. } if !check.probe => return Ok(Vec::new()),
        _ => {}
    }
    let loaded = configure(plan, &Inbound::Open).map_err(LocalError::Configure)?;
    let (_files, receiver) = watch::channel(credentials.supplied());
    let mut agent = credentials.agent(&loaded.config).map_err(LocalError::Agent)?;
    if let Some((agent, _)) = &mut agent {
        agent.step().await;
    }
    let source = match (&credentials, &agent) {
        (Credentials::Folder(folder), _) => Source::Directory(folder.clone()),
        (_, Some((_, supplied))) => Source::Memory(supplied.clone()),
        (_, None) => Source::Memory(receiver),
    };
    let upstream = Upstream::connect(platforms::connect, &serve_settings(&Inbound::Open), &loaded, source)
        .map_err(LocalError::Serve)?;
    let mut findings = Vec::new();
    let state = upstream.credentials_state.borrow().clone();
    if state.reason != Reason::Loaded.as_str() {
        let message = format!("spec.credentials: {}", state.message);
        findings.push(judged.finding(Level::Error, &state.reason, &message));
    } else if check.probe {
        let report = prober::probe(upstream.platform.as_ref(), loaded.config.probe.timeout.0).await.report;
        let field =
            judged.connector.spec.platform.declaration().map_or("spec.platform", |found| found.endpoint_field());
        let level = match report.status {
            HealthStatus::Ok => None,
            HealthStatus::Degraded => Some(Level::Warning),
            HealthStatus::Error => Some(Level::Error),
        };
        findings
            .extend(level.map(|level| judged.finding(level, &report.reason, &format!("{field}: {}", report.message))));
        let refused = match report.credentials {
            CredentialVerdict::Accepted | CredentialVerdict::Unknown => None,
            CredentialVerdict::Rejected => Some(Reason::Rejected),
            CredentialVerdict::Expired => Some(Reason::Expired),
            CredentialVerdict::PermissionMissing => Some(Reason::PermissionMissing),
        };
        let words = format!("spec.credentials: {}", report.credentials_message);
        findings.extend(refused.map(|reason| judged.finding(Level::Error, reason.as_str(), &words)));
    }
    upstream.close().await;
    if let Some((mut agent, _)) = agent {
        agent.close().await;
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mutations_that_nobody_could_make_in_a_cluster_are_a_warning_at_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let found = async |access: &str| {
            let text = format!(
                "apiVersion: mcp-connectors.io/v1alpha1\nkind: CredentialSource\nmetadata: {{name: reader}}\n\
                 spec: {{hosts: [vault.example.com], secret: {{name: reader, items: {{token: token}}}}}}\n---\n\
                 apiVersion: mcp-connectors.io/v1alpha1\nkind: McpConnector\nmetadata: {{name: vault}}\nspec:\n  \
                 platform: {{vault: {{url: 'https://vault.example.com'}}}}\n  credentials: {{name: reader}}\n  \
                 tools:\n    mutations: Confirm\n{access}"
            );
            std::fs::write(folder.path().join("a.yaml"), text).unwrap();
            let paths = vec![folder.path().to_owned()];
            let sources = Sources { paths, recursive: false, namespace: "ci".into() };
            let settings = CheckSettings { sources, keyring: Keyring::default(), probe: false };
            check(&settings).await.unwrap()
        };
        let warned = found("").await;
        let [warning] = warned.as_slice() else { panic!("{warned:?}") };
        assert_eq!((warning.level, warning.rule.as_str(), warning.line), (Level::Warning, "mutations", 13));
        assert_eq!(warning.field.as_deref(), Some("spec.tools.mutations"));
        assert!(warning.message.contains("spec.access.allow has mutations: true"), "{warning}");
        let named = "  access: {allow: [{namespace: ci, serviceAccount: deployer, mutations: true}]}\n";
        assert_eq!(found(named).await.len(), 0);
        assert_eq!(found("  access: {anonymous: true}\n").await.len(), 1);
    }
}
