//! `get_circleci_insights` and `get_circleci_flaky_tests`: how a project did over time.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{Place, name, read, time};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    locate::{Listing, Read},
    text,
    wire::{FlakyTest, FlakyTests, Insight},
};
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

/// CircleCI computes its figures once a day.
const AGE: Duration = Duration::from_mins(10);

/// What an answer without figures may mean (CircleCI's support about missing data, as PostHog/posthog #102939 quotes it:
/// only what was started from a branch is counted, and only when it has ended).
const NO_FIGURES: &str = "there are no figures: nothing ran in that time, or CircleCI has not counted it yet, or branch or workflow have \
     other names; runs that go on, and those that a tag started, are not counted: list_circleci_runs tells them";

const INSIGHTS: ToolDeclaration = ToolDeclaration::read(
    "get_circleci_insights",
    "Success rates, durations and credits",
    "Answers a project's workflows, or the jobs of one workflow, with success rate, durations and credits over a time. \
     CircleCI computes them once a day: the last 24 hours may be missing.",
)
.cached(AGE);

const FLAKY: ToolDeclaration = ToolDeclaration::read(
    "get_circleci_flaky_tests",
    "Flaky tests",
    "Lists tests that both passed and failed on the same commit within the last two weeks, the flakiest first.",
)
.cached(AGE);

/// A time for which CircleCI has figures.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, Default)]
enum Window {
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[default]
    #[serde(rename = "30d")]
    Month,
    #[serde(rename = "60d")]
    TwoMonths,
    #[serde(rename = "90d")]
    Quarter,
}

impl Window {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "last-24-hours",
            Self::Week => "last-7-days",
            Self::Month => "last-30-days",
            Self::TwoMonths => "last-60-days",
            Self::Quarter => "last-90-days",
        }
    }
}

/// Arguments of `get_circleci_insights`.
#[derive(Deserialize, JsonSchema)]
struct InsightsInput {
    /// Slug of the project, such as `gh/acme/web`, or a link.
    #[schemars(length(min = 1, max = 2048))]
    project_slug: String,
    /// Name of a workflow, whose jobs are answered. Left out, the workflows are.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    workflow: Option<String>,
    /// Only this branch. Left out, all branches.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    branch: Option<String>,
    /// The time until now.
    #[serde(default)]
    window: Window,
    #[serde(flatten)]
    page: PageArgs<50, 200>,
}

/// Arguments of `get_circleci_flaky_tests`.
#[derive(Deserialize, JsonSchema)]
struct FlakyInput {
    /// Slug of the project, such as `gh/acme/web`, or a link.
    #[schemars(length(min = 1, max = 2048))]
    project_slug: String,
    #[serde(flatten)]
    page: PageArgs<50, 200>,
}

/// Figures of a workflow or job.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct InsightView {
    /// Name of the workflow or job.
    name: String,
    /// All runs, those that still run or wait and those that were cancelled included.
    runs: u64,
    /// Those that failed.
    failed_runs: u64,
    /// Those that succeeded.
    successful_runs: Option<u64>,
    /// CircleCI's figure, from 0 to 1: those that succeeded by all that were not cancelled.
    success_rate: Option<f64>,
    /// Runs a day.
    runs_per_day: Option<f64>,
    /// Seconds from a failure to the next success, on average.
    mean_seconds_to_recovery: Option<u64>,
    /// Seconds that half of the runs took at most.
    duration_median_sec: Option<u64>,
    /// Seconds that 95 of 100 runs took at most.
    duration_p95_sec: Option<u64>,
    /// Seconds that the longest took.
    duration_max_sec: Option<u64>,
    /// Credits that all of them cost; bills may differ.
    credits: Option<u64>,
}

