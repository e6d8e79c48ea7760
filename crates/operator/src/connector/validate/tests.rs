use super::*;
use crate::connector::testing::{CERTIFICATE, MINIMAL, bundle, check, found, service, source, validated};
use api::credential_source::Host;
use pod_api::config::{CacheConfig, CallRateConfig, RepeatsConfig};
use proptest::prelude::*;

fn rejection(spec: &str, found: &Dereferenced) -> (Reason, String) {
    let rejection = check(spec, found).unwrap_err();
    (rejection.reason, rejection.message)
}

fn secret(name: &str, items: &[(&str, &str)]) -> CredentialMount {
    let items = items.iter().map(|(field, key)| ((*field).to_owned(), (*key).to_owned())).collect();
    CredentialMount::Secret(SecretMount { name: name.to_owned(), items: Some(items) })
}

#[test]
fn a_minimal_connector_gets_every_default() {
    let connector = validated(MINIMAL);
    let config = &connector.config;
    assert_eq!(config.tools.mutations, Mutations::ReadOnly);
    assert_eq!(config.tools.allow, [NamePattern("*".into())]);
    assert_eq!(config.probe.interval, ApiDuration::from_secs(30));
    assert_eq!(config.probe.failure_threshold, 2);
    assert_eq!(config.limits.max_result_bytes, 262_144);
    assert_eq!((config.limits.calls, config.limits.tools.len()), (CallRateConfig { per_minute: 60, burst: 20 }, 0));
    assert_eq!(config.access.audiences[0], "http://mcp-tresor.team.svc:8080/mcp");
    assert_eq!(
        config.hosts,
        ["mcp-tresor", "mcp-tresor.team", "mcp-tresor.team.svc", "mcp-tresor.team.svc.cluster.local"]
    );
    let rule = &config.access.allow[0];
    assert_eq!((rule.namespace.as_str(), rule.service_account.as_str(), rule.mutations), ("team", "*", Some(false)));
    assert_eq!(connector.caller_namespaces, Some(vec!["team".to_owned()]));
    assert_eq!(connector.egress, EgressPlan::Targets(vec![EgressTarget::Outside { port: 8200 }]));
    assert_eq!(connector.credentials, secret("keys", &[("token", "vault")]));
}

#[test]
fn the_configuration_survives_its_file() {
    let config = validated(MINIMAL).config;
    let read: ServeConfig = serde_json::from_str(&config.to_json().unwrap()).unwrap();
    assert_eq!(read, config);
}

#[test]
fn what_limits_leave_out_has_its_default() {
    let limits = |text: &str| validated(&format!("{MINIMAL}\nlimits: {text}")).config.limits;
    let named = limits("{calls: {perMinute: 5}, tools: [{name: 'get_*', perMinute: 30, burst: 40}]}");
    assert_eq!(named.calls, CallRateConfig { per_minute: 5, burst: 5 });
    let tool = &named.tools[0];
    assert_eq!((tool.name.0.as_str(), tool.rate), ("get_*", CallRateConfig { per_minute: 30, burst: 40 }));
    let other = limits("{repeats: {enabled: false, window: 5m, refuseAfter: 9}, cache: {maxBytes: 65536}}");
    let repeats = RepeatsConfig { enabled: false, window: ApiDuration::from_secs(300), warn_after: 2, refuse_after: 9 };
    assert_eq!((other.repeats, other.cache), (repeats, CacheConfig { enabled: true, max_bytes: 65_536 }));
    assert_eq!(limits("{calls: {burst: 3}}").calls, CallRateConfig { per_minute: 60, burst: 3 });
}

#[test]
fn an_access_list_takes_away_what_it_does_not_give() {
    let nobody = validated(&format!("{MINIMAL}\naccess: {{allow: []}}"));
    assert!(nobody.config.access.allow.is_empty());
    assert_eq!(nobody.caller_namespaces, Some(vec![]));

    let one = validated(&format!("{MINIMAL}\naccess: {{allow: [{{namespace: agents, serviceAccount: triage}}]}}"));
    assert_eq!(one.config.access.allow[0].mutations, Some(false));
    assert_eq!(one.caller_namespaces, Some(vec!["agents".to_owned()]));

    let everyone = validated(&format!("{MINIMAL}\naccess: {{anonymous: true}}"));
    assert!(everyone.config.access.anonymous && everyone.caller_namespaces.is_none());
}

