//! What agents are told when Jenkins says no.

use serde_json::json;

use super::{double::Double, with_token};
use tools::ErrorCode::{
    self, Conflict, CredentialsUnavailable, InvalidArgument, NotFound, PermissionDenied, PlatformError,
    PlatformUnavailable, RateLimited,
};

/// What Jenkins shows of an exception, as of a user whom its directory doesn't find any more (azure-ad-plugin #661).
const OOPS: &str = "<h2>A problem occurred while processing the request.</h2>\
    <p style=\"text-align: center\">Logging ID=c04c1a30-71d3-46bc-b2b3-ca197c1e7e0e</p>";

#[tokio::test]
async fn each_answer_has_its_words() {
    let stack = "<h2>java.lang.IllegalStateException: planted\n\tat hudson.model.Run.execute(Run.java:1)</h2>";
    let table: &[(u16, &str, ErrorCode, &str)] = &[
        (400, "plain is not parameterized", InvalidArgument, "takes no parameters"),
        (400, "something else", InvalidArgument, "refuses to trigger"),
        (401, "", CredentialsUnavailable, "refused the connector's user or token"),
        (403, "", PermissionDenied, "may not trigger a build of plain"),
        (409, "", Conflict, "disabled"),
        (429, "", RateLimited, "limited"),
        (500, stack, PlatformError, "failed internally"),
        (500, "evil.planted.Exception", PlatformError, "failed internally to trigger a build of plain"),
        (500, OOPS, PlatformError, "under the ID c04c1a30-71d3-46bc-b2b3-ca197c1e7e0e"),
        (502, "", PlatformUnavailable, "gave up (502)"),
        (503, "Jenkins is getting ready to work", PlatformUnavailable, "is starting"),
        (418, "", PlatformError, "unexpected status 418"),
    ];
    for (status, body, code, words) in table {
        let double = Double::start().await;
        double.want("job/plain/build", *status, body);
        let connector = with_token(&double);
        let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
        assert_eq!(error.code, *code, "{status} {body}: {error:?}");
        assert!(error.message.contains(words), "{status} {body}: {error:?}");
        let class = (*body == stack).then(|| vec!["java.lang.IllegalStateException".to_owned()]);
        assert_eq!(error.platform_words, class, "{status} {body}");
        assert_eq!(double.count("POST", "job/plain/build"), 1, "{status}");
    }
}

/// A proxy's own refusals, as nginx, Envoy and oauth2-proxy write them.
const FOREIGN: [(u16, &str, &str); 4] = [
    (
        401,
        "text/html",
        "<html><head><title>401 Authorization Required</title></head><center>nginx/1.27.1</center></html>",
    ),
    (403, "text/plain", "RBAC: access denied"),
    (403, "application/json", "{}"),
    (404, "text/html", "<html><center><h1>404 Not Found</h1></center><hr><center>nginx</center></html>"),
];

#[tokio::test]
async fn what_a_proxy_refuses_is_not_said_of_jenkins() {
    for (status, kind, body) in FOREIGN {
        let double = Double::start().await;
        let connector = with_token(&double);
        double.foreign("computer/api/json", status, kind, body);
        let error = connector.call("list_jenkins_nodes", json!({})).await.unwrap_err();
        assert_eq!(error.code, PlatformError, "{status}: {error:?}");
        assert!(error.message.contains(&format!("answers with status {status}")), "{error:?}");
        // The credentials are good: other tools go on, and the probe says so.
        connector.call("get_jenkins_job", json!({ "job": "plain" })).await.unwrap();
        let report = connector.probe().await;
        assert_eq!((report.reason.as_str(), report.credentials), ("Healthy", kit::CredentialVerdict::Accepted));
        // In front of everything it says nothing about the credentials.
        double.foreign("whoAmI/api/json", status, kind, body);
        let report = connector.probe().await;
        assert_eq!((report.reason.as_str(), report.credentials), ("NotJenkins", kit::CredentialVerdict::Unknown));
    }
}

#[tokio::test]
async fn a_missing_job_is_told_from_a_missing_build() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let error = connector.call("get_jenkins_job", json!({ "job": "team/wep" })).await.unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (NotFound, Some("job")));
    assert_eq!(error.platform_words, Some(vec!["team/web".to_owned()]));
    let missing = json!({ "job": "team/web", "build": 99 });
    let error = connector.call("get_jenkins_build_status", missing).await.unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (NotFound, Some("build")));
    assert!(error.remedy.unwrap().contains("newest builds are 2, 1"));
    let none = json!({ "job": "plain", "build": "lastFailed" });
    let error = connector.call("get_jenkins_failure_report", none).await.unwrap_err();
    assert!(error.message.contains("the last failed build of plain"), "{error:?}");
    let error = connector.call("get_jenkins_build_log", json!({ "job": "team/shop/feature/login" })).await.unwrap_err();
    assert!(error.platform_words.unwrap().concat().contains("%2F"));
    double.change(|state| state.permissions.remove("Job/Read"));
    let error = connector.call("get_jenkins_job", json!({ "job": "team/web" })).await.unwrap_err();
    assert!(error.message.contains("may not see it"), "{error:?}");
}

#[tokio::test]
async fn arguments_out_of_their_bounds_are_named() {
    let double = Double::start().await;
    let connector = with_token(&double);
    for (tool, arguments, argument) in [
        ("search_jenkins_jobs", json!({ "limit": 201 }), "limit"),
        ("search_jenkins_jobs", json!({ "depth": 6 }), "depth"),
        ("get_jenkins_job", json!({ "job": "https://jenkins/view/all" }), "job"),
        ("get_jenkins_build_log", json!({ "job": "plain", "tail_lines": 0 }), "tail_lines"),
        ("get_jenkins_build_log", json!({ "job": "plain", "max_bytes": 1 }), "max_bytes"),
        ("trigger_jenkins_build", json!({ "job": "plain", "wait_seconds": 121 }), "wait_seconds"),
        ("list_jenkins_artifacts", json!({ "job": "plain", "cursor": "***" }), "cursor"),
    ] {
        let error = connector.call(tool, arguments).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (InvalidArgument, Some(argument)), "{tool}");
    }
    assert_eq!(double.total(), 0);
}
