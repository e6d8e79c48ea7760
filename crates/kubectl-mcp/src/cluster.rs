//! What is read of the cluster, with the rights of whoever runs this.

use api::{CredentialSource, LABEL_CONNECTOR, McpConnector, owned_name};
use futures::AsyncBufRead;
use hyper_util::client::proxy::matcher::Matcher;
use k8s_openapi::{
    api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, CustomResourceExt, ResourceExt,
    api::{ListParams, LogParams},
    config::KubeConfigOptions,
};

/// The operator's pods and Deployments, however they were installed.
const OPERATOR_SELECTOR: &str = "app.kubernetes.io/name=mcp-connectors,app.kubernetes.io/component=operator";

/// Why something can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to the cluster.
    #[error("failed to read the kubeconfig: set KUBECONFIG, or name a context that it has with --context")]
    Config(#[source] Box<kube::config::KubeconfigError>),
    /// Neither is there one from within a pod.
    #[error("failed to find a cluster: set KUBECONFIG, or run in a pod with a ServiceAccount token")]
    Infer(#[source] Box<kube::config::InferConfigError>),
    /// The client can't be made.
    #[error("failed to make the client of the Kubernetes API")]
    Client(#[source] Box<kube::Error>),
    /// The API server refused, or was not reached.
    #[error("failed to read {what}")]
    Read {
        /// What was to be read.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is none of that name.
    #[error("there is no McpConnector {name} in namespace {namespace}; kubectl mcp status -A shows all")]
    NoConnector {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// Nobody to ask.
    #[error("McpConnector {name} has no pod; kubectl mcp status {name} says why")]
    NoPod {
        /// Its name.
        name: String,
    },
}

/// Takes a proxy of the environment back where `NO_PROXY` excepts the cluster, about which kube does not ask it.
#[expect(
    clippy::disallowed_methods,
    reason = "kube reads them, too: they belong to the machine and are no option of ours"
)]
fn leave_out_excepted_proxy(config: &mut Config) {
    let of_environment = ["HTTPS_PROXY", "https_proxy"].iter().find_map(|name| std::env::var(name).ok());
    let of_environment: Option<http::Uri> = of_environment.and_then(|text| text.parse().ok());
    let is_excepted = || Matcher::from_env().intercept(&config.cluster_url).is_none();
    if config.proxy_url.is_some() && config.proxy_url == of_environment && is_excepted() {
        config.proxy_url = None;
    }
}

/// Which cluster and namespace.
#[derive(Debug)]
pub struct Target {
    /// The namespace; the context's own if none.
    pub namespace: Option<String>,
    /// The context; the current one if none.
    pub context: Option<String>,
}

/// A cluster, and a namespace of it.
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

/// Which lines of a log.
#[derive(Clone, Copy, Debug)]
pub struct LogLines {
    /// Also those that come from now on.
    pub follow: bool,
    /// How many of those that are there, the last ones.
    pub tail: u32,
    /// Of the container that ran before.
    pub previous: bool,
}

/// A connector with what is around it.
pub struct Surroundings {
    /// The connector.
    pub connector: McpConnector,
    /// Its source, if it exists.
    pub source: Option<CredentialSource>,
    /// Its Deployment, if it exists.
    pub deployment: Option<Deployment>,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// What an installation is judged by. What could not be read is an error's words.
pub struct Installation {
    /// Our definitions, as far as there are some.
    pub crds: Result<Vec<CustomResourceDefinition>, String>,
    /// Deployments of the operator in all namespaces.
    pub operators: Result<Vec<Deployment>, String>,
    /// The operator's pods in all namespaces.
    pub operator_pods: Result<Vec<Pod>, String>,
    /// Leases of the operators' namespaces.
    pub leases: Result<Vec<Lease>, String>,
    /// All connectors.
    pub connectors: Result<Vec<McpConnector>, String>,
}

impl Cluster {
    /// Follows the kubeconfig.
    ///
    /// # Errors
    /// When there is none that works.
    pub async fn connect(target: &Target) -> Result<Self, Error> {
        let mut config = if target.context.is_some() {
            let options = KubeConfigOptions { context: target.context.clone(), ..KubeConfigOptions::default() };
            Config::from_kubeconfig(&options).await.map_err(|source| Error::Config(Box::new(source)))?
        } else {
            Config::infer().await.map_err(|source| Error::Infer(Box::new(source)))?
        };
        leave_out_excepted_proxy(&mut config);
        let namespace = target.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|source| Error::Client(Box::new(source)))?;
        Ok(Self { client, namespace })
    }

    /// Connectors of the namespace, or of all.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn connectors(&self, all_namespaces: bool) -> Result<Vec<McpConnector>, Error> {
        let api = if all_namespaces {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), &self.namespace)
        };
        let list = api.list(&ListParams::default()).await.map_err(read("McpConnectors"))?;
        Ok(list.items)
    }

    /// One connector.
    ///
    /// # Errors
    /// When it doesn't exist or can't be read.
    pub async fn connector(&self, name: &str) -> Result<McpConnector, Error> {
        let api = Api::<McpConnector>::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(name).await.map_err(read(&format!("McpConnector {name}")))?;
        found.ok_or_else(|| Error::NoConnector { namespace: self.namespace.clone(), name: name.to_owned() })
    }

    /// A connector with what is around it.
    ///
    /// # Errors
    /// When something can't be read.
    pub async fn surroundings(&self, name: &str) -> Result<Surroundings, Error> {
        let connector = self.connector(name).await?;
        let client = || self.client.clone();
        let sources = Api::<CredentialSource>::namespaced(client(), &self.namespace);
        let deployments = Api::<Deployment>::namespaced(client(), &self.namespace);
        let source = &connector.spec.credentials.name;
        Ok(Surroundings {
            source: sources.get_opt(source).await.map_err(read(&format!("CredentialSource {source}")))?,
            deployment: deployments
                .get_opt(&owned_name(name))
                .await
                .map_err(read(&format!("Deployment {}", owned_name(name))))?,
            pods: self.pods(name).await?,
            connector,
        })
    }

    /// The pods of a connector.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn pods(&self, name: &str) -> Result<Vec<Pod>, Error> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let selector = ListParams::default().labels(&format!("{LABEL_CONNECTOR}={name}"));
        Ok(api.list(&selector).await.map_err(read("pods"))?.items)
    }

    /// Names of a connector's pods.
    ///
    /// # Errors
    /// When there is no such connector, it has no pod, or they can't be read.
    pub async fn pod_names(&self, name: &str) -> Result<Vec<String>, Error> {
        self.connector(name).await?;
        let names: Vec<String> = self.pods(name).await?.iter().map(ResourceExt::name_any).collect();
        if names.is_empty() {
            return Err(Error::NoPod { name: name.to_owned() });
        }
        Ok(names)
    }

    /// The log of a connector's pod.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn log(&self, pod: &str, lines: LogLines) -> Result<impl AsyncBufRead + Unpin + use<>, Error> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let parameters = LogParams {
            container: Some("server".into()),
            follow: lines.follow,
            previous: lines.previous,
            tail_lines: Some(i64::from(lines.tail)),
            ..LogParams::default()
        };
        api.log_stream(pod, &parameters).await.map(Box::pin).map_err(read(&format!("the log of {pod}")))
    }

    /// What an installation is judged by.
    pub async fn installation(&self) -> Installation {
        let client = || self.client.clone();
        let (everything, operators) = (ListParams::default(), ListParams::default().labels(OPERATOR_SELECTOR));
        let crds = Api::<CustomResourceDefinition>::all(client());
        let definitions = async {
            let mut found = Vec::new();
            for name in [McpConnector::crd_name(), CredentialSource::crd_name()] {
                found.extend(crds.get_opt(name).await.map_err(said)?);
            }
            Ok(found)
        };
        let (deployments, pods, leases) = (Api::all(client()), Api::all(client()), Api::<Lease>::all(client()));
        let (crds, operators, operator_pods, leases, connectors) = futures::join!(
            definitions,
            async { deployments.list(&operators).await.map(|list| list.items).map_err(said) },
            async { pods.list(&operators).await.map(|list| list.items).map_err(said) },
            async { leases.list(&everything).await.map(|list| list.items).map_err(said) },
            async { self.connectors(true).await.map_err(|error| mcp_words(&error)) },
        );
        Installation { crds, operators, operator_pods, leases, connectors }
    }
}

fn read(what: &str) -> impl FnOnce(kube::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Read { what, source: Box::new(source) }
}

#[allow(clippy::needless_pass_by_value, reason = "a function for map_err")]
fn said(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => mcp_words(&other),
    }
}

fn mcp_words(error: &dyn std::error::Error) -> String {
    crate::output::with_causes(error)
}