#[test]
fn mutations_that_nobody_may_make_are_said_with_the_rule_that_is_missing() {
    let idle = |extra: &str| idle_mutations(&validated(&format!("{MINIMAL}\n{extra}")).config);
    let confirm = "tools: {mutations: Confirm}";
    let reader = "{namespace: agents, serviceAccount: reader}";
    let keeper = "{namespace: agents, serviceAccount: keeper, mutations: true}";
    for (extra, missing) in [
        ("", None),
        ("access: {anonymous: true}", None),
        (confirm, Some("no rule of spec.access.allow has mutations: true")),
        (&*format!("{confirm}\naccess: {{allow: [{reader}]}}"), Some("no rule of spec.access.allow")),
        (&*format!("{confirm}\naccess: {{anonymous: true}}"), Some("spec.access.anonymous names nobody")),
        (&*format!("{confirm}\naccess: {{allow: [{reader}, {keeper}]}}"), None),
    ] {
        let said = idle(extra);
        assert_eq!(said.is_some(), missing.is_some(), "{extra}");
        assert!(said.unwrap_or_default().contains(missing.unwrap_or_default()), "{extra}: {said:?}");
    }
}

#[test]
fn what_a_person_must_mend_is_named() {
    let other_host = Dereferenced {
        source: Some(Arc::new(source("{hosts: [other.example.com], secret: {name: keys}}"))),
        ..found()
    };
    let (reason, message) = rejection(MINIMAL, &other_host);
    assert_eq!(reason, Reason::HostNotAllowed);
    assert!(message.contains("vault.example.com:8200") && message.contains("other.example.com"), "{message}");
    assert!(message.contains("spec.platform.vault.url") && message.contains("spec.hosts"), "{message}");

    let no_source = Dereferenced { source: None, ..found() };
    let (reason, message) = rejection(MINIMAL, &no_source);
    assert_eq!(reason, Reason::CredentialSourceNotFound);
    assert!(message.contains("\"reader\""), "{message}");

    let wrong_fields = Dereferenced {
        source: Some(Arc::new(source("{hosts: [vault.example.com], secret: {name: keys, items: {password: p}}}"))),
        ..found()
    };
    let (reason, message) = rejection(MINIMAL, &wrong_fields);
    assert_eq!(reason, Reason::CredentialFieldMissing);
    assert!(message.contains("token") && message.contains("password"), "{message}");

    let metadata = MINIMAL.replace("vault.example.com:8200", "169.254.169.254");
    let (reason, message) = rejection(&metadata, &found());
    assert_eq!(reason, Reason::InvalidSpec);
    assert!(message.contains("link-local"), "{message}");
}

/// The connector of the tests with a proxy.
fn through(platform: &str, proxy: &str) -> String {
    format!("platform: {platform}\ncredentials: {{name: reader}}\nworkload: {{proxy: {{url: '{proxy}'}}}}")
}

const PROXY: &str = "http://proxy.example.com:3128";
const VAULT_PLATFORM: &str = "{vault: {url: 'https://vault.example.com:8200'}}";

