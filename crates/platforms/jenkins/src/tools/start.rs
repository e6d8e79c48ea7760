//! How a build is started, for the tools that do: the form is sent, the item is followed through the queue, and where the
//! answer was lost it is found out what became of it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_with::skip_serializing_none;

use super::{parameters::may_drop, queue::ItemView};
use crate::{
    Jenkins,
    client::{Call, Error},
    error::to_tool_error,
    names::JobName,
    wire::{Builds, Job, QueueItem},
};
use kit::wait::{Wait, latest};
use tools::{CallContext, ErrorCode, ToolError};

/// Pauses between two looks at the queue: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// What is said where Jenkins fails with parameters. That of a value is an exception before anything is queued, which it doesn't name
/// (`hudson/model/ParametersDefinitionProperty.java`, `buildWithParameters`).
const VALUE_REFUSED: &str = "it answers so, too, where a value isn't one that the parameter takes, or a plugin wants one that has \
     no default: see get_jenkins_job, and list_jenkins_queue before you trigger it again";

/// What is said where a parameter `delay` was given: a plain number is milliseconds (`jenkins/util/TimeDuration.java`).
const ALSO_DELAYS: &str = "Jenkins takes the value of the parameter delay as the time to wait in the queue, too: \
     milliseconds, or seconds where \"sec\" follows";

/// How far a build is that was triggered.
#[derive(Serialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum StartState {
    /// It waits in the queue.
    Queued,
    /// It runs, or ran.
    Started,
}

/// A build that was triggered.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct Started {
    /// Full name of the job.
    job: String,
    /// How far it is.
    state: StartState,
    /// Id of its item in the queue; absent where the answer was lost and the build was found.
    queue_id: Option<u64>,
    /// Number of the build, once it has begun.
    build: Option<u32>,
    /// Its item in the queue, while it waits.
    item: Option<ItemView>,
    /// What to know or to do next.
    pub(super) hints: Vec<String>,
}

/// Refuses a job that can't be built.
pub(super) fn check_buildable(job: &Job) -> Result<(), ToolError> {
    if job.is_folder() {
        return Err(ToolError::invalid_argument("this is a folder, which can't be built itself")
            .with_argument("job")
            .with_remedy("search_jenkins_jobs tells what is in it"));
    }
    match job.disabled {
        _ if job.buildable => Ok(()),
        Some(false) => Err(ToolError::new(ErrorCode::Conflict, CANT_BE_BUILT)
            .with_remedy("save its configuration once, or look at its branch and its multibranch project")),
        _ => Err(to_tool_error(Error::NotBuildable, "build it")),
    }
}

/// What is said of a job that isn't disabled (`ParameterizedJobMixIn.java`, `isBuildable`; `WorkflowJob.isBuildable`;
/// `BranchJobProperty` of workflow-multibranch).
pub(super) const CANT_BE_BUILT: &str = "the job can't be built, though it isn't disabled: it may be a copy that nobody \
     has saved yet, its branch may be gone, or its multibranch project disabled";

