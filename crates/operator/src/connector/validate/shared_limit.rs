//! What `spec.limits.shared` comes to: the server's configuration, what is mounted for it, and where the pods have to connect
//! to. Its credentials come from a CredentialSource like the platform's, so that whoever may write connectors only can't send
//! a Secret of the namespace to a host of their own.

use super::{Rejection, SecretMount, read_ca};
use crate::{connector::dereference::FoundSharedLimit, context::Settings};
use api::{Reason, endpoint::Endpoint, limits::RedisSpec};
use pod_api::config::{SHARED_LIMIT_PASSWORD_FILE, SHARED_LIMIT_USERNAME_FILE, SharedRateConfig};

const FIELD: &str = "spec.limits.shared.redis";

/// A shared limit, found good.
pub(super) struct ResolvedSharedLimit {
    pub(super) config: SharedRateConfig,
    pub(super) credentials: Option<SecretMount>,
    pub(super) endpoint: Endpoint,
}

/// Checks a shared limit.
pub(super) fn resolve(
    redis: &RedisSpec,
    found: &FoundSharedLimit,
    settings: &Settings,
) -> Result<ResolvedSharedLimit, Rejection> {
    let endpoint = redis
        .as_url()
        .endpoint(true, settings.addresses)
        .map_err(|error| Rejection::new(Reason::InvalidSpec, format!("{FIELD}.address: {error}")))?;
    let ca_pem = read_ca(redis.ca_bundle.as_ref(), &found.ca_bundle, &format!("{FIELD}.caBundle"))?;
    let credentials = match &redis.credentials {
        Some(reference) => Some(resolve_credentials(&reference.name, found, &endpoint)?),
        None => None,
    };
    let config = SharedRateConfig {
        host: endpoint.host.clone(),
        port: endpoint.port,
        tls: !redis.insecure_plaintext.unwrap_or_default(),
        ca_pem: ca_pem.map(|pem| pem.to_string()),
        credentials: credentials.is_some(),
    };
    Ok(ResolvedSharedLimit { config, credentials, endpoint })
}