#[test]
fn a_proxy_is_for_those_to_allow_who_answer_for_the_credentials() {
    let plain = "{vault: {url: 'http://vault.example.com', insecureHttp: true}}";
    let own_authority = "{vault: {url: 'https://vault.example.com', caBundle: {configMap: {name: ca, key: ca.crt}}}}";
    let every_source = [
        (VAULT_PLATFORM, "hosts: [vault.example.com], secret: {name: keys}"),
        (plain, "hosts: [vault.example.com], secret: {name: keys}"),
        (own_authority, "hosts: [vault.example.com], secret: {name: keys}"),
        (VAULT_PLATFORM, "hosts: [vault.example.com], secrets: [{name: keys, items: {token: t}}]"),
        (VAULT_PLATFORM, "hosts: [vault.example.com], csi: {secretProviderClass: c}"),
        (
            VAULT_PLATFORM,
            "hosts: [vault.example.com], vault: {address: 'https://store.example.com', auth: {kubernetes: {role: ci}}, \
             secrets: [{kv: {path: a}, fields: {token: t}}]}",
        ),
        ("{cloudWatch: {region: eu-central-1}}", "workloadIdentity: {aws: {podIdentity: {}}}"),
        ("{cloudWatch: {region: eu-central-1}}", "workloadIdentity: {aws: {roleArn: 'arn:aws:iam::1:role/r'}}"),
    ];
    for (platform, source) in every_source {
        let with =
            |proxies: &str| Dereferenced { ca_bundle: bundle(CERTIFICATE), ..from(&format!("{{{proxies} {source}}}")) };
        let (reason, message) = rejection(&through(platform, PROXY), &with(""));
        assert_eq!(reason, Reason::ProxyNotAllowed, "{platform}: {message}");
        assert!(message.starts_with("spec.workload.proxy.url: proxy.example.com:3128 would carry"), "{message}");
        let (reason, message) =
            rejection(&through(platform, PROXY), &with("proxies: ['proxy.example.com:80', other],"));
        assert_eq!(reason, Reason::ProxyNotAllowed, "{platform}: {message}");
        assert!(message.contains("proxy.example.com:80, other only"), "{message}");
        for allowed in ["proxy.example.com", "Proxy.example.COM:3128"] {
            let allowed = check(&through(platform, PROXY), &with(&format!("proxies: ['{allowed}'],")));
            assert!(allowed.is_ok(), "{platform}: {:?}", allowed.unwrap_err());
        }

        let allowing = Settings {
            allowed_proxies: vec![Host("proxy.example.com:3128".into())],
            ..crate::connector::testing::settings()
        };
        let of = |proxy: &str| {
            let connector = crate::connector::testing::connector(&through(platform, proxy));
            validate(&connector, &with(""), &allowing).map_err(|rejection| rejection.reason)
        };
        assert!(of(PROXY).is_ok(), "the cluster's own proxy");
        assert_eq!(of("http://proxy.example.com:8080").unwrap_err(), Reason::ProxyNotAllowed);
    }
}

#[test]
fn what_looks_like_an_allowed_proxy_is_none() {
    let found = from("{hosts: [vault.example.com], proxies: ['proxy.example.com:3128'], secret: {name: keys}}");
    for proxy in [
        "http://vault.example.com",
        "http://proxy.example.com",
        "https://proxy.example.com",
        "http://proxy.example.com.evil.example:3128",
        "http://evil.example/proxy.example.com:3128",
        "http://evil.example#proxy.example.com:3128",
        "http://evil.example\\proxy.example.com:3128",
        "http://proxy.example.com:3128@evil.example:3128",
        "http://evil.example:3128",
        "http://proxy.example.com.:3128",
    ] {
        let egress = "\nnetwork: {egress: Any}";
        let (reason, message) = rejection(&format!("{}{egress}", through(VAULT_PLATFORM, proxy)), &found);
        assert!(matches!(reason, Reason::ProxyNotAllowed | Reason::InvalidSpec), "{proxy}: {message}");
    }
}

proptest! {
    /// Whatever stands in the URL: what is accepted is called at a host that was allowed.
    #[test]
    fn no_url_leads_past_the_list(host in r"[a-z.@:/\\#?\[\]%0-9]{0,24}", around in "[@:/.\\\\#?]{0,2}") {
        let found = from("{hosts: [vault.example.com], proxies: ['allowed:3128'], secret: {name: keys}}");
        for url in [format!("http://{host}{around}allowed:3128"), format!("http://allowed:3128{around}{host}")] {
            let mut connector = crate::connector::testing::connector(MINIMAL);
            let proxy = api::connector::ProxySpec { url: url.clone(), no_proxy: None };
            connector.spec.workload = Some(WorkloadSpec { proxy: Some(proxy), ..WorkloadSpec::default() });
            if validate(&connector, &found, &crate::connector::testing::settings()).is_ok() {
                let called = reqwest::Url::parse(&url).unwrap();
                prop_assert_eq!((called.host_str(), called.port()), (Some("allowed"), Some(3128)));
            }
        }
    }
}

#[test]
fn every_host_of_a_platform_of_several_services_must_be_allowed() {
    let spec = "platform: {cloudWatch: {region: eu-central-1}}\ncredentials: {name: reader}";
    let with = |hosts: &str| {
        let fields = "items: {access_key_id: id, secret_access_key: key}";
        let text = format!("{{hosts: [{hosts}], secret: {{name: keys, {fields}}}}}");
        Dereferenced { source: Some(Arc::new(source(&text))), ..found() }
    };
    let (reason, message) = rejection(spec, &with("monitoring.eu-central-1.amazonaws.com"));
    assert_eq!(reason, Reason::HostNotAllowed);
    assert!(message.contains("logs.eu-central-1.amazonaws.com:443"), "{message}");
    let hosts =
        "monitoring.eu-central-1.amazonaws.com, logs.eu-central-1.amazonaws.com, sts.eu-central-1.amazonaws.com";
    let connector = check(spec, &with(hosts)).unwrap();
    assert_eq!(connector.egress, EgressPlan::Targets(vec![EgressTarget::Outside { port: 443 }]));
    let several = spec.replace(
        "region: eu-central-1",
        "region: eu-central-1, endpoint: 'https://aws.example.com:8443', endpoints: {sts: 'https://sts.example.com'}",
    );
    let connector = check(&several, &with("aws.example.com, sts.example.com")).unwrap();
    let ports = [8443, 443].map(|port| EgressTarget::Outside { port });
    assert_eq!(connector.egress, EgressPlan::Targets(ports.to_vec()));
}

