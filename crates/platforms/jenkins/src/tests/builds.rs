//! From a trigger through the queue to a build's number, and what can go wrong on the way.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    double::{Double, KEPT, Wanted},
    good, with_token,
};
use platform_testing::Connected;
use tools::ErrorCode;

#[tokio::test]
async fn a_trigger_ends_with_the_number_of_the_build() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let started = good(&connector, "trigger_jenkins_build", json!({ "job": "plain" })).await;
    assert_eq!(
        (&started["state"], &started["build"], &started["queue_id"]),
        (&json!("started"), &json!(4), &json!(41))
    );
    assert_eq!(double.count("POST", "job/plain/build"), 1);
    let item = good(&connector, "get_jenkins_queue_item", json!({ "id": 41 })).await;
    assert_eq!((&item["state"], &item["build"], &item["job"]), (&json!("started"), &json!(4), &json!("plain")));
    double.change(|state| state.now += KEPT + 1);
    let error = connector.call("get_jenkins_queue_item", json!({ "id": 41 })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert!(error.remedy.unwrap().contains("five minutes"));
}

#[tokio::test]
async fn parameters_are_sent_as_a_form_and_checked_before() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let trigger = |parameters: Value| json!({ "job": "team/web", "parameters": parameters, "wait_seconds": 0 });
    for (parameters, text, word) in [
        (json!({ "ENV": "test" }), "has no such choice", Some("prod")),
        (json!({ "env": "dev" }), "is not declared", Some("ENV")),
        (json!({ "DRY_RUN": "perhaps" }), "allowed are true and false", None),
    ] {
        let error = connector.call("trigger_jenkins_build", trigger(parameters)).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::InvalidArgument, Some("parameters")));
        let words = error.platform_words.as_deref().unwrap_or_default();
        assert!(error.message.contains(text) && word.is_none_or(|word| words.contains(&word.to_owned())), "{error:?}");
    }
    let error = connector.call("trigger_jenkins_build", json!({ "job": "plain", "parameters": { "A": 1 } })).await;
    assert!(error.unwrap_err().message.contains("takes no parameters"));
    assert_eq!(double.count("POST", ""), 0, "something was sent");
    good(&connector, "trigger_jenkins_build", trigger(json!({ "ENV": "prod", "DRY_RUN": false }))).await;
    let expected = [("ENV", "prod"), ("DRY_RUN", "false")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(double.form("job/team/job/web/buildWithParameters"), expected);
    // Without values a job with parameters still wants the form.
    good(&connector, "trigger_jenkins_build", trigger(json!({}))).await;
    assert_eq!(double.count("POST", "buildWithParameters"), 2);
}

#[tokio::test]
async fn a_preview_reads_and_masks() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let arguments = json!({ "job": "team/web", "parameters": { "ENV": "prod", "DEPLOY_TOKEN": "planted-mine" } });
    let preview = connector.preview("trigger_jenkins_build", arguments).await.unwrap();
    assert_eq!(preview.state["parameters"], json!({ "ENV": "prod", "DEPLOY_TOKEN": "********" }));
    assert_eq!(preview.state["next_build_number"], 3);
    assert_eq!(double.count("POST", ""), 0);
}

