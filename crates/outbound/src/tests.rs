//! The HTTP stack against servers that misbehave. `fixtures/` holds certificates of test authorities whose keys were
//! thrown away; the server's and the clients' keys protect nothing.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use test_upstream::{Fault, Faulty};
use tokio::sync::watch;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::{
    testing::{outbound, settings},
    *,
};
use credentials::CredentialSet;

const SECRET: &str = "planted-token";
const TOKEN: HeaderName = HeaderName::from_static("x-token");

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn with_token(segments: &[&str]) -> Request {
    Request::new(Purpose::Look, Method::GET, segments.iter().copied()).credential(TOKEN, &SECRET.into()).unwrap()
}

async fn error_of(fault: Fault, patience: Duration) -> RequestError {
    let deadline = Instant::now() + patience;
    outbound(&Faulty::start(fault).url()).send(&with_token(&["x"]), deadline).await.unwrap_err()
}

#[tokio::test]
async fn sends_what_was_said_below_the_base_path() {
    let server = MockServer::start().await;
    Mock::given(matchers::method("POST"))
        .and(matchers::path("/base/v1/a%20b%2Fc%3F/"))
        .and(matchers::query_param("list", "tr&ue"))
        .and(matchers::header("x-token", SECRET))
        .and(matchers::header("user-agent", USER_AGENT))
        .and(matchers::header("content-type", "application/json"))
        .and(matchers::body_json(serde_json::json!({"a": "planted-token"})))
        .respond_with(ResponseTemplate::new(530).set_body_json(serde_json::json!({"b": 2})))
        .expect(1)
        .mount(&server)
        .await;
    let request = Request::new(Purpose::Look, Method::POST, ["v1", "a b/c?", ""])
        .query("list", &"tr&ue")
        .credential(TOKEN, &SECRET.into())
        .unwrap()
        .json(&serde_json::json!({"a": "planted-token"}), None)
        .unwrap();
    let outbound = outbound(&format!("{}/base/", server.uri()));
    let response = outbound.send(&request, soon()).await.unwrap();
    assert_eq!(response.status.as_u16(), 530);
    assert_eq!(response.json::<serde_json::Value>().unwrap()["b"], 2);
    let shown = format!("{outbound:?} {request:?} {response:?}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn dots_are_no_segments_and_line_breaks_no_credentials() {
    let outbound = outbound("http://127.0.0.1:1");
    for dots in [".", ".."] {
        let request = Request::new(Purpose::Look, Method::GET, ["a", dots, "b"]);
        assert_eq!(outbound.send(&request, soon()).await.unwrap_err(), RequestError::Build);
    }
    let error = Request::new(Purpose::Look, Method::GET, ["a"]).credential(TOKEN, &"a\nb".into()).unwrap_err();
    assert_eq!(error, RequestError::CredentialForm);
}

#[tokio::test]
async fn a_credential_never_follows_a_redirect_elsewhere() {
    let (here, there) = (MockServer::start().await, MockServer::start().await);
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(200)).expect(0).mount(&there).await;
    for code in [301, 302, 303, 307, 308] {
        for location in
            [format!("{}/v1/x", there.uri()), "https://evil.example.com/".into(), "//evil.example.com".into()]
        {
            here.reset().await;
            Mock::given(matchers::any())
                .respond_with(ResponseTemplate::new(code).insert_header("location", location.as_str()))
                .expect(1)
                .mount(&here)
                .await;
            let request = with_token(&["v1", "x"]).redirects(Redirects::SameResource);
            let error = outbound(&here.uri()).send(&request, soon()).await.unwrap_err();
            assert_eq!(error, RequestError::Redirected(Redirect::OtherHost), "{code} {location}");
        }
    }
}

#[tokio::test]
async fn the_same_resource_is_asked_a_few_times_more_if_that_is_wanted() {
    let server = MockServer::start().await;
    let redirect = |to: &str| ResponseTemplate::new(307).insert_header("location", to);
    let mount = async |to: &str, times| {
        server.reset().await;
        Mock::given(matchers::path("/v1/x")).respond_with(redirect(to)).up_to_n_times(times).mount(&server).await;
        Mock::given(matchers::path("/v1/x")).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    };
    let outbound = outbound(&server.uri());
    let asking = with_token(&["v1", "x"]).redirects(Redirects::SameResource);
    mount("/v1/x", 1).await;
    assert_eq!(outbound.send(&asking, soon()).await.unwrap().status, 204);
    mount("/v1/x", 3).await;
    assert_eq!(outbound.send(&asking, soon()).await.unwrap().status, 204);
    let fails = async |request: &Request, led| {
        assert_eq!(outbound.send(request, soon()).await.unwrap_err(), RequestError::Redirected(led));
    };
    mount("/v1/x", 4).await;
    fails(&asking, Redirect::Itself).await;
    mount("/v1/x", 1).await;
    fails(&with_token(&["v1", "x"]), Redirect::Itself).await;
    // As Vault "cleans" a path.
    mount("/v1/other", 1).await;
    fails(&asking, Redirect::OtherPath).await;
}