#[test]
fn the_first_keys_of_the_cluster_are_waited_for() {
    let (reason, _) = rejection(MINIMAL, &Dereferenced { token_keys: None, ..found() });
    assert_eq!(reason, Reason::Starting);
}

#[test]
fn a_ca_bundle_is_pem_or_says_why_not() {
    let spec = "platform: {vault: {url: 'https://vault.example.com', caBundle: {configMap: {name: corp, key: ca.crt}}}}\n\
                credentials: {name: reader}";
    for (map, part) in [
        (Bundle::NoConfigMap, "no ConfigMap \"corp\""),
        (Bundle::NoKey, "no key \"ca.crt\""),
        (Bundle::TooLarge(400_000), "has 400000 bytes, and may have 327680: leave in it only"),
        (bundle("MIIB"), "no PEM certificate"),
        (bundle("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"), "not well-formed"),
        (bundle("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"), "no PEM certificate"),
    ] {
        let (reason, message) = rejection(spec, &Dereferenced { ca_bundle: map, ..found() });
        assert_eq!(reason, Reason::CaBundleInvalid);
        assert!(message.contains(part), "{part}: {message}");
    }
    let good = Dereferenced { ca_bundle: bundle(CERTIFICATE), ..found() };
    assert_eq!(check(spec, &good).unwrap().platform_ca.as_deref(), Some(CERTIFICATE));
}

#[test]
fn egress_follows_the_platform() {
    let behind = |namespace: &str, port: &str| {
        let service = service(&format!(
            "{{metadata: {{name: vault, namespace: {namespace}}}, spec: {{selector: {{app: vault, customer: acme}}, \
             ports: [{{port: 8200, targetPort: {port}}}]}}}}"
        ));
        check(MINIMAL, &Dereferenced { platform_service: Some(service), ..found() }).unwrap()
    };
    let own = EgressTarget::Pods {
        namespace: "team".into(),
        selector: [("app".to_owned(), "vault".to_owned()), ("customer".to_owned(), "acme".to_owned())].into(),
        port: IntOrString::String("api".into()),
    };
    assert_eq!(behind("team", "api").egress, EgressPlan::Targets(vec![own]));
    // Whoever reads the policy learns no label of another namespace.
    let other = behind("vault", "8202");
    let target = EgressTarget::Namespace { namespace: "vault".into(), port: IntOrString::Int(8202) };
    assert_eq!(other.egress, EgressPlan::Targets(vec![target]));
    let built = crate::connector::build::build(&other, &crate::connector::testing::settings()).unwrap();
    assert!(!serde_json::to_string(&built.network_policy).unwrap().contains("acme"));
    let narrowed = validated(&format!("{MINIMAL}\nnetwork: {{egress: CIDRs, cidrs: [192.0.2.0/24]}}"));
    assert_eq!(
        narrowed.egress,
        EgressPlan::Targets(vec![EgressTarget::Cidrs { cidrs: vec!["192.0.2.0/24".into()], port: 8200 }])
    );
    assert_eq!(validated(&format!("{MINIMAL}\nnetwork: {{egress: Any}}")).egress, EgressPlan::Any);
    let proxied = format!("{MINIMAL}\nworkload: {{proxy: {{url: 'http://proxy.example.com:3128'}}}}");
    let allowing = from("{hosts: [vault.example.com], proxies: [proxy.example.com], secret: {name: keys}}");
    let proxied = check(&proxied, &allowing).unwrap();
    let EgressPlan::Targets(targets) = proxied.egress else { panic!("no targets") };
    assert!(targets.contains(&EgressTarget::Outside { port: 3128 }), "{targets:?}");
}