fn resolve_credentials(name: &str, found: &FoundSharedLimit, endpoint: &Endpoint) -> Result<SecretMount, Rejection> {
    let reject = |reason, problem: String| Rejection::new(reason, format!("{FIELD}.credentials: {problem}"));
    if let Some(problem) = &found.source_problem {
        let problem = format!("CredentialSource {name:?} does not fit its schema: {problem}");
        return Err(reject(Reason::InvalidSpec, problem));
    }
    let Some(source) = &found.source else {
        let problem =
            format!("there is no CredentialSource {name:?} in this namespace; create it, or correct the name");
        return Err(reject(Reason::CredentialSourceNotFound, problem));
    };
    if !source.spec.hosts.iter().any(|host| host.covers(&endpoint.host, endpoint.port)) {
        let problem = format!(
            "CredentialSource {name:?} does not allow its credentials to be sent to {}:{}; add the host to its \
             spec.hosts, if that is meant",
            endpoint.host, endpoint.port,
        );
        return Err(reject(Reason::HostNotAllowed, problem));
    }
    let Some(secret) = &source.spec.secret else {
        let problem =
            format!("CredentialSource {name:?} must be a Secret (spec.secret): no agent fetches this password");
        return Err(reject(Reason::InvalidSpec, problem));
    };
    let Some(items) = &secret.items else {
        return Ok(SecretMount { name: secret.name.clone(), items: None });
    };
    if !items.contains_key(SHARED_LIMIT_PASSWORD_FILE) {
        let problem = format!("CredentialSource {name:?} maps no field password in spec.secret.items");
        return Err(reject(Reason::CredentialFieldMissing, problem));
    }
    let fields = [SHARED_LIMIT_PASSWORD_FILE, SHARED_LIMIT_USERNAME_FILE];
    let items = fields.iter().filter_map(|field| Some(((*field).to_owned(), items.get(*field)?.0.clone()))).collect();
    Ok(SecretMount { name: secret.name.clone(), items: Some(items) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    use super::*;
    use crate::connector::{
        dereference::Dereferenced,
        testing::{self, CERTIFICATE, MINIMAL, bundle, check},
        validate::{EgressPlan, EgressTarget, ValidatedConnector},
    };

    const HOST: &str = "redis.limits.svc:6380";

    fn found(source: &str) -> Dereferenced {
        let source = (!source.is_empty()).then(|| Arc::new(testing::source(source)));
        let shared_limit = FoundSharedLimit { source, ..FoundSharedLimit::default() };
        Dereferenced { shared_limit, ..testing::found() }
    }

    fn resolve(redis: &str, found: &Dereferenced) -> Result<ValidatedConnector, Rejection> {
        check(&format!("{MINIMAL}\nlimits: {{shared: {{redis: {redis}}}}}"), found)
    }

    #[test]
    fn tls_unless_it_is_said_otherwise_and_egress_to_its_port() {
        let plain = resolve(&format!("{{address: '{HOST}', insecurePlaintext: true}}"), &found("")).unwrap();
        let config = plain.config.limits.shared.unwrap();
        assert_eq!((config.host.as_str(), config.port, config.tls), ("redis.limits.svc", 6380, false));
        assert_eq!((config.credentials, plain.shared_limit_credentials), (false, None));
        let vault = EgressTarget::Outside { port: 8200 };
        let targets = EgressPlan::Targets(vec![vault.clone(), EgressTarget::Outside { port: 6380 }]);
        assert_eq!(plain.egress, targets);

        let mut found = found("");
        found.shared_limit.ca_bundle = bundle(CERTIFICATE);
        found.shared_limit.service = Some(testing::service(
            "{metadata: {name: redis, namespace: limits}, spec: {selector: {app: redis}, ports: [{port: 6380, targetPort: 6379}]}}",
        ));
        let bundle = "{configMap: {name: corp-ca, key: ca.crt}}";
        let tls = resolve(&format!("{{address: '{HOST}', caBundle: {bundle}}}"), &found).unwrap();
        let config = tls.config.limits.shared.unwrap();
        assert_eq!((config.tls, config.ca_pem.as_deref()), (true, Some(CERTIFICATE)));
        let pods = EgressTarget::Namespace { namespace: "limits".into(), port: IntOrString::Int(6379) };
        assert_eq!(tls.egress, EgressPlan::Targets(vec![vault, pods]));
    }

    #[test]
    fn its_password_goes_only_where_a_source_allows_it() {
        let redis = format!("{{address: '{HOST}', credentials: {{name: counter}}}}");
        let mounted = |source: &str| resolve(&redis, &found(source)).unwrap().shared_limit_credentials.unwrap();
        let whole = mounted("{hosts: [redis.limits.svc], secret: {name: keys}}");
        assert_eq!(whole, SecretMount { name: "keys".into(), items: None });
        let some = mounted("{hosts: ['redis.limits.svc:6380'], secret: {name: keys, items: {password: p, token: t}}}");
        assert_eq!(
            some.items,
            Some([("password".to_owned(), "p".to_owned())].into()),
            "and no field that it doesn't need"
        );

        for (source, reason, part) in [
            ("", Reason::CredentialSourceNotFound, "there is no CredentialSource"),
            ("{hosts: [other], secret: {name: keys}}", Reason::HostNotAllowed, "sent to redis.limits.svc:6380"),
            (
                "{hosts: [redis.limits.svc], secret: {name: keys, items: {token: t}}}",
                Reason::CredentialFieldMissing,
                "maps no field password",
            ),
            (
                "{hosts: [redis.limits.svc], vault: {address: 'https://v', auth: {kubernetes: {role: r}}, secrets: []}}",
                Reason::InvalidSpec,
                "must be a Secret",
            ),
        ] {
            let rejection = resolve(&redis, &found(source)).unwrap_err();
            assert_eq!(rejection.reason, reason, "{rejection}");
            assert!(rejection.message.starts_with("spec.limits.shared.redis.credentials: "), "{rejection}");
            assert!(rejection.message.contains(part), "{rejection}");
        }
    }

    #[test]
    fn an_address_that_is_never_called_is_refused() {
        let rejection = resolve("{address: '169.254.169.254:80'}", &found("")).unwrap_err();
        assert_eq!(rejection.reason, Reason::InvalidSpec);
        assert!(rejection.message.starts_with("spec.limits.shared.redis.address: "), "{rejection}");
    }
}
