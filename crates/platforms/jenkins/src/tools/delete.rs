//! `delete_jenkins_job`: deletes a job with all its builds.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{mutation, not_a_configuration};
use crate::{
    Jenkins,
    client::{Call, Error},
    error::to_tool_error,
    names::JobName,
    wire::Job,
};
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

const DELETE: ToolDeclaration = ToolDeclaration::destroy(
    "delete_jenkins_job",
    "Delete a job",
    "Deletes a job with all its builds, logs and artifacts, which can't be restored. Never a folder or a multibranch job. \
     expected_last_build guards against a mistaken name.",
)
.idempotent()
.off_by_default();

/// Arguments of `delete_jenkins_job`.
#[derive(Deserialize, JsonSchema)]
struct DeleteInput {
    /// Full name of the job, such as `folder/name`.
    #[schemars(length(min = 1, max = 1000))]
    job: String,
    /// Number that its last build must have; 0 for a job without builds.
    #[serde(default)]
    expected_last_build: Option<u32>,
}

/// What was deleted.
#[derive(Serialize, JsonSchema)]
struct Deletion {
    /// Full name of the job.
    job: String,
    /// Whether it is gone.
    deleted: bool,
    /// Number that its last build had.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_build: Option<u32>,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![mutation(jenkins, DELETE, preview, delete)]
}

impl DeleteInput {
    async fn look(&self, jenkins: &Jenkins, context: &CallContext) -> Result<(JobName, Job), ToolError> {
        let name = jenkins.fetch_name(&self.job, context).await?;
        not_a_configuration(&name, "deleted")?;
        let job = jenkins.fetch_job(&name, context).await?;
        if job.is_folder() {
            return Err(ToolError::new(ErrorCode::PermissionDenied, "this is a folder: the connector deletes none")
                .with_argument("job"));
        }
        // Of a branch that is gone it isn't buildable, and may be deleted (`BranchJobProperty.java`).
        if job.is_branch() && job.buildable {
            return Err(kept_by_its_branch(&name));
        }
        let last = job.last_build.as_ref().map_or(0, |build| build.number);
        if self.expected_last_build.is_some_and(|expected| expected != last) {
            return Err(ToolError::new(ErrorCode::Conflict, format!("the last build of {name} is number {last}"))
                .with_argument("expected_last_build")
                .with_remedy("look at the job again: it may be another than you mean, or was built meanwhile"));
        }
        Ok((name, job))
    }
}

/// Words that a branch's job can't be deleted: no permission helps, since its multibranch project denies it to everybody.
fn kept_by_its_branch(name: &JobName) -> ToolError {
    let message = format!("{name} is the job of a branch: Jenkins lets nobody delete it while the branch is there");
    ToolError::new(ErrorCode::PermissionDenied, message).with_argument("job").with_remedy(
        "once the branch is deleted in its repository, the next scan of the multibranch project takes the job away",
    )
}

async fn preview(jenkins: Arc<Jenkins>, input: DeleteInput, context: CallContext) -> Result<Preview, ToolError> {
    let (name, job) = input.look(&jenkins, &context).await?;
    let would = format!("delete the job {name} with all its builds, logs and artifacts, for good");
    let state = json!({
        "last_build": job.last_build.as_ref().map(|build| build.number),
        "building": job.last_build.as_ref().is_some_and(|build| build.building),
        "in_queue": job.in_queue,
    });
    Ok(Preview { would, state })
}

async fn delete(jenkins: Arc<Jenkins>, input: DeleteInput, context: CallContext) -> Result<Deletion, ToolError> {
    let (name, job) = input.look(&jenkins, &context).await?;
    let path = name.segments().into_iter().chain(["doDelete".to_owned()]);
    let running = job.last_build.as_ref().filter(|build| build.building);
    let refused = match jenkins.session.call(&Call::post(path, Vec::new()), context.deadline).await {
        Ok(_) => false,
        // Before it deletes, it takes out what waits, and ends what runs, for which it waits 15 seconds
        // (`jenkins/model/queue/ItemDeletion.java`, `hudson/model/Failure.java`).
        Err(Error::BadRequest) if running.is_some() => true,
        // It may not be buildable for another reason, such as its project being disabled.
        Err(Error::Forbidden(Some("Job/Delete"))) if job.is_branch() => return Err(kept_by_its_branch(&name)),
        Err(error) => return Err(to_tool_error(error, &format!("delete the job {name}"))),
    };
    // A redirect says nothing; that it isn't there any more does.
    let deleted = match jenkins.object::<Job>(&Call::json(name.segments(), "fullName"), &context).await {
        Err(Error::NotFound) => true,
        Ok(_) => false,
        Err(error) if refused => return Err(to_tool_error(error, &format!("read the job {name}"))),
        Err(error) => return Err(to_tool_error(error, &format!("read the job {name}")).after_the_change()),
    };
    let hints = match running {
        _ if deleted => Vec::new(),
        Some(build) if refused => vec![format!(
            "Jenkins refused, most likely because build {} did not end when it was told to, and then what waited is \
             cancelled: delete the job when nothing of it runs",
            build.number
        )],
        _ => vec!["the job is still there".to_owned()],
    };
    Ok(Deletion {
        job: name.to_string(),
        deleted,
        last_build: job.last_build.as_ref().map(|build| build.number),
        hints,
    })
}
