//! Vault's platform against a strict double, for what a real Vault in dev mode can't show: every health code, every
//! error, Enterprise's namespaces. Every failing answer holds a planted secret, which may come out nowhere.

mod double;
mod errors;
mod health;
mod login;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use self::double::{Double, TOKEN};
use super::Vault;
use crate::{
    api::endpoint::AddressPolicy,
    credentials::{CredentialSet, CredentialsHandle},
    platforms::{Platform, PlatformEnvironment, ProbeReport},
    tools::{Behavior, CallContext, ErrorCode, ToolEntry, ToolError},
};

/// Part of every secret that a test knows.
pub(super) const PLANTED: &str = "planted";

/// A connector to the double.
struct Connector {
    vault: Arc<Vault>,
    tools: BTreeMap<&'static str, ToolEntry>,
    credentials: watch::Sender<Option<Arc<CredentialSet>>>,
    reread: watch::Receiver<u64>,
}

impl Connector {
    fn new(url: &str, token: Option<&str>, spec: &Value) -> Self {
        let mut fields = json!({ "url": url, "insecureHttp": true });
        fields.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let (credentials, current) = watch::channel(None);
        let (asked, reread) = watch::channel(0);
        let environment = PlatformEnvironment {
            credentials: CredentialsHandle::new(current, asked),
            ca_pem: None,
            addresses: AddressPolicy::Loopback,
            proxy: None,
        };
        let vault = Arc::new(Vault::connect(&serde_json::from_value(fields).unwrap(), environment).unwrap());
        let tools = Arc::clone(&vault).tools().into_iter().map(|tool| (tool.declaration.name, tool)).collect();
        let connector = Self { vault, tools, credentials, reread };
        if let Some(token) = token {
            connector.mount(1, token);
        }
        connector
    }

    fn mount(&self, generation: u64, token: &str) {
        self.mount_fields(generation, &[("token", token)]);
    }

    fn mount_fields(&self, generation: u64, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned().into())).collect();
        self.credentials.send_replace(Some(Arc::new(CredentialSet::new(generation, fields))));
    }

    async fn probe(&self) -> ProbeReport {
        let report = self.vault.probe(Duration::from_secs(2)).await;
        let shown = format!("{report:?} {}", serde_json::to_string(&report).unwrap());
        assert!(!shown.contains(PLANTED), "{shown}");
        report
    }

    async fn call(&self, name: &str, arguments: Value) -> Result<Value, ToolError> {
        let context = CallContext::new(Instant::now() + Duration::from_secs(2), 65_536);
        let run = match &self.tools[name].behavior {
            Behavior::Read(run) => run,
            Behavior::Mutation { act, .. } => act,
        };
        let outcome = run(arguments, context).await;
        let shown = format!("{outcome:?}");
        assert!(!shown.contains(PLANTED), "{shown}");
        outcome
    }
}

#[tokio::test]
async fn every_tool_is_declared_well() {
    let connector = Connector::new("http://127.0.0.1:1", None, &json!({}));
    assert_eq!(connector.tools.len(), 19);
    for (name, tool) in &connector.tools {
        let declaration = &tool.declaration;
        let parts: Vec<&str> = name.split('_').collect();
        assert!(parts.len() >= 3 && parts[1] == "vault", "{name}");
        assert!(declaration.description.ends_with('.'), "{name}");
        assert_eq!(declaration.sensitive, *name == "read_vault_secret");
        assert_eq!(declaration.off_by_default, *name == "destroy_vault_secret");
        assert_eq!(tool.input_schema["additionalProperties"], false, "{name}");
        for schema in [&tool.input_schema, &tool.output_schema] {
            assert_eq!(schema["type"], "object", "{name}");
            let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
            for (field, property) in properties {
                let described = property.get("description").is_some();
                assert!(described, "{name}: {field} has no description");
            }
        }
        // What is not known is refused before anything is asked.
        let error = connector.call(name, json!({ "unknown": 1 })).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{name}");
    }
}

#[tokio::test]
async fn nothing_shows_the_token() {
    let connector = Connector::new("http://127.0.0.1:1", Some(TOKEN), &json!({}));
    let token = connector.vault.session.token(Instant::now() + Duration::from_secs(1)).await.unwrap();
    let request = crate::outbound::Request::new(http::Method::GET, ["x"])
        .credential(http::HeaderName::from_static("x-vault-token"), &token.secret)
        .unwrap();
    let shown = format!("{request:?} {:?} {:?}", token.secret, connector.credentials);
    assert!(!shown.contains(PLANTED), "{shown}");
}

#[tokio::test]
async fn a_namespace_goes_with_all_calls_but_those_of_the_root() {
    for namespace in ["admin/team", "/admin/team/"] {
        let double = Double::start().await.namespace("admin/team");
        let connector = Connector::new(&double.uri(), Some(TOKEN), &json!({ "namespace": namespace }));
        assert_eq!(connector.probe().await.reason, "Healthy");
        let read = connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap();
        assert_eq!(read["keys"], json!(["a"]));
    }
}

#[tokio::test]
async fn mounts_are_kept_for_a_generation_and_values_never() {
    let double = Double::start().await;
    let spec = json!({ "releaseValues": [{ "path": "secret/apps/*", "keys": ["a"] }] });
    let connector = Connector::new(&double.uri(), Some(TOKEN), &spec);
    for _ in 0..3 {
        let read = connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "a" })).await.unwrap();
        assert_eq!(read["value"], "released");
    }
    assert_eq!((double.count("sys/internal/ui/mounts"), double.count("secret/data/apps/web")), (1, 3));
    connector.mount(2, TOKEN);
    connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap();
    assert_eq!(double.count("sys/internal/ui/mounts"), 2);
    // Not released: Vault isn't even asked.
    connector.call("read_vault_secret", json!({ "path": "secret/apps/web", "key": "b" })).await.unwrap_err();
    assert_eq!(double.count("secret/data/apps/web"), 3);
}

#[tokio::test]
async fn a_renewed_lease_is_told() {
    let double = Double::start().await;
    let connector = Connector::new(&double.uri(), Some(TOKEN), &json!({}));
    let lease = json!({ "lease_id": "database/creds/app/x", "increment_seconds": 60 });
    let renewed = connector.call("renew_vault_lease", lease).await.unwrap();
    assert_eq!(renewed, json!({ "lease_id": "database/creds/app/x", "ttl_seconds": 60, "renewable": true }));
}

#[tokio::test]
async fn a_newer_token_is_taken_when_one_is_refused() {
    let double = Double::start().await;
    let mut connector = Connector::new(&double.uri(), Some("planted-old-token"), &json!({}));
    let call = connector.call("read_vault_secret", json!({ "path": "secret/apps/web" }));
    let rotate = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        connector.mount(2, TOKEN);
    };
    let (read, ()) = tokio::join!(call, rotate);
    assert_eq!(read.unwrap()["keys"], json!(["a"]));
    assert_eq!(*connector.reread.borrow_and_update(), 1);
    // The second call with a token that is known to be refused does not wait.
    connector.mount(3, "planted-bad-token");
    for _ in 0..2 {
        let error = connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap_err();
        assert_eq!(error.message, "the connector's Vault token is not accepted");
    }
    let begun = Instant::now();
    connector.call("read_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}