#[tokio::test]
async fn answers_that_cannot_be_used_have_a_class() {
    // Those that end by themselves come late on a machine that is busy.
    let (now, stay, soon, late) =
        (Duration::ZERO, Duration::from_secs(3), Duration::from_millis(700), Duration::from_secs(60));
    let sends = |text: &str, stay| Fault::Sends(text.into(), stay);
    let of_go = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let of_nginx = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>";
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"a\"";
    let declared = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MAX_BODY_BYTES + 1);
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..9 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.resize(chunked.len() + 0x10_0000, b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    for (fault, patience, error) in [
        (Fault::Hangs, soon, RequestError::Timeout),
        (sends(half, stay), soon, RequestError::Timeout),
        (Fault::Closes, late, RequestError::Interrupted),
        (sends(half, now), late, RequestError::Interrupted),
        (sends("no HTTP at all\r\n\r\n", now), late, RequestError::Interrupted),
        (sends(&declared, stay), late, RequestError::BodyTooLarge),
        (Fault::Sends(chunked, stay), late, RequestError::BodyTooLarge),
        (Fault::Refuses, late, RequestError::Unreachable),
        (sends(of_go, now), late, RequestError::TlsWanted),
        (sends(of_nginx, now), late, RequestError::TlsWanted),
    ] {
        let told = format!("{error:?} within {patience:?}");
        assert_eq!(error_of(fault, patience).await, error, "{told}");
    }
    let nobody = Faulty::start(Fault::Refuses);
    let late = outbound(&nobody.url()).send(&with_token(&["x"]), Instant::now()).await.unwrap_err();
    assert_eq!(late, RequestError::Timeout);
}

#[tokio::test]
async fn pages_and_other_texts_are_no_json() {
    let server = MockServer::start().await;
    for (body, kind, expected) in [
        ("<html>planted-token</html>", "text/html; charset=utf-8", RequestError::Html),
        ("  <!doctype html>planted-token", "application/json", RequestError::Html),
        ("planted-token", "text/plain", RequestError::NotJson),
        ("{\"a\": \"planted-token\"", "application/json", RequestError::Interrupted),
        ("", "application/json", RequestError::NotJson),
    ] {
        server.reset().await;
        Mock::given(matchers::any())
            .respond_with(ResponseTemplate::new(200).set_body_raw(body, kind))
            .mount(&server)
            .await;
        let response = outbound(&server.uri()).send(&with_token(&["x"]), soon()).await.unwrap();
        let error = response.json::<serde_json::Value>().unwrap_err();
        assert_eq!(error, expected);
        assert!(!format!("{error} {error:?} {response:?}").contains(SECRET));
    }
}

#[tokio::test]
async fn addresses_are_checked_when_a_name_is_resolved() {
    let server = MockServer::start().await;
    let port = server.address().port();
    let url = format!("http://localhost:{port}");
    assert!(outbound(&url).send(&with_token(&["x"]), soon()).await.is_ok());
    // The operator's check of the URL is left out, to reach the check of what the name resolves to.
    let strict = OutboundSettings { addresses: AddressPolicy::Cluster, ..settings(&url) };
    let error = Outbound::new(strict).unwrap().send(&with_token(&["x"]), soon()).await.unwrap_err();
    assert_eq!(error, RequestError::AddressRefused("a loopback address"));
    let nowhere = outbound("http://no-such-host.invalid").send(&with_token(&["x"]), soon()).await.unwrap_err();
    assert_eq!(nowhere, RequestError::DnsFailed);
}

#[test]
fn forbidden_addresses_in_urls_are_refused() {
    let strict = OutboundSettings { addresses: AddressPolicy::Cluster, ..settings("http://127.0.0.1:1") };
    assert_eq!(Outbound::new(strict).unwrap_err(), OutboundError::ForbiddenAddress("a loopback address"));
    let proxy = |url: &str| Some(ProxySpec { url: url.into(), no_proxy: None });
    let through =
        OutboundSettings { proxy: proxy("http://169.254.169.254:80"), ..settings("http://vault.example.com") };
    assert_eq!(Outbound::new(through).unwrap_err(), OutboundError::ForbiddenAddress("a link-local address"));
    let wrong = OutboundSettings { proxy: proxy("nothing"), ..settings("http://vault.example.com") };
    assert_eq!(Outbound::new(wrong).unwrap_err(), OutboundError::Proxy);
}