/// Triggers a build of a job that was just read, and waits for its number.
pub(super) async fn start(
    jenkins: &Jenkins,
    name: &JobName,
    job: &Job,
    fields: Vec<(String, String)>,
    wait: Duration,
    context: &CallContext,
) -> Result<Started, ToolError> {
    // A job with parameters wants the form of a browser at `build`; one without refuses the other path
    // (`jenkins/model/ParameterizedJobMixIn.java`).
    let action = if job.parameters().is_some() { "buildWithParameters" } else { "build" };
    let also_delays = fields.iter().any(|(name, _)| name == "delay");
    let may_drop = may_drop(&fields, job.parameters().unwrap_or_default());
    let path = name.segments().into_iter().chain([action.to_owned()]);
    let call = Call::post(path, fields);
    // A parameter that is called so would take it for its value (`hudson/model/SimpleParameterDefinition.java`).
    let is_a_parameter = job.parameters().unwrap_or_default().iter().any(|one| one.name == "delay");
    let call = if is_a_parameter { call } else { call.query("delay", &"0sec") };
    let answer = match jenkins.session.call(&call, context.deadline).await {
        Ok(answer) => answer,
        Err(error) if error.fate_is_unknown() => {
            let why = to_tool_error(error, "trigger a build");
            return find_lost(jenkins, name, job, why, context).await;
        }
        Err(error @ (Error::Failed(_) | Error::BadRequest)) if job.parameters().is_some() => {
            let remedy = if also_delays { format!("{ALSO_DELAYS}; {VALUE_REFUSED}") } else { VALUE_REFUSED.to_owned() };
            return Err(to_tool_error(error, &format!("trigger a build of {name}")).with_remedy(remedy));
        }
        Err(error) => return Err(to_tool_error(error, &format!("trigger a build of {name}"))),
    };
    // 201, or 303 where it was merged with an item that waits already, which is 201, too, of a job without parameters
    // (`jenkins/model/ParameterizedJobMixIn.java`, JENKINS-66105); both lead to the item. Jenkins leads to the job where
    // it queued nothing, and so do some of its versions and plugins where they did. A proxy may take the header out.
    let Some(id) = answer.location().and_then(queue_id) else {
        let message = if answer.is_created() {
            "Jenkins answered that it was, and not as which item of the queue"
        } else {
            "Jenkins led to another page than the queue's"
        };
        let why = ToolError::new(ErrorCode::PlatformError, message);
        let lost = find_lost(jenkins, name, job, why, context).await;
        let refused =
            if lost.is_err() && !answer.is_created() { refused_by_project(jenkins, name, context).await } else { None };
        return refused.map_or(lost, Err);
    };
    let may_be_merged = !answer.is_created() || (job.in_queue && job.parameters().is_none());
    let mut started = follow(jenkins, name, id, wait, context).await?;
    started.hints.extend(also_delays.then(|| ALSO_DELAYS.to_owned()));
    started.hints.extend(may_drop);
    if may_be_merged {
        let is = if answer.is_created() { "may be" } else { "is" };
        started.hints.push(format!("Jenkins queues no equal item twice: this {is} one that waited already"));
    }
    Ok(started)
}

/// The id in `…/queue/item/<id>/`. Host and path before it come from Jenkins' configuration and may be wrong.
fn queue_id(location: &str) -> Option<u64> {
    let (_, rest) = location.rsplit_once("/queue/item/")?;
    rest.trim_end_matches('/').parse().ok()
}

async fn follow(
    jenkins: &Jenkins,
    name: &JobName,
    id: u64,
    wait: Duration,
    context: &CallContext,
) -> Result<Started, ToolError> {
    let [first, longest] = PAUSES;
    let mut wait = Wait::new(wait, context, first, longest);
    // A look that hangs must not take the time in which the item's id can be answered.
    let looking = CallContext { deadline: latest(context), ..context.clone() };
    let started = |build| Started {
        job: name.to_string(),
        state: StartState::Started,
        queue_id: Some(id),
        build: Some(build),
        item: None,
        hints: vec!["get_jenkins_build_status and get_jenkins_build_log tell how it goes on".to_owned()],
    };
    loop {
        let item = match jenkins.fetch_queue_item(id, &looking).await {
            Ok(Some(item)) => Some(item),
            // It left the queue more than five minutes ago, or was restarted away.
            Ok(None) => match build_of_item(jenkins, name, id, &looking).await {
                Some(build) => return Ok(started(build)),
                None => None,
            },
            // That it was queued is known, whatever this look met.
            Err(_) => None,
        };
        if let Some(build) = item.as_ref().and_then(QueueItem::build) {
            return Ok(started(build));
        }
        if item.as_ref().is_some_and(|item| item.cancelled) {
            return Err(ToolError::new(ErrorCode::Conflict, "the build was cancelled before it started").with_remedy(
                "somebody cancelled it in the queue, or Jenkins did: trigger it again if that was no intention",
            ));
        }
        if !wait.next_look(format!("item {id} waits in the queue"), context).await {
            return Ok(queued(name, id, item.as_ref()));
        }
    }
}

