//! What the double's controller has in it: folders, jobs, builds, items of the queue; and how they are told as beans.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// An annotation in a raw log, as Jenkins writes it (`hudson/console/ConsoleNote.java`).
pub const NOTE: &str = "\u{1b}[8mha:////4AnotePLACEHOLDER=\u{1b}[0m";

/// What a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// A folder of jobs.
    Folder,
    /// A folder with a job for each branch.
    MultiBranch,
    /// A job with steps of its own.
    Freestyle,
    /// A job with a script.
    Pipeline,
    /// A job that is built for each combination of values.
    Matrix,
    /// One such combination of the matrix project that its name begins with.
    Configuration,
}

/// The plugin pipeline-graph-view, by how it tells of stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphView {
    /// Until May 2025, as it came to Jenkins 2.440 and 2.479: `pipeline-graph/tree`, with times in words.
    Graph,
    /// Until February 2026, as it came to Jenkins 2.516: `pipeline-overview/tree`.
    Overview,
    /// Since: `stages/tree`.
    Stages,
}

impl GraphView {
    /// Where it answers below a build: for stages, and for their steps.
    pub(super) const fn paths(self) -> [&'static str; 2] {
        match self {
            Self::Graph => ["pipeline-graph", "pipeline-console"],
            Self::Overview => ["pipeline-overview"; 2],
            Self::Stages => ["stages"; 2],
        }
    }

    /// Something that began and took some time.
    fn node(self, node: &Value) -> Value {
        let state = match node["status"].as_str().unwrap_or_default() {
            "FAILED" => "failure".to_owned(),
            "IN_PROGRESS" => "running".to_owned(),
            "PAUSED_PENDING_INPUT" => "paused".to_owned(),
            "NOT_EXECUTED" => "skipped".to_owned(),
            other => other.to_lowercase(),
        };
        let mut told = json!({ "id": node["id"], "name": node["name"], "state": state, "title": node["name"] });
        if self == Self::Graph {
            told["startTimeMillis"] = json!("Started 3 days ago");
            told["totalDurationMillis"] = json!("Took 9 ms");
            told["pauseDurationMillis"] = json!("Queued 0 ms");
            told["completePercent"] = json!(100);
        } else {
            told["startTimeMillis"] = node["startTimeMillis"].clone();
            told["pauseDurationMillis"] = json!(0);
            if !matches!(state.as_str(), "running" | "paused" | "queued") {
                told["totalDurationMillis"] = node["durationMillis"].clone();
            }
        }
        told
    }

    /// The stages of a build. A stage with `inside` has others in it.
    pub(super) fn stages(self, stages: &[Value], building: bool) -> Value {
        let tell = |stage: &Value| {
            let mut told = self.node(stage);
            told["type"] = json!("STAGE");
            told["children"] = stage["inside"].as_array().into_iter().flatten().map(|one| self.node(one)).collect();
            told
        };
        json!({ "status": "ok", "data": { "complete": !building, "stages": stages.iter().map(tell).collect::<Value>() } })
    }

    /// The steps of a stage. A step with arguments is called by them, and its own name is the title, which the later ones leave
    /// out of what most steps are (`PipelineStepApi.java`).
    pub(super) fn steps(self, steps: &[Value]) -> Value {
        let tell = |step: &Value| {
            let mut told = self.node(step);
            if let Some(arguments) = step["parameterDescription"].as_str() {
                told["name"] = json!(arguments);
                told["title"] = if self == Self::Stages { json!("") } else { step["name"].clone() };
            }
            told
        };
        json!({ "status": "ok", "data": { "runIsComplete": true, "steps": steps.iter().map(tell).collect::<Value>() } })
    }
}

/// A job, or a folder.
#[derive(Clone)]
pub struct Job {
    /// What it is.
    pub kind: JobKind,
    /// Whether somebody disabled it.
    pub disabled: bool,
    /// Whether it can't be built all the same, as where its branch is gone.
    pub dead: bool,
    /// Whether its next build ends the one that runs.
    pub ends_previous: bool,
    /// Parameter definitions; none if it is not parameterized.
    pub parameters: Option<Vec<Value>>,
    /// Its builds by number.
    pub builds: BTreeMap<u32, Build>,
    /// What people see in place of its name, if somebody gave it one.
    pub display_name: Option<&'static str>,
    /// Number of the next build, if it is not the one after the last that is kept.
    pub next: Option<u32>,
}

