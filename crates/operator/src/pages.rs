//! Lists in pages of bounded bytes. A page is asked for by a number of objects, and an object may have 1.5 MB or more: a
//! hundred of them would not fit beside the rest. So an answer that is too large is thrown away, and the same page asked
//! for anew with fewer objects.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use tower::{BoxError, service_fn};
use tracing::debug;

/// Objects that are listed at a time, where they are as small as most.
pub const MOST: u32 = 100;
/// Bytes of a page of more than one object.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// How much smaller the next page is than one that was too large.
const STEP: u32 = 8;

/// How many objects of a kind fit into a page, as far as it is known, by the path that they are listed at.
#[derive(Clone, Default)]
struct Fitting(Arc<Mutex<HashMap<String, u32>>>);

impl Fitting {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, path: &str, asked: u32) -> u32 {
        self.lock().get(path).copied().unwrap_or(MOST).min(asked)
    }

    /// A page of so many objects was too large, or had so many bytes.
    fn learn(&self, path: &str, limit: u32, bytes: Option<usize>) -> u32 {
        let next = match bytes {
            None => (limit / STEP).max(1),
            // As large again by a step, it would fit.
            Some(bytes) if bytes < MAX_BYTES / 16 => limit.saturating_mul(STEP).min(MOST),
            Some(_) => limit,
        };
        let mut known = self.lock();
        if next == MOST {
            known.remove(path);
        } else {
            known.insert(path.to_owned(), next);
        }
        next
    }
}

/// A client through which lists come in pages of bounded bytes. All else passes as it is.
pub fn bounded(client: &Client) -> Client {
    let (inner, fitting) = (client.clone(), Fitting::default());
    let send = move |request: Request<Body>| {
        let (inner, fitting) = (inner.clone(), fitting.clone());
        Box::pin(async move { send(&inner, &fitting, request).await })
    };
    Client::new(service_fn(send), client.default_namespace())
}

async fn send(client: &Client, fitting: &Fitting, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let Some(asked) = page_size(&request) else { return Ok(client.send(request).await?) };
    let (parts, _) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let mut limit = fitting.of(&path, asked);
    loop {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = with_limit(&parts.uri, limit)?;
        *request.headers_mut() = parts.headers.clone();
        let (head, body) = client.send(request).await?.into_parts();
        // One object alone is taken as it is: there is no smaller page.
        let bound = if limit > 1 { MAX_BYTES } else { usize::MAX };
        if let Some(bytes) = collect(body, bound).await? {
            if head.status.is_success() {
                fitting.learn(&path, limit, Some(bytes.len()));
            }
            return Ok(Response::from_parts(head, Body::from(bytes)));
        }
        debug!(path, limit, "a page of a list was too large; it is asked for anew with fewer objects");
        limit = fitting.learn(&path, limit, None);
    }
}

/// The body; nothing if it is larger than `bound`. Then the rest is not read.
async fn collect(mut body: Body, bound: usize) -> Result<Option<Vec<u8>>, BoxError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if bytes.len().saturating_add(data.len()) > bound {
                return Ok(None);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Some(bytes))
}

/// How many objects a list asks for; nothing for anything but a list in pages.
fn page_size<B>(request: &Request<B>) -> Option<u32> {
    let pairs = || request.uri().query().unwrap_or_default().split('&');
    let watches = pairs().any(|pair| pair.starts_with("watch="));
    let limit = pairs().find_map(|pair| pair.strip_prefix("limit="))?.parse().ok()?;
    (request.method() == Method::GET && !watches && limit > 0).then_some(limit)
}

fn with_limit(uri: &Uri, limit: u32) -> Result<Uri, BoxError> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let others = pairs.filter(|pair| !pair.starts_with("limit=")).map(|pair| format!("&{pair}"));
    let path_and_query = format!("{}?limit={limit}{}", uri.path(), others.collect::<String>());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse()?);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, api::ListParams};
    use serde_json::json;

    /// A client of an API server with `count` ConfigMaps of which those at `large` have 1 MB, and the limits that it was
    /// asked for.
    fn server(count: usize, large: std::ops::Range<usize>) -> (Client, Arc<Mutex<Vec<usize>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let answer = move |request: Request<Body>| {
            let value = |name: &str| {
                let query = request.uri().query().unwrap().to_owned();
                query.split('&').find_map(|pair| pair.strip_prefix(name)).and_then(|text| text.parse::<usize>().ok())
            };
            let (limit, from) = (value("limit=").unwrap(), value("continue=").unwrap_or(0));
            seen.lock().unwrap().push(limit);
            let to = (from + limit).min(count);
            let item = |index: usize| {
                let text = "x".repeat(if large.contains(&index) { 1_000_000 } else { 100 });
                json!({"metadata": {"name": format!("m{index}")}, "data": {"a": text}})
            };
            let next = if to < count { to.to_string() } else { String::new() };
            let list = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"continue": next},
                              "items": (from..to).map(item).collect::<Vec<_>>()});
            let body = Full::new(Bytes::from(list.to_string()));
            async move { Ok::<_, std::convert::Infallible>(Response::new(body)) }
        };
        (bounded(&Client::new(service_fn(answer), "default")), asked)
    }

    async fn listed(client: Client) -> Vec<String> {
        let api = Api::<ConfigMap>::all(client);
        let (mut names, mut parameters) = (Vec::new(), ListParams::default().limit(MOST));
        loop {
            let page = api.list(&parameters).await.unwrap();
            names.extend(page.items.into_iter().filter_map(|map| map.metadata.name));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return names,
            }
        }
    }

    #[tokio::test]
    async fn large_objects_come_in_small_pages_and_none_is_missed() {
        for (count, large) in [(0, 0..0), (250, 0..0), (250, 120..140), (30, 0..30), (3, 2..3)] {
            let (client, asked) = server(count, large.clone());
            let names: Vec<String> = (0..count).map(|index| format!("m{index}")).collect();
            assert_eq!(listed(client).await, names, "{count} {large:?}");
            let asked = asked.lock().unwrap().clone();
            if large.is_empty() {
                assert_eq!(asked.len(), count.div_ceil(100).max(1), "small ones come as before: {asked:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_was_learnt_is_kept_until_objects_are_small_again() {
        let (client, asked) = server(400, 0..10);
        listed(client).await;
        let asked = asked.lock().unwrap().clone();
        let (too_large, alone, small) = ([100, 12], [1; 11], [8, 64, 100, 100, 100, 100]);
        assert_eq!(asked, [&too_large[..], &alone, &small].concat());
    }

    #[test]
    fn only_lists_in_pages_are_touched() {
        let size = |method: &str, uri: &str| page_size(&Request::builder().method(method).uri(uri).body(()).unwrap());
        assert_eq!(size("GET", "/api/v1/pods?&limit=100&labelSelector=a%3Db"), Some(100));
        for (method, uri) in [
            ("GET", "/api/v1/pods"),
            ("GET", "/api/v1/pods?limit=100&watch=true"),
            ("GET", "/api/v1/namespaces/a/pods/b"),
            ("DELETE", "/api/v1/pods?limit=100"),
        ] {
            assert_eq!(size(method, uri), None, "{method} {uri}");
        }
        let uri: Uri = "http://api:6443/api/v1/pods?&limit=100&labelSelector=a%3Db&continue=x".parse().unwrap();
        let expected = "http://api:6443/api/v1/pods?limit=7&labelSelector=a%3Db&continue=x";
        assert_eq!(with_limit(&uri, 7).unwrap().to_string(), expected);
    }
}