fn queued(name: &JobName, id: u64, item: Option<&QueueItem>) -> Started {
    let mut hints = vec![format!("it waits in the queue, which is no fault: ask get_jenkins_queue_item with id {id}")];
    if item.is_some_and(|item| item.stuck) {
        hints.push("it is stuck: the queue may be backed up, or no node fits; list_jenkins_nodes tells".to_owned());
    } else if item.is_none() {
        hints.push("it could not be seen in the queue just now".to_owned());
    }
    Started {
        job: name.to_string(),
        state: StartState::Queued,
        queue_id: Some(id),
        build: None,
        item: item.map(ItemView::of),
        hints,
    }
}

/// The build that came from an item.
async fn build_of_item(jenkins: &Jenkins, name: &JobName, id: u64, context: &CallContext) -> Option<u32> {
    let call = Call::json(name.segments(), "builds[number,queueId]{0,20}");
    let there: Builds = jenkins.object(&call, context).await.ok()?;
    there.all().iter().find(|build| build.queue_id == Some(id)).map(|build| build.number)
}

/// Why nothing was queued, where the project is disabled that the branch is of. Until January 2026 such a job says itself
/// that it can be built (jenkins #26117), and Jenkins leads back to it.
async fn refused_by_project(jenkins: &Jenkins, name: &JobName, context: &CallContext) -> Option<ToolError> {
    let project = name.parent()?;
    let call = Call::json(project.segments(), "disabled");
    let is_disabled = jenkins.object::<Job>(&call, context).await.ok()?.disabled == Some(true);
    is_disabled.then(|| {
        ToolError::new(
            ErrorCode::Conflict,
            format!("Jenkins queued nothing: {project}, of which {name} is a branch, is disabled"),
        )
        .with_remedy("somebody must enable that project first")
    })
}

/// It isn't known what became of the request: looks for a build that the connector's user started since. Nothing is
/// sent twice.
async fn find_lost(
    jenkins: &Jenkins,
    name: &JobName,
    before: &Job,
    why: ToolError,
    context: &CallContext,
) -> Result<Started, ToolError> {
    let user = jenkins.session.identity().map(|identity| identity.user).unwrap_or_default();
    let call = Call::json(name.segments(), "builds[number,queueId,actions[causes[userId]]]{0,10}");
    let there = jenkins.object::<Builds>(&call, context).await;
    let first = before.next_build_number.unwrap_or(u32::MAX);
    let ours = there.iter().flat_map(Builds::all).find(|build| {
        let mut causes = build.actions.iter().flat_map(|action| &action.causes);
        build.number >= first && causes.any(|cause| cause.user_id.as_deref() == Some(user.as_str()))
    });
    if let Some(build) = ours {
        return Ok(Started {
            job: name.to_string(),
            state: StartState::Started,
            queue_id: build.queue_id,
            build: Some(build.number),
            item: None,
            hints: vec![format!(
                "Jenkins' answer was lost, or names no item; build {} was started by the connector's user since, and is probably it",
                build.number
            )],
        });
    }
    let message = format!("it is not known whether the build was queued: {}", why.message);
    Err(ToolError { message, ..why }
        .with_remedy("look at list_jenkins_queue and list_jenkins_builds before you trigger it again"))
}

#[cfg(test)]
mod tests {
    use super::queue_id;

    #[test]
    fn only_the_id_of_a_location_is_believed() {
        for (location, id) in [
            ("http://wrong-host:1/jenkins/queue/item/42/", Some(42)),
            ("/queue/item/7", Some(7)),
            ("https://jenkins/job/web/", None),
            ("https://sso/login?to=/queue/item/x/", None),
        ] {
            assert_eq!(queue_id(location), id, "{location}");
        }
    }
}
