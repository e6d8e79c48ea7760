//! What is there at the double: one project of each kind, its runs, workflows and jobs as a state machine that a test
//! steps on, their logs, tests and files.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Entries of a page, unless a test says otherwise. Nobody can ask for another size of v2
/// (CircleCI-Archived/api-preview-docs #48).
pub(super) const PAGE: usize = 2;

/// Id of the project.
pub const PROJECT: &str = "11111111-1111-4111-8111-111111111111";
/// Id of the organization.
pub const ORG: &str = "22222222-2222-4222-8222-222222222222";
/// Id of the definition of the pipeline.
pub const DEFINITION: &str = "33333333-3333-4333-8333-333333333333";

/// An id that says what it is of.
pub fn id(kind: char, number: u64) -> String {
    format!("{}0000000-0000-4000-8000-{number:012}", char::to_ascii_lowercase(&kind))
}

/// A time so many days ago, and some seconds later.
pub fn ago(days: u64, seconds: u64) -> String {
    let back = i64::try_from(days * 86_400 - seconds).unwrap();
    (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(back)).to_string()
}

/// A run of a pipeline.
#[derive(Clone)]
pub struct Run {
    /// Its number.
    pub number: u64,
    /// The project's slug.
    pub slug: String,
    /// The branch; none for a tag. Of a fork's pull request it is `pull/610`.
    pub branch: Option<String>,
    /// The tag.
    pub tag: Option<String>,
    /// Its state, in the words of v2.
    pub state: String,
    /// When it began.
    pub created_at: String,
    /// Parameters that it was given.
    pub parameters: Value,
    /// Whether the API was asked for it, instead of [`World::trigger`].
    pub by_api: bool,
}

/// A workflow of a run.
#[derive(Clone)]
pub struct Workflow {
    /// Its number.
    pub number: u64,
    /// The run's number.
    pub run: u64,
    /// Its name.
    pub name: String,
    /// Its state, in the words of v2.
    pub status: String,
    /// When it began.
    pub created_at: String,
    /// Whether its record has expired: it is listed with nulls (con/tinuous #203).
    pub has_expired: bool,
    /// How often it is run again by itself at most; 0 if its configuration says nothing of it (circleci-docs 9734a14,
    /// `docs/guides/modules/orchestrate/pages/automatic-reruns.adoc`, as all about such reruns).
    pub max_auto_reruns: u64,
    /// Which of these reruns it is; 0 for one that was started otherwise.
    pub auto_rerun_number: u64,
    /// Whether it makes the configuration of the run's others.
    pub is_setup: bool,
}

/// A job of a workflow.
#[derive(Clone)]
pub struct Job {
    /// Its number.
    pub number: u64,
    /// The workflow's number.
    pub workflow: u64,
    /// Its name.
    pub name: String,
    /// Its state, in the words of v2.
    pub status: String,
    /// Whether it waits for a person.
    pub is_approval: bool,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Numbers of the jobs that it waits for.
    pub needs: Vec<u64>,
}

impl Job {
    /// Whether it has a number: one that never began has none.
    pub(super) fn has_begun(&self) -> bool {
        !["blocked", "unauthorized", "not_run", "skipped"].contains(&self.status.as_str())
    }
}

/// A step on one of the machines that run a job side by side.
#[derive(Clone)]
pub struct Step {
    /// The machine.
    pub execution: u64,
    /// Its number, the same on all machines.
    pub num: u64,
    /// Its name.
    pub name: &'static str,
    /// Its state, in the words of v1.1. One that wrote nothing for too long is `timedout` without an exit code
    /// (votingworks/vxsuite #9149).
    pub status: &'static str,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// Which try it is, from 0 on, of one that is run again by itself three times at most.
    pub auto_rerun_number: Option<u64>,
    /// Whether it does not count for its job (circleci-docs, `open-telemetry-integration.adoc`).
    pub insignificant: bool,
}

impl Step {
    /// One on the first machine that is run once.
    pub fn new(num: u64, name: &'static str, status: &'static str, exit_code: Option<i64>) -> Self {
        Self { execution: 0, num, name, status, exit_code, auto_rerun_number: None, insignificant: false }
    }
}

