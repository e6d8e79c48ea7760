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
    locate::{JobName, Listing, PAGES_OF_A_SEARCH, Read},
    text,
    wire::Test,
};
use kit::{
    args::{PageArgs, yes},
    log::plain,
};
use outbound::{Reading, RequestError};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError, page::encode_cursor};

/// Characters of a test's message.
const MAX_MESSAGE: usize = 1_000;

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
    /// Number of tests that were read; all, unless a hint says otherwise.
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

/// Numbers of tests.
#[derive(Serialize, Deserialize, Clone, Copy, Default)]
struct Counts {
    total: usize,
    succeeded: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn of(tests: &[Test]) -> Self {
        let count = |wanted: fn(&Test) -> bool| tests.iter().filter(|test| wanted(test)).count();
        Self {
            total: tests.len(),
            succeeded: count(|test| test.result == "success"),
            failed: count(has_failed),
            skipped: count(|test| test.result == "skipped"),
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// Where the list goes on: from a page of CircleCI's on, after so many that were shown; and what came before that page.
#[derive(Serialize, Deserialize, Default)]
struct Position {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    shown: usize,
    before: Counts,
}

async fn tests(circleci: Arc<CircleCi>, input: TestsInput, context: CallContext) -> Result<TestsAnswer, ToolError> {
    let limit = input.page.limit();
    let Position { at, shown, before } =
        input.page.cursor().map_or_else(|| Ok(Position::default()), kit::args::Cursor::value)?;
    let job = input.job.name(&circleci, &context).await?;
    if let JobName::Id(id) = &job {
        circleci.wants_v3(&context).await?;
        circleci.check_job(id, &context).await?;
    }
    let found = circleci.fetch_tests(&job, at.clone(), PAGES_OF_A_SEARCH, |_| false, &context).await?;
    // Reports are taken in after the end of a job: none may mean not yet.
    if circleci.ended.knows(&job) && !found.items.is_empty() && !found.more() {
        context.answer_is_final();
    }
    let counts = before.and(Counts::of(&found.items));
    let wanted: Vec<&Test> = found.items.iter().filter(|test| !input.only_failed || has_failed(test)).collect();
    let cases: Vec<TestView> = wanted.iter().skip(shown).take(limit).map(|test| TestView::of(test)).collect();
    let seen = shown + cases.len();
    let next = if seen < wanted.len() {
        Some(Position { at, shown: seen, before })
    } else {
        // A page that can't be named is no place to go on at.
        found.next.as_ref().filter(|next| !next.is_empty()).map(|next| {
            let at = Some(next.clone());
            Position { at, shown: 0, before: counts }
        })
    };
    let mut hints = Vec::new();
    if found.more() {
        let read = counts.total;
        hints.push(match &next {
            Some(_) => format!("the numbers are of the {read} tests that were read so far; there are more: go on with cursor"),
            None => format!(
                "the numbers are of the first {read} tests, as many as one answer of CircleCI's may have: with project_slug and \
                 job_number all can be read"
            ),
        });
    } else if counts.total == 0 {
        hints.push("CircleCI has no test results of the job: none were stored (yet), or they are kept no more; what failed may stand in its log".to_owned());
    } else if cases.is_empty() && counts.failed == 0 {
        hints.push("none of its tests failed".to_owned());
    }
    let Counts { total, succeeded, failed, skipped } = counts;
    let next_cursor = next.map(|next| encode_cursor(&serde_json::to_string(&next).unwrap_or_default()));
    Ok(TestsAnswer {
        total,
        succeeded,
        failed,
        skipped,
        truncated: next_cursor.is_some() || found.more(),
        next_cursor,
        cases,
        hints,
    })
}

impl CircleCi {
    /// The tests of a job of an allowed project: from v3 by its id, which has them in one answer, from v2 by its number, page by
    /// page from `at` on.
    pub(super) async fn fetch_tests(
        &self,
        job: &JobName,
        at: Option<String>,
        pages: usize,
        enough: impl Fn(&[Test]) -> bool,
        context: &CallContext,
    ) -> Result<Read<Test>, ToolError> {
        match job {
            JobName::Number(slug, number) => {
                let call = Call::of_project(Api::V2, "project", slug, &[&number.to_string(), "tests"]);
                let listing = Listing::new(call, "read the job's tests", About::Id("job")).from(at).pages(pages);
                self.list(listing, enough, context).await
            }
            JobName::Id(id) => {
                let call = Call::get(Api::V3, ["jobs", id.as_str(), "tests"])
                    .text()
                    .reading(Reading::First(outbound::MAX_BODY_BYTES));
                let worded = |error: Error| to_tool_error(&error, "read the job's tests", About::Id("job"));
                let response = self.session.bytes(&call, context.deadline).await.map_err(worded)?;
                let items = lines(response.body(), response.left_out.after).map_err(worded)?;
                Ok(Read { items, next: response.left_out.after.then(String::new) })
            }
        }
    }
}

/// Tests of v3, one a line. One that can't be read costs no more than itself.
fn lines(body: &[u8], is_cut: bool) -> Result<Vec<Test>, Error> {
    let mut lines: Vec<&[u8]> =
        body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
    if is_cut && !body.ends_with(b"\n") {
        lines.pop();
    }
    let mut tests = Vec::new();
    let mut odd = false;
    for line in &lines {
        // Structs would take an array of their fields, too.
        match line.starts_with(b"{").then(|| outbound::decode::decode(line)) {
            Some(Ok(test)) => tests.push(test),
            _ => odd = true,
        }
    }
    if odd && tests.is_empty() {
        return Err(RequestError::NotJson.into());
    }
    if odd {
        outbound::decode::leave_out_at("tests[]");
    }
    Ok(tests)
}