#[tokio::test]
async fn a_proxy_is_used_but_for_what_bypasses_it() {
    let (platform, proxy) = (MockServer::start().await, MockServer::start().await);
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(201)).mount(&platform).await;
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(202)).mount(&proxy).await;
    let status = async |no_proxy: &[&str], url: String| {
        let no_proxy = Some(no_proxy.iter().map(|entry| (*entry).to_owned()).collect());
        let proxy = Some(ProxySpec { url: proxy.uri(), no_proxy });
        let outbound = Outbound::new(OutboundSettings { proxy, ..settings(&url) }).unwrap();
        outbound.send(&with_token(&["x"]), soon()).await.unwrap().status.as_u16()
    };
    assert_eq!(status(&[], platform.uri()).await, 202);
    assert_eq!(status(&["127.0.0.0/8"], platform.uri()).await, 201);
    let by_name = format!("http://localhost:{}", platform.address().port());
    assert_eq!(status(&["localhost"], by_name.clone()).await, 201);
    assert_eq!(status(&["other.example.com"], by_name).await, 202);
    // Behind the proxy the platform's name is not resolved here.
    assert_eq!(status(&[], "http://no-such-host.invalid".into()).await, 202);
}

/// A server whose answer is the certificate that the client showed, or nothing.
fn tls_server(certificate: &'static str, wants_client_certificate: bool) -> SocketAddr {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/server.key")).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if wants_client_certificate {
        let mut authorities = rustls::RootCertStore::empty();
        authorities.add(CertificateDer::from_pem_slice(include_bytes!("fixtures/client-ca.pem")).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(chain, key).unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).is_ok() {
                let shown = stream.conn.peer_certificates().and_then(|chain| chain.first()).map(AsRef::<[u8]>::as_ref);
                let body = shown.unwrap_or_default();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _sent = stream.write_all(&[head.as_bytes(), body].concat());
            } else {
                // What the client sent is read, so that closing doesn't take back what it is told.
                let _read = stream.sock.read(&mut buffer);
            }
        }
    });
    address
}