#[test]
fn telemetry_is_resolved_and_the_collector_may_be_reached() {
    let with = |spec: &str| validated(&format!("{MINIMAL}\ntelemetry: {spec}"));
    let targets = |connector: &ValidatedConnector| match &connector.egress {
        EgressPlan::Targets(targets) => targets.clone(),
        EgressPlan::Any => panic!("no targets"),
    };
    let in_cluster = with("{traces: {endpoint: 'http://collector.seeing.svc:4318'}}");
    let traces = in_cluster.config.telemetry.traces.clone().unwrap();
    assert_eq!((traces.endpoint.as_str(), traces.sample_percent), ("http://collector.seeing.svc:4318/", 100));
    let namespace = EgressTarget::Namespace { namespace: "seeing".into(), port: IntOrString::Int(4_318) };
    assert!(targets(&in_cluster).contains(&namespace), "{:?}", in_cluster.egress);
    let outside = with("{traces: {endpoint: 'https://otlp.example.com/base', samplePercent: 5}}");
    assert_eq!(outside.config.telemetry.traces.clone().unwrap().sample_percent, 5);
    assert!(targets(&outside).contains(&EgressTarget::Outside { port: 443 }));

    let off = with("{traces: {endpoint: 'http://collector.seeing.svc:4318', samplePercent: 0}}");
    assert!(off.config.telemetry.traces.is_none() && targets(&off).len() == 1);

    let audit = with("{audit: {file: {}, hashChain: true}}").config.telemetry.audit;
    let file = audit.file.unwrap();
    assert_eq!((file.max_bytes, file.files, audit.hash_chain), (16_777_216, 4, true));

    let (reason, message) =
        rejection(&format!("{MINIMAL}\ntelemetry: {{traces: {{endpoint: 'http://169.254.169.254'}}}}"), &found());
    assert_eq!(reason, Reason::InvalidSpec);
    assert!(message.contains("spec.telemetry.traces.endpoint") && message.contains("link-local"), "{message}");
}

#[test]
fn the_operators_collector_is_for_connectors_that_name_none() {
    let settings = Settings {
        otlp_endpoint: Some("http://collector.seeing.svc:4318".into()),
        ..crate::connector::testing::settings()
    };
    let endpoint = |extra: &str| {
        let connector = crate::connector::testing::connector(&format!("{MINIMAL}\n{extra}"));
        let traces = validate(&connector, &found(), &settings).unwrap().config.telemetry.traces;
        traces.map(|traces| traces.endpoint.to_string())
    };
    assert_eq!(endpoint("").as_deref(), Some("http://collector.seeing.svc:4318/"));
    let own = "telemetry: {traces: {endpoint: 'https://own.example.com'}}";
    assert_eq!(endpoint(own).as_deref(), Some("https://own.example.com/"));
    assert_eq!(endpoint("telemetry: {traces: {samplePercent: 0}}"), None);
}

fn in_vault(vault: &str) -> Dereferenced {
    let spec = format!("{{hosts: [vault.example.com], vault: {vault}}}");
    Dereferenced { source: Some(Arc::new(source(&spec))), ..found() }
}

#[test]
fn a_source_in_vault_gets_every_default() {
    let found = in_vault(
        "{address: 'https://store.example.com', auth: {kubernetes: {role: ci}}, \
         secrets: [{kv: {path: team/ci}, fields: {token: password}}]}",
    );
    let connector = check(MINIMAL, &found).unwrap();
    assert_eq!(connector.credentials, CredentialMount::Token { audience: "vault".into() });
    let agent = serde_json::to_value(connector.config.agent.unwrap()).unwrap();
    assert_eq!(
        agent,
        serde_json::json!({
            "address": "https://store.example.com",
            "insecureHttp": false,
            "login": {"token": {"mount": "kubernetes", "role": "ci"}},
            "secrets": [{"origin": {"kv2": {"mount": "secret", "path": "team/ci"}}, "fields": {"token": "password"}}],
            "refreshInterval": "1m",
        })
    );
    // The agent's way is open, too; the host of Vault need not be among those where the credentials may go.
    let targets = vec![EgressTarget::Outside { port: 8200 }, EgressTarget::Outside { port: 443 }];
    assert_eq!(connector.egress, EgressPlan::Targets(targets));
}