#[tokio::test]
async fn a_wait_that_is_over_leaves_the_id_to_go_on_with() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.change(|state| state.looks_until_start = None);
    let queued = good(&connector, "trigger_jenkins_build", json!({ "job": "plain", "wait_seconds": 0 })).await;
    assert_eq!(
        (&queued["state"], &queued["item"]["why"]),
        (&json!("queued"), &json!("Waiting for next available executor"))
    );
    assert!(queued["build"].is_null());
    let list = good(&connector, "list_jenkins_queue", json!({})).await;
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["state"]), (&queued["queue_id"], &json!("waiting")));
    // A second one with the same parameters is merged into the first.
    let merged = good(&connector, "trigger_jenkins_build", json!({ "job": "plain", "wait_seconds": 0 })).await;
    assert_eq!(merged["queue_id"], queued["queue_id"]);
    let hints = |told: &Value| told["hints"].to_string();
    assert!(!hints(&queued).contains("already") && hints(&merged).contains("this may be one"), "{queued} {merged}");
    let with = json!({ "job": "team/web", "parameters": { "ENV": "prod", "DEPLOY_TOKEN": "x" }, "wait_seconds": 0 });
    let queued = good(&connector, "trigger_jenkins_build", with.clone()).await;
    let merged = good(&connector, "trigger_jenkins_build", with).await;
    assert_eq!(merged["queue_id"], queued["queue_id"]);
    assert!(!hints(&queued).contains("already") && hints(&merged).contains("this is one"), "{queued} {merged}");
    double.change(|state| state.queue.values_mut().for_each(|item| item.stuck = true));
    let stuck = good(&connector, "trigger_jenkins_build", json!({ "job": "plain", "wait_seconds": 0 })).await;
    assert!(stuck["hints"].to_string().contains("backed up"), "{stuck}");
}

#[tokio::test]
async fn the_queue_is_looked_at_again_after_two_seconds() {
    let double = Double::start().await;
    let mut connector = with_token(&double);
    connector.patience = Duration::from_secs(6);
    double.change(|state| state.looks_until_start = Some(1));
    let begun = std::time::Instant::now();
    let started = good(&connector, "trigger_jenkins_build", json!({ "job": "plain" })).await;
    assert_eq!(started["state"], "started");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(double.count("GET", "queue/item/41/api/json"), 2);
}

#[tokio::test]
async fn a_queue_that_hangs_does_not_lose_the_id() {
    let double = Double::start().await;
    double.want_with("queue/item/41/api/json", |wanted| Wanted { delay: Duration::from_secs(5), ..wanted });
    let queued = good(&with_token(&double), "trigger_jenkins_build", json!({ "job": "plain" })).await;
    assert_eq!((&queued["state"], &queued["queue_id"]), (&json!("queued"), &json!(41)));
}

#[tokio::test]
async fn an_item_that_is_cancelled_or_gone_is_told() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let item = json!({ "id": 41, "cancelled": true, "why": null, "inQueueSince": 1 }).to_string();
    double.want_with("queue/item/41/api/json", |wanted| Wanted { kind: "application/json", body: item, ..wanted });
    let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains("cancelled before it started"));
    // The item is forgotten, and its build tells from which item it came.
    let double = Double::start().await;
    double.want("queue/item/41/api/json", 404, "");
    double.build("plain", 3, |build| build.queue_id = 41);
    let started = good(&with_token(&double), "trigger_jenkins_build", json!({ "job": "plain" })).await;
    assert_eq!((&started["state"], &started["build"]), (&json!("started"), &json!(3)));
}

#[tokio::test]
async fn what_can_not_be_built_is_not_sent() {
    let double = Double::start().await;
    let connector = with_token(&double);
    for (job, code) in [("team/off", ErrorCode::Conflict), ("team", ErrorCode::InvalidArgument)] {
        let error = connector.call("trigger_jenkins_build", json!({ "job": job })).await.unwrap_err();
        assert_eq!(error.code, code, "{job}");
    }
    assert_eq!(double.count("POST", ""), 0);
    // It was disabled meanwhile; and something in Jenkins queued nothing.
    double.want("job/plain/build", 409, "");
    let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
    assert!(error.message.contains("disabled"), "{error:?}");
    double.want_with("job/plain/build", |wanted| Wanted {
        status: 302,
        headers: vec![("location", ".".into())],
        ..wanted
    });
    let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
    assert!(error.message.contains("not known whether the build was queued"), "{error:?}");
}