/// A build of a job.
#[derive(Clone)]
pub struct Build {
    /// Whether it runs.
    pub building: bool,
    /// Whether something is still done for it, though its result is known.
    pub finishing: bool,
    /// What people call it, if somebody gave it a name.
    pub display_name: Option<&'static str>,
    /// Its class, if it is none of the usual ones.
    pub class: Option<&'static str>,
    /// What else is attached to it, as beans.
    pub actions: Vec<Value>,
    /// Builds that it started, as the plugin multijob tells them.
    pub sub_builds: Vec<Value>,
    /// Its result, when it has ended.
    pub result: Option<&'static str>,
    /// When it began, in milliseconds since 1970.
    pub timestamp: i64,
    /// The item of the queue that it was.
    pub queue_id: u64,
    /// Whether it is of a pipeline.
    pub pipeline: bool,
    /// Who started it.
    pub user: &'static str,
    /// Values of its parameters, as beans.
    pub parameters: Vec<Value>,
    /// How many commits are in it.
    pub commits: usize,
    /// Files that it left, by path.
    pub artifacts: BTreeMap<String, Vec<u8>>,
    /// Where artifacts lie, if not in Jenkins.
    pub storage: Option<String>,
    /// The raw log, with annotations.
    pub log: String,
    /// Whether the log's file is gone.
    pub log_is_gone: bool,
    /// Bytes of a log that is made while it is read, after `log`.
    pub generated: u64,
    /// Its stages, as the plugin tells them.
    pub stages: Vec<Value>,
    /// Steps of each stage that is asked for.
    pub steps: BTreeMap<String, Vec<Value>>,
    /// What steps wrote, by their ids.
    pub step_logs: BTreeMap<String, String>,
    /// What it waits for a person to say, as `pipeline-rest-api` tells it.
    pub inputs: Vec<Value>,
    /// Whether it waited for a person before.
    pub waited: bool,
    /// What the last input step gave the pipeline.
    pub input_value: Value,
    /// The report of its tests.
    pub tests: Option<Value>,
    /// Whether it ends when it is told to stop.
    pub stops: bool,
}

/// An item of the queue.
#[derive(Clone)]
pub struct Item {
    /// Full name of the job to build.
    pub job: String,
    /// Values of parameters, as beans.
    pub parameters: Vec<Value>,
    /// When it came, in milliseconds since 1970.
    pub since: i64,
    /// How often it was looked at.
    pub looks: u32,
    /// Whether Jenkins calls it stuck.
    pub stuck: bool,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Number of the build that it became.
    pub build: Option<u32>,
    /// When it left the queue.
    pub left: Option<i64>,
    /// The build of a pipeline of which it is a step that waits for a node.
    pub step_of: Option<(String, u32)>,
}

impl Build {
    /// A build that has just begun.
    pub fn running(queue_id: u64, now: i64, parameters: Vec<Value>, pipeline: bool) -> Self {
        Self {
            building: true,
            finishing: false,
            display_name: None,
            class: None,
            actions: Vec::new(),
            sub_builds: Vec::new(),
            result: None,
            timestamp: now,
            queue_id,
            pipeline,
            user: "bot",
            parameters,
            commits: 1,
            artifacts: BTreeMap::new(),
            storage: None,
            log: format!("{NOTE}Started by user bot\n"),
            log_is_gone: false,
            generated: 0,
            stages: Vec::new(),
            steps: BTreeMap::new(),
            step_logs: BTreeMap::new(),
            inputs: Vec::new(),
            waited: false,
            input_value: Value::Null,
            tests: None,
            stops: true,
        }
    }

    /// A build of a pipeline that has ended.
    pub fn ended(result: &'static str, timestamp: i64) -> Self {
        Self { building: false, result: Some(result), user: "ann", ..Self::running(1, timestamp, Vec::new(), true) }
    }

    /// The log without annotations.
    pub(super) fn text(&self) -> String {
        self.log.replace(NOTE, "")
    }

