//! Where the double's answers come from: one function for each kind of path.

use std::sync::{Arc, atomic::Ordering};

use axum::{body::Body, response::Response};
use futures::stream;
use serde_json::{Value, json};

use super::{
    Asked, Caller, KEPT, PLANTED, State, USER, bean, jetty, leads_up,
    model::{Build, GraphView, Item, JobKind, NOTE, children, combination, runs},
    page, redirect, stack_trace,
    tree::select,
};

/// Lines that Jenkins gives at a time of a log that grows.
const MAX_LINES: usize = 10_000;

pub(super) fn route(state: &mut State, asked: &Asked) -> Response {
    if state.starting {
        return page(state, 503, "Please wait while Jenkins is getting ready to work ...");
    }
    match asked.caller {
        Caller::Wrong => return jetty(401, "Unauthorized"),
        Caller::Token if asked.cookie.is_some() => return page(state, 400, "a cookie beside a token"),
        _ => {}
    }
    let path: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
    // Everybody may ask who he is.
    if asked.method == "GET" && path == ["whoAmI", "api", "json"] {
        let anonymous = asked.caller == Caller::Anonymous;
        let name = if anonymous { "anonymous".to_owned() } else { state.user() };
        return tree(
            state,
            asked,
            &json!({ "_class": "hudson.security.WhoAmI", "name": name, "anonymous": anonymous }),
        );
    }
    if asked.caller == Caller::Anonymous {
        return forbidden(state, asked, "hudson.model.Hudson.Read");
    }
    if asked.method == "POST" && asked.caller == Caller::Password && state.csrf && !has_crumb(state, asked) {
        return jetty(403, "No valid crumb was included in the request");
    }
    if !state.permissions.contains("Overall/Read") {
        return forbidden(state, asked, "hudson.model.Hudson.Read");
    }
    match (asked.method.as_str(), path.as_slice()) {
        ("GET", ["api", "json"]) => {
            let top = json!({ "_class": "hudson.model.Hudson", "quietingDown": state.quieting_down, "mode": "NORMAL",
                              "jobs": children("", &state.jobs) });
            tree(state, asked, &top)
        }
        ("GET", ["crumbIssuer", "api", "json"]) => crumb(state, asked),
        ("GET", ["computer", "api", "json"]) => {
            // Of those that are online (`hudson/model/ComputerSet.java`).
            let online = state.nodes.iter().filter(|node| node["offline"] == false);
            let total: u64 = online.map(|node| node["numExecutors"].as_u64().unwrap()).sum();
            let nodes = json!({ "busyExecutors": 1, "totalExecutors": total, "computer": state.nodes });
            tree(state, asked, &nodes)
        }
        ("GET", ["queue", "api", "json"]) => {
            let waiting = || state.queue.iter().rev().filter(|(_, item)| item.left.is_none());
            let seen = waiting().filter(|(id, _)| !state.unreadable.contains_key(id));
            let items: Vec<Value> = seen.map(|(id, item)| item.bean(*id, asked.english)).collect();
            let discovered = waiting().filter(|(id, _)| state.unreadable.get(id) == Some(&true));
            let stubs: Vec<Value> =
                discovered.map(|(_, item)| json!({ "task": { "name": item.job.rsplit('/').next() } })).collect();
            tree(state, asked, &json!({ "_class": "hudson.model.Queue", "items": items, "discoverableItems": stubs }))
        }
        ("GET", ["queue", "item", id, "api", "json"]) => queue_item(state, asked, id),
        ("POST", ["queue", "cancelItem"]) => cancel_item(state, asked),
        (_, ["job", ..]) => job(state, asked, &path),
        _ => page(state, 404, "Not Found"),
    }
}

fn has_crumb(state: &State, asked: &Asked) -> bool {
    let session =
        asked.cookie.as_deref().and_then(|cookie| cookie.strip_prefix("JSESSIONID.d0c5=")).unwrap_or_default();
    state.sessions.contains(session) && asked.crumb.as_deref() == Some(format!("planted-crumb-of-{session}").as_str())
}

fn crumb(state: &mut State, asked: &Asked) -> Response {
    if !state.csrf {
        return page(state, 404, "Not Found");
    }
    if state.crumb_denied {
        return forbidden(state, asked, "hudson.model.Hudson.Read");
    }
    if !asked.query.is_empty() {
        return unknown_query(state);
    }
    let session = format!("node{}", state.next());
    state.sessions.insert(session.clone());
    let issued = json!({ "_class": "hudson.security.csrf.DefaultCrumbIssuer", "crumb": format!("planted-crumb-of-{session}"),
                         "crumbRequestField": state.crumb_field });
    let mut response = bean(state, &issued);
    let cookie = format!("JSESSIONID.d0c5={session}; Path=/jenkins; HttpOnly");
    response.headers_mut().insert("set-cookie", cookie.parse().unwrap());
    response
}