#[test]
fn what_a_source_in_vault_must_not_say() {
    let case = |address: &str, auth: &str, secrets: &str| {
        let vault = format!("{{address: '{address}', auth: {auth}, secrets: [{secrets}]}}");
        rejection(&format!("{MINIMAL}\nworkload: {{replicas: 2}}"), &in_vault(&vault))
    };
    let (good, auth) = ("https://store.example.com", "{kubernetes: {role: ci}}");
    let kv = "{kv: {path: team/ci}, fields: {token: token}}";
    let audience = |text: &str| format!("{{jwt: {{role: ci, audience: '{text}'}}}}");
    let wrapped = "{appRole: {roleId: r, secretId: {secret: {name: s, key: k}}, wrapping: {creationPath: p}}}";
    for (address, auth, secrets, part) in [
        ("http://store.example.com", auth.to_owned(), kv, "spec.vault.address: http://"),
        ("https://169.254.169.254", auth.to_owned(), kv, "link-local"),
        ("https://127.0.0.1:8200", auth.to_owned(), kv, "loopback"),
        (good, audience("https://issuer.example.com"), kv, "an audience of the Kubernetes API"),
        (good, audience("https://kubernetes.default.svc.cluster.local"), kv, "an audience of the Kubernetes API"),
        (good, audience("mcp-connectors.io/operator"), kv, "an audience of connectors"),
        (good, audience("http://mcp-other.team.svc:8080/mcp"), kv, "an audience of connectors"),
        (good, wrapped.to_owned(), kv, "by one replica only"),
        (good, "{}".to_owned(), kv, "exactly one of kubernetes"),
        (good, auth.to_owned(), "{kv: {path: ../sys}, fields: {token: token}}", "is not a path"),
        (good, auth.to_owned(), "{kv: {path: a//b}, fields: {token: token}}", "is not a path"),
        (good, auth.to_owned(), "{kv: {path: a}, fields: {Token: token}}", "lower-case word"),
        (good, auth.to_owned(), "{kv: {path: a}, fields: {..data: token}}", "lower-case word"),
        (good, auth.to_owned(), "{kv: {path: a}, dynamic: {path: b}, fields: {token: token}}", "exactly one of kv"),
        (good, auth.to_owned(), &format!("{kv}, {kv}"), "mapped twice"),
    ] {
        let (reason, message) = case(address, &auth, secrets);
        assert_eq!(reason, Reason::InvalidSpec, "{message}");
        assert!(message.contains(part), "{part}: {message}");
    }
    let (reason, message) = case(good, auth, "{kv: {path: a}, fields: {other: token}}");
    assert_eq!(reason, Reason::CredentialFieldMissing);
    assert!(message.contains("maps only other in spec.vault.secrets"), "{message}");
}

#[test]
fn a_token_that_opens_the_cluster_goes_nowhere_else_whatever_the_cluster_calls_itself() {
    let judge = |audience: &str, api_audiences: Option<Vec<String>>| {
        let login = format!(
            "{{hosts: [vault.example.com], vault: {{address: 'https://store.example.com', auth: {{jwt: {{role: ci, \
             audience: '{audience}'}}}}, secrets: [{{kv: {{path: a}}, fields: {{token: t}}}}]}}}}"
        );
        let web = format!("{{workloadIdentity: {{aws: {{roleArn: '{ROLE}', audience: '{audience}'}}}}}}");
        let accepted = format!("{MINIMAL}\naccess: {{audiences: ['{audience}']}}");
        [(MINIMAL, from(&login)), (METRICS, from(&web)), (accepted.as_str(), found())].map(|(spec, found)| {
            let found = Dereferenced { api_audiences: api_audiences.clone(), ..found };
            check(spec, &found).err().map(|rejection| (rejection.reason, rejection.message))
        })
    };
    let is_refused = |problem: &Option<(Reason, String)>| {
        problem.as_ref().is_some_and(|(reason, message)| {
            *reason == Reason::InvalidSpec && message.contains("is an audience of the Kubernetes API")
        })
    };
    let known = Some(vec!["https://kubernetes.default.svc.corp.example".to_owned(), "our-cluster".to_owned()]);
    for audience in
        ["our-cluster", "k3s", "rke2", "api", "system:konnectivity-server", "https://kubernetes.default.svc"]
    {
        assert!(judge(audience, known.clone()).iter().all(is_refused), "{audience}");
    }
    for audience in ["vault", "our-cluster-vault", "our"] {
        assert!(judge(audience, known.clone()).iter().all(Option::is_none), "{audience}");
    }
    // Not known: by names alone.
    assert!(judge("our-cluster", None).iter().all(Option::is_none));
    assert!(judge("k3s", None).iter().all(is_refused));
}