    pub(super) fn bean(&self, number: u32) -> Value {
        let usual = if self.pipeline {
            "org.jenkinsci.plugins.workflow.job.WorkflowRun"
        } else {
            "hudson.model.FreeStyleBuild"
        };
        let class = self.class.unwrap_or(usual);
        let artifacts: Vec<_> = self.artifacts.keys().map(|path| json!({ "relativePath": path })).collect();
        let commit = |number: usize| {
            json!({ "commitId": format!("abc{}", 123 + number), "author": { "fullName": "Ann" },
                    "msg": "Fix https://bot:planted@git.example.com/web.git" })
        };
        let changes = json!({ "_class": "hudson.plugins.git.GitChangeSetList",
                              "items": (0..self.commits).map(commit).collect::<Value>() });
        let mut bean = json!({
            "_class": class,
            "number": number,
            "displayName": self.display_name.map_or_else(|| format!("#{number}"), str::to_owned),
            "result": self.result,
            "building": self.building,
            "inProgress": self.building || self.finishing,
            "description": null,
            "timestamp": self.timestamp,
            "duration": if self.building { 0 } else { 60_000 },
            "estimatedDuration": 61_000,
            "queueId": self.queue_id,
            "actions": [
                { "_class": "hudson.model.CauseAction",
                  "causes": [{ "shortDescription": format!("Started by user {}", self.user), "userId": self.user }] },
                {},
                { "_class": "hudson.model.ParametersAction", "parameters": self.parameters },
            ],
            "artifacts": artifacts,
        });
        bean["actions"].as_array_mut().unwrap().extend(self.actions.clone());
        if !self.sub_builds.is_empty() {
            bean["subBuilds"] = json!(self.sub_builds);
        }
        if self.pipeline {
            // Of a pipeline that checks out twice (`WorkflowRun.onCheckout`).
            bean["changeSets"] = json!([changes, changes]);
        } else {
            bean["changeSet"] = changes;
        }
        bean
    }

    /// What `pipeline-input-step` exports of what it waits for (`InputAction.java`, `InputStepExecution.java`, `InputStep.java`). It
    /// stays when all is settled, and has no name then.
    pub(super) fn input_action(&self) -> Value {
        let parameter = |input: &Value| {
            let mut told = json!({ "_class": format!("hudson.model.{}", input["type"].as_str().unwrap_or_default()),
                "name": input["name"], "type": input["type"], "description": input["description"] });
            if input["definition"]["choices"].is_array() {
                told["choices"] = input["definition"]["choices"].clone();
            }
            // A password's value is not exported.
            told["defaultParameterValue"] = match input["type"].as_str() {
                Some("PasswordParameterDefinition") => json!({ "_class": "hudson.model.PasswordParameterValue" }),
                _ => json!({ "value": input["definition"]["defaultVal"] }),
            };
            told
        };
        let execution = |input: &Value| {
            let parameters: Value = input["inputs"].as_array().into_iter().flatten().map(parameter).collect();
            json!({ "id": input["id"], "settled": false, "displayName": input["message"], "input": {
                "id": input["id"], "message": input["message"], "ok": input["proceedText"], "submitter": input["submitter"],
                "parameters": parameters } })
        };
        json!({ "_class": "org.jenkinsci.plugins.workflow.support.steps.input.InputAction",
                "displayName": (!self.inputs.is_empty()).then_some("Paused for Input"),
                "waitingForInput": !self.inputs.is_empty(),
                "executions": self.inputs.iter().map(execution).collect::<Value>() })
    }

    /// The stages and those that are in them, one after the other.
    pub(super) fn flat_stages(&self) -> Vec<Value> {
        let mut flat = Vec::new();
        for stage in &self.stages {
            let mut outer = stage.clone();
            let inside = outer.as_object_mut().and_then(|outer| outer.remove("inside"));
            flat.push(outer);
            flat.extend(inside.as_ref().and_then(Value::as_array).into_iter().flatten().cloned());
        }
        flat
    }

    /// What `pipeline-rest-api` tells of it.
    pub(super) fn flow(&self, number: u32) -> Value {
        let status = match self.result {
            _ if !self.inputs.is_empty() => "PAUSED_PENDING_INPUT",
            _ if self.building => "IN_PROGRESS",
            Some("FAILURE") => "FAILED",
            other => other.unwrap_or("SUCCESS"),
        };
        json!({ "_links": {}, "id": number.to_string(), "name": format!("#{number}"), "status": status,
                "startTimeMillis": self.timestamp, "durationMillis": 60_000, "stages": self.flat_stages() })
    }
}