#[tokio::test]
async fn tls_faults_are_told_apart() {
    let ca = Some(include_str!("fixtures/ca.pem").to_owned());
    let good = tls_server(include_str!("fixtures/server.pem"), false).port();
    let expired = tls_server(include_str!("fixtures/expired.pem"), false).port();
    let plain = MockServer::start().await.address().port();
    let outcome = async |url: String, ca_pem: &Option<String>| {
        let settings = OutboundSettings { ca_pem: ca_pem.clone(), ..settings(&url) };
        Outbound::new(settings)
            .unwrap()
            .send(&with_token(&["x"]), soon())
            .await
            .map(|response| response.status.as_u16())
    };
    let fault = |fault| Err(RequestError::TlsInvalid(fault));
    assert_eq!(outcome(format!("https://localhost:{good}"), &ca).await, Ok(200));
    // With the system's authorities, which don't know the test's.
    assert_eq!(outcome(format!("https://localhost:{good}"), &None).await, fault(TlsFault::UnknownIssuer));
    assert_eq!(outcome(format!("https://127.0.0.1:{good}"), &ca).await, fault(TlsFault::WrongName));
    assert_eq!(outcome(format!("https://localhost:{expired}"), &ca).await, fault(TlsFault::OutsideValidity));
    assert_eq!(outcome(format!("https://localhost:{plain}"), &ca).await, fault(TlsFault::Handshake));
    assert_eq!(outcome("https://localhost:1".into(), &ca).await, Err(RequestError::Unreachable));
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_the_platform_only_and_follows_the_credentials() {
    let set = |generation, pair: Option<(&str, &str)>| {
        let fields = pair.map(|(certificate, key)| {
            [("tls_certificate".to_owned(), certificate.into()), ("tls_key".to_owned(), key.into())].into()
        });
        Some(Arc::new(CredentialSet::new(generation, fields.unwrap_or_default())))
    };
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
    let (first, next) = (include_str!("fixtures/client.pem"), include_str!("fixtures/client-next.pem"));
    let (first_key, next_key) = (include_str!("fixtures/client.key"), include_str!("fixtures/client-next.key"));
    let (current, receiver) = watch::channel(None);
    let certificate = include_str!("fixtures/server.pem");
    let platform = tls_server(certificate, true).port();
    let outbound = Outbound::new(OutboundSettings {
        ca_pem: Some(include_str!("fixtures/ca.pem").to_owned()),
        client_certificate: Some(CredentialsHandle::new(receiver, watch::channel(0).0)),
        limits: OutboundLimits { max_attempts: 1, ..OutboundLimits::default() },
        ..settings(&format!("https://localhost:{platform}"))
    })
    .unwrap();
    let shown = async || Ok(outbound.send(&with_token(&["x"]), soon()).await?.body().to_vec());
    let refused = Err(RequestError::TlsInvalid(TlsFault::ClientCertificate));
    assert_eq!(shown().await, refused, "no credentials");
    current.send_replace(set(1, None));
    assert_eq!(shown().await, refused, "credentials without a certificate");
    current.send_replace(set(2, Some((first, first_key))));
    assert_eq!(shown().await, Ok(der(first)));
    current.send_replace(set(3, Some((next, next_key))));
    assert_eq!(shown().await, Ok(der(next)));
    current.send_replace(set(4, Some((certificate, include_str!("fixtures/server.key")))));
    assert_eq!(shown().await, refused, "a certificate that the platform doesn't know");
    current.send_replace(set(5, Some((first, next_key))));
    assert_eq!(shown().await, Err(RequestError::ClientCertificate));

    // A link of the platform's that leads elsewhere is followed as somebody unknown.
    current.send_replace(set(6, Some((first, first_key))));
    let elsewhere = Url::parse(&format!("https://localhost:{}", tls_server(certificate, true).port())).unwrap();
    let answer = outbound.download(&Download::new(elsewhere, Reading::Whole), soon()).await;
    assert_eq!(answer.unwrap_err(), RequestError::TlsInvalid(TlsFault::ClientCertificate));
}

#[test]
fn a_bundle_without_certificates_is_refused() {
    for text in ["", "no PEM", include_str!("fixtures/server.key")] {
        let broken = OutboundSettings { ca_pem: Some(text.into()), ..settings("https://localhost") };
        assert_eq!(Outbound::new(broken).unwrap_err(), OutboundError::CaBundle, "{text}");
    }
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = OutboundSettings { ca_pem: Some(garbage.into()), ..settings("https://localhost") };
    assert_eq!(Outbound::new(broken).unwrap_err(), OutboundError::CaBundle);
}

fn built(uri: &str, repeat: Repeat) -> BuiltRequest {
    let request = http::Request::post(uri).header("authorization", SECRET).body(Bytes::from_static(b"{\"a\":1}"));
    BuiltRequest::new(request.unwrap(), Purpose::Change, repeat, false)
}

#[tokio::test]
async fn a_built_request_is_sent_as_it_is_and_to_its_own_origin_only() {
    let (here, there) = (MockServer::start().await, MockServer::start().await);
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(200)).expect(0).mount(&there).await;
    Mock::given(matchers::method("POST"))
        .and(matchers::path("/a/b"))
        .and(matchers::header("authorization", SECRET))
        .and(matchers::body_string("{\"a\":1}"))
        .respond_with(ResponseTemplate::new(400).set_body_string("no"))
        .expect(1)
        .mount(&here)
        .await;
    let outbound = outbound(&here.uri());
    let request = built(&format!("{}/a/b", here.uri()), Repeat::Safe);
    let answer = outbound.send_built(&request, soon()).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body().as_ref()), (400, b"no".as_ref()));
    let elsewhere = built(&format!("{}/a/b", there.uri()), Repeat::Safe);
    assert_eq!(outbound.send_built(&elsewhere, soon()).await.unwrap_err(), RequestError::Build);
    assert!(!format!("{request:?}").contains(SECRET));
}

#[tokio::test]
async fn a_built_request_follows_no_redirect_and_is_repeated_as_it_says() {
    let server = MockServer::start().await;
    let uri = format!("{}/a", server.uri());
    let redirect = ResponseTemplate::new(307).insert_header("location", uri.as_str());
    Mock::given(matchers::any()).respond_with(redirect).expect(1).mount(&server).await;
    let outbound = outbound(&server.uri());
    let error = outbound.send_built(&built(&uri, Repeat::Safe), soon()).await.unwrap_err();
    assert_eq!(error, RequestError::Redirected(Redirect::Itself));
    for (repeat, times) in [(Repeat::Safe, 2), (Repeat::IfNotTaken, 1)] {
        server.reset().await;
        let failing = Mock::given(matchers::any()).respond_with(ResponseTemplate::new(503)).up_to_n_times(1);
        failing.mount(&server).await;
        Mock::given(matchers::any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
        outbound.send_built(&built(&uri, repeat), soon()).await.unwrap();
        assert_eq!(server.received_requests().await.unwrap().len(), times, "{repeat:?}");
    }
}