#[tokio::test]
async fn what_became_of_a_form_without_an_item_is_looked_for() {
    // A proxy takes the header out (jenkinsapi #351), or Jenkins leads to the job (jenkinsapi #434).
    for (status, location) in [(201, None), (302, Some("http://wrong.example.com/jenkins/job/plain/"))] {
        let double = Double::start().await;
        let connector = with_token(&double);
        let headers = location.map(|location| ("location", location.to_owned())).into_iter().collect();
        double.want_with("job/plain/build", |wanted| Wanted { status, headers, ..wanted });
        let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
        assert!(error.message.contains("not known whether the build was queued"), "{status}: {error:?}");
        assert!(error.remedy.as_deref().unwrap().contains("list_jenkins_queue"), "{error:?}");
        assert_eq!(double.count("POST", "job/plain/build"), 1);
    }
}

/// The job of a branch says that it can be built, though its project is disabled (jenkins #26117).
#[tokio::test]
async fn a_branch_of_a_disabled_project_is_not_built() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let trigger = json!({ "job": "team/shop/feature%2Flogin", "wait_seconds": 0 });
    double.change(|state| state.jobs.get_mut("team/shop").unwrap().disabled = true);
    let error = connector.call("trigger_jenkins_build", trigger.clone()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains("queued nothing: team/shop") && error.message.contains("disabled"), "{error:?}");
    double.change(|state| state.jobs.get_mut("team/shop").unwrap().disabled = false);
    good(&connector, "trigger_jenkins_build", trigger).await;
}

#[tokio::test]
async fn a_form_that_is_sent_on_was_not_taken() {
    for (status, location, words) in [
        (308, "https://127.0.0.1/jenkins/job/plain/build", "redirect to https"),
        (301, "https://127.0.0.1/jenkins/job/plain/build", "redirect to https"),
        (302, "/jenkins/securityRealm/commenceLogin?from=%2Fjob%2Fplain%2F", "login page"),
        (302, "https://sso.example.com/realms/x/protocol/openid-connect/auth", "login page"),
        (307, "/elsewhere", "a redirect, which is not followed"),
    ] {
        let double = Double::start().await;
        double.want_with("job/plain/build", |wanted| Wanted {
            status,
            headers: vec![("location", location.to_owned())],
            of_jenkins: false,
            ..wanted
        });
        let connector = with_token(&double);
        let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
        assert!(error.message.contains(words), "{status} {location}: {error:?}");
        assert_eq!(double.count("POST", "job/plain/build"), 1);
    }
}

/// Jenkins leads from a deed to a page of its own, in whose path there may be any name.
#[tokio::test]
async fn a_page_of_a_job_that_is_called_as_a_login_is_none() {
    for name in ["login", "sso", "authorize"] {
        let double = Double::start().await;
        double.change(|state| {
            let plain = state.jobs.get("plain").cloned().unwrap();
            state.jobs.insert(format!("{name}/web"), plain);
        });
        let connector = with_token(&double);
        let job = format!("{name}/web");
        good(&connector, "delete_jenkins_job", json!({ "job": job, "expected_last_build": 3 })).await;
        assert!(!double.change(|state| state.jobs.contains_key(&job)));
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_for_and_nothing_is_sent_twice() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.want_with("job/plain/build", |wanted| Wanted { status: 504, takes_effect: true, ..wanted });
    let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
    assert!(error.message.contains("not known whether"), "{error:?}");
    assert_eq!(double.count("POST", "job/plain/build"), 1);
    // The same when nothing is answered in time; then there is none left to look for it.
    let connector = Connected { patience: Duration::from_secs(2), ..connector };
    double.want_with("job/plain/build", |wanted| Wanted { delay: Duration::from_secs(5), ..wanted });
    let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert!(error.message.contains("not known whether"), "{error:?}");
    // The build begins before it is looked for.
    let double = Double::start().await;
    let connector = with_token(&double);
    double.want_with("job/plain/build", |wanted| Wanted {
        status: 504,
        takes_effect: true,
        delay: Duration::from_millis(300),
        ..wanted
    });
    let begin = async {
        while double.count("POST", "job/plain/build") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        double.change(|state| state.begin(41));
    };
    let (started, ()) = tokio::join!(good(&connector, "trigger_jenkins_build", json!({ "job": "plain" })), begin);
    assert_eq!((&started["state"], &started["build"]), (&json!("started"), &json!(4)));
    assert!(started["hints"][0].as_str().unwrap().contains("was lost"));
    assert_eq!(double.count("POST", "job/plain/build"), 1);
}

#[tokio::test]
async fn a_build_is_built_once_more_with_its_parameters() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let started = good(&connector, "rebuild_jenkins_build", json!({ "job": "team/web", "build": 2 })).await;
    assert_eq!((&started["state"], &started["build"]), (&json!("started"), &json!(3)));
    let form = double.form("job/team/job/web/buildWithParameters");
    assert_eq!(form[0], ("ENV".to_owned(), "prod".to_owned()));
    let password = json!({ "_class": "hudson.model.PasswordParameterValue", "name": "DEPLOY_TOKEN" });
    double.build("team/web", 2, |build| build.parameters = vec![password]);
    let error = connector.call("rebuild_jenkins_build", json!({ "job": "team/web", "build": 2 })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains("can't be read back"), "{error:?}");
    assert_eq!(error.platform_words, Some(vec!["DEPLOY_TOKEN".to_owned()]));
}

