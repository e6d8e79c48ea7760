//! What Jenkins answers, as far as it is asked for. The constants are the selections (`tree`) that belong to the types;
//! names are those of the `@Exported` properties of Jenkins' core and of the plugins branch-api, git and junit.

mod matrix;
mod pipeline;

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

pub(super) use matrix::{ChildRun, Configuration, ConfigurationRun, Project};
pub(super) use pipeline::{Flow, GraphAnswer, InputExecution, PendingInput, StageViewInput, StepLog};

/// Who the caller is (`hudson/security/WhoAmI.java`).
#[derive(Deserialize)]
pub(super) struct WhoAmI {
    pub(super) name: Option<String>,
    pub(super) anonymous: bool,
}

pub(super) const WHO_AM_I: &str = "name,anonymous";

/// The controller.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Root {
    #[serde(default)]
    pub(super) quieting_down: bool,
    pub(super) mode: Option<String>,
    /// The address by which Jenkins calls itself, if one is configured (`hudson/model/AbstractModelObject`, `Jenkins.getRootUrl`).
    pub(super) url: Option<String>,
}

pub(super) const ROOT: &str = "quietingDown,mode,url";

/// A folder, or the top: what is in it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Folder {
    #[serde(default)]
    pub(super) jobs: Vec<FolderEntry>,
    /// Of a matrix project, which is a folder of its configurations.
    #[serde(default)]
    pub(super) active_configurations: Vec<Configuration>,
}

/// A job or a folder in a folder. A folder has no color.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FolderEntry {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) full_name: String,
    pub(super) display_name: Option<String>,
    pub(super) color: Option<String>,
    pub(super) last_build: Option<BuildSummary>,
}

/// A job (`hudson/model/Job.java`, `hudson/model/AbstractItem.java`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    #[serde(default, rename = "_class")]
    pub(super) class: String,
    #[serde(default)]
    pub(super) full_name: String,
    pub(super) description: Option<String>,
    pub(super) color: Option<String>,
    #[serde(default)]
    pub(super) buildable: bool,
    /// Whether somebody disabled it, which is one of the reasons why it can't be built.
    pub(super) disabled: Option<bool>,
    #[serde(default)]
    concurrent_build: bool,
    #[serde(default)]
    pub(super) in_queue: bool,
    pub(super) next_build_number: Option<u32>,
    #[serde(default)]
    pub(super) health_report: Vec<HealthReport>,
    #[serde(default)]
    pub(super) property: Vec<Property>,
    pub(super) last_build: Option<BuildSummary>,
    pub(super) last_successful_build: Option<BuildSummary>,
    pub(super) last_failed_build: Option<BuildSummary>,
    /// Of a folder.
    pub(super) jobs: Option<Vec<FolderEntry>>,
    /// Of a matrix project.
    #[serde(default)]
    pub(super) active_configurations: Vec<Configuration>,
}

pub(super) const JOB: &str = "fullName,description,color,buildable,disabled,concurrentBuild,inQueue,nextBuildNumber,\
     healthReport[description,score],\
     property[parameterDefinitions[name,type,description,defaultParameterValue[value,jobName,number],choices{0,1000}]],\
     lastBuild[number,displayName,result,building,timestamp,duration],\
     lastSuccessfulBuild[number,displayName,result,building,timestamp,duration],\
     lastFailedBuild[number,displayName,result,building,timestamp,duration],\
     jobs[name]{0,1},activeConfigurations[name,color]{0,201}";

impl Job {
    /// The parameters that it declares; none if it is not parameterized.
    pub(super) fn parameters(&self) -> Option<&[ParameterDefinition]> {
        self.property.iter().find_map(|property| property.parameter_definitions.as_deref())
    }

    /// Whether it may take parameters of which Jenkins knows nothing yet: it reads those of a pipeline's script when
    /// that runs for the first time.
    pub(super) fn may_take_more(&self) -> bool {
        let never_ran = self.last_build.is_none() && self.next_build_number.is_none_or(|next| next == 1);
        self.class.ends_with(".WorkflowJob") && self.parameters().is_none() && never_ran
    }