fn forbidden(state: &State, asked: &Asked, permission: &'static str) -> Response {
    let mut response = page(state, 403, "Access Denied");
    let user = if asked.caller == Caller::Anonymous { "anonymous".to_owned() } else { state.user() };
    response.headers_mut().insert("x-you-are-authenticated-as", user.parse().unwrap());
    response.headers_mut().insert("x-required-permission", permission.parse().unwrap());
    response
}

fn unknown_query(state: &State) -> Response {
    page(state, 400, "a query parameter that this path does not have")
}

/// A bean, of which the caller must select what it wants.
fn tree(state: &State, asked: &Asked, whole: &Value) -> Response {
    let [(name, selection)] = asked.query.as_slice() else { return unknown_query(state) };
    match select(selection, whole).filter(|_| name == "tree") {
        Some(selected) => bean(state, &selected),
        None => page(state, 400, "a selection with a name that no bean has"),
    }
}

fn queue_item(state: &mut State, asked: &Asked, id: &str) -> Response {
    let Ok(id) = id.parse::<u64>() else { return page(state, 404, "Not Found") };
    match state.unreadable.get(&id) {
        Some(true) => return page(state, 403, "Please log in to access"),
        Some(false) => return page(state, 404, "Not Found"),
        None => {}
    }
    let now = state.now;
    let known = |item: &Item| item.left.is_none_or(|left| now - left <= KEPT);
    let Some(item) = state.queue.get_mut(&id).filter(|item| known(item)) else { return page(state, 404, "Not Found") };
    item.looks += 1;
    let due = state.looks_until_start.is_some_and(|looks| item.looks > looks);
    if due && item.left.is_none() {
        state.begin(id);
    }
    let item = state.queue[&id].bean(id, asked.english);
    tree(state, asked, &item)
}

fn cancel_item(state: &mut State, asked: &Asked) -> Response {
    let [(name, id)] = asked.query.as_slice() else { return unknown_query(state) };
    if name != "id" {
        return unknown_query(state);
    }
    if !state.permissions.contains("Job/Cancel") {
        return stack_trace(422, &format!("Item for id ({id}) is not cancellable"));
    }
    let now = state.now;
    match id.parse().ok().and_then(|id: u64| state.queue.get_mut(&id)).filter(|item| item.left.is_none()) {
        Some(item) => {
            item.cancelled = true;
            item.left = Some(now);
            // Its pipeline ends (`ExecutorStepExecution.java`, `QueueTaskCancelled`).
            if let Some((job, number)) = item.step_of.clone() {
                let build = state.jobs.get_mut(&job).unwrap().builds.get_mut(&number).unwrap();
                (build.building, build.result) = (false, Some("ABORTED"));
            }
            Response::builder().status(204).body(Body::empty()).unwrap()
        }
        None => stack_trace(404, &format!("Provided id ({id}) not found")),
    }
}

