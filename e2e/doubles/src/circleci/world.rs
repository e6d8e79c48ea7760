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
    /// The branch; none for a tag.
    pub branch: Option<String>,
    /// Its state, in the words of v2.
    pub state: String,
    /// When it began.
    pub created_at: String,
    /// Parameters that it was given.
    pub parameters: Value,
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

/// All that there is.
pub struct World {
    /// URL of the double.
    pub host: String,
    /// URL of the host of files.
    pub files: String,
    /// The project's slug.
    pub slug: String,
    /// Runs, newest first.
    pub runs: Vec<Run>,
    /// Workflows.
    pub workflows: Vec<Workflow>,
    /// Jobs.
    pub jobs: Vec<Job>,
    /// Standard output of the failed step of each job.
    pub log: Vec<u8>,
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
}

pub(super) const CONFIG: &str = "version: 2.1\nparameters:\n  deploy:\n    type: boolean\n    default: false\n  env:\n    \
                                 type: string\njobs: {}\n";

impl World {
    pub(super) fn new(host: &str, files: &str) -> Self {
        let slug = "gh/acme/web".to_owned();
        let run = |number: u64, branch: &str| Run {
            number,
            slug: slug.clone(),
            branch: Some(branch.to_owned()),
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
            log: b"\x1b[32mok\x1b[0m one\nerror: \xc3\xbcber all\nexit code 2\n".to_vec(),
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

    /// The number of a job's run.
    pub(super) fn run_of(&self, job: &Job) -> u64 {
        self.workflows.iter().find(|one| one.number == job.workflow).unwrap().run
    }

    pub(super) fn job(&self, wanted: &str) -> Option<&Job> {
        self.jobs.iter().find(|one| id('c', one.number) == wanted)
    }

    pub(super) fn job_by_number(&self, number: &str) -> Option<&Job> {
        self.jobs.iter().find(|one| one.number.to_string() == number && !one.is_approval)
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
            ("output", _) => {
                let text = String::from_utf8_lossy(&self.log).into_owned();
                let part = json!({ "message": text, "time": "2026-11-05T10:00:00Z", "type": "out" });
                Some(json!([part]).to_string().into_bytes())
            }
            _ => None,
        }
    }
}
