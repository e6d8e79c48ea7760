//! Whether CloudWatch Logs does its work: the name of one log group is read; or, where the manifest names a log group for it,
//! a query is started and stopped at once, which also shows that queries can be run.

use jiff::Timestamp;

use super::{finding, is_about_credentials};
use crate::{
    CloudWatch,
    error::{Error, Failure},
    transport::Manner,
};
use api::platform::cloudwatch::CloudWatchReason;
use kit::{HealthStatus, health::Finding};

/// The query that is tried. It reads what lies in one second; stopped or not, it ends soon.
const QUERY: &str = "fields @timestamp | limit 1";

/// Why logs could not be looked at.
pub(super) struct Fault {
    pub(super) failure: Failure,
    /// The permission that was needed.
    permission: &'static str,
}

/// Looks, and says what works.
pub(super) async fn look(cloudwatch: &CloudWatch, manner: Manner) -> Result<&'static str, Fault> {
    let session = &cloudwatch.session;
    let fault = |permission| move |failure: Failure| Fault { failure, permission };
    let Some(group) = &cloudwatch.health_log_group else {
        session
            .call(manner, || session.logs.describe_log_groups().limit(1).send())
            .await
            .map_err(fault("logs:DescribeLogGroups"))?;
        return Ok("log groups can be read");
    };
    let to = Timestamp::now().as_second();
    let start = || {
        let query = session.logs.start_query().log_group_names(group).query_string(QUERY);
        query.start_time(to - 1).end_time(to).send()
    };
    // The other half of the time is for stopping it.
    let started = session.call(manner.half(), start).await.map_err(fault("logs:StartQuery"))?;
    let id = started.query_id.ok_or(Error::Unexpected(200).into()).map_err(fault("logs:StartQuery"))?;
    match session.stop_query(&id, manner).await {
        // It may have ended already, and be forgotten.
        Ok(_) | Err(Failure { error: Error::NotFound, .. }) => Ok("a query can be started and stopped"),
        Err(failure) => Err(fault("logs:StopQuery")(failure)),
    }
}

impl Fault {
    /// What it says of the whole: the tools for metrics and alarms work without logs.
    pub(super) fn finding(&self, cloudwatch: &CloudWatch) -> Finding {
        let group = cloudwatch.health_log_group.as_deref();
        let found = finding(cloudwatch, &self.failure, "CloudWatch Logs", self.permission);
        match (self.failure.error, group) {
            (Error::NotFound, Some(group)) => {
                let message = format!(
                    "there is no log group {group} in {}: correct healthLogGroup; the tools work",
                    cloudwatch.region
                );
                Finding::stated(HealthStatus::Degraded, CloudWatchReason::LogGroupNotFound, message)
            }
            (Error::Quota, Some(_)) => {
                let message = "as many queries run in the account as may, so none could be tried; the other tools work";
                Finding::passing(HealthStatus::Degraded, CloudWatchReason::QueryQuotaExhausted, message)
            }
            (error, _) => {
                let reason = match error {
                    Error::Denied => CloudWatchReason::LogsPermissionDenied.into(),
                    _ if is_about_credentials(error) || matches!(error, Error::Throttled(_)) => found.reason,
                    _ => CloudWatchReason::LogsFailing.into(),
                };
                let message = format!("{}; the tools for metrics and alarms work", found.message);
                Finding { reason, message, ..found.of_a_part() }
            }
        }
    }
}