    /// The build that runs, if the next one ends it: `disableConcurrentBuilds(abortPrevious: true)`. Of that property
    /// nothing is told but that it is there; without `abortPrevious` the job has no concurrent builds
    /// (`WorkflowJob.isConcurrentBuild`).
    pub(super) fn ends_with_the_next(&self) -> Option<u32> {
        let disables = self.property.iter().any(|one| one.class.ends_with(".DisableConcurrentBuildsJobProperty"));
        let running = self.last_build.as_ref().filter(|last| last.building && disables && self.concurrent_build);
        running.map(|last| last.number)
    }

    /// Whether it is the job of a branch, which its multibranch project keeps (workflow-multibranch, `BranchJobProperty.java`).
    pub(super) fn is_branch(&self) -> bool {
        self.property.iter().any(|one| one.class.ends_with(".BranchJobProperty"))
    }

    /// Whether it is a folder (or a multibranch job, or an organization), and no job that is built itself.
    pub(super) fn is_folder(&self) -> bool {
        self.jobs.is_some() || self.class.ends_with("Folder") || self.class.ends_with("MultiBranchProject")
    }
}

#[derive(Deserialize)]
pub(super) struct HealthReport {
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) score: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Property {
    #[serde(default, rename = "_class")]
    class: String,
    pub(super) parameter_definitions: Option<Vec<ParameterDefinition>>,
}

/// A parameter that a job declares (`hudson/model/ParameterDefinition.java`).
#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParameterDefinition {
    #[serde(default)]
    pub(super) name: String,
    /// Name of its class, such as `ChoiceParameterDefinition`.
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    pub(super) description: Option<String>,
    pub(super) default_parameter_value: Option<ParameterValue>,
    /// Plugins' parameters have choices that are not told.
    pub(super) choices: Option<Vec<String>>,
}

impl ParameterDefinition {
    /// All that it can be, if Jenkins tells it: [`JOB`] asks for so many choices at most.
    pub(super) fn all_choices(&self) -> Option<&[String]> {
        self.choices.as_deref().filter(|choices| (1..1_000).contains(&choices.len()))
    }
}

/// A value of a parameter. Of a run it is told as the job and the number, of a password, a file or credentials not at all
/// (`hudson/model/RunParameterValue.java`, `PasswordParameterValue.java`).
#[derive(Deserialize, Clone, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParameterValue {
    #[serde(default, rename = "_class")]
    pub(super) class: String,
    #[serde(default)]
    pub(super) name: String,
    value: Option<Value>,
    job_name: Option<String>,
    number: Option<String>,
}

impl ParameterValue {
    /// What it is, as Jenkins takes it; nothing where that isn't told.
    pub(super) fn told(&self) -> Option<Value> {
        let run = || Some(format!("{}#{}", self.job_name.as_ref()?, self.number.as_ref()?).into());
        self.value.clone().filter(|value| !value.is_null()).or_else(run)
    }

    /// One with this value.
    pub(super) fn of(value: Value) -> Self {
        Self { value: Some(value), ..Self::default() }
    }
}

/// A build in short.
#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuildSummary {
    pub(super) number: u32,
    pub(super) display_name: Option<String>,
    pub(super) result: Option<String>,
    #[serde(default)]
    pub(super) building: bool,
    #[serde(default)]
    pub(super) timestamp: i64,
    #[serde(default)]
    pub(super) duration: i64,
    pub(super) queue_id: Option<u64>,
    #[serde(default)]
    pub(super) actions: Vec<Action>,
}

pub(super) const SUMMARY: &str = "number,displayName,result,building,inProgress,timestamp,duration";

/// The newest builds of a job. Jenkins gives 100 at most; `allBuilds` would load the rest from its disk.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Builds {
    /// A folder has none.
    builds: Option<Vec<BuildSummary>>,
    pub(super) next_build_number: Option<u32>,
}

