//! What Jenkins doesn't tell is told as that: neither as nothing, nor as a secret, nor as something that is required.

use serde_json::{Value, json};

use super::{
    double::{Build, Double},
    good, with_token,
};
use tools::ErrorCode;

#[tokio::test]
async fn values_that_are_not_exported_are_no_secrets() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let value = |class: &str, name: &str, more: Value| {
        let mut bean = json!({ "_class": class, "name": name });
        bean.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bean
    };
    // jenkinsapi #268 and #193.
    double.build("team/web", 2, |build| {
        build.parameters = vec![
            value("hudson.model.RunParameterValue", "UPSTREAM", json!({ "jobName": "lib", "number": "42" })),
            value("hudson.model.FileParameterValue", "DATA.csv", json!({})),
            value("com.cloudbees.plugins.credentials.CredentialsParameterValue", "REGISTRY", json!({})),
            value("hudson.model.PasswordParameterValue", "PIN", json!({})),
            value("hudson.model.StringParameterValue", "DEPLOY_TOKEN", json!({ "value": "planted" })),
        ];
    });
    let status = good(&connector, "get_jenkins_build_status", json!({ "job": "team/web", "build": 2 })).await;
    let told: Vec<_> = status["parameters"].as_array().unwrap().iter().map(|one| one["value"].clone()).collect();
    assert_eq!(told, [json!("lib#42"), Value::Null, Value::Null, json!("********"), json!("********")]);
    // What is told of a run is what starts the next build.
    double.change(|state| {
        let run = json!({ "name": "UPSTREAM", "type": "RunParameterDefinition", "description": "",
                          "defaultParameterValue": { "_class": "hudson.model.RunParameterValue", "jobName": "lib", "number": "40" } });
        state.jobs.get_mut("team/web").unwrap().parameters = Some(vec![run]);
    });
    let job = good(&connector, "get_jenkins_job", json!({ "job": "team/web" })).await;
    let expected = json!({ "name": "UPSTREAM", "type": "run", "default": "lib#40", "required": false });
    assert_eq!(job["parameters"], json!([expected]));
    double.build("team/web", 2, |build| build.parameters.truncate(1));
    good(&connector, "rebuild_jenkins_build", json!({ "job": "team/web", "build": 2, "wait_seconds": 0 })).await;
    let form = double.form("job/team/job/web/buildWithParameters");
    assert_eq!(form, [("UPSTREAM".to_owned(), "lib#42".to_owned())]);
}

#[tokio::test]
async fn several_choices_reach_the_build() {
    let double = Double::start().await;
    let connector = with_token(&double);
    // extended-choice-parameter-plugin #99.
    double.change(|state| {
        let parts = json!({ "name": "PARTS", "type": "PT_MULTI_SELECT", "description": "",
                            "planted-choices": ["api", "web", "db"], "defaultParameterValue": { "value": "api" } });
        state.jobs.get_mut("plain").unwrap().parameters = Some(vec![parts]);
    });
    let trigger = json!({ "job": "plain", "parameters": { "PARTS": ["api", "web"] } });
    let preview = connector.preview("trigger_jenkins_build", trigger.clone()).await.unwrap();
    assert_eq!(preview.state["parameters"], json!({ "PARTS": "api,web" }));
    assert!(preview.would.contains("of PARTS Jenkins drops"), "{}", preview.would);
    let started = good(&connector, "trigger_jenkins_build", trigger).await;
    assert!(started["hints"].to_string().contains("of PARTS Jenkins drops"), "{started}");
    // And the one that is built again as it was.
    let again = json!({ "job": "plain", "build": started["build"] });
    let again = good(&connector, "rebuild_jenkins_build", again).await;
    for started in [started, again] {
        let arguments = json!({ "job": "plain", "build": started["build"] });
        let build = good(&connector, "get_jenkins_build_status", arguments).await;
        assert_eq!(build["parameters"], json!([{ "name": "PARTS", "value": "api,web" }]));
    }
}

#[tokio::test]
async fn parameters_of_plugins_are_left_to_jenkins() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let definition = |name: &str, kind: &str| json!({ "name": name, "type": kind, "description": "", "defaultParameterValue": null });
    double.change(|state| {
        let mut tag = definition("VERSION", "ChoiceParameterDefinition");
        tag["defaultParameterValue"] = json!({ "value": "1.0" });
        state.jobs.get_mut("plain").unwrap().parameters = Some(vec![
            definition("CITY", "CascadeChoiceParameter"),
            definition("BRANCH", "GitParameterDefinition"),
            tag,
        ]);
    });
    let job = good(&connector, "get_jenkins_job", json!({ "job": "plain" })).await;
    assert!(job["parameters"].as_array().unwrap().iter().all(|one| one["required"] == false), "{job}");
    let trigger = json!({ "job": "plain", "parameters": { "VERSION": "2.0" }, "wait_seconds": 0 });
    let preview = connector.preview("trigger_jenkins_build", trigger.clone()).await.unwrap();
    assert!(preview.would.ends_with("nothing is given for CITY, BRANCH, without a default"), "{}", preview.would);
    good(&connector, "trigger_jenkins_build", trigger.clone()).await;
    let names = double.change(|state| {
        let item = state.queue.values().next().unwrap();
        item.parameters.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(names, ["VERSION"]);
    // One that its plugin wants.
    double.change(|state| {
        state.jobs.get_mut("plain").unwrap().parameters.as_mut().unwrap()[1]["planted-required"] = json!(true);
    });
    let error = connector.call("trigger_jenkins_build", trigger).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.remedy.as_deref().unwrap().contains("a plugin wants one that has no default"), "{error:?}");
}

