//! What is there at the double: one project of each kind, its runs, workflows and jobs as a state machine that a test
//! steps on, their logs, tests and files.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Entries of a page.
pub(super) const PAGE: usize = 2;

pub(super) const PROJECT: &str = "11111111-1111-4111-8111-111111111111";
pub(super) const ORG: &str = "22222222-2222-4222-8222-222222222222";
pub(super) const DEFINITION: &str = "33333333-3333-4333-8333-333333333333";

/// An id that says what it is of.
pub(super) fn id(kind: char, number: u64) -> String {
    format!("{}0000000-0000-4000-8000-{number:012}", char::to_ascii_lowercase(&kind))
}

/// A time so many days ago, and some seconds later.
pub(super) fn ago(days: u64, seconds: u64) -> String {
    let back = i64::try_from(days * 86_400 - seconds).unwrap();
    (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(back)).to_string()
}

#[derive(Clone)]
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) slug: String,
    pub(super) branch: Option<String>,
    pub(super) state: String,
    pub(super) created_at: String,
    pub(super) parameters: Value,
}

#[derive(Clone)]
pub(super) struct Workflow {
    pub(super) number: u64,
    pub(super) run: u64,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) created_at: String,
}

#[derive(Clone)]
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) workflow: u64,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) is_approval: bool,
    pub(super) approved_by: Option<String>,
    pub(super) needs: Vec<u64>,
}

pub(super) struct World {
    pub(super) host: String,
    pub(super) files: String,
    pub(super) slug: String,
    pub(super) runs: Vec<Run>,
    pub(super) workflows: Vec<Workflow>,
    pub(super) jobs: Vec<Job>,
    /// Standard output of the failed step of each job.
    pub(super) log: Vec<u8>,
    /// Whether that step still writes.
    pub(super) log_goes_on: bool,
    pub(super) tests: Vec<Value>,
    pub(super) artifacts: BTreeMap<String, Vec<u8>>,
    pub(super) definitions: usize,
    /// Whether a run is skipped.
    pub(super) skips: bool,
    /// Whether `pipeline/run` is there.
    pub(super) has_run_endpoint: bool,
    /// Whether `pipeline/run` takes a definition only.
    pub(super) wants_definition: bool,
    /// How often a workflow that was cancelled is still seen running.
    pub(super) cancels_late: u32,
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

    pub(super) fn job(&self, wanted: &str) -> Option<&Job> {
        self.jobs.iter().find(|one| id('c', one.number) == wanted)
    }

    pub(super) fn job_by_number(&self, number: &str) -> Option<&Job> {
        self.jobs.iter().find(|one| one.number.to_string() == number && !one.is_approval)
    }

    /// The slug that this path's three parts make, if it is the project's, by whichever of its names.
    pub(super) fn knows(&self, parts: &[&str]) -> bool {
        let named = parts.join("/");
        named == self.slug || named.replacen("github/", "gh/", 1) == self.slug
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