/// All that there is.
pub struct World {
    /// URL of the double.
    pub host: String,
    /// URL of the host of files.
    pub files: String,
    /// The project's slug.
    pub slug: String,
    /// What started the runs: `scheduled_pipeline`, `explicit`, `api` or `webhook`.
    pub trigger: &'static str,
    /// Runs, newest first.
    pub runs: Vec<Run>,
    /// Workflows.
    pub workflows: Vec<Workflow>,
    /// Jobs.
    pub jobs: Vec<Job>,
    /// Steps of jobs, by number, in their order. Of other jobs there are two, of which the second fails with its job.
    pub steps: BTreeMap<u64, Vec<Step>>,
    /// What is said of jobs themselves, by number. One that was rejected has no steps, in v1.1 neither; why stands here alone, as
    /// in the two answers of support.circleci.com 360056390151.
    pub messages: BTreeMap<u64, Value>,
    /// Standard output of the failed step of each job.
    pub log: Vec<u8>,
    /// Standard error of that step.
    pub stderr: Vec<u8>,
    /// Whether that step still writes.
    pub log_goes_on: bool,
    /// Results of tests of job 32.
    pub tests: Vec<Value>,
    /// Files that jobs left, by path.
    pub artifacts: BTreeMap<String, Vec<u8>>,
    /// How many definitions of pipelines there are.
    pub definitions: usize,
    /// Whether a run is skipped.
    pub skips: bool,
    /// Whether `pipeline/run` is there.
    pub has_run_endpoint: bool,
    /// Whether `pipeline/run` takes a definition only.
    pub wants_definition: bool,
    /// Entries of a page.
    pub page: usize,
    /// Whether each list ends with a token for a page that isn't there (circleci/circleci-docs #6472).
    pub loses_pages: bool,
    /// Whether the host of files keeps them packed, and answers so whatever was asked for.
    pub packs_files: bool,
    /// How often a workflow that was cancelled is still seen running.
    pub cancels_late: u32,
    /// Whether a workflow that is cancelled ends well before that.
    pub cancels_too_late: bool,
    /// Which machines left a file, by path; the first if nothing is said.
    pub machines: BTreeMap<String, Vec<u64>>,
    /// Whether runs begin with a setup, which continues to another configuration.
    pub has_setup: bool,
    /// What is wrong with configurations that are.
    pub config_error: String,
    /// Names of components that are deployed; several may have one.
    pub components: Vec<&'static str>,
    /// Names of environments.
    pub environments: Vec<&'static str>,
    /// Whether something is done to the component that is to be rolled back.
    pub is_rolling_back: bool,
}

pub(super) const CONFIG: &str = "version: 2.1\nparameters:\n  deploy:\n    type: boolean\n    default: false\n  env:\n    \
                                 type: string\njobs: {}\n";

/// What a setup continues to: it may declare other parameters (ethereum-optimism/optimism #19462).
pub(super) const CONTINUED: &str =
    "version: 2.1\nparameters:\n  c-deploy:\n    type: boolean\n    default: false\njobs: {}\n";

impl World {
    pub(super) fn new(host: &str, files: &str) -> Self {
        let slug = "gh/acme/web".to_owned();
        let run = |number: u64, branch: &str| Run {
            number,
            slug: slug.clone(),
            branch: Some(branch.to_owned()),
            tag: None,
            by_api: false,
            state: "created".to_owned(),
            created_at: ago(10 - number, 0),
            parameters: json!({}),
        };
        let workflow = |number: u64, run: u64, name: &str, status: &str| Workflow {
            number,
            run,
            name: name.to_owned(),
            status: status.to_owned(),
            created_at: ago(10 - run, number),
            has_expired: false,
            max_auto_reruns: 0,
            auto_rerun_number: 0,
            is_setup: false,
        };
        let job = |number: u64, name: &str, status: &str| Job {
            number,
            workflow: 1,
            name: name.to_owned(),
            status: status.to_owned(),
            is_approval: false,
            approved_by: None,
            needs: Vec::new(),
        };
        Self {
            host: host.to_owned(),
            files: files.to_owned(),
            trigger: "webhook",
            runs: vec![run(5, "main"), run(4, "feature/x"), run(3, "main"), run(2, "main"), run(1, "main")],
            workflows: vec![
                workflow(1, 5, "build", "failed"),
                workflow(2, 5, "lint", "success"),
                workflow(3, 4, "build", "on_hold"),
            ],
            jobs: vec![
                job(31, "compile", "success"),
                job(32, "test", "failed"),
                Job { needs: vec![32], ..job(33, "publish", "blocked") },
                Job { workflow: 3, is_approval: true, ..job(34, "hold", "on_hold") },
                Job { workflow: 3, needs: vec![34], ..job(35, "deploy", "blocked") },
            ],
            steps: BTreeMap::new(),
            messages: BTreeMap::new(),
            log: b"\x1b[32mok\x1b[0m one\nerror: \xc3\xbcber all\nexit code 2\n".to_vec(),
            stderr: Vec::new(),
            log_goes_on: false,
            tests: vec![
                json!({ "name": "adds", "classname": "math", "file": "m.rs", "source": "x", "result": "success", "run_time": 0.1, "message": "" }),
                json!({ "name": "divides", "classname": "math", "file": "m.rs", "source": "x", "result": "failure", "run_time": 0.2,
                        "message": "\u{1b}[31mby zero\u{1b}[0m" }),
                json!({ "name": "roots", "classname": "math", "file": "m.rs", "source": "x", "result": "skipped", "run_time": 0.0, "message": "" }),
            ],
            artifacts: [
                ("out/log.txt", &b"line one\nline two\n"[..]),
                ("out/image.png", b"\x89PNG\x00\x01"),
                ("a.txt", b"a"),
            ]
            .map(|(path, bytes)| (path.to_owned(), bytes.to_vec()))
            .into(),
            definitions: 0,
            skips: false,
            has_run_endpoint: true,
            wants_definition: false,
            page: PAGE,
            loses_pages: false,
            packs_files: false,
            cancels_late: 0,
            cancels_too_late: false,
            machines: BTreeMap::new(),
            has_setup: false,
            config_error: "no jobs".to_owned(),
            components: vec!["api", "web"],
            environments: vec!["dev", "stage", "prod"],
            is_rolling_back: false,
            slug,
        }
    }

