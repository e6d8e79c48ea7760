//! Those who give credentials for the identity of a pod: STS by a token of a ServiceAccount, the agent of EKS Pod Identity,
//! and the metadata service of an EC2 instance. The latter two are on the same address as AWS, at paths of their own:
//! - <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>;
//! - <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>;
//! - <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>.

use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Refusal, State, issue, refuse};

/// The one role that there is.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/reader";
/// The audience that the account's OIDC provider has.
pub const AUDIENCE: &str = "sts.amazonaws.com";
/// What the agent of EKS Pod Identity is shown.
pub const POD_TOKEN: &str = "planted-pod-token";
const INSTANCE_TOKEN: &str = "planted-instance-token";
const INSTANCE_ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// A token of a ServiceAccount, as far as it is looked at here: nobody's key has signed it.
pub fn token(audience: &str, subject: &str, minutes: i64) -> String {
    let ends = (Timestamp::now() + SignedDuration::from_mins(minutes)).as_second();
    let claims = json!({ "aud": [audience], "sub": subject, "exp": ends });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.planted", part(&json!({ "alg": "RS256" })), part(&claims))
}

/// STS, without a signature.
pub(super) fn assume(state: &mut State, input: &Value, headers: &HeaderMap) -> Result<Value, Refusal> {
    if headers.contains_key("authorization") {
        state.offences.push("AssumeRoleWithWebIdentity is signed".to_owned());
    }
    let claims = input["WebIdentityToken"].as_str().and_then(claims);
    let Some(claims) = claims else { return refuse(400, "InvalidIdentityToken") };
    if claims["exp"].as_i64().is_none_or(|ends| ends < Timestamp::now().as_second()) {
        return refuse(400, "ExpiredTokenException");
    }
    let audiences = claims["aud"].as_array().cloned().unwrap_or_default();
    if !audiences.iter().any(|audience| audience == AUDIENCE) {
        return refuse(400, "InvalidIdentityToken");
    }
    let is_trusted = claims["sub"].as_str().is_some_and(|subject| subject.starts_with("system:serviceaccount:"));
    if input["RoleArn"] != ROLE || !is_trusted {
        return refuse(403, "AccessDenied");
    }
    input["RoleSessionName"].as_str().unwrap_or_default().clone_into(&mut state.session_name);
    Ok(json!({ "Credentials": issue(state) }))
}

fn claims(token: &str) -> Option<Value> {
    let [_, claims, _] = *token.split('.').collect::<Vec<_>>() else { return None };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// The services of the node; nothing for a request that is for AWS.
pub(super) fn on_node(state: &mut State, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let carries = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    let path = uri.path();
    let operation = match (method, path) {
        (&Method::GET, "/v1/credentials") => "PodIdentity",
        (&Method::PUT, "/latest/api/token") => "InstanceToken",
        (&Method::GET, _) if path.starts_with(INSTANCE_ROLES) => "InstanceRole",
        _ => return None,
    };
    state.log.push((operation.to_owned(), Value::Null));
    if let Some((status, _, message)) = state.faults.get(operation) {
        return Some((StatusCode::from_u16(*status).unwrap(), message.clone()).into_response());
    }
    let may = match operation {
        "PodIdentity" => carries("authorization", POD_TOKEN),
        "InstanceToken" => headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds"),
        _ => carries("x-aws-ec2-metadata-token", INSTANCE_TOKEN),
    };
    if !may {
        return Some((StatusCode::UNAUTHORIZED, "planted").into_response());
    }
    Some(match (operation, path.strip_prefix(INSTANCE_ROLES)) {
        ("InstanceToken", _) => INSTANCE_TOKEN.into_response(),
        (_, Some("")) => "node-role".into_response(),
        ("PodIdentity", _) | (_, Some("node-role")) => {
            let mut given = issue(state);
            given["Token"] = given["SessionToken"].take();
            given.to_string().into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    })
}