#[tokio::test]
async fn a_run_that_a_pipeline_asks_for_is_sent_as_a_form_does() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.change(|state| {
        let build = Build::running(40, state.now, Vec::new(), true);
        state.jobs.get_mut("team/web").unwrap().builds.insert(3, build);
    });
    double.build("team/web", 3, |build| {
        build.inputs = vec![json!({ "id": "Ship", "message": "Ship?", "inputs": [
            { "type": "RunParameterDefinition", "name": "WHICH", "description": "", "definition": { "defaultVal": "lib#1" } },
        ] })];
    });
    let submit = |run: &str| json!({ "job": "team/web", "input_id": "Ship", "action": "proceed", "parameters": { "WHICH": run } });
    let error = connector.call("submit_jenkins_input", submit("1")).await.unwrap_err();
    assert!(error.message.contains("job#number"), "{error:?}");
    assert_eq!(good(&connector, "submit_jenkins_input", submit("lib#2")).await["settled"], true);
}

#[tokio::test]
async fn a_build_that_waits_for_somebody_says_so() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.change(|state| {
        let build = Build::running(40, state.now, Vec::new(), true);
        state.jobs.get_mut("team/web").unwrap().builds.insert(3, build);
    });
    let status = async || good(&connector, "get_jenkins_build_status", json!({ "job": "team/web", "build": 3 })).await;
    assert_eq!(status().await["waits_for_input"], Value::Null);
    double.build("team/web", 3, |build| build.inputs = vec![json!({ "id": "Ship", "message": "Ship?", "inputs": [] })]);
    let before = double.total();
    let told = status().await;
    assert_eq!((&told["status"], &told["waits_for_input"]), (&json!("running"), &json!(true)));
    assert!(told["hints"].to_string().contains("list_jenkins_pending_inputs"), "{told}");
    assert_eq!(double.total() - before, 1);
    let report = good(&connector, "get_jenkins_failure_report", json!({ "job": "team/web", "build": 3 })).await;
    assert!(report["hints"].to_string().contains("waits for somebody"), "{report}");
    // The action stays when it is settled.
    double.build("team/web", 3, |build| (build.waited, build.inputs) = (true, Vec::new()));
    assert_eq!(status().await["waits_for_input"], Value::Null);
}

#[tokio::test]
async fn why_a_build_is_not_there_is_told_as_far_as_it_is_known() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let missing = async |job: &str, build: Value| {
        let error =
            connector.call("get_jenkins_build_status", json!({ "job": job, "build": build })).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::NotFound, Some("build")));
        error.remedy.unwrap()
    };
    let none =
        async |job: &str| good(&connector, "list_jenkins_builds", json!({ "job": job })).await["hints"][0].clone();
    assert_eq!(missing("team/web", json!(7)).await, "its newest builds are 2, 1; the next one is 3");
    assert_eq!(missing("plain", json!(2)).await, "its newest builds are 3; this one was removed, or never was");
    // All of its builds succeeded.
    let kept = missing("plain", json!("lastUnsuccessful")).await;
    assert_eq!(kept, "its newest builds are 3; none of those that are kept is such a one");
    assert_eq!(none("team").await, "team: it is a folder, which has no builds of its own");
    // A job may keep none (jenkinsci/jenkins #9405).
    double.change(|state| {
        let plain = state.jobs.get_mut("plain").unwrap();
        plain.builds.clear();
        plain.next = Some(50);
    });
    assert_eq!(missing("plain", json!(49)).await, "none of its builds is kept: the next one is number 50");
    assert_eq!(none("plain").await, "plain: none of its builds is kept: the next one is number 50");
    double.change(|state| state.jobs.get_mut("plain").unwrap().next = None);
    assert_eq!(missing("plain", json!("last")).await, "it has no builds yet");
    // That the job can't be asked for is no sign that it isn't there.
    double.want("job/team/job/web/api/json", 500, "boom");
    let error = connector.call("get_jenkins_build_status", json!({ "job": "team/web", "build": 7 })).await.unwrap_err();
    assert_eq!((error.code, error.message.contains("there is no job")), (ErrorCode::NotFound, false), "{error:?}");
}