impl Builds {
    pub(super) fn all(&self) -> &[BuildSummary] {
        self.builds.as_deref().unwrap_or_default()
    }

    /// Why there are none, as far as it is known.
    pub(super) fn why_none(&self) -> String {
        match self.next_build_number {
            _ if self.builds.is_none() => "it is a folder, which has no builds of its own".to_owned(),
            Some(1) => "it has no builds yet".to_owned(),
            Some(next) => format!("none of its builds is kept: the next one is number {next}"),
            None => "it has no builds now".to_owned(),
        }
    }
}

/// A build (`hudson/model/Run.java`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Build {
    #[serde(default, rename = "_class")]
    class: String,
    pub(super) number: u32,
    pub(super) display_name: Option<String>,
    pub(super) result: Option<String>,
    #[serde(default)]
    pub(super) building: bool,
    /// Whether something is still done for it, as after its last step; older versions don't tell.
    #[serde(default)]
    pub(super) in_progress: bool,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) timestamp: i64,
    #[serde(default)]
    pub(super) duration: i64,
    #[serde(default)]
    pub(super) estimated_duration: i64,
    pub(super) queue_id: Option<u64>,
    #[serde(default)]
    pub(super) actions: Vec<Action>,
    /// Of a freestyle build.
    pub(super) change_set: Option<ChangeSet>,
    /// Of a pipeline.
    #[serde(default)]
    pub(super) change_sets: Vec<ChangeSet>,
    #[serde(default)]
    pub(super) artifacts: Vec<Artifact>,
    /// Of a matrix build.
    #[serde(default)]
    pub(super) runs: Vec<ConfigurationRun>,
    /// Of a build of the plugin multijob.
    #[serde(default)]
    pub(super) sub_builds: Vec<SubBuild>,
}

/// A build that another one started and waits for (`MultiJobBuild.java` of the plugin multijob).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubBuild {
    #[serde(default)]
    pub(super) job_name: String,
    pub(super) build_number: Option<u32>,
    pub(super) result: Option<String>,
    #[serde(default)]
    pub(super) phase_name: String,
}

/// What is asked of a build, with more of its actions, and more of itself.
macro_rules! build_with {
    ($of_actions:literal, $more:literal) => {
        concat!(
            "number,displayName,result,building,inProgress,description,timestamp,duration,estimatedDuration,queueId,",
            "actions[causes[shortDescription,userId],parameters[name,value,jobName,number],displayName",
            $of_actions,
            "],changeSet[items[commitId,msg,author[fullName]]{0,51}],",
            "changeSets[items[commitId,msg,author[fullName]]{0,51}],runs[number,url,result,building]{0,5000}",
            $more
        )
    };
}

pub(super) const BUILD: &str = build_with!("", "");

/// With what plugins tell of tests, for which they may load their reports, and the builds that it started.
pub(super) const REPORT: &str =
    build_with!(",failCount,skipCount,totalCount,urlName", ",subBuilds[jobName,buildNumber,result,phaseName]{0,1000}");

pub(super) const BUILD_STATE: &str = "number,result,building,inProgress,timestamp,duration";

/// With what plugins tell of tests.
pub(super) const BUILD_TESTS: &str =
    "number,result,building,inProgress,timestamp,duration,actions[failCount,skipCount,totalCount,urlName]";

/// With the inputs for which it waits.
pub(super) const BUILD_INPUTS: &str = "number,result,building,inProgress,timestamp,duration,actions[waitingForInput,\
     executions[id,settled,input[message,ok,submitter,\
     parameters[name,type,description,choices{0,1000},defaultParameterValue[value,jobName,number]]]]{0,100}]";

impl Build {
    /// Whether something of it goes on. Its result may be known before what follows the last step is over, which still
    /// writes to the log (`hudson/model/Run.java`: `isBuilding`, `isInProgress`, `isLogUpdated`).
    pub(super) const fn goes_on(&self) -> bool {
        self.building || self.in_progress
    }

    /// What started it.
    pub(super) fn started_by(&self) -> impl Iterator<Item = &Cause> {
        self.causes(false)
    }

