//! What agents are told when CircleCI says no.

use std::time::Duration;

use serde_json::json;

use super::{TOKEN, cloud, connect, double::Double, good, world::id};
use kit::CredentialVerdict;
use tools::ErrorCode::{
    self, Conflict, CredentialsUnavailable, InvalidArgument, NotFound, PermissionDenied, PlatformError,
    PlatformUnavailable, RateLimited,
};

#[tokio::test]
async fn each_answer_has_its_words() {
    let table: &[(u16, &str, ErrorCode, &str)] = &[
        (400, "Invalid page size", PlatformError, "refuses the page"),
        (400, "Workflow must be in a terminal state to be rerun", Conflict, "it has not ended"),
        (400, "Branch not found", InvalidArgument, "no such branch"),
        (400, "something else", InvalidArgument, "refuses to read the workflow as asked"),
        (403, "x", PermissionDenied, "may not read the workflow"),
        (404, "x", NotFound, "no workflow with that id"),
        (404, "Branch not found.", InvalidArgument, "no such branch"),
        (409, "x", Conflict, "another state"),
        (410, "x", PlatformError, "retired by CircleCI"),
        (418, "x", PlatformError, "unexpected status 418"),
        (422, "x", InvalidArgument, "was refused"),
        (500, "x", PlatformError, "internal error"),
        (503, "x", PlatformUnavailable, "not available (503)"),
    ];
    for (status, message, expected, words) in table {
        let double = Double::start().await;
        double.fail(&format!("v2/workflow/{}", id('b', 1)), *status, message);
        let error =
            cloud(&double).call("get_circleci_workflow", json!({ "workflow_id": id('b', 1) })).await.unwrap_err();
        assert_eq!(error.code, *expected, "{status}: {error:?}");
        assert!(error.message.contains(words), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn a_failure_of_v3_is_told_with_its_id_and_nothing_else() {
    let double = Double::start().await;
    double.fail(&format!("v3/jobs/{}", id('c', 32)), 500, "x");
    let error = cloud(&double).call("get_circleci_job", json!({ "job_id": id('c', 32) })).await.unwrap_err();
    assert!(error.message.contains("error id 0f8d4c5e-2b8e-4f5a-9c52-1f2a3b4c5d6e"), "{error:?}");
}

#[tokio::test]
async fn a_project_that_is_not_there_is_told_from_an_id() {
    let double = Double::start().await;
    let error =
        cloud(&double).call("get_circleci_insights", json!({ "project_slug": "gh/acme/gone" })).await.unwrap_err();
    assert_eq!(error.message, "there is no such project, or the connector's token can't see it");
    assert_eq!(error.platform_words, Some(vec!["gh/acme/gone".to_owned()]));
    // The three parts are encoded one by one: the same project by a name with an odd character is asked for as such.
    let odd = cloud(&double).call("get_circleci_insights", json!({ "project_slug": "gh/acme/we+b é" })).await;
    assert_eq!(odd.unwrap_err().code, InvalidArgument);
    let odd = cloud(&double).call("get_circleci_flaky_tests", json!({ "project_slug": "gh/acmé/web" })).await;
    assert_eq!(odd.unwrap_err().code, NotFound);
    assert!(
        double.seen().iter().any(|one| one.path == "v2/insights/gh/acm%C3%A9/web/flaky-tests"),
        "{:?}",
        double.seen()
    );
}

#[tokio::test]
async fn a_429_keeps_the_connector_quiet_for_as_long_as_it_says() {
    for (headers, wait) in [
        (&[("retry-after", "40")][..], 40),
        (&[("ratelimit-limit", "100"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "30")], 30),
        (&[("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "20")], 20),
    ] {
        let double = Double::start().await;
        let path = format!("v2/workflow/{}", id('b', 1));
        double.want(&path, 429, headers, &json!({ "message": "slow down" }));
        let connector = cloud(&double);
        let call = || connector.call("get_circleci_workflow", json!({ "workflow_id": id('b', 1) }));
        let first = call().await.unwrap_err();
        assert_eq!(first.code, RateLimited, "{headers:?}");
        let asked = double.total();
        let second = call().await.unwrap_err();
        let said = second.retry_after_seconds.unwrap_or_default();
        assert!((wait - 3..=wait).contains(&said), "{headers:?}: {second:?}");
        assert_eq!(double.total(), asked, "{headers:?}: it asks all the same");
        // The probe asks at any time.
        assert_eq!(connector.probe().await.identity.as_deref(), Some("bot"));
    }
}

#[tokio::test]
async fn an_account_that_is_spent_is_left_alone_before_it_says_429() {
    let double = Double::start().await;
    double.change(|state| {
        state.headers = [("limit", "100"), ("remaining", "0"), ("reset", "60")]
            .map(|(name, value)| (Box::leak(format!("ratelimit-{name}").into_boxed_str()) as &str, value.to_owned()))
            .into();
    });
    let connector = cloud(&double);
    good(&connector, "list_circleci_projects", json!({})).await;
    let error = connector.call("list_circleci_projects", json!({})).await.unwrap_err();
    assert_eq!((error.code, double.total()), (RateLimited, 1));
    // Another token has an account of its own.
    double.change(|state| state.tokens.push("planted-other".into()));
    connector.mount(2, &[("token", "planted-other")]);
    good(&connector, "list_circleci_projects", json!({})).await;
}

#[tokio::test]
async fn calls_are_spread_when_little_is_left_and_one_that_has_no_time_for_that_is_refused() {
    let double = Double::start().await;
    let left = |remaining: u32| {
        vec![
            ("x-ratelimit-limit", "100".to_owned()),
            ("x-ratelimit-remaining", remaining.to_string()),
            ("x-ratelimit-reset", "60".to_owned()),
        ]
    };
    double.change(|state| state.headers = left(9));
    let mut connector = cloud(&double);
    for _ in 0..2 {
        good(&connector, "list_circleci_projects", json!({})).await;
    }
    // The next is due in some seconds, for which this call has no time.
    connector.patience = Duration::from_secs(2);
    let call = || connector.call("list_circleci_projects", json!({}));
    let error = call().await.unwrap_err();
    assert_eq!((error.code, double.total()), (RateLimited, 2), "{error:?}");
    assert!((4..=8).contains(&error.retry_after_seconds.unwrap()), "{error:?}");
    let pace = connector.platform.outbound()[0].pace;
    assert!(pace.requests_per_minute.is_some_and(|rate| (8.0..12.0).contains(&rate)), "{pace:?}");
    // The probe goes on, and finds out that there is enough again.
    double.change(|state| state.headers = left(90));
    assert_eq!(connector.probe().await.reason, "Healthy");
    call().await.unwrap();
}

#[tokio::test]
async fn a_login_page_is_known_as_one() {
    let double = Double::start().await;
    double.page("v1.1/projects", 200);
    let error = cloud(&double).call("list_circleci_projects", json!({})).await.unwrap_err();
    assert!(error.message.contains("does not answer as the API of CircleCI"), "{}", error.message);
}

/// promiseofcake/circleci-trigger-action #186, discuss.circleci.com/t/33558.
#[tokio::test]
async fn a_project_that_is_hidden_from_a_revoked_token_is_not_told_as_missing() {
    for is_server in [false, true] {
        let double = if is_server { Double::start_server().await } else { Double::start().await };
        let connector = if is_server { super::server(&double) } else { cloud(&double) };
        let runs = || connector.call("list_circleci_runs", json!({ "project_slug": "gh/acme/web" }));
        runs().await.unwrap();
        double.change(|state| state.tokens.clear());
        for (tool, more) in [
            ("list_circleci_runs", json!({})),
            ("get_circleci_job", json!({ "job_number": 32 })),
            ("get_circleci_job_artifacts", json!({ "job_number": 32 })),
            ("trigger_circleci_pipeline", json!({ "branch": "main" })),
        ] {
            let mut arguments = json!({ "project_slug": "gh/acme/web" });
            arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let error = connector.call(tool, arguments).await.unwrap_err();
            assert_eq!(error.code, CredentialsUnavailable, "{is_server} {tool}: {error:?}");
        }
        double.change(|state| state.tokens.push(TOKEN.into()));
        runs().await.unwrap();
    }
    // What isn't there is no reason to ask about a good token again and again.
    let double = Double::start().await;
    let connector = cloud(&double);
    for _ in 0..3 {
        let gone =
            connector.call("get_circleci_insights", json!({ "project_slug": "gh/acme/gone" })).await.unwrap_err();
        assert_eq!(gone.code, NotFound);
    }
    assert_eq!(double.count("GET", "v2/me"), 1);
}

/// eddiewebb/circleci-queue #106; GitHub's other refusals by its own documentation (docs.github.com/rest, troubleshooting).
#[tokio::test]
async fn what_github_refuses_circleci_is_told_as_that() {
    for refusal in
        [(404, "Not Found"), (403, "Resource protected by organization SAML enforcement."), (401, "Bad credentials")]
    {
        let double = Double::start().await;
        double.change(|state| state.refused_by_github = Some(refusal));
        let connector =
            connect(&double.uri(), &[("token", TOKEN)], &json!({ "apiVersion": "V2", "projects": ["gh/acme/web"] }));
        for (tool, more) in [
            ("list_circleci_runs", json!({})),
            ("get_circleci_job", json!({ "job_number": 32 })),
            ("trigger_circleci_pipeline", json!({ "branch": "main" })),
        ] {
            let mut arguments = json!({ "project_slug": "gh/acme/web" });
            arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let error = connector.call(tool, arguments).await.unwrap_err();
            assert_eq!(error.code, NotFound, "{refusal:?} {tool}: {error:?}");
            assert!(error.message.starts_with("GitHub does not show CircleCI"), "{refusal:?} {tool}: {error:?}");
        }
        let report = connector.probe().await;
        assert_eq!((report.reason.as_str(), report.credentials), ("ProjectNotVisible", CredentialVerdict::Accepted));
        assert!(report.message.contains("GitHub"), "{report:?}");
        // What belongs to no repository goes on, with the same token.
        good(&connector, "list_circleci_projects", json!({})).await;
        assert_eq!(*connector.reread.borrow(), 0, "{refusal:?}");
    }
}

#[tokio::test]
async fn a_newer_token_is_taken_when_one_is_revoked() {
    let double = Double::start().await;
    let mut connector = connect(&double.uri(), &[("token", "planted-old")], &json!({ "apiVersion": "V3" }));
    let call = connector.call("list_circleci_projects", json!({}));
    let rotate = connector.mount_when_asked(2, &[("token", TOKEN)]);
    let (answer, ()) = tokio::join!(call, rotate);
    assert_eq!(answer.unwrap()["items"][0]["slug"], "bb/other/api");
    assert_eq!(*connector.reread.borrow_and_update(), 1);
    double.change(|state| state.tokens.clear());
    let error = connector.call("list_circleci_projects", json!({})).await.unwrap_err();
    assert_eq!(error.code, CredentialsUnavailable);
}