impl InsightView {
    fn of(insight: &Insight) -> Self {
        let metrics = &insight.metrics;
        let durations = metrics.durations.as_ref();
        Self {
            name: name(&insight.name),
            runs: metrics.total_runs,
            failed_runs: metrics.failed_runs,
            successful_runs: metrics.successful_runs,
            success_rate: metrics.success_rate,
            runs_per_day: metrics.throughput,
            mean_seconds_to_recovery: metrics.mttr,
            duration_median_sec: durations.and_then(|one| one.median),
            duration_p95_sec: durations.and_then(|one| one.p95),
            duration_max_sec: durations.and_then(|one| one.max),
            credits: metrics.total_credits_used,
        }
    }
}

/// A flaky test.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct FlakyView {
    /// Name.
    name: String,
    /// Class, suite or package.
    classname: Option<String>,
    /// File.
    file: Option<String>,
    /// How often it flaked.
    times_flaked: u64,
    /// Job in which it flaked last.
    job_name: Option<String>,
    /// Number of that job.
    job_number: Option<u64>,
    /// Workflow of that job.
    workflow_name: Option<String>,
    /// When it flaked last (RFC 3339).
    last_flaked_at: Option<String>,
}

impl FlakyView {
    fn of(test: &FlakyTest) -> Self {
        Self {
            name: name(&test.test_name),
            classname: text::optional(test.classname.as_deref(), 255),
            file: text::optional(test.file.as_deref(), 255),
            times_flaked: test.times_flaked,
            job_name: text::optional(test.job_name.as_deref(), 255),
            job_number: test.job_number,
            workflow_name: text::optional(test.workflow_name.as_deref(), 255),
            last_flaked_at: time(test.workflow_created_at.as_deref()),
        }
    }
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, INSIGHTS, insights), read(circleci, FLAKY, flaky)]
}

async fn insights(
    circleci: Arc<CircleCi>,
    input: InsightsInput,
    context: CallContext,
) -> Result<Page<InsightView>, ToolError> {
    let place = Place::of(&input.page)?;
    let (is_first, at) = (place.at.is_none(), place.at.clone());
    let (slug, branch) = circleci.allowed_with_branch(&input.project_slug, input.branch.as_deref(), &context).await?;
    let rest: Vec<&str> = match &input.workflow {
        Some(workflow) => vec!["workflows", workflow, "jobs"],
        None => vec!["workflows"],
    };
    let call = Call::of_project(Api::V2, "insights", &slug, &rest).query("reporting-window", &input.window.as_str());
    let call = match &branch {
        Some(branch) => call.query("branch", branch),
        None => call.query("all-branches", &true),
    };
    let about = slug.to_string();
    let listing = Listing::new(call, "read insights", About::Project(&about)).from(at);
    let found: Read<Insight> = circleci.list(listing, |_| false, &context).await?;
    let entries = found.items.iter().map(|one| (one.name.clone(), InsightView::of(one))).collect();
    let page = place.page(entries, found.next, input.page.limit());
    if !page.items.is_empty() || page.truncated || !is_first {
        return Ok(page);
    }
    Ok(page.with_hint(NO_FIGURES))
}

async fn flaky(circleci: Arc<CircleCi>, input: FlakyInput, context: CallContext) -> Result<Page<FlakyView>, ToolError> {
    let place = Place::of(&input.page)?;
    let slug = circleci.allowed(&input.project_slug, &context).await?;
    let call = Call::of_project(Api::V2, "insights", &slug, &["flaky-tests"]);
    let about = slug.to_string();
    let found: FlakyTests = circleci.ask(&call, "read flaky tests", About::Project(&about), &context).await?;
    // The flakiest first: what is counted down sorts up.
    let key = |test: &FlakyTest| {
        let class = test.classname.as_deref().unwrap_or_default();
        format!("{:020} {class} {}", u64::MAX - test.times_flaked, test.test_name)
    };
    let entries = found.tests.iter().map(|test| (key(test), FlakyView::of(test))).collect();
    let page = place.page(entries, None, input.page.limit());
    if !page.items.is_empty() {
        return Ok(page);
    }
    Ok(page.with_hint("CircleCI knows no flaky tests: it needs test results that jobs store"))
}