/// JENKINS-50855: what a replay and a rebuild are is mixed up by many.
#[tokio::test]
async fn a_build_that_ran_otherwise_than_its_job_is_said_to_be_one() {
    let double = Double::start().await;
    let connector = with_token(&double);
    for (class, description, words) in [
        ("workflow.cps.replay.ReplayCause", "Replayed #1", "may have run another script"),
        (
            "pipeline.modeldefinition.causes.RestartDeclarativePipelineCause",
            "Restarted from build #1, stage Test",
            "restarted from one of its stages",
        ),
    ] {
        double.build("team/web", 2, |build| {
            let cause = json!({ "_class": format!("org.jenkinsci.plugins.{class}"), "shortDescription": description });
            build.actions = vec![json!({ "_class": "hudson.model.CauseAction", "causes": [cause] })];
        });
        let again = json!({ "job": "team/web", "build": 2, "wait_seconds": 0 });
        let preview = connector.preview("rebuild_jenkins_build", again.clone()).await.unwrap();
        assert!(preview.would.contains(words), "{}", preview.would);
        let started = good(&connector, "rebuild_jenkins_build", again).await;
        assert!(started["hints"].to_string().contains(words), "{started}");
    }
}

/// Triggers give parameters that a job doesn't declare (ghprb #193), and Jenkins drops those of a form.
#[tokio::test]
async fn a_build_that_would_be_another_one_is_not_built_once_more() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let value = |name: &str| json!({ "_class": "hudson.model.StringParameterValue", "name": name, "value": "v" });
    double.build("team/web", 2, |build| {
        build.actions = vec![json!({ "_class": "org.jenkinsci.plugins.ghprb.GhprbParametersAction",
                                     "parameters": [value("ENV"), value("sha1"), value("ghprbPullId")] })];
    });
    let error = connector.call("rebuild_jenkins_build", json!({ "job": "team/web", "build": 2 })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert_eq!(error.platform_words, Some(vec!["sha1".to_owned(), "ghprbPullId".to_owned()]));
    assert!(error.remedy.as_deref().unwrap().contains("builds something else"), "{error:?}");
    // A choice that is not offered any more (JENKINS-49331); nobody gave it now.
    double.build("team/web", 2, |build| {
        build.actions.clear();
        build.parameters[0]["value"] = json!("staging");
    });
    let error = connector.call("rebuild_jenkins_build", json!({ "job": "team/web", "build": 2 })).await.unwrap_err();
    assert_eq!((error.code, error.argument), (ErrorCode::Conflict, None));
    let words = ["parameter ENV has no such choice", "dev", "prod"].map(str::to_owned).to_vec();
    assert_eq!(error.platform_words, Some(words));
    assert_eq!(double.count("POST", ""), 0, "something was sent");
}