impl Job {
    fn new(kind: JobKind) -> Self {
        Self {
            kind,
            disabled: false,
            dead: false,
            ends_previous: false,
            parameters: None,
            builds: BTreeMap::new(),
            display_name: None,
            next: None,
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        matches!(self.kind, JobKind::Folder | JobKind::MultiBranch)
    }

    pub(super) fn class(&self) -> &'static str {
        match self.kind {
            JobKind::Folder => "com.cloudbees.hudson.plugins.folder.Folder",
            JobKind::MultiBranch => "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject",
            JobKind::Freestyle => "hudson.model.FreeStyleProject",
            JobKind::Pipeline => "org.jenkinsci.plugins.workflow.job.WorkflowJob",
            JobKind::Matrix => "hudson.matrix.MatrixProject",
            JobKind::Configuration => "hudson.matrix.MatrixConfiguration",
        }
    }

    pub(super) fn next_number(&self) -> u32 {
        self.next.unwrap_or_else(|| self.builds.keys().next_back().map_or(1, |last| last + 1))
    }

    fn color(&self) -> String {
        let last = self.builds.values().next_back();
        let ended = self.builds.values().rev().find(|build| !build.building);
        let color = match ended.and_then(|build| build.result) {
            _ if self.disabled => "disabled",
            Some("SUCCESS") => "blue",
            Some("UNSTABLE") => "yellow",
            Some("FAILURE") => "red",
            Some("ABORTED") => "aborted",
            _ => "notbuilt",
        };
        if last.is_some_and(|build| build.building) { format!("{color}_anime") } else { color.to_owned() }
    }

    /// The last build of some kind, by its permalink.
    pub(super) fn permalink(&self, name: &str) -> Option<u32> {
        let fits = |build: &Build| match name {
            "lastBuild" => true,
            "lastCompletedBuild" => !build.building,
            "lastSuccessfulBuild" => matches!(build.result, Some("SUCCESS" | "UNSTABLE")),
            "lastStableBuild" => build.result == Some("SUCCESS"),
            "lastUnstableBuild" => build.result == Some("UNSTABLE"),
            "lastUnsuccessfulBuild" => !build.building && build.result != Some("SUCCESS"),
            "lastFailedBuild" => build.result == Some("FAILURE"),
            _ => false,
        };
        self.builds.iter().rev().find(|(_, build)| fits(build)).map(|(number, _)| *number)
    }

    /// The job as a bean; a folder with what is in it.
    pub(super) fn bean(&self, full_name: &str, inside: &BTreeMap<String, Self>, in_queue: bool) -> Value {
        let name = full_name.rsplit('/').next().unwrap();
        let class = self.class();
        let health = json!([{ "description": "Build stability: 1 of 2 failed.", "score": 50 }]);
        // A branch's is its name as people write it (branch-api, `BranchNameContributor`).
        let display_name = self.display_name.map_or_else(|| name.replace("%2F", "/"), str::to_owned);
        let mut bean = json!({ "_class": class, "name": name, "fullName": full_name, "description": null,
                               "displayName": display_name,
                               "healthReport": health, "property": [{}] });
        if self.is_folder() {
            bean["disabled"] = json!(self.disabled);
            bean["jobs"] = children(full_name, inside);
            return bean;
        }
        bean["color"] = json!(self.color());
        bean["buildable"] = json!(!self.disabled && !self.dead);
        bean["disabled"] = json!(self.disabled);
        bean["inQueue"] = json!(in_queue);
        bean["nextBuildNumber"] = json!(self.next_number());
        bean["concurrentBuild"] = json!(self.kind == JobKind::Pipeline);
        if let Some(parameters) = &self.parameters {
            bean["property"] = json!([{}, { "_class": "hudson.model.ParametersDefinitionProperty",
                                            "parameterDefinitions": parameters }]);
        }
        let parent = full_name.rsplit_once('/').and_then(|(parent, _)| inside.get(parent));
        if parent.is_some_and(|parent| parent.kind == JobKind::MultiBranch) {
            bean["property"].as_array_mut().unwrap().push(json!({ "_class":
                "org.jenkinsci.plugins.workflow.multibranch.BranchJobProperty", "branch": {} }));
        }
        if self.ends_previous {
            bean["property"].as_array_mut().unwrap().push(json!({ "_class":
                "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty" }));
        }
        if self.kind == JobKind::Matrix {
            let active = configurations(full_name, inside).filter(|(_, job)| !job.disabled);
            let short = |name: &str| name.rsplit('/').next().unwrap().to_owned();
            bean["activeConfigurations"] = active
                .map(|(name, job)| json!({ "_class": job.class(), "name": short(name), "color": job.color() }))
                .collect();
        }
        // Jenkins tells of the newest hundred.
        bean["builds"] = self.builds.iter().rev().take(100).map(|(number, build)| build.bean(*number)).collect();
        for link in ["lastBuild", "lastSuccessfulBuild", "lastFailedBuild"] {
            bean[link] = json!(self.permalink(link).map(|number| self.builds[&number].bean(number)));
        }
        bean
    }

