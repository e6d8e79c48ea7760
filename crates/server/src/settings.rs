//! How a server serves, besides its configuration: directories, addresses, and bounds of connections.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use super::access::Caller;
use api::{ADMIN_PORT, MCP_PORT, endpoint::AddressPolicy};
use credentials::identity::PodIdentityAgent;
use outbound::memory::Budget;
use pod_api::config::{
    AUDIT_DIRECTORY, CONFIG_DIRECTORY, CREDENTIALS_DIRECTORY, SHARED_LIMIT_DIRECTORY, WEB_IDENTITY_DIRECTORY,
    WEB_IDENTITY_TOKEN_FILE,
};

/// How to serve. The defaults are those of the container that the operator makes.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// Where the operator's ConfigMap is mounted.
    pub config_directory: PathBuf,
    /// Where the credential fields are mounted, one file each.
    pub credentials_directory: PathBuf,
    /// Where the credentials of the shared rate limit's Redis are mounted, if it asks for any.
    pub shared_limit_directory: PathBuf,
    /// Where the token is that a web identity is proved with.
    pub identity_token_file: PathBuf,
    /// What EKS has told this pod of its Pod Identity, if it has.
    pub pod_identity_agent: Option<PodIdentityAgent>,
    /// Where audit files are written, if the configuration asks for them.
    pub audit_directory: PathBuf,
    /// Where MCP is served.
    pub mcp_address: SocketAddr,
    /// Where probes, metrics and `/status` are served.
    pub admin_address: SocketAddr,
    /// Which addresses the platform may have.
    pub address_policy: AddressPolicy,
    /// Who calls where `access.anonymous` asks nobody for a token.
    pub unproven: Caller,
    /// Origins of web pages that may call, such as `http://localhost:6274`. None in a cluster: agents are no browsers.
    pub allowed_origins: Vec<String>,
    /// Connections to the MCP port at a time.
    pub max_connections: usize,
    /// Time that a request's headers may take to arrive; also the time that an idle connection is kept, and in which a peer
    /// must take something of what is written to it.
    pub header_timeout: Duration,
    /// Memory for bodies of requests and what they become, as a part of what the process has for them and for platforms' answers.
    pub memory: Budget,
    /// Time that a request's body may take to arrive.
    pub body_timeout: Duration,
    /// Time between the signal to end and the end of accepting connections. The pod is being taken out of its Service
    /// meanwhile, and callers that don't know yet must still find it.
    pub drain_delay: Duration,
    /// Time that calls which run then may still take. Where nothing is said, it is what `limits.callTimeout` allows, and 25 s at
    /// least.
    pub drain_timeout: Option<Duration>,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            config_directory: CONFIG_DIRECTORY.into(),
            credentials_directory: CREDENTIALS_DIRECTORY.into(),
            shared_limit_directory: SHARED_LIMIT_DIRECTORY.into(),
            identity_token_file: Path::new(WEB_IDENTITY_DIRECTORY).join(WEB_IDENTITY_TOKEN_FILE),
            pod_identity_agent: None,
            audit_directory: AUDIT_DIRECTORY.into(),
            mcp_address: (Ipv6Addr::UNSPECIFIED, MCP_PORT).into(),
            admin_address: (Ipv6Addr::UNSPECIFIED, ADMIN_PORT).into(),
            address_policy: AddressPolicy::Cluster,
            unproven: Caller::Anonymous,
            allowed_origins: Vec::new(),
            max_connections: 1_024,
            header_timeout: Duration::from_mins(1),
            memory: Budget::of_process().clone(),
            body_timeout: Duration::from_secs(10),
            drain_delay: Duration::from_secs(5),
            drain_timeout: None,
        }
    }
}