/// Finds the job that a path begins with, and goes on with what follows.
fn job(state: &mut State, asked: &Asked, path: &[&str]) -> Response {
    let (mut name, mut rest) = (String::new(), path);
    while let ["job", encoded, following @ ..] = rest {
        // Jetty refuses a slash that is encoded once; one in a name is encoded twice.
        if encoded.to_ascii_uppercase().contains("%2F") {
            return page(state, 400, "Ambiguous URI path separator");
        }
        // A matrix project has configurations, and no jobs.
        if state.jobs.get(&name).is_some_and(|job| job.kind == JobKind::Matrix) {
            return page(state, 404, "Not Found");
        }
        let decoded = percent_decode(encoded);
        name = if name.is_empty() { decoded } else { format!("{name}/{decoded}") };
        rest = following;
    }
    if let [part, following @ ..] = rest {
        let configuration = format!("{name}/{}", combination(&percent_decode(part)));
        if state.jobs.get(&configuration).is_some_and(|job| job.kind == JobKind::Configuration) {
            (name, rest) = (configuration, following);
        }
    }
    if !state.permissions.contains("Job/Read") || !state.jobs.contains_key(&name) {
        return page(state, 404, "Not Found");
    }
    let found = &state.jobs[&name];
    match (asked.method.as_str(), rest) {
        ("GET", ["api", "json"]) => {
            let in_queue = state.queue.values().any(|item| item.job == name && item.left.is_none());
            let whole = found.bean(&name, &state.jobs, in_queue);
            tree(state, asked, &whole)
        }
        ("POST", [action @ ("build" | "buildWithParameters")])
            if !found.is_folder() && found.kind != JobKind::Configuration =>
        {
            let action = (*action).to_owned();
            trigger(state, asked, &name, &action)
        }
        ("POST", ["doDelete"]) => {
            // Nobody may delete that of a branch that is there (workflow-multibranch, `BranchJobProperty.java`).
            let parent = name.rsplit_once('/').and_then(|(parent, _)| state.jobs.get(parent));
            let is_branch = parent.is_some_and(|parent| parent.kind == JobKind::MultiBranch);
            if !state.permissions.contains("Job/Delete") || (is_branch && !found.dead) {
                return forbidden(state, asked, "hudson.model.Item.Delete");
            }
            let now = state.now;
            for item in state.queue.values_mut().filter(|item| item.job == name && item.left.is_none()) {
                (item.cancelled, item.left) = (true, Some(now));
            }
            if state.jobs[&name].builds.values().any(|build| build.building && !build.stops) {
                return page(state, 400, "Failed to interrupt and stop 1 build");
            }
            state.jobs.retain(|one, _| *one != name && !one.starts_with(&format!("{name}/")));
            // To the parent (`AbstractItem.java`, `doDoDelete`).
            let folders = name.split('/').rev().skip(1).collect::<Vec<_>>();
            redirect(302, &folders.iter().rev().flat_map(|folder| ["job/", folder, "/"]).collect::<String>())
        }
        (_, [number, following @ ..]) => {
            let number = number.parse().ok().or_else(|| found.permalink(number));
            match number.filter(|number| found.builds.contains_key(number)) {
                Some(number) => build(state, asked, &name, number, following),
                None => page(state, 404, "Not Found"),
            }
        }
        _ => page(state, 404, "Not Found"),
    }
}