    /// What interrupted it, or something in it: somebody, a time limit, a newer build
    /// (`jenkins/model/InterruptedBuildAction.java`).
    pub(super) fn interrupted_by(&self) -> impl Iterator<Item = &Cause> {
        self.causes(true)
    }

    /// Whether it may have run another script than its job has.
    pub(super) fn is_replay(&self) -> bool {
        self.started_by().any(Cause::is_replay)
    }

    /// Whether it began at one of its stages.
    pub(super) fn is_restart(&self) -> bool {
        self.started_by().any(Cause::is_restart)
    }

    /// Both have the same name.
    fn causes(&self, of_interruption: bool) -> impl Iterator<Item = &Cause> {
        let actions = self.actions.iter();
        let fit = actions.filter(move |one| one.class.ends_with(".InterruptedBuildAction") == of_interruption);
        fit.flat_map(|one| &one.causes)
    }

    /// Numbers of tests that have a report of their own kind, as of TestNG or Robot Framework
    /// (`AbstractTestResultAction.java` of the plugin junit, whose own is `testReport`).
    pub(super) fn other_tests(&self) -> impl Iterator<Item = &Action> {
        let is_other = |one: &&Action| {
            one.total_count.is_some() && one.url_name.as_deref().is_some_and(|name| name != "testReport")
        };
        self.actions.iter().filter(is_other)
    }

    /// Whether it is of a Maven project, whose modules have builds of their own
    /// (`hudson/maven/MavenModuleSetBuild.java`).
    pub(super) fn is_of_maven_modules(&self) -> bool {
        self.class.ends_with(".MavenModuleSetBuild")
    }

    /// Commits, each once: a pipeline that checks out several times tells them as often. Revisions of several
    /// repositories of Subversion may have the same number.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        let mut seen = HashSet::new();
        let all = self.change_set.iter().chain(&self.change_sets).flat_map(|set| &set.items);
        all.filter(move |one| one.commit_id.as_deref().is_none_or(|id| seen.insert((id, one.msg.as_str()))))
    }

    /// Whether it is seen to wait for somebody. The action that holds the inputs has a name while there are some; to ask it for them
    /// may take a minute while Jenkins loads the pipeline (`pipeline-input-step`: `InputAction.getDisplayName`, `loadExecutions`).
    pub(super) fn waits_for_input(&self) -> bool {
        self.building
            && self.actions.iter().any(|one| one.class.ends_with(".input.InputAction") && one.display_name.is_some())
    }

    /// Whether it may be of a pipeline: its class says so, or nothing.
    pub(super) fn may_be_pipeline(&self) -> bool {
        self.class.is_empty() || self.class.ends_with("WorkflowRun")
    }
}

/// One of the things that are attached to a build; most have nothing that is asked for.
#[derive(Deserialize, Clone, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    #[serde(default, rename = "_class")]
    class: String,
    display_name: Option<String>,
    #[serde(default)]
    pub(super) causes: Vec<Cause>,
    #[serde(default)]
    pub(super) parameters: Vec<ParameterValue>,
    /// Whether there are inputs for which the build waits.
    #[serde(default)]
    pub(super) waiting_for_input: bool,
    /// Of the one that holds them.
    pub(super) executions: Option<Vec<InputExecution>>,
    /// Of one that tells of tests, with the place of its report below the build.
    pub(super) fail_count: Option<u64>,
    pub(super) skip_count: Option<u64>,
    pub(super) total_count: Option<u64>,
    pub(super) url_name: Option<String>,
}

/// What started a build, or interrupted it (`hudson/model/Cause.java`, `jenkins/model/CauseOfInterruption.java`).
#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cause {
    #[serde(default, rename = "_class")]
    class: String,
    #[serde(default)]
    pub(super) short_description: String,
    pub(super) user_id: Option<String>,
}

impl Cause {
    /// Whether somebody ran a pipeline again, maybe with another script (workflow-cps, `ReplayCause.java`).
    fn is_replay(&self) -> bool {
        self.class.ends_with(".ReplayCause")
    }