    pub(super) fn samples() -> BTreeMap<String, Self> {
        let mut web = Self::new(JobKind::Pipeline);
        web.parameters = Some(vec![
            json!({ "name": "ENV", "type": "ChoiceParameterDefinition", "choices": ["dev", "prod"], "description": "Where",
                    "defaultParameterValue": { "value": "dev" } }),
            json!({ "name": "DRY_RUN", "type": "BooleanParameterDefinition", "description": "",
                    "defaultParameterValue": { "value": true } }),
            json!({ "name": "DEPLOY_TOKEN", "type": "StringParameterDefinition", "description": null,
                    "defaultParameterValue": { "value": "planted-default" } }),
        ]);
        web.builds.insert(1, Build::ended("SUCCESS", 1_769_000_000_000));
        let mut failed = Build::ended("FAILURE", 1_769_100_000_000);
        failed.log = format!(
            "{NOTE}Started by user ann\n{NOTE}[Pipeline] sh\n+ make test\n\u{1b}[31merror: 2 tests failed\u{1b}[0m\nFinished: FAILURE\n"
        );
        failed.parameters = vec![
            json!({ "_class": "hudson.model.StringParameterValue", "name": "ENV", "value": "prod" }),
            json!({ "_class": "hudson.model.StringParameterValue", "name": "DEPLOY_TOKEN", "value": "planted-value" }),
        ];
        failed.stages = vec![
            json!({ "id": "6", "name": "Build", "status": "SUCCESS", "startTimeMillis": 1, "durationMillis": 9 }),
            json!({ "id": "11", "name": "Test", "status": "FAILED", "startTimeMillis": 1_769_100_000_000_i64,
                    "durationMillis": 99, "error": { "message": "script returned exit code 2", "type": "hudson.AbortException" } }),
        ];
        failed.steps.insert("11".to_owned(), vec![
            json!({ "id": "12", "name": "Shell Script", "status": "FAILED", "parameterDescription": "deploy --password planted",
                    "error": { "message": "script returned exit code 2" } }),
        ]);
        failed.tests = Some(json!({
            "_class": "hudson.tasks.junit.TestResult", "failCount": 2, "skipCount": 1, "passCount": 3,
            // The innermost first (junit's `JUnitResultsStepExecution.java`).
            "suites": [{ "name": "web", "enclosingBlockNames": ["linux", "Test"], "cases": [
                { "className": "web.Login", "name": "works", "status": "PASSED", "duration": 0.5, "age": 0 },
                { "className": "web.Login", "name": "refuses", "status": "REGRESSION", "duration": 0.25, "age": 1,
                  "errorDetails": "expected 403", "errorStackTrace": "at web.Login\r\nat web.Main" },
                { "className": "web.Cart", "name": "adds", "status": "FAILED", "duration": 1.0, "age": 4 },
                { "className": "web.Cart", "name": "later", "status": "SKIPPED", "duration": 0.0, "age": 0 },
            ] }],
        }));
        failed.artifacts = [
            ("target/report.txt", b"all is\nwell\n".to_vec()),
            ("target/report.html", b"<!doctype html><p>hi".to_vec()),
            ("bin/web tool", vec![0x7f, b'E', 0, 1]),
        ]
        .map(|(path, bytes)| (path.to_owned(), bytes))
        .into();
        web.builds.insert(2, failed);
        let mut branch = Self::new(JobKind::Pipeline);
        branch.builds.insert(7, Build::ended("UNSTABLE", 1_769_200_000_000));
        let mut matrix = Self::new(JobKind::Matrix);
        let ended = |result| Build { pipeline: false, ..Build::ended(result, 1_769_400_000_000) };
        matrix.builds.insert(4, ended("SUCCESS"));
        matrix.builds.insert(
            5,
            Build {
                log: "jdk=21,os=linux completed with result FAILURE\nFinished: FAILURE\n".to_owned(),
                ..ended("FAILURE")
            },
        );
        let configuration = |builds: &[(u32, &'static str)]| {
            let run = |&(number, result): &(u32, &'static str)| {
                let log = format!("Building remotely\n+ make test\nFinished: {result} of {number}\n");
                (number, Build { log, ..ended(result) })
            };
            Self { builds: builds.iter().map(run).collect(), ..Self::new(JobKind::Configuration) }
        };
        let mut plain = Self::new(JobKind::Freestyle);
        plain.builds.insert(3, Build { pipeline: false, ..Build::ended("SUCCESS", 1_769_300_000_000) });
        [
            ("team", Self::new(JobKind::Folder)),
            ("team/web", web),
            ("team/shop", Self::new(JobKind::MultiBranch)),
            ("team/shop/feature%2Flogin", branch),
            ("team/off", Self { disabled: true, ..Self::new(JobKind::Freestyle) }),
            ("team/matrix", matrix),
            ("team/matrix/jdk=17,os=linux", configuration(&[(4, "SUCCESS"), (5, "SUCCESS")])),
            ("team/matrix/jdk=21,os=linux", configuration(&[(4, "SUCCESS"), (5, "FAILURE")])),
            ("team/matrix/jdk=21,os=Windows Server", configuration(&[(5, "UNSTABLE")])),
            // No value of the axis any more: it is not built, and its last run is kept. (Such a one is not active.)
            ("team/matrix/jdk=8,os=linux", Self { disabled: true, ..configuration(&[(4, "FAILURE")]) }),
            ("plain", plain),
        ]
        .map(|(name, job)| (name.to_owned(), job))
        .into()
    }
}

/// What is in a folder; of the top if its name is empty.
pub(super) fn children(folder: &str, jobs: &BTreeMap<String, Job>) -> Value {
    let parent = |name: &str| name.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned());
    let inside = jobs.iter().filter(|(name, job)| parent(name) == folder && job.kind != JobKind::Configuration);
    inside.map(|(name, job)| job.bean(name, &BTreeMap::new(), false)).collect()
}

