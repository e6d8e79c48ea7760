//! What users of other clients reported of CircleCI's API, each with its source, against the double.

mod changes;
mod config;
mod front;
mod jobs;
mod names;
mod pages;
mod runs;

use serde_json::{Value, json};

use super::{
    double::Double,
    world::{Run, Workflow, ago, id},
};

fn run(number: u64) -> Value {
    json!({ "pipeline_id": id('a', number) })
}

fn job() -> Value {
    json!({ "project_slug": "gh/acme/web", "job_number": 32 })
}

#[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn and(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

/// Workflows of run 5, the newest first, with their states.
fn workflows(states: &[&str]) -> Vec<Workflow> {
    let one = |(number, status): (u64, &&str)| Workflow {
        number,
        run: 5,
        name: format!("w{number}"),
        status: (*status).to_owned(),
        created_at: ago(5, 100 - number),
        has_expired: false,
        max_auto_reruns: 0,
        auto_rerun_number: 0,
        is_setup: false,
    };
    (1..).zip(states).map(one).collect()
}

/// Run 5 with a setup and, if they are given, workflows that it continued to.
fn with_setup(double: &Double, state: &str, created_at: &str, states: &[&str]) {
    double.change(|double| {
        double.world.workflows = workflows(states);
        double.world.workflows[0].is_setup = true;
        (double.world.runs[0].state, double.world.runs[0].created_at) = (state.to_owned(), created_at.to_owned());
    });
}

/// A run of now, the newest of all: of main, if nothing else is said.
fn newest(double: &Double, change: impl Fn(&mut Run)) {
    double.change(|state| {
        let mut run = state.world.runs[0].clone();
        (run.number, run.created_at, run.by_api) = (run.number + 1, ago(0, 0), false);
        (run.branch, run.tag) = (Some("main".into()), None);
        change(&mut run);
        state.world.runs.insert(0, run);
    });
}

const RUN: &str = "v2/project/gh/acme/web/pipeline/run";

fn on(reference: Value) -> Value {
    and(json!({ "project_slug": "gh/acme/web" }), reference)
}
