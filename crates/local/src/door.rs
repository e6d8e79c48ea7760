//! The one address of all connectors: `/<namespace>/<name>/mcp` leads to the door of each, which decides about the rest
//! of a request as it does in a pod.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Body;
use http::{Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::net::TcpListener;

use super::{LocalError, fleet::Routes, manifests::Key, serving::Inbound};
use server::{
    ServeSettings,
    listener::{ListenerLimits, Port, WhenFull},
};

/// Where RFC 9728 puts the metadata of a resource.
const METADATA: [&str; 2] = [".well-known", "oauth-protected-resource"];
/// Characters of a token, at least: a shorter one can be guessed.
const MIN_TOKEN: usize = 16;

/// Who is let in.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever reaches the address.
    Open,
    /// Whoever has this token.
    Token(SecretString),
    /// Whoever has a token that the keys in this directory verify. The connectors ask for it themselves.
    ClusterTokens(PathBuf),
}

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The address can be reached from other machines.
    #[error(
        "{0} can be reached from other machines, and whoever does could use every credential: give --token-file, or \
         --token-keys for the tokens of a cluster's ServiceAccounts, or listen on 127.0.0.1"
    )]
    OpenToOthers(SocketAddr),
    /// The token can't be read.
    #[error("failed to read the token file {path}")]
    ReadToken {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token is too short.
    #[error("the token in {0} is shorter than {MIN_TOKEN} characters: make one with `openssl rand -hex 32`")]
    ShortToken(String),
    /// There are no keys.
    #[error("{0} holds no token-keys.json: copy it out of the ConfigMap of a connector in the cluster")]
    NoKeys(String),
}

impl Access {
    /// Who is let in at an address.
    ///
    /// # Errors
    /// When others could call without proving anything, or what proves it can't be read.
    pub fn new(address: SocketAddr, token: Option<&Path>, keys: Option<&Path>) -> Result<Self, AccessError> {
        let name = |path: &Path| path.display().to_string();
        match (token, keys) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| AccessError::ReadToken { path: name(path), source })?;
                let token = SecretString::from(text.trim());
                if token.expose_secret().len() < MIN_TOKEN {
                    return Err(AccessError::ShortToken(name(path)));
                }
                Ok(Self::Token(token))
            }
            (None, Some(directory)) => {
                if !directory.join(pod_api::config::TOKEN_KEYS_FILE).is_file() {
                    return Err(AccessError::NoKeys(name(directory)));
                }
                Ok(Self::ClusterTokens(directory.to_owned()))
            }
            (None, None) if address.ip().to_canonical().is_loopback() => Ok(Self::Open),
            (None, None) => Err(AccessError::OpenToOthers(address)),
        }
    }

    /// What the connectors themselves ask of a caller.
    #[must_use]
    pub fn inbound(&self) -> Inbound {
        match self {
            Self::Open | Self::Token(_) => Inbound::Open,
            Self::ClusterTokens(directory) => Inbound::AsInCluster(directory.clone()),
        }
    }

    fn admits(&self, request: &Request<Body>) -> bool {
        let Self::Token(token) = self else { return true };
        let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let given = value.to_str().ok().and_then(|text| text.split_once(' '));
        given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("bearer")
                && verify_slices_are_equal(given.trim().as_bytes(), token.expose_secret().as_bytes()).is_ok()
        })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => {
                "no authentication and no spec.access: every program on this machine may call every offered tool"
            }
            Self::Token(_) => "callers need the token of --token-file, and may then call every offered tool",
            Self::ClusterTokens(_) => {
                "callers need a ServiceAccount token, and spec.access says what they may, as in the cluster"
            }
        })
    }
}

/// The address, listened on.
pub struct Entrance {
    /// Where.
    pub address: SocketAddr,
    port: Port,
}

impl Entrance {
    /// Listens.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub async fn open(address: SocketAddr, access: Access, routes: Routes) -> Result<Self, LocalError> {
        let failed = |source| LocalError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let defaults = ServeSettings::default();
        let limits = ListenerLimits {
            connections: defaults.max_connections,
            when_full: WhenFull::Wait,
            header_timeout: defaults.header_timeout,
        };
        let access = Arc::new(access);
        let port = Port::serve(listener, limits, move |request| {
            let (access, routes) = (access.clone(), routes.clone());
            async move { answer(&access, &routes, request).await }
        });
        Ok(Self { address, port })
    }

    /// Accepts no more connections, and waits for the answers that are under way.
    pub async fn close(&mut self) {
        self.port.close().await;
    }

    /// Drops the connections that are left.
    pub fn abort(&self) {
        self.port.abort();
    }
}