fn percent_decode(text: &str) -> String {
    // A form's decoding is that of a path but for the plus sign.
    let text = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn trigger(state: &mut State, asked: &Asked, name: &str, action: &str) -> Response {
    if asked.query.iter().any(|(name, _)| name != "delay") {
        return unknown_query(state);
    }
    if !state.permissions.contains("Job/Build") {
        return forbidden(state, asked, "hudson.model.Item.Build");
    }
    let job = &state.jobs[name];
    if job.disabled || job.dead {
        return page(state, 409, "is not buildable");
    }
    let project = name.rsplit_once('/').and_then(|(project, _)| state.jobs.get(project));
    if project.is_some_and(|project| project.disabled) {
        return redirect(302, &format!("job/{}/", name.replace('/', "/job/")));
    }
    let declared = match (&job.parameters, action) {
        (None, "buildWithParameters") => return page(state, 400, &format!("{name} is not parameterized")),
        (Some(_), "build") => return page(state, 400, "This page expects a form submission"),
        (declared, _) => declared.clone().unwrap_or_default(),
    };
    // What is not declared is dropped.
    let mut parameters = Vec::new();
    for definition in &declared {
        // The query's are among them, that of the quiet period, too.
        let named = asked.query.iter().chain(&asked.form).filter(|(name, _)| definition["name"] == *name);
        let given: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
        // What is none of the choices is dropped (extended-choice-parameter, `createValue(String[])`).
        if let Some(choices) = definition["planted-choices"].as_array().filter(|_| !given.is_empty()) {
            let chosen = given.iter().filter(|one| choices.iter().any(|choice| choice == *one));
            let chosen = chosen.copied().collect::<Vec<_>>().join(",");
            parameters.push(
                json!({ "_class": "com.cwctravel.hudson.plugins.extended_choice_parameter.ExtendedChoiceParameterValue",
                                    "name": definition["name"], "value": chosen }),
            );
            continue;
        }
        if given.len() > 1 {
            return page(state, 500, "A problem occurred while processing the request");
        }
        match parameter(definition, given.first().copied()) {
            Ok(value) => parameters.extend(value),
            Err((status, text)) => return page(state, status, text),
        }
    }
    let same = |item: &Item| item.left.is_none() && item.job == name && item.parameters == parameters;
    if let Some((id, _)) = state.queue.iter().find(|(_, item)| same(item)) {
        // Without parameters it is said to be made (JENKINS-66105).
        return redirect(if action == "build" { 201 } else { 303 }, &format!("queue/item/{id}/"));
    }
    let id = state.next();
    let (now, job) = (state.now, name.to_owned());
    let item = Item {
        job,
        parameters,
        since: now,
        looks: 0,
        stuck: false,
        cancelled: false,
        build: None,
        left: None,
        step_of: None,
    };
    state.queue.insert(id, item);
    redirect(201, &format!("queue/item/{id}/"))
}

/// What Jenkins makes of a parameter that came as a text or was left out: its value as a bean, nothing if it has none, or how it
/// refuses. The class of an exception is not on its page.
fn parameter(definition: &Value, given: Option<&str>) -> Result<Option<Value>, (u16, &'static str)> {
    let value = |class: &str, more: Value| {
        let mut bean = json!({ "_class": format!("hudson.model.{class}ParameterValue"), "name": definition["name"] });
        bean.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Ok(Some(bean))
    };
    let oops = Err((500, "A problem occurred while processing the request"));
    let Some(given) = given else {
        // Only its plugin knows that it must be given.
        if definition["planted-required"] == true {
            return Err((400, "is required to have a value please select an option"));
        }
        let default = &definition["defaultParameterValue"];
        return if default.is_null() { Ok(None) } else { value("String", default.clone()) };
    };
    match definition["type"].as_str().unwrap_or_default() {
        "ChoiceParameterDefinition"
            if definition["choices"].as_array().is_some_and(|all| !all.contains(&json!(given))) =>
        {
            oops
        }
        "RunParameterDefinition" => match given.split_once('#') {
            Some((job, number)) => value("Run", json!({ "jobName": job, "number": number })),
            None => oops,
        },
        // What came is no upload (file-parameters-plugin, `AbstractFileParameterDefinition.java`).
        "FileParameterDefinition" | "Base64FileParameterDefinition" | "StashedFileParameterDefinition" => Ok(None),
        "PasswordParameterDefinition" => value("Password", json!({})),
        "BooleanParameterDefinition" => value("Boolean", json!({ "value": given.eq_ignore_ascii_case("true") })),
        _ => value("String", json!({ "value": given })),
    }
}

fn build(state: &mut State, asked: &Asked, name: &str, number: u32, rest: &[&str]) -> Response {
    let found = &state.jobs[name].builds[&number];
    let pipeline = state.stage_view && found.pipeline;
    let graph = state.graph_view.filter(|_| found.pipeline);
    match (asked.method.as_str(), rest) {
        ("GET", ["api", "json"]) => {
            let mut whole = found.bean(number);
            if found.waited || !found.inputs.is_empty() {
                // What a plugin doesn't export is an empty object.
                let action = if state.inputs_exported { found.input_action() } else { json!({}) };
                whole["actions"].as_array_mut().unwrap().push(action);
            }
            if state.jobs[name].kind == JobKind::Matrix {
                whole["_class"] = json!("hudson.matrix.MatrixBuild");
                whole["runs"] = runs(name, number, &state.jobs);
            }
            tree(state, asked, &whole)
        }
        ("GET", ["consoleText"]) if asked.query.is_empty() => console(state, found),
        ("GET", ["logText", "progressiveText"]) => progressive(state, asked, found),
        ("GET", ["wfapi", "describe"]) if pipeline => bean(state, &found.flow(number)),
        ("GET", ["wfapi", "pendingInputActions"]) if pipeline => bean(state, &json!(found.inputs)),
        ("GET", ["execution", "node", id, "wfapi", "describe"]) if pipeline => {
            let node = found.flat_stages().into_iter().find(|one| one["id"] == **id);
            let Some(mut node) = node else { return page(state, 404, "Not Found") };
            // The first hundred (`StageNodeExt.MAX_CHILD_NODES`).
            let steps = found.steps.get(*id).into_iter().flatten().take(100);
            node["stageFlowNodes"] = steps.cloned().collect();
            bean(state, &node)
        }
        ("GET", ["execution", "node", id, "wfapi", "log"]) if pipeline => {
            // The last 10 KiB as HTML (`FlowNodeLogExt.java`); of a step that wrote nothing without a text.
            let mut log = json!({ "nodeId": id, "nodeStatus": "FAILED", "length": 0, "hasMore": false });
            if let Some(text) = found.step_logs.get(*id) {
                let from = text.len().saturating_sub(10 * 1024);
                let html = text[from..].replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                log["hasMore"] = json!(from > 0);
                log["length"] = json!(text.len() - from);
                log["text"] = json!(format!("<span class=\"pipeline-node-{id}\">{html}</span>"));
            }
            bean(state, &log)
        }
        ("GET", [view, "log"]) if graph.is_some_and(|graph| graph.paths()[1] == *view) => {
            let [(name, id)] = asked.query.as_slice() else { return unknown_query(state) };
            let text = found.step_logs.get(id).filter(|_| name == "nodeId").map_or("No logs found\n", String::as_str);
            let response = Response::builder().status(200).header("content-type", "text/plain;charset=utf-8");
            response.body(Body::from(text.to_owned())).unwrap()
        }
        ("GET", [view, "tree"]) if graph.is_some_and(|graph| graph.paths()[0] == *view) => {
            bean(state, &graph.unwrap().stages(&found.stages, found.building))
        }
        ("GET", [view, "steps"]) if graph.is_some_and(|graph| graph.paths()[1] == *view) => {
            let [(name, id)] = asked.query.as_slice() else { return unknown_query(state) };
            let steps = found.steps.get(id).filter(|_| name == "nodeId");
            bean(state, &graph.unwrap().steps(steps.map_or(&[], Vec::as_slice)))
        }
        ("GET", ["stages", "exceptionText"]) if graph == Some(GraphView::Stages) => {
            let [(name, id)] = asked.query.as_slice() else { return unknown_query(state) };
            let step = found.steps.values().flatten().find(|one| name == "nodeId" && one["id"] == *id);
            // Until March 2026 nothing was this text.
            let text = step.and_then(|step| step["error"]["message"].as_str()).unwrap_or("null");
            let response = Response::builder().status(200).header("content-type", "text/plain;charset=utf-8");
            response.body(Body::from(text.to_owned())).unwrap()
        }
        ("GET", ["testReport", "api", "json"]) => match found.tests.clone() {
            Some(tests) => tree(state, asked, &tests),
            None => leads_up(),
        },
        ("GET", ["artifact", path @ ..]) => {
            artifact(state, found, &path.iter().map(|part| percent_decode(part)).collect::<Vec<_>>().join("/"))
        }
        ("POST", [action @ ("stop" | "term" | "kill")]) => {
            if *action != "stop" && !found.pipeline {
                return leads_up();
            }
            if !state.permissions.contains("Job/Cancel") {
                return forbidden(state, asked, "hudson.model.Item.Cancel");
            }
            let found = state.jobs.get_mut(name).unwrap().builds.get_mut(&number).unwrap();
            if found.building && (found.stops || *action == "kill") {
                found.building = false;
                found.result = Some("ABORTED");
                found.actions.push(json!({ "_class": "jenkins.model.InterruptedBuildAction",
                    "causes": [{ "_class": "jenkins.model.CauseOfInterruption$UserInterruption",
                                 "shortDescription": "Aborted by bot" }] }));
            }
            redirect(302, &format!("job/{name}/{number}/"))
        }
        ("POST", ["input", id, action]) => settle(state, asked, (name, number), &percent_decode(id), action),
        _ => leads_up(),
    }
}

fn console(state: &State, found: &Build) -> Response {
    let response = Response::builder().status(200).header("content-type", "text/plain;charset=UTF-8");
    if found.log_is_gone {
        return response.body(Body::from("No such file: /var/jenkins_home/jobs/planted/builds/3/log")).unwrap();
    }
    if found.generated == 0 {
        return response.body(Body::from(found.text())).unwrap();
    }
    let (sent, size) = (Arc::clone(&state.sent), found.generated);
    let pieces = stream::unfold(0_u64, move |at| {
        let sent = Arc::clone(&sent);
        async move {
            let line = "one of very many lines of a log that is far too long\n".repeat(200);
            sent.fetch_add(line.len() as u64, Ordering::SeqCst);
            (at < size).then(|| (Ok::<_, std::io::Error>(line.clone()), at + line.len() as u64))
        }
    });
    response.body(Body::from_stream(pieces)).unwrap()
}

fn progressive(state: &State, asked: &Asked, found: &Build) -> Response {
    let start = match asked.query.as_slice() {
        [(name, start)] if name == "start" => start.parse::<usize>().ok(),
        _ => None,
    };
    let Some(start) = start else { return unknown_query(state) };
    let raw = found.log.as_bytes();
    let start = if start > raw.len() { 0 } else { start };
    let mut rest = &raw[start..];
    let goes_on = found.building || found.finishing;
    if goes_on {
        // Whole lines only, and not too many at a time.
        let ends: Vec<usize> =
            rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        rest = &rest[..ends.get(MAX_LINES - 1).or(ends.last()).copied().unwrap_or(0)];
    }
    let text = String::from_utf8_lossy(rest).replace(NOTE, "").replace('\n', "\r\n");
    let mut response = Response::builder()
        .status(200)
        .header("content-type", "text/plain;charset=UTF-8")
        .header("x-text-size", (start + rest.len()).to_string());
    if goes_on {
        response = response.header("x-more-data", "true");
    }
    response.body(Body::from(text)).unwrap()
}

fn artifact(state: &State, found: &Build, path: &str) -> Response {
    let (path, view) = path.strip_suffix("/*view*").map_or((path, false), |path| (path, true));
    let Some(bytes) = found.artifacts.get(path) else { return page(state, 404, "Not Found") };
    if let Some(storage) = &found.storage {
        return Response::builder().status(302).header("location", storage).body(Body::empty()).unwrap();
    }
    if view {
        let response = Response::builder().status(200).header("content-type", "text/plain;charset=utf-8");
        return response.body(Body::from(bytes.clone())).unwrap();
    }
    if state.resource_root {
        let location = format!("https://assets.example.com/static-files/{PLANTED}/{path}");
        return Response::builder().status(302).header("location", location).body(Body::empty()).unwrap();
    }
    let kind = if path.rsplit('.').next() == Some("html") { "text/html" } else { "application/octet-stream" };
    Response::builder().status(200).header("content-type", kind).body(Body::from(bytes.clone())).unwrap()
}

fn settle(state: &mut State, asked: &Asked, (name, number): (&str, u32), id: &str, action: &str) -> Response {
    let found = state.jobs.get_mut(name).unwrap().builds.get_mut(&number).unwrap();
    let Some(at) = found.inputs.iter().position(|input| input["id"] == *id) else {
        return page(state, 404, "Not Found");
    };
    let declared = found.inputs[at]["inputs"].as_array().cloned().unwrap_or_default();
    // Others than those that it names may abort it, if they may abort the build (`InputStepExecution.preAbortCheck`).
    let only = found.inputs[at]["submitter"].as_str().unwrap_or(USER).to_owned();
    if action != "abort" && !only.split(',').any(|one| one == USER) {
        return page(state, 400, &format!("You need to be {only} to submit this."));
    }
    let found = state.jobs.get_mut(name).unwrap().builds.get_mut(&number).unwrap();
    match action {
        "abort" => {
            found.building = false;
            found.result = Some("ABORTED");
        }
        // The step has no value then, not even who approved, before July 2025.
        "proceedEmpty" => found.input_value = Value::Null,
        "proceed" => {
            let form = asked
                .form
                .iter()
                .find(|(name, _)| name == "json")
                .and_then(|(_, json)| serde_json::from_str(json).ok());
            let Some(form): Option<Value> = form else {
                return page(state, 400, "This page expects a form submission");
            };
            let given = form["parameter"].as_array().cloned().unwrap_or_default();
            if given.iter().any(|one| !declared.iter().any(|known| known["name"] == one["name"])) {
                return page(state, 500, "java.lang.IllegalArgumentException: No such parameter definition");
            }
            // A form names a run as the constructor does (`RunParameterValue.java`).
            let is_run = |one: &Value| {
                declared.iter().any(|known| known["name"] == one["name"] && known["type"] == "RunParameterDefinition")
            };
            if given.iter().any(|one| is_run(one) && !one["runId"].as_str().is_some_and(|run| run.contains('#'))) {
                return page(state, 500, "A problem occurred while processing the request");
            }
            // `parseValue`: what was given, and who gave it if the step wants to know.
            let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
            let mut value: serde_json::Map<String, Value> =
                given.iter().map(|one| (name(one), one["value"].clone())).collect();
            value.extend(found.inputs[at]["submitterParameter"].as_str().map(|name| (name.to_owned(), json!(USER))));
            found.input_value = value.into();
        }
        _ => return page(state, 404, "Not Found"),
    }
    let found = state.jobs.get_mut(name).unwrap().builds.get_mut(&number).unwrap();
    found.inputs.remove(at);
    found.waited = true;
    Response::builder().status(200).body(Body::empty()).unwrap()
}
