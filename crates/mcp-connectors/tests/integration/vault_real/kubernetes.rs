//! Logins by Vault's own Kubernetes auth method, which asks about each token at the API server: here at a double of its
//! TokenReview. A story runs the same against a real one.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

use super::{
    agent::{Running, accessors, kv2},
    harness::{PLANTED, Server},
    issuer::{AUDIENCE, Issuer, SUBJECT, uid_of},
};

/// Name of the plugin's program, which is its type where nobody has given it another.
const PLUGIN: &str = "vault-plugin-auth-kubernetes";
/// What Vault may review tokens with.
const REVIEWER: &str = "planted-reviewer";

/// The API server's answers to reviews (kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1).
struct Reviews {
    issuer: Arc<Issuer>,
    /// A ServiceAccount that is no more.
    deleted: Arc<Mutex<Option<String>>>,
}

impl Reviews {
    fn status(&self, spec: &Value) -> Value {
        let refused = |why: &str| json!({ "authenticated": false, "error": why });
        let Some(claims) = self.issuer.claims(spec["token"].as_str().unwrap()) else {
            return refused("invalid bearer token");
        };
        let subject = claims["sub"].as_str().unwrap();
        if self.deleted.lock().unwrap().as_deref() == Some(subject) {
            return refused("[invalid bearer token, service account token has been invalidated]");
        }
        let asked = spec["audiences"].as_array().unwrap();
        let audiences: Vec<_> = claims["aud"].as_array().unwrap().iter().filter(|one| asked.contains(one)).collect();
        if audiences.is_empty() {
            return refused("[invalid bearer token, token audiences don't match]");
        }
        json!({ "authenticated": true, "user": { "username": subject, "uid": uid_of(subject) }, "audiences": audiences })
    }
}

impl Respond for Reviews {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        if request.headers.get("authorization").is_none_or(|shown| *shown != *format!("Bearer {REVIEWER}")) {
            let forbidden = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
                                    "code": 403, "message": "tokenreviews.authentication.k8s.io is forbidden" });
            return ResponseTemplate::new(403).set_body_json(forbidden);
        }
        let review: Value = request.body_json().unwrap();
        let answer = json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
                             "spec": review["spec"], "status": self.status(&review["spec"]) });
        ResponseTemplate::new(201).set_body_json(answer)
    }
}

/// A cluster as Vault sees it.
struct Cluster {
    issuer: Arc<Issuer>,
    deleted: Arc<Mutex<Option<String>>>,
    api_server: MockServer,
}

impl Cluster {
    async fn start() -> Self {
        let (issuer, deleted) = (Arc::new(Issuer::new()), Arc::default());
        let api_server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/apis/authentication.k8s.io/v1/tokenreviews"))
            .respond_with(Reviews { issuer: Arc::clone(&issuer), deleted: Arc::clone(&deleted) })
            .mount(&api_server)
            .await;
        Self { issuer, deleted, api_server }
    }

    fn token(&self) -> String {
        self.issuer.token(SUBJECT, AUDIENCE)
    }
}

/// Where Vault reviews tokens, and what with.
async fn reviews_at(server: &Server, host: &str, reviewer: &str) {
    let config = json!({ "kubernetes_host": host, "token_reviewer_jwt": reviewer, "disable_local_ca_jwt": true });
    server.admin("POST", "auth/kubernetes/config", config).await;
}

/// A Vault whose role `ci` is bound to one ServiceAccount, its namespace and the audience.
async fn with_kubernetes(cluster: &Cluster) -> Server {
    let server = Server::start_with_plugins().await;
    server.admin("POST", "sys/auth/kubernetes", json!({ "type": PLUGIN })).await;
    reviews_at(&server, &cluster.api_server.uri(), REVIEWER).await;
    let role = json!({ "bound_service_account_names": ["mcp-jenkins"], "bound_service_account_namespaces": ["team"],
                       "audience": AUDIENCE, "token_policies": ["ci"], "token_ttl": "3s", "token_max_ttl": "7s" });
    server.admin("POST", "auth/kubernetes/role/ci", role).await;
    server.policy("ci", "path \"secret/data/team/*\" { capabilities = [\"read\"] }").await;
    server.admin("POST", "secret/data/team/ci", json!({ "data": { "user": "ci", "password": PLANTED } })).await;
    server
}

fn by_role(role: &str) -> Value {
    json!({ "token": { "mount": "kubernetes", "role": role } })
}

#[tokio::test]
#[ignore = "needs Vault and its plugin in VAULT_BIN and VAULT_PLUGINS; make test runs it"]
async fn logs_in_as_the_service_account_that_the_role_is_bound_to() {
    let cluster = Cluster::start().await;
    let server = with_kubernetes(&cluster).await;
    let before = accessors(&server).await;
    let running = Running::start(&server, &by_role("ci"), &json!([kv2()]), &[("token", &cluster.token())]);
    running.serving().await;
    assert_eq!(running.file("token").as_deref(), Some(PLANTED));
    // Renewed, and logged in for again at the end of its longest time.
    let logins = || async { cluster.api_server.received_requests().await.unwrap().len() };
    let first = logins().await;
    running.until(60, "renewals", |supply| supply.renewals >= 4).await;
    assert!(logins().await > first, "nobody was asked about the second login");
    running.end().await;
    assert_eq!(accessors(&server).await, before, "a token was not given back");
}

#[tokio::test]
#[ignore = "needs Vault and its plugin in VAULT_BIN and VAULT_PLUGINS; make test runs it"]
async fn says_why_the_kubernetes_method_lets_nobody_in() {
    let cluster = Cluster::start().await;
    let server = with_kubernetes(&cluster).await;
    let refused = async |role: &str, token: &str, words: &str| {
        let running = Running::start(&server, &by_role(role), &json!([kv2()]), &[("token", token)]);
        let supply = running.failing("VaultLoginFailed").await;
        assert!(supply.message.contains(words), "{role}: {supply:?}");
        running
    };
    let strangers = [
        cluster.issuer.token("system:serviceaccount:other:mcp-jenkins", AUDIENCE),
        cluster.issuer.token("system:serviceaccount:team:mcp-another", AUDIENCE),
        cluster.issuer.token(SUBJECT, "other"),
        // Of another cluster.
        Issuer::new().token(SUBJECT, AUDIENCE),
        "no-token".to_owned(),
    ];
    for token in strangers {
        let running = refused("ci", &token, "(403)").await;
        // A better one is tried at once.
        fs::write(running.identity.path().join("token"), cluster.token()).unwrap();
        running.serving().await;
        running.end().await;
    }
    refused("unknown", &cluster.token(), "(400)").await.end().await;

    *cluster.deleted.lock().unwrap() = Some(SUBJECT.to_owned());
    refused("ci", &cluster.token(), "ServiceAccount").await.end().await;
    cluster.deleted.lock().unwrap().take();

    // The reviewer may not review, or the API server can't be reached: the method's answer is the same.
    reviews_at(&server, &cluster.api_server.uri(), "planted-nobody").await;
    refused("ci", &cluster.token(), "review").await.end().await;
    reviews_at(&server, "http://127.0.0.1:1", REVIEWER).await;
    refused("ci", &cluster.token(), "review").await.end().await;
}