#[test]
fn the_ca_bundle_of_vault_goes_to_the_agent() {
    let vault = "{address: 'https://store.example.com', auth: {jwt: {role: ci}}, \
                 caBundle: {configMap: {name: ca, key: ca.crt}}, \
                 secrets: [{dynamic: {path: database/creds/ci}, fields: {token: password}}]}";
    let mut found = in_vault(vault);
    let (reason, message) = rejection(MINIMAL, &found);
    assert_eq!(reason, Reason::CaBundleInvalid);
    assert!(message.starts_with("spec.vault.caBundle: "), "{message}");
    found.vault_ca_bundle = bundle(CERTIFICATE);
    assert_eq!(check(MINIMAL, &found).unwrap().config.agent.unwrap().ca_pem.as_deref(), Some(CERTIFICATE));
}

fn from(spec: &str) -> Dereferenced {
    Dereferenced { source: Some(Arc::new(source(spec))), ..found() }
}

const LOGIN: &str = "platform: {argoCd: {url: 'https://cd.example.com'}}\ncredentials: {name: reader}";
const METRICS: &str = "platform: {cloudWatch: {region: eu-central-1}}\ncredentials: {name: reader}";
const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

#[test]
fn several_secrets_and_values_make_one_set() {
    let found = from(
        "{hosts: [cd.example.com], values: {username: ci}, secrets: [{name: a, items: {password: key}}, \
         {name: b, items: {tls_certificate: crt, tls_key: key}}]}",
    );
    let connector = check(LOGIN, &found).unwrap();
    let CredentialMount::Secrets(mounts) = connector.credentials else { panic!("{:?}", connector.credentials) };
    assert_eq!(mounts.iter().map(|mount| mount.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(connector.config.fields.values["username"], "ci");
    // With one Secret, in Vault, and in what a CSI driver mounts, values count as well.
    for place in [
        "secret: {name: a, items: {password: key}}",
        "csi: {secretProviderClass: c, items: {password: file}}",
        "vault: {address: 'https://store.example.com', auth: {jwt: {role: ci}}, secrets: [{kv: {path: a}, fields: {password: p}}]}",
    ] {
        let source = format!("{{hosts: [cd.example.com], values: {{username: ci}}, {place}}}");
        assert_eq!(check(LOGIN, &from(&source)).unwrap().config.fields.values["username"], "ci", "{place}");
        let without = format!("{{hosts: [cd.example.com], {place}}}");
        assert_eq!(rejection(LOGIN, &from(&without)).0, Reason::CredentialFieldMissing, "{place}");
    }
}

#[test]
fn what_a_source_of_several_places_must_not_say() {
    let pair = "secret: {name: a, items: {username: user, password: key}}";
    for (spec, reason, part) in [
        (
            format!("values: {{username: ci}}, {pair}"),
            Reason::InvalidSpec,
            "username is mapped in spec.secret.items, too",
        ),
        (format!("values: {{password: hunter2}}, {pair}"), Reason::InvalidSpec, "spec.values.password: it is a secret"),
        (
            format!("values: {{pasword: hunter2}}, {pair}"),
            Reason::InvalidSpec,
            "argoCd has no such field; these may stand here: tls_certificate, username",
        ),
        (
            "secrets: [{name: a, items: {token: a}}, {name: b, items: {token: b}}]".into(),
            Reason::InvalidSpec,
            "token comes from the Secrets \"a\" and \"b\"",
        ),
        ("secrets: [{name: a, items: {..data: a}}]".into(), Reason::InvalidSpec, "\"..data\" is not a lower-case word"),
        (
            "secrets: [{name: a, items: {username: a}}], values: {tls_certificate: x}".into(),
            Reason::CredentialFieldMissing,
            "maps only username, tls_certificate in spec.secrets and spec.values",
        ),
        (
            "csi: {secretProviderClass: c, items: {username: file, password: file}}".into(),
            Reason::InvalidSpec,
            "can't both be in the file \"file\"",
        ),
        (
            "csi: {secretProviderClass: c, items: {username: file}}".into(),
            Reason::CredentialFieldMissing,
            "spec.csi.items",
        ),
        (
            "csi: {secretProviderClass: c, items: {token: file, tls_key: other}}".into(),
            Reason::CredentialFieldMissing,
            "it lacks tls_certificate",
        ),
    ] {
        let (told, message) = rejection(LOGIN, &from(&format!("{{hosts: [cd.example.com], {spec}}}")));
        assert_eq!(told, reason, "{message}");
        assert!(message.contains(part) && !message.contains("hunter2"), "{part}: {message}");
    }
}

#[test]
fn what_a_csi_driver_mounts_is_read_by_its_own_names() {
    let found = from("{hosts: [cd.example.com], csi: {secretProviderClass: c, items: {token: team/ci-token}}}");
    let connector = check(LOGIN, &found).unwrap();
    assert_eq!(connector.credentials, CredentialMount::Csi { secret_provider_class: "c".into() });
    assert_eq!(connector.config.fields.files["token"], "team/ci-token");
    let found = from("{hosts: [cd.example.com], csi: {secretProviderClass: c}}");
    assert!(check(LOGIN, &found).unwrap().config.fields.is_default());
}

#[test]
fn an_identity_at_aws_gets_every_default() {
    let connector = check(METRICS, &from(&format!("{{workloadIdentity: {{aws: {{roleArn: '{ROLE}'}}}}}}"))).unwrap();
    assert_eq!(connector.credentials, CredentialMount::WebIdentity { audience: "sts.amazonaws.com".into() });
    let identity = serde_json::to_value(connector.config.identity).unwrap();
    let expected = serde_json::json!({"awsWebIdentity": {"roleArn": ROLE, "sessionName": "mcp-tresor.team"}});
    assert_eq!(identity, expected);
    let web = EgressPlan::Targets(vec![EgressTarget::Outside { port: 443 }]);
    assert_eq!(connector.egress, web);

    for (aws, name, cidrs) in [
        ("podIdentity: {}", "awsPodIdentity", vec!["169.254.170.23/32", "fd00:ec2::23/128"]),
        ("instanceProfile: {}", "awsInstanceProfile", vec!["169.254.169.254/32"]),
    ] {
        let connector = check(METRICS, &from(&format!("{{workloadIdentity: {{aws: {{{aws}}}}}}}"))).unwrap();
        assert_eq!(connector.credentials, CredentialMount::Nothing);
        assert_eq!(serde_json::to_value(connector.config.identity).unwrap(), name);
        let cidrs = cidrs.into_iter().map(str::to_owned).collect();
        let targets = vec![EgressTarget::Outside { port: 443 }, EgressTarget::Cidrs { cidrs, port: 80 }];
        assert_eq!(connector.egress, EgressPlan::Targets(targets));
    }
}

#[test]
fn an_identity_is_shown_to_its_provider_only_unless_somebody_says_more() {
    let identity = format!("workloadIdentity: {{aws: {{roleArn: '{ROLE}'}}}}");
    let elsewhere = METRICS.replace("eu-central-1", "eu-central-1, endpoint: 'https://aws.example.com'");
    let (reason, message) = rejection(&elsewhere, &from(&format!("{{{identity}}}")));
    assert_eq!(reason, Reason::HostNotAllowed);
    assert!(message.contains("the provider's own endpoints only"), "{message}");
    check(&elsewhere, &from(&format!("{{hosts: [aws.example.com], {identity}}}"))).unwrap();
    // A list that is there counts.
    assert_eq!(
        rejection(METRICS, &from(&format!("{{hosts: [aws.example.com], {identity}}}"))).0,
        Reason::HostNotAllowed
    );

    let (reason, message) = rejection(LOGIN, &from(&format!("{{{identity}}}")));
    assert_eq!(reason, Reason::CredentialFieldMissing);
    assert!(message.contains("is for cloudWatch only"), "{message}");
    for (aws, part) in [
        (format!("roleArn: '{ROLE}', audience: 'https://kubernetes.default.svc'"), "an audience of the Kubernetes API"),
        (format!("roleArn: '{ROLE}', audience: 'http://mcp-other.team.svc:8080/mcp'"), "an audience of connectors"),
        (format!("roleArn: '{ROLE}', podIdentity: {{}}"), "exactly one of roleArn"),
        ("podIdentity: {}, audience: a".to_owned(), "audience with roleArn only"),
    ] {
        let (reason, message) = rejection(METRICS, &from(&format!("{{workloadIdentity: {{aws: {{{aws}}}}}}}")));
        assert_eq!(reason, Reason::InvalidSpec, "{message}");
        assert!(message.contains(part), "{part}: {message}");
    }
}