/// The URL of a connector's endpoint on this machine.
#[must_use]
pub fn endpoint_url(address: SocketAddr, key: &Key) -> String {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("http://{host}:{}/{}/{}/mcp", address.port(), key.namespace, key.name)
}

async fn answer(access: &Access, routes: &Routes, mut request: Request<Body>) -> Response<Body> {
    if !access.admits(&request) {
        let mut response = refuse(StatusCode::UNAUTHORIZED, "send the token of --token-file as Authorization: Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
        return response;
    }
    let Some((key, path)) = own_path(request.uri().path()) else {
        return refuse(StatusCode::NOT_FOUND, "connectors are at /<namespace>/<name>/mcp");
    };
    let route = routes.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    let Some(route) = route else {
        return refuse(StatusCode::NOT_FOUND, "no such connector runs here; its conditions say why");
    };
    let mut parts = request.uri().clone().into_parts();
    let path = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    parts.path_and_query = path.parse::<PathAndQuery>().ok();
    match Uri::from_parts(parts) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "the request has no usable path"),
    }
    route.answer(request).await
}

/// Whose path it is, and what it is on a connector's own port.
fn own_path(path: &str) -> Option<(Key, String)> {
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let (prefix, namespace, name) = match *parts.as_slice() {
        [namespace, name, "mcp"] => (String::new(), namespace, name),
        [known, metadata, namespace, name, "mcp"] if [known, metadata] == METADATA => {
            (format!("/{known}/{metadata}"), namespace, name)
        }
        _ => return None,
    };
    Some((Key { namespace: namespace.to_owned(), name: name.to_owned() }, format!("{prefix}/mcp")))
}

fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(json!({ "error": message }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_connector() {
        let key = Key { namespace: "ci".into(), name: "jenkins".into() };
        assert_eq!(own_path("/ci/jenkins/mcp"), Some((key.clone(), "/mcp".into())));
        let metadata = "/.well-known/oauth-protected-resource";
        let expected = (key, format!("{metadata}/mcp"));
        assert_eq!(own_path(&format!("{metadata}/ci/jenkins/mcp")), Some(expected));
        for path in ["/", "/mcp", "/ci/jenkins", "/ci/jenkins/mcp/", "/a/b/c/mcp", "ci/jenkins/mcp"] {
            assert_eq!(own_path(path), None, "{path}");
        }
    }

    #[test]
    fn other_machines_need_a_proof() {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        let outside: SocketAddr = "192.0.2.1:8080".parse().unwrap();
        let inbound = |address: &str, token: Option<&Path>, keys: Option<&Path>| {
            Access::new(address.parse().unwrap(), token, keys).map(|access| access.inbound())
        };
        for address in ["127.0.0.1:1", "[::1]:1", "127.1.2.3:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(inbound(address, None, None).unwrap(), Inbound::Open);
        }
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1"] {
            assert!(matches!(inbound(address, None, None), Err(AccessError::OpenToOthers(_))), "{address}");
        }
        assert!(matches!(Access::new(outside, Some(&token), None), Err(AccessError::ReadToken { .. })));
        std::fs::write(&token, "short\n").unwrap();
        assert!(matches!(Access::new(outside, Some(&token), None), Err(AccessError::ShortToken(_))));
        assert!(matches!(Access::new(outside, None, Some(directory.path())), Err(AccessError::NoKeys(_))));
        std::fs::write(directory.path().join("token-keys.json"), "{}").unwrap();
        let keys = directory.path().to_owned();
        assert_eq!(inbound("0.0.0.0:1", None, Some(&keys)).unwrap(), Inbound::AsInCluster(keys.clone()));
    }

    #[test]
    fn only_the_token_is_let_in() {
        let token = "0123456789abcdef";
        let access = Access::Token(SecretString::from(token));
        let admits = |values: &[&str]| {
            let mut request = Request::builder();
            for value in values {
                request = request.header("authorization", *value);
            }
            access.admits(&request.body(Body::empty()).unwrap())
        };
        assert!(admits(&["Bearer 0123456789abcdef"]) && admits(&["bearer 0123456789abcdef"]));
        for values in [
            &[][..],
            &["Bearer 0123456789abcde"],
            &["Bearer 0123456789abcdef0"],
            &["Basic 0123456789abcdef"],
            &["0123456789abcdef"],
            &["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"],
        ] {
            assert!(!admits(values), "{values:?}");
        }
    }
}