    pub(super) fn run(&self, number: u64) -> Option<&Run> {
        self.runs.iter().find(|run| run.number == number)
    }

    pub(super) fn run_by_id(&self, wanted: &str) -> Option<&Run> {
        self.runs.iter().find(|run| id('a', run.number) == wanted)
    }

    pub(super) fn workflow(&self, wanted: &str) -> Option<&Workflow> {
        self.workflows.iter().find(|one| id('b', one.number) == wanted)
    }

    pub(super) fn workflow_mut(&mut self, wanted: &str) -> Option<&mut Workflow> {
        self.workflows.iter_mut().find(|one| id('b', one.number) == wanted)
    }

    /// The files that jobs left, each with a machine that left it.
    pub(super) fn files(&self) -> Vec<(&str, u64)> {
        let of = |path: &String| self.machines.get(path).cloned().unwrap_or_else(|| vec![0]);
        let each = |path| of(path).into_iter().map(move |machine| (path.as_str(), machine));
        self.artifacts.keys().flat_map(each).collect()
    }

    /// The number of a job's run.
    pub(super) fn run_of(&self, job: &Job) -> u64 {
        self.workflows.iter().find(|one| one.number == job.workflow).unwrap().run
    }

    pub(super) fn job(&self, wanted: &str) -> Option<&Job> {
        self.jobs.iter().find(|one| id('c', one.number) == wanted)
    }

    pub(super) fn job_by_number(&self, number: &str) -> Option<&Job> {
        let is_there = |one: &&Job| one.has_begun() || self.messages.contains_key(&one.number);
        self.jobs.iter().find(|one| one.number.to_string() == number && !one.is_approval && is_there(one))
    }

    /// The steps of a job that has begun.
    pub(super) fn steps_of(&self, job: &Job) -> Vec<Step> {
        let is_failed = job.status == "failed";
        let make = if is_failed { ("failed", Some(2)) } else { ("success", Some(0)) };
        let usual =
            || vec![Step::new(0, "Spin up environment", "success", None), Step::new(101, "make", make.0, make.1)];
        self.steps.get(&job.number).cloned().unwrap_or_else(usual)
    }

    /// What a step wrote: where steps are given, that it is this one.
    pub(super) fn output(&self, job: u64, num: u64, execution: u64) -> Vec<u8> {
        match self.steps.get(&job) {
            Some(_) => format!("error: of step {num} on {execution}\n").into_bytes(),
            None => self.log.clone(),
        }
    }

    /// Whether this path's three parts make the project's slug, by whichever of its names. One of the GitHub App and the like has
    /// two, with the ids as UUIDs and in a shorter form (CircleCI-Public/circleci-cli #1281, #1833).
    pub(super) fn knows(&self, parts: &[&str]) -> bool {
        let named = parts.join("/");
        let by_ids = format!("circleci/{ORG}/{PROJECT}");
        named == self.slug
            || named.replacen("github/", "gh/", 1) == self.slug
            || (self.slug.starts_with("circleci/") && named == by_ids)
    }

    /// A file on the host of files.
    pub(super) fn file(&self, path: &str) -> Option<Vec<u8>> {
        match path.trim_start_matches('/').split_once('/')? {
            ("artifacts", path) => self.artifacts.get(path).cloned(),
            ("output", step) => {
                let mut numbers = step.split('/').map(|number| number.parse().unwrap());
                let [job, num, execution] = std::array::from_fn(|_| numbers.next().unwrap());
                let text = String::from_utf8_lossy(&self.output(job, num, execution)).into_owned();
                let errors = String::from_utf8_lossy(&self.stderr).into_owned();
                let parts = [("out", text), ("err", errors)]
                    .map(|(kind, text)| json!({ "message": text, "time": "2026-11-05T10:00:00Z", "type": kind }));
                Some(json!(parts).to_string().into_bytes())
            }
            _ => None,
        }
    }
}
