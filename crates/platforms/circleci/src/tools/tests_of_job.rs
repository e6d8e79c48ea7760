//! `get_circleci_job_tests`: what the tests of a job came to.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JobArgs, name, read, word};
use crate::{
    CircleCi,
    client::{Api, Call, Error},
    ended::AGE,
    error::{About, to_tool_error},
    locate::{JobName, Read},
    text,
    wire::Test,
};
use kit::{
    args::{PageArgs, yes},
    log::plain,
};
use outbound::RequestError;
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError, page::encode_cursor};

/// Characters of a test's message.
const MAX_MESSAGE: usize = 1_000;
/// Tests that are read of a list of v2.
const MAX_READ: usize = 5_000;

const TESTS: ToolDeclaration = ToolDeclaration::read(
    "get_circleci_job_tests",
    "Tests of a job",
    "Answers how many of a job's tests succeeded, failed and were skipped, and the failed ones with their messages; all \
     of them with only_failed false. A job has tests only if it stores test results.",
)
.cached_if_final(AGE)
.polled();

/// Arguments of `get_circleci_job_tests`.
#[derive(Deserialize, JsonSchema)]
struct TestsInput {
    #[serde(flatten)]
    job: JobArgs,
    /// Whether only failed tests are listed.
    #[serde(default = "yes")]
    only_failed: bool,
    #[serde(flatten)]
    page: PageArgs<50, 500>,
}

/// What the tests of a job came to.
#[derive(Serialize, JsonSchema)]
struct TestsAnswer {
    /// Number of tests.
    total: usize,
    /// Those that succeeded.
    succeeded: usize,
    /// Those that failed.
    failed: usize,
    /// Those that were skipped.
    skipped: usize,
    /// The tests.
    cases: Vec<TestView>,
    /// Whether there are more.
    truncated: bool,
    /// Pass this as `cursor` to go on; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A test.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct TestView {
    /// Name.
    name: String,
    /// Class, suite or package.
    #[serde(skip_serializing_if = "String::is_empty")]
    classname: String,
    /// File.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// `success`, `failure`, `error` or `skipped`.
    result: String,
    /// Seconds that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_time: Option<f64>,
    /// What it said, cut to 1000 characters: data of the program that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl TestView {
    pub(super) fn of(test: &Test) -> Self {
        Self {
            name: name(&test.name),
            classname: name(&test.classname),
            file: text::optional(test.file.as_deref(), 255),
            result: word(&test.result),
            run_time: test.run_time,
            message: test
                .message
                .as_deref()
                .map(|message| plain(message).chars().take(MAX_MESSAGE).collect::<String>())
                .filter(|message| !message.trim().is_empty()),
        }
    }
}

/// By the words that CircleCI uses for what test reports say.
pub(super) fn has_failed(test: &Test) -> bool {
    matches!(test.result.as_str(), "failure" | "failed" | "error")
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, TESTS, tests)]
}

async fn tests(circleci: Arc<CircleCi>, input: TestsInput, context: CallContext) -> Result<TestsAnswer, ToolError> {
    let limit = input.page.limit();
    let skip: usize = input.page.position()?;
    let job = input.job.name(&circleci)?;
    let found = circleci.fetch_tests(&job, true, &context).await?;
    // Reports are taken in after the end of a job: none may mean not yet.
    if circleci.ended.knows(&job) && !found.items.is_empty() {
        context.answer_is_final();
    }
    let count = |wanted: fn(&Test) -> bool| found.items.iter().filter(|test| wanted(test)).count();
    let (failed, skipped) = (count(has_failed), count(|test| test.result == "skipped"));
    let wanted: Vec<&Test> = found.items.iter().filter(|test| !input.only_failed || has_failed(test)).collect();
    let cases: Vec<TestView> = wanted.iter().skip(skip).take(limit).map(|test| TestView::of(test)).collect();
    let seen = skip + cases.len();
    let mut hints = Vec::new();
    if found.items.is_empty() {
        hints.push("the job has stored no test results; what failed may stand in its log".to_owned());
    } else if cases.is_empty() && failed == 0 {
        hints.push("none of its tests failed".to_owned());
    }
    if found.more {
        hints.push("the job has more tests than one call reads: the numbers are of those that were read".to_owned());
    }
    Ok(TestsAnswer {
        total: found.items.len(),
        succeeded: count(|test| test.result == "success"),
        failed,
        skipped,
        next_cursor: (seen < wanted.len()).then(|| encode_cursor(&seen.to_string())),
        truncated: seen < wanted.len() || found.more,
        cases,
        hints,
    })
}

impl CircleCi {
    /// The tests of a job: from v3 by its id, from v2 by its number. `is_unknown` says that its project is still to be
    /// checked.
    pub(super) async fn fetch_tests(
        &self,
        job: &JobName,
        is_unknown: bool,
        context: &CallContext,
    ) -> Result<Read<Test>, ToolError> {
        match job {
            JobName::Number(slug, number) => {
                let call = Call::of_project(Api::V2, "project", slug, &[&number.to_string(), "tests"]);
                self.list(&call, MAX_READ, "read the job's tests", About::Id("job"), context).await
            }
            JobName::Id(id) => {
                self.wants_v3(context).await?;
                if is_unknown {
                    self.check_job(id, context).await?;
                }
                let call = Call::get(Api::V3, ["jobs", id.as_str(), "tests"]).text();
                let worded = |error: Error| to_tool_error(&error, "read the job's tests", About::Id("job"));
                let response = self.session.bytes(&call, context.deadline).await.map_err(worded)?;
                let items: Result<Vec<Test>, _> = response
                    .body()
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.trim_ascii().is_empty())
                    // Structs would take an array of their fields, too.
                    .map(
                        |line| {
                            if line.trim_ascii().starts_with(b"{") { serde_json::from_slice(line).ok() } else { None }
                        },
                    )
                    .map(|test| test.ok_or(Error::Request(RequestError::NotJson)))
                    .collect();
                Ok(Read { items: items.map_err(worded)?, more: false })
            }
        }
    }
}
