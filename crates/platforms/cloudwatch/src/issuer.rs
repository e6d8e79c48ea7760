//! Who issues the keys of a session: STS for a role that is assumed with other keys or with a token of the ServiceAccount,
//! or one of two services on the node, which know who the pod is.

use std::{path::PathBuf, time::SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use http::{HeaderName, HeaderValue, Method, StatusCode, header::AUTHORIZATION};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

use super::{
    error::{Error, of_sdk},
    transport::Manner,
};
use api::platform::cloudwatch::AssumeRole;
use credentials::identity::{Identity, PodIdentityAgent};
use outbound::{Outbound, Purpose, Request, RequestError, Response};

/// Name of a role's sessions, as CloudTrail shows it.
const SESSION_NAME: &str = "mcp-connectors";
/// Asks the metadata service for a token, by its life in seconds
/// (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html).
const METADATA_TOKEN_LIFE: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
/// Carries that token.
const METADATA_TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
/// Where the metadata service keeps the instance's roles.
const METADATA_ROLES: [&str; 4] = ["latest", "meta-data", "iam", "security-credentials"];

/// Keys of a session, and when it ends.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) keys: Credentials,
    pub(super) ends: Option<SystemTime>,
}

/// Who issues sessions.
#[derive(Debug)]
pub(super) enum Issuer {
    /// STS, for a role that is assumed with the keys that the client signs with.
    Role { spec: AssumeRole, sts: aws_sdk_sts::Client },
    /// STS, for a role that is assumed with a token. The client signs nothing.
    WebIdentity { role_arn: String, session_name: String, token_file: PathBuf, sts: aws_sdk_sts::Client },
    /// The agent of EKS Pod Identity.
    PodIdentity { agent: PodIdentityAgent, way: Outbound },
    /// The metadata service of the instance.
    InstanceProfile(Outbound),
    /// Nobody: EKS has told the pod of no agent.
    Nobody,
}

impl Issuer {
    /// Who issues sessions for an identity. `sts` signs nothing; `node` is the way to the node's service, where one is
    /// asked.
    pub(super) fn of_identity(identity: Identity, sts: aws_sdk_sts::Client, node: Option<Outbound>) -> Self {
        match (identity, node) {
            (Identity::WebIdentity { role_arn, session_name, token_file }, _) => {
                Self::WebIdentity { role_arn, session_name, token_file, sts }
            }
            (Identity::PodIdentity(Some(agent)), Some(way)) => Self::PodIdentity { agent, way },
            (Identity::InstanceProfile { .. }, Some(way)) => Self::InstanceProfile(way),
            (Identity::PodIdentity(None), _) | (_, None) => Self::Nobody,
        }
    }

    /// Asks for a session.
    pub(super) async fn issue(&self) -> Result<Session, Error> {
        match self {
            Self::Role { spec, sts } => {
                let asked = sts
                    .assume_role()
                    .role_arn(&spec.role_arn)
                    .role_session_name(SESSION_NAME)
                    .set_external_id(spec.external_id.clone());
                let answer = step(asked.send()).await.map_err(|error| match of_sdk(&error).error {
                    Error::Denied => Error::RoleRefused,
                    other => other,
                })?;
                of_sts(answer.credentials, "role")
            }
            Self::WebIdentity { role_arn, session_name, token_file, sts } => {
                let token = tokio::fs::read_to_string(token_file).await.map_err(|_| Error::NoIdentity)?;
                let asked = sts
                    .assume_role_with_web_identity()
                    .role_arn(role_arn)
                    .role_session_name(session_name)
                    .web_identity_token(token.trim());
                let answer = step(asked.send()).await.map_err(|error| match error.code().unwrap_or_default() {
                    "InvalidIdentityToken" | "IDPRejectedClaim" | "ExpiredToken" | "ExpiredTokenException" => {
                        Error::TokenRefused
                    }
                    "IDPCommunicationError" => Error::IdentityUnavailable,
                    _ => match of_sdk(&error).error {
                        Error::Denied => Error::TrustRefused,
                        other => other,
                    },
                })?;
                of_sts(answer.credentials, "web identity")
            }
            Self::PodIdentity { agent, way } => of_agent(agent, way).await,
            Self::InstanceProfile(way) => of_instance(way).await,
            Self::Nobody => Err(Error::NoCredentials),
        }
    }
}