    /// Whether a pipeline began at one of its stages (pipeline-model-definition,
    /// `RestartDeclarativePipelineCause.java`).
    fn is_restart(&self) -> bool {
        self.class.ends_with(".RestartDeclarativePipelineCause")
    }
}

#[derive(Deserialize)]
pub(super) struct ChangeSet {
    #[serde(default)]
    pub(super) items: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    pub(super) commit_id: Option<String>,
    #[serde(default)]
    pub(super) msg: String,
    pub(super) author: Option<Author>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Author {
    #[serde(default)]
    pub(super) full_name: String,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(super) struct Artifact {
    #[serde(default)]
    pub(super) relative_path: String,
}

/// Results of tests (`hudson/tasks/junit/TestResult.java`), or of several runs of them
/// (`hudson/tasks/test/AggregatedTestResultAction.java`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestReport {
    #[serde(default)]
    pub(super) fail_count: u64,
    #[serde(default)]
    pub(super) skip_count: u64,
    pub(super) pass_count: Option<u64>,
    pub(super) total_count: Option<u64>,
    #[serde(default)]
    pub(super) suites: Vec<Suite>,
    #[serde(default)]
    pub(super) child_reports: Vec<ChildReport>,
}

pub(super) const TEST_COUNTS: &str = "failCount,skipCount,passCount,totalCount";

/// Cases of a suite whose states are asked for, where the whole is too large.
pub(super) const CASES: usize = 100_000;

/// How each test did, without what it says: some tens of bytes a test. Of all suites, or of a range of them, or of the reports of
/// parts: a report has either.
pub(super) fn test_states(range: Option<(usize, usize)>) -> String {
    let (range, cases) =
        range.map_or_else(Default::default, |(from, to)| (format!("{{{from},{to}}}"), format!("{{0,{CASES}}}")));
    let suites = format!("suites[cases[status]{cases}]");
    format!("{TEST_COUNTS},{suites}{range},childReports[result[{suites}]]{range}")
}

pub(super) const CASE: &str = "className,name,status,duration,age,errorDetails,errorStackTrace,skippedMessage";

pub(super) const CASE_WITHOUT_ERROR: &str = "className,name,status,duration,age";

impl TestReport {
    pub(super) fn all_suites(&self) -> impl Iterator<Item = &Suite> {
        let children = self.child_reports.iter().filter_map(|child| child.result.as_ref());
        self.suites.iter().chain(children.flat_map(|result| &result.suites))
    }
}

#[derive(Deserialize)]
pub(super) struct ChildReport {
    #[serde(rename = "child")]
    pub(super) run: Option<ChildRun>,
    pub(super) result: Option<ChildResult>,
}

#[derive(Deserialize)]
pub(super) struct ChildResult {
    #[serde(default)]
    pub(super) suites: Vec<Suite>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Suite {
    #[serde(default)]
    pub(super) name: String,
    /// Of a pipeline: stages and branches around the step that read it, the innermost first
    /// (`JUnitResultsStepExecution.java`).
    #[serde(default)]
    pub(super) enclosing_block_names: Vec<String>,
    #[serde(default)]
    pub(super) cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Case {
    #[serde(default)]
    pub(super) class_name: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) status: String,
    pub(super) duration: Option<f64>,
    #[serde(default)]
    pub(super) age: u32,
    pub(super) error_details: Option<String>,
    pub(super) error_stack_trace: Option<String>,
    pub(super) skipped_message: Option<String>,
}

/// The queue (`hudson/model/Queue.java`): items of jobs that may be read, and stubs of those of which only the name may be known.
/// Others are not told.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queue {
    #[serde(default)]
    pub(super) items: Vec<QueueItem>,
    #[serde(default)]
    pub(super) discoverable_items: Vec<QueueStub>,
}

#[derive(Deserialize)]
pub(super) struct QueueStub {
    pub(super) task: Option<Task>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueItem {
    pub(super) id: u64,
    pub(super) why: Option<String>,
    #[serde(default)]
    pub(super) blocked: bool,
    #[serde(default)]
    pub(super) stuck: bool,
    #[serde(default)]
    pub(super) buildable: bool,
    #[serde(default)]
    pub(super) cancelled: bool,
    #[serde(default)]
    pub(super) in_queue_since: i64,
    pub(super) task: Option<Task>,
    pub(super) executable: Option<Executable>,
}

pub(super) const QUEUE_ITEM: &str =
    "id,why,blocked,stuck,buildable,cancelled,inQueueSince,task[name,fullName],executable[number]";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Task {
    #[serde(default, rename = "_class")]
    class: String,
    pub(super) name: Option<String>,
    pub(super) full_name: Option<String>,
}

impl Task {
    /// Whether it is a step of a pipeline that runs, for which Jenkins tells nothing but this
    /// (workflow-durable-task-step, `ExecutorStepExecution.java`).
    pub(super) fn is_step(&self) -> bool {
        self.class.ends_with(".ExecutorStepExecution$PlaceholderTask")
    }
}

#[derive(Deserialize)]
pub(super) struct Executable {
    pub(super) number: Option<u32>,
}

/// The nodes (`hudson/model/ComputerSet.java`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Nodes {
    #[serde(default)]
    pub(super) busy_executors: u64,
    #[serde(default)]
    pub(super) total_executors: u64,
    #[serde(default)]
    pub(super) computer: Vec<Node>,
}

pub(super) const NODES: &str = "busyExecutors,totalExecutors,\
     computer[displayName,offline,temporarilyOffline,offlineCause[description],offlineCauseReason,icon,numExecutors,idle,assignedLabels[name]]";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node {
    #[serde(default)]
    pub(super) display_name: String,
    #[serde(default)]
    pub(super) offline: bool,
    #[serde(default)]
    pub(super) temporarily_offline: bool,
    #[serde(default)]
    offline_cause_reason: String,
    offline_cause: Option<OfflineCause>,
    icon: Option<String>,
    #[serde(default)]
    pub(super) num_executors: u64,
    #[serde(default)]
    pub(super) idle: bool,
    #[serde(default)]
    pub(super) assigned_labels: Vec<Label>,
}

#[derive(Deserialize)]
struct OfflineCause {
    description: Option<String>,
}

impl Node {
    /// Why it is offline. The reason has no user, and is empty where a user gave none (`hudson/model/Computer.java`,
    /// `getOfflineCauseReason`), who stands in the description of some causes (`hudson/slaves/OfflineCause.java`).
    pub(super) fn why_offline(&self) -> &str {
        let reason = self.offline_cause_reason.as_str();
        let described = self.offline_cause.as_ref().and_then(|cause| cause.description.as_deref());
        described.filter(|description| self.offline && description.contains(reason)).unwrap_or(reason)
    }

    /// Whether it takes nothing although it is online, which only its icon tells (`jenkins/model/IComputer.java`,
    /// `getIcon`); until March 2024 that was the icon of those that are offline.
    pub(super) fn is_suspended(&self) -> bool {
        let icon = self.icon.as_deref().unwrap_or_default();
        !self.offline
            && ["computer-not-accepting", "computer-offline", "computer-x"].iter().any(|one| icon.contains(one))
    }
}

#[derive(Deserialize)]
pub(super) struct Label {
    #[serde(default)]
    pub(super) name: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::Build;

    #[test]
    fn commits_are_told_once_and_those_of_several_repositories_all() {
        let item = |id: &str, message: &str| json!({ "commitId": id, "msg": message });
        let build = json!({ "number": 1, "changeSets": [
            { "items": [item("a1", "Fix"), item("4711", "App")] },
            { "items": [item("a1", "Fix"), item("4711", "Library")] },
        ] });
        let build: Build = from_value(build).unwrap();
        let told: Vec<&str> = build.changes().map(|change| change.msg.as_str()).collect();
        assert_eq!(told, ["Fix", "App", "Library"]);
    }
}
