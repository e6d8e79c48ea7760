//! Which metrics there are.

use std::{sync::Arc, time::Duration};

use aws_sdk_cloudwatch::types::{DimensionFilter, RecentlyActive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dimensions, Doing, Place, absent::elsewhere, dimensions, hinted, read};
use crate::CloudWatch;
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_cloudwatch_metrics",
    "List metrics",
    "Lists metrics with namespace, name and dimensions, as get_cloudwatch_metric_data takes them. Only those that had points \
     in the last two weeks are listed; new ones appear after up to 15 minutes. Name a namespace such as AWS/EC2, a metric or \
     dimensions: an account has many thousands.",
)
.cached(Duration::from_mins(1));

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, LIST, list)]
}

#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Namespace, such as `AWS/EC2`. Exactly as it is.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    namespace: Option<String>,
    /// Name of the metric, such as `CPUUtilization`. Exactly as it is.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    metric: Option<String>,
    /// Dimensions that the metric has, by name. An empty value stands for any.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 10))]
    dimensions: Option<Dimensions>,
    /// Only metrics that had points in the last three hours.
    #[serde(default)]
    recently_active: bool,
    /// In a monitoring account: metrics of this linked account, by its number.
    #[serde(default)]
    #[schemars(regex(pattern = "^[0-9]{12}$"), length(min = 1))]
    account: Option<String>,
    #[serde(flatten)]
    page: PageArgs<100, 500>,
}

/// A metric.
#[derive(Serialize, JsonSchema)]
struct ListedMetric {
    /// Namespace.
    namespace: String,
    /// Name.
    metric: String,
    /// Dimensions by name. All of them together name the metric.
    dimensions: Dimensions,
    /// In a monitoring account: the account that the metric belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
}

async fn list(
    cloudwatch: Arc<CloudWatch>,
    input: ListInput,
    context: CallContext,
) -> Result<Page<ListedMetric>, ToolError> {
    const DOING: Doing = Doing::new("list metrics", "cloudwatch:ListMetrics");
    let limit = input.page.limit();
    let place = Place::of(input.page.cursor())?;
    let filters: Vec<DimensionFilter> = input
        .dimensions
        .iter()
        .flatten()
        .map(|(name, value)| {
            DimensionFilter::builder().name(name).set_value(Some(value.clone()).filter(|v| !v.is_empty()))
        })
        .map(aws_sdk_cloudwatch::types::builders::DimensionFilterBuilder::build)
        .collect();
    let page = place
        .read(limit, &context, |token| {
            let (cloudwatch, input, filters, context) = (&cloudwatch, &input, &filters, &context);
            async move {
                let answer = cloudwatch
                    .ask_page(DOING, context, token, |token| {
                        cloudwatch
                            .session
                            .metrics
                            .list_metrics()
                            .set_namespace(input.namespace.clone())
                            .set_metric_name(input.metric.clone())
                            .set_dimensions(Some(filters.clone()).filter(|filters| !filters.is_empty()))
                            .set_recently_active(input.recently_active.then_some(RecentlyActive::Pt3H))
                            .set_include_linked_accounts(input.account.is_some().then_some(true))
                            .set_owning_account(input.account.clone())
                            .set_next_token(token)
                            .send()
                    })
                    .await?;
                let accounts = answer.owning_accounts();
                let found = answer.metrics().iter().enumerate().map(|(index, metric)| ListedMetric {
                    namespace: metric.namespace().unwrap_or_default().to_owned(),
                    metric: metric.metric_name().unwrap_or_default().to_owned(),
                    dimensions: dimensions(metric.dimensions()),
                    account: accounts.get(index).cloned(),
                });
                Ok((found.collect(), answer.next_token.clone()))
            }
        })
        .await?;
    let elsewhere = input.namespace.as_deref().and_then(|namespace| elsewhere(namespace, &cloudwatch.session.place));
    // `RecentlyActive` narrows AWS' own two weeks, and so leaves out what comes once a day (ListMetrics in the API reference).
    let listed = if input.recently_active {
        "With recently_active only what had points within the last 3 hours is listed, so not what comes once a day, such as \
         the sizes of S3's buckets: leave it out"
    } else {
        "What had no points for two weeks is not listed"
    };
    let none = format!(
        "no metric matches: names and dimensions must be exact; leave one out. {listed}, and {}",
        elsewhere.as_deref().unwrap_or("this connector sees one region")
    );
    Ok(hinted(page, &none))
}
