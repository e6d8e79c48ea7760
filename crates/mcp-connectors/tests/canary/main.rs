//! Credentials come out nowhere, whatever happens to them: each platform's connector through the whole server, with every
//! log line and span that there can be, while its platform answers well, shows what it was sent in errors and pages,
//! refuses the credentials, redirects, hangs, and gets new ones.

#![allow(clippy::disallowed_methods, reason = "answers of a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "../integration/forms.rs"]
mod forms;
#[path = "../integration/served.rs"]
mod served;
mod upstream;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use platform_doubles::{Credentials, circleci, cloudwatch, jenkins};
use serde_json::{Value, json};
use telemetry::{logs, traces};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::SubscriberExt};

use self::{
    forms::{forms, leak},
    served::{Served, serve},
    upstream::{Act, Upstream, World},
};

/// Every line that is written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A platform, as it takes part.
struct Subject {
    name: &'static str,
    platform: fn(&str) -> Value,
    /// Credentials that everybody may know.
    public: &'static [(&'static str, &'static str)],
    /// Fields whose values are planted.
    secret: &'static [&'static str],
    /// Those of them that the platform is sent.
    sent: &'static [&'static str],
    tools: &'static [&'static str],
    world: World,
}

fn subjects() -> Vec<Subject> {
    vec![
        Subject {
            name: "jenkins",
            platform: |url| json!({ "jenkins": { "url": format!("{url}/jenkins"), "insecureHttp": true } }),
            public: &[("user", "bot")],
            secret: &["api_token"],
            sent: &["api_token"],
            tools: &["list_jenkins_nodes", "search_jenkins_jobs", "list_jenkins_queue"],
            world: World::Double(|_| Arc::new(jenkins::world())),
        },
        Subject {
            name: "jenkins-password",
            platform: |url| json!({ "jenkins": { "url": format!("{url}/jenkins"), "insecureHttp": true } }),
            public: &[("user", "bot")],
            secret: &["password"],
            sent: &["password"],
            tools: &["list_jenkins_nodes", "search_jenkins_jobs"],
            world: World::Double(|_| Arc::new(jenkins::world())),
        },
        Subject {
            name: "circleci",
            platform: |url| json!({ "circleCi": { "url": url, "insecureHttp": true, "apiVersion": "V3" } }),
            public: &[],
            secret: &["token"],
            sent: &["token"],
            tools: &["list_circleci_projects"],
            world: World::Double(|url| Arc::new(circleci::world(url, url))),
        },
        Subject {
            name: "cloudwatch",
            platform: |url| json!({ "cloudWatch": { "region": cloudwatch::REGION, "endpoint": url, "insecureHttp": true } }),
            public: &[("access_key_id", cloudwatch::KEY)],
            secret: &["secret_access_key", "session_token"],
            // With the other one requests are signed.
            sent: &["session_token"],
            tools: &["list_cloudwatch_alarms", "list_cloudwatch_metrics", "list_cloudwatch_log_groups"],
            world: World::Double(|_| Arc::new(cloudwatch::world())),
        },
        Subject {
            name: "argocd",
            platform: |url| json!({ "argoCd": { "url": url, "insecureHttp": true } }),
            public: &[],
            secret: &["token"],
            sent: &["token"],
            tools: &["list_argocd_apps", "list_argocd_clusters"],
            world: World::Answers(argocd),
        },
        Subject {
            name: "argocd-password",
            platform: |url| json!({ "argoCd": { "url": url, "insecureHttp": true } }),
            public: &[("username", "bot")],
            secret: &["password"],
            sent: &["password"],
            tools: &["list_argocd_apps", "list_argocd_clusters"],
            world: World::Answers(argocd),
        },
        Subject {
            name: "vault",
            platform: |url| json!({ "vault": { "url": url, "insecureHttp": true } }),
            public: &[],
            secret: &["token"],
            sent: &["token"],
            tools: &["get_vault_token_info", "list_vault_mounts"],
            world: World::Answers(vault),
        },
        Subject {
            name: "vault-approle",
            platform: |url| json!({ "vault": { "url": url, "insecureHttp": true, "auth": { "appRole": {} } } }),
            public: &[("role_id", "4b0b9c80-role")],
            secret: &["secret_id"],
            sent: &["secret_id"],
            tools: &["get_vault_token_info", "list_vault_mounts"],
            world: World::Answers(vault),
        },
    ]
}

/// What a login is exchanged for.
const EXCHANGED: &str = "canary/exchanged+token=1";

fn argocd(path: &str) -> Value {
    match path {
        "/api/v1/session" => json!({ "token": EXCHANGED }),
        "/api/v1/session/userinfo" => json!({ "loggedIn": true, "username": "bot", "iss": "argocd" }),
        "/api/version" => json!({ "Version": "v3.2.11" }),
        _ => json!({ "metadata": {}, "items": [] }),
    }
}

fn vault(path: &str) -> Value {
    match path {
        "/v1/auth/approle/login" => {
            json!({ "auth": { "client_token": EXCHANGED, "lease_duration": 3600, "renewable": true, "metadata": {} } })
        }
        "/v1/sys/health" => json!({ "initialized": true, "sealed": false, "standby": false, "version": "1.21.0" }),
        _ => json!({ "data": { "id": EXCHANGED, "ttl": 3600, "renewable": true, "policies": ["default"], "auth": {},
                               "secret": {}, "path": "auth/token/create", "display_name": "token" } }),
    }
}

/// The credentials of a generation: those that everybody knows, and planted ones, whose signs look different in each form.
fn credentials(subject: &Subject, generation: u32) -> Credentials {
    let public = subject.public.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned()));
    let planted = |field: &&str| ((*field).to_owned(), format!("canary/{}+{field}={generation}", subject.name));
    public.chain(subject.secret.iter().map(planted)).collect()
}