/// The configurations of a matrix project, those too that are not built any more.
pub(super) fn configurations<'a>(
    project: &str,
    jobs: &'a BTreeMap<String, Job>,
) -> impl Iterator<Item = (&'a String, &'a Job)> {
    let front = format!("{project}/");
    jobs.iter().filter(move |(name, job)| job.kind == JobKind::Configuration && name.starts_with(&front))
}

/// A combination of values as Jenkins writes it, whose axes may be given in any order.
pub(super) fn combination(text: &str) -> String {
    let mut pairs: Vec<&str> = text.split(',').collect();
    pairs.sort_unstable();
    pairs.join(",")
}

/// The runs of a matrix build: of each configuration the one with its number, or else the last one before.
pub(super) fn runs(project: &str, number: u32, jobs: &BTreeMap<String, Job>) -> Value {
    let run = |(name, job): (&String, &Job)| {
        let (at, build) = job.builds.range(..=number).next_back()?;
        let mut bean = build.bean(*at);
        let path = name.strip_prefix(project)?.replace(' ', "%20");
        let project = project.replace('/', "/job/");
        bean["_class"] = json!("hudson.matrix.MatrixRun");
        bean["url"] = json!(format!("http://wrong-root-url.example.com/jenkins/job/{project}{path}/{at}/"));
        Some(bean)
    };
    configurations(project, jobs).filter_map(run).collect()
}

impl Item {
    pub(super) fn bean(&self, id: u64, english: bool) -> Value {
        let waits = self.build.is_none() && !self.cancelled;
        let why = if english {
            "Waiting for next available executor"
        } else {
            "Esperando por el siguiente ejecutor disponible"
        };
        let mut bean = json!({
            "_class": "hudson.model.Queue$WaitingItem", "id": id, "blocked": false, "buildable": waits, "stuck": self.stuck,
            "inQueueSince": self.since, "why": waits.then_some(why),
            "task": { "name": self.job.rsplit('/').next(), "fullName": self.job },
        });
        if self.step_of.is_some() {
            // Nothing of it is exported (workflow-durable-task-step, `ExecutorStepExecution.java`).
            bean["task"] = json!({ "_class":
                "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask" });
        }
        if !waits {
            // Only an item that left the queue has these (`hudson/model/Queue.java`, `LeftItem`).
            bean["cancelled"] = json!(self.cancelled);
            bean["executable"] = json!(self.build.map(|number| json!({ "number": number })));
        }
        bean
    }
}