#[tokio::test]
async fn a_parameter_that_is_called_as_the_quiet_period_has_the_value_that_was_meant() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.change(|state| {
        state.looks_until_start = None;
        let delay = json!({ "name": "delay", "type": "StringParameterDefinition", "description": "",
                            "defaultParameterValue": { "value": "30" } });
        state.jobs.get_mut("plain").unwrap().parameters = Some(vec![delay]);
    });
    for (parameters, value) in [(json!({}), "30"), (json!({ "delay": 60 }), "60")] {
        let trigger = json!({ "job": "plain", "parameters": parameters, "wait_seconds": 0 });
        let told = good(&connector, "trigger_jenkins_build", trigger).await;
        assert_eq!(told["hints"].to_string().contains("time to wait in the queue, too"), value == "60", "{told}");
        let given = double.change(|state| state.queue.values().next_back().unwrap().parameters[0]["value"].clone());
        assert_eq!(given, value);
    }
}

/// openshift/release #235: what a pipeline takes stands in its script.
#[tokio::test]
async fn a_pipeline_that_never_ran_is_not_said_to_take_no_parameters() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let job = "team/shop/feature%2Flogin";
    let trigger = json!({ "job": job, "parameters": { "ENV": "prod" } });
    let error = connector.call("trigger_jenkins_build", trigger.clone()).await.unwrap_err();
    assert!(error.message.contains("takes no parameters"), "it was built: {error:?}");
    double.change(|state| state.jobs.get_mut(job).unwrap().builds.clear());
    let error = connector.call("trigger_jenkins_build", trigger).await.unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::Conflict, Some("parameters")));
    assert!(error.message.contains("after the first one"), "{error:?}");
    let told = good(&connector, "get_jenkins_job", json!({ "job": job })).await;
    assert!(told["hints"][0].as_str().unwrap().contains("after the first one"), "{told}");
    assert_eq!(double.count("POST", ""), 0, "something was sent");
    good(&connector, "trigger_jenkins_build", json!({ "job": job, "wait_seconds": 0 })).await;
}

#[tokio::test]
async fn a_preview_says_which_build_the_new_one_ends() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let would = async || connector.preview("trigger_jenkins_build", json!({ "job": "team/web" })).await.unwrap().would;
    double.change(|state| state.jobs.get_mut("team/web").unwrap().ends_previous = true);
    assert!(!would().await.contains("it ends"), "nothing runs");
    double.build("team/web", 2, |build| build.building = true);
    assert!(would().await.ends_with("; it ends build 2, which runs"), "{}", would().await);
    double.change(|state| state.jobs.get_mut("team/web").unwrap().ends_previous = false);
    assert!(!would().await.contains("it ends"), "both run");
}

#[tokio::test]
async fn why_a_job_can_not_be_built_is_told_as_far_as_it_is_known() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.change(|state| state.jobs.get_mut("team/shop/feature%2Flogin").unwrap().dead = true);
    for (job, hint, remedy) in [
        ("team/off", "the job is disabled", "can enable it"),
        ("team/shop/feature%2Flogin", "a copy that nobody has saved yet", "look at its branch"),
    ] {
        let told = good(&connector, "get_jenkins_job", json!({ "job": job })).await;
        assert!(told["hints"][0].as_str().unwrap().contains(hint), "{told}");
        let error = connector.call("trigger_jenkins_build", json!({ "job": job })).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict, "{job}");
        assert!(error.remedy.as_deref().unwrap().contains(remedy), "{error:?}");
    }
    assert_eq!(double.count("POST", ""), 0);
}