/// The files that hold them.
fn files(credentials: &Credentials) -> Vec<(&str, &str)> {
    credentials.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Answers of all tools, and what the connector shows of itself.
async fn told(served: &Served, subject: &Subject) -> String {
    let answers = futures::future::join_all(subject.tools.iter().map(|tool| served.answer(tool))).await;
    let mut told: Vec<_> = answers.into_iter().map(|(headers, text)| format!("{headers:?} {text}")).collect();
    for path in ["/health", "/metrics", "/readyz", "/status"] {
        told.push(served.shown(path).await);
    }
    told.join("\n")
}

/// Everything that can happen to a connector and its credentials. What was told, and the secrets that may not be in it.
async fn story(subject: &Subject) -> (String, Vec<String>) {
    let (first, second) = (credentials(subject, 1), credentials(subject, 2));
    let (upstream, address, double) = Upstream::start(subject.world).await;
    let accept = |credentials: &Credentials| {
        if let Some(double) = &double {
            double.accept(Some(credentials)).unwrap();
        }
    };
    accept(&first);
    let place = |act: Act| format!("{}, {act:?}", subject.name);
    let limits = json!({
        "callTimeout": "3s",
        "maxConcurrentCalls": 64,
        "maxResultBytes": 65536,
        "calls": { "perMinute": 60000, "burst": 10000 },
        "repeats": { "enabled": false, "window": "1m", "warnAfter": 2, "refuseAfter": 5 },
        "cache": { "enabled": false, "maxBytes": 65536 },
        "platform": {
            "maxConcurrentRequests": 8, "maxQueuedRequests": 20, "requestTimeout": "500ms", "maxAttempts": 2,
            "breakerConsecutiveFailures": 1000, "breakerFailurePercent": 100,
        },
    });
    let served = serve(&(subject.platform)(&format!("http://{address}")), &limits, &files(&first), "1s").await;
    let mut all = told(&served, subject).await;
    for field in subject.sent {
        upstream.is_asked(|at| at == Act::Well, Some(&first[*field]), &place(Act::Well)).await;
    }
    let faults =
        [Act::Shows(200), Act::Shows(404), Act::Shows(500), Act::Redirects, Act::Page(200), Act::Page(502), Act::Hangs];
    for act in faults {
        upstream.now_does(act);
        all += &told(&served, subject).await;
        upstream.is_asked(|at| at == act, None, &place(act)).await;
    }
    // After a refusal it is not asked with the same credentials for a while.
    let refusals = [Act::Shows(400), Act::Shows(403), Act::Shows(401)];
    for act in refusals {
        upstream.now_does(act);
        all += &told(&served, subject).await;
    }
    upstream.is_asked(|at| refusals.contains(&at), None, &place(Act::Shows(401))).await;
    all += &told(&served, subject).await;
    // The platform takes others from now on, and then they are there.
    accept(&second);
    upstream.now_does(Act::Well);
    all += &told(&served, subject).await;
    served.write(&files(&second));
    for field in subject.sent {
        upstream.is_asked(|at| at == Act::Well, Some(&second[*field]), &place(Act::Well)).await;
    }
    all += &told(&served, subject).await;
    let secrets =
        [first, second].iter().flat_map(|set| subject.secret.iter().map(|field| set[*field].clone())).collect();
    (all, secrets)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_come_out_nowhere_whatever_happens_to_them() {
    let lines = Lines::default();
    // Those that are quiet unless they are named are, too.
    let filter = logs::build_filter("trace,rmcp=trace,hyper=trace").unwrap();
    let layer = logs::build_json_layer(lines.clone(), Some("team/served")).with_filter(filter);
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let traced = traces::build_layer(provider.tracer("test"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer).with(traced)).unwrap();

    let subjects = subjects();
    let outcomes = futures::future::join_all(subjects.iter().map(story)).await;
    let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(written.contains("\"level\":\"TRACE\""), "the finest lines are among them");
    let answered: String = outcomes.iter().map(|(told, _)| told.as_str()).collect();
    assert!(answered.contains("\"isError\":true") && answered.contains("\"isError\":false"), "both kinds of answers");
    let spans = exporter.get_finished_spans().unwrap();
    assert!(spans.iter().any(|span| span.name.starts_with("tools/call")), "spans of calls are among them");
    let told_spans = spans.iter().map(|span| format!("{span:?}")).collect::<Vec<_>>().join("\n");
    let secrets = outcomes.iter().flat_map(|(_, secrets)| secrets).map(String::as_str).chain([EXCHANGED]);
    let leaks: Vec<_> = secrets
        .flat_map(|secret| {
            [("a log line", &written), ("an answer", &answered), ("a span", &told_spans)]
                .map(|(place, text)| (secret, place, text))
        })
        .filter_map(|(secret, place, text)| leak(text, secret).map(|(form, line)| (secret, form, place, line)))
        .collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn a_credential_is_found_in_each_form() {
    let secret = "canary/own+token=1";
    let base64 = |text: &str| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text);
    let texts = [
        format!("bad token {secret}"),
        format!("/login?token={}", url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>()),
        hex::encode(format!("{secret};")),
        base64(secret),
        base64(&format!("u:{secret}")),
        base64(&format!("bot:{secret}, and more")),
    ];
    for text in texts {
        assert!(leak(&format!("first\n{text}\n"), secret).is_some(), "{text}");
    }
    assert!(leak("canary/own", secret).is_none());
    assert_eq!(forms(secret).len(), 10);
}