/// A call to STS. Within a change it is a step on the way, and not the change.
async fn step<F: Future>(asked: F) -> F::Output {
    match Manner::of_running_call() {
        Some(manner) => Box::pin(Manner { purpose: Purpose::Step, ..manner }.during(asked)).await,
        None => Box::pin(asked).await,
    }
}

fn of_sts(given: Option<aws_sdk_sts::types::Credentials>, from: &'static str) -> Result<Session, Error> {
    let given = given.ok_or(Error::Unexpected(200))?;
    let ends = SystemTime::try_from(given.expiration).ok();
    // Its end is looked at here; the SDK would only warn of it.
    let keys = Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, from);
    Ok(Session { keys, ends })
}

/// What both services on the node answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GivenKeys {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: Timestamp,
}

impl GivenKeys {
    fn read(response: &Response, from: &'static str) -> Result<Session, Error> {
        let given: Self = response.json().map_err(|_| Error::IdentityUnavailable)?;
        let keys = Credentials::new(given.access_key_id, given.secret_access_key, Some(given.token), None, from);
        Ok(Session { keys, ends: Some(given.expiration.into()) })
    }
}

async fn of_agent(agent: &PodIdentityAgent, way: &Outbound) -> Result<Session, Error> {
    let token = tokio::fs::read_to_string(&agent.token_file).await.map_err(|_| Error::NoIdentity)?;
    let segments = agent.url.path_segments().into_iter().flatten().map(str::to_owned);
    let token = SecretString::from(token.trim());
    let request =
        Request::new(Purpose::Look, Method::GET, segments).credential(AUTHORIZATION, &token).map_err(unavailable)?;
    GivenKeys::read(&ask(way, request).await?, "pod identity")
}

async fn of_instance(way: &Outbound) -> Result<Session, Error> {
    let life = HeaderValue::from_static("60");
    let answer = ask(
        way,
        Request::new(Purpose::Step, Method::PUT, ["latest", "api", "token"]).header(METADATA_TOKEN_LIFE, life),
    )
    .await?;
    let token = SecretString::from(text(&answer)?);
    let read = async |last: &str| {
        let request = Request::new(Purpose::Look, Method::GET, METADATA_ROLES.into_iter().chain([last]));
        ask(way, request.credential(METADATA_TOKEN, &token).map_err(unavailable)?).await
    };
    // An instance has one role at most, and the list of them has a line for each.
    let roles = text(&read("").await?)?;
    let role = roles.lines().next().filter(|role| !role.is_empty()).ok_or(Error::NoIdentity)?;
    GivenKeys::read(&read(role).await?, "instance profile")
}

/// Asks a service of the node. What it refuses, it refuses this pod.
async fn ask(way: &Outbound, request: Request) -> Result<Response, Error> {
    let manner = Manner::of_running_call().ok_or(Error::IdentityUnavailable)?;
    let request = if manner.is_probe { request.probe() } else { request };
    let response = way.send(&request, manner.deadline).await.map_err(unavailable)?;
    match response.status {
        StatusCode::OK => Ok(response),
        StatusCode::TOO_MANY_REQUESTS => Err(Error::IdentityUnavailable),
        status if status.is_client_error() => Err(Error::NoIdentity),
        _ => Err(Error::IdentityUnavailable),
    }
}

fn unavailable(_: RequestError) -> Error {
    Error::IdentityUnavailable
}

fn text(response: &Response) -> Result<String, Error> {
    String::from_utf8(response.body().to_vec()).map_err(|_| Error::IdentityUnavailable)
}
