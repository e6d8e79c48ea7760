//! What plugins tell of pipelines. Stages come from `pipeline-rest-api` (the stage view), or from `pipeline-graph-view`, which
//! Jenkins' setup wizard installs in its place since 2.443. Inputs stand in the JSON of the build itself, as
//! `pipeline-input-step` exports them since November 2022; before, only the stage view told them.

use serde::Deserialize;
use serde_json::Value;

use super::{ParameterDefinition, ParameterValue};

/// A pipeline's run or stage, or a step (`pipeline-rest-api`: `RunExt`, `StageNodeExt`, `FlowNodeExt`). It has no `tree`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flow {
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) start_time_millis: i64,
    pub(crate) duration_millis: Option<i64>,
    pub(crate) pause_duration_millis: Option<i64>,
    pub(crate) error: Option<Box<FlowError>>,
    #[serde(default)]
    pub(crate) stages: Vec<Self>,
    /// Of a stage that is asked for by its id.
    #[serde(default)]
    pub(crate) stage_flow_nodes: Vec<Self>,
    /// Whether a stage in it has the same status; only `pipeline-graph-view` tells what is in what.
    #[serde(skip)]
    pub(crate) same_inside: bool,
}

/// What went wrong (`ErrorExt`). An interruption, as by a time limit, has no message.
#[derive(Deserialize)]
pub(crate) struct FlowError {
    message: Option<String>,
    #[serde(rename = "type")]
    class: Option<String>,
}

impl FlowError {
    /// What it says, or else how it is called.
    pub(crate) fn text(&self) -> &str {
        let class = || self.class.as_deref().and_then(|class| class.rsplit(['.', '$']).next());
        self.message.as_deref().filter(|message| !message.is_empty()).or_else(class).unwrap_or_default()
    }
}

/// The end of what a step wrote, as HTML (`pipeline-rest-api`: `FlowNodeLogExt`): 10 KiB at most.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepLog {
    #[serde(default)]
    text: String,
    #[serde(default)]
    has_more: bool,
}

impl StepLog {
    /// Its whole lines as text: what stands in tags is of Jenkins' page.
    pub(crate) fn lines(&self) -> String {
        let html = match self.text.split_once('\n') {
            Some((_, rest)) if self.has_more => rest,
            _ => &self.text,
        };
        let mut parts = html.split('<');
        let mut text = parts.next().unwrap_or_default().to_owned();
        // What a program writes has no such sign in HTML.
        text.extend(parts.map(|part| part.split_once('>').map_or("", |(_, after)| after)));
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#039;", "'"), ("&#39;", "'"), ("&amp;", "&")]
            .iter()
            .fold(text, |text, (escaped, meant)| text.replace(escaped, meant))
    }
}

/// What `pipeline-graph-view` answers (`PipelineJsonWriter.java`).
#[derive(Deserialize)]
pub(crate) struct GraphAnswer {
    data: Option<Graph>,
    #[serde(default)]
    stages: Vec<GraphNode>,
    #[serde(default)]
    steps: Vec<GraphNode>,
}

#[derive(Deserialize)]
struct Graph {
    #[serde(default)]
    stages: Vec<GraphNode>,
    #[serde(default)]
    steps: Vec<GraphNode>,
}

/// A stage or a step (`AbstractPipelineNode.java`). Times were words for people until 2025.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GraphNode {
    #[serde(default)]
    pub(crate) id: String,
    /// Of a step that has arguments they are its name, and may hold secrets.
    #[serde(default)]
    name: String,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    start_time_millis: Value,
    #[serde(default)]
    total_duration_millis: Value,
    #[serde(default)]
    pause_duration_millis: Value,
    #[serde(default)]
    children: Vec<Self>,
}

impl GraphAnswer {
    /// Stages in their order, each before those that are in it.
    pub(crate) fn stages(self) -> Vec<Flow> {
        let mut stages = Vec::new();
        for stage in self.data.map_or(self.stages, |data| data.stages) {
            stage.unfold(&mut stages);
        }
        stages
    }

    pub(crate) fn steps(self) -> Vec<GraphNode> {
        self.data.map_or(self.steps, |data| data.steps)
    }
}

impl GraphNode {
    fn unfold(self, into: &mut Vec<Flow>) {
        let at = into.len();
        into.push(Flow {
            status: self.status(),
            start_time_millis: self.start_time_millis.as_i64().unwrap_or_default(),
            duration_millis: self.total_duration_millis.as_i64(),
            pause_duration_millis: self.pause_duration_millis.as_i64(),
            id: self.id,
            name: self.name,
            ..Flow::default()
        });
        for child in self.children {
            child.unfold(into);
        }
        if let Some((stage, inside)) = into.get_mut(at..).and_then(<[Flow]>::split_first_mut) {
            stage.same_inside = inside.iter().any(|one| one.status == stage.status);
        }
    }

    /// Its state (`PipelineState.java`) in the words of the stage view.
    pub(crate) fn status(&self) -> String {
        match self.state.to_uppercase().as_str() {
            "FAILURE" => "FAILED".to_owned(),
            "RUNNING" => "IN_PROGRESS".to_owned(),
            "PAUSED" => "PAUSED_PENDING_INPUT".to_owned(),
            "SKIPPED" | "NOT_BUILT" => "NOT_EXECUTED".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// An input that a pipeline waits for.
pub(crate) struct PendingInput {
    pub(crate) id: String,
    pub(crate) message: String,
    pub(crate) proceed_text: Option<String>,
    /// Who may settle it: users and groups, with commas between them.
    pub(crate) submitter: Option<String>,
    pub(crate) parameters: Vec<ParameterDefinition>,
}

impl PendingInput {
    /// The class of a parameter.
    pub(crate) fn kind(&self, name: &str) -> &str {
        self.parameters.iter().find(|one| one.name == name).map_or("", |one| one.kind.as_str())
    }
}

/// An input in the JSON of a build (`pipeline-input-step`: `InputStepExecution`).
#[derive(Deserialize, Clone)]
pub(crate) struct InputExecution {
    #[serde(default)]
    id: String,
    #[serde(default)]
    pub(crate) settled: bool,
    input: Option<InputStep>,
}

#[derive(Deserialize, Clone)]
struct InputStep {
    #[serde(default)]
    message: String,
    ok: Option<String>,
    submitter: Option<String>,
    #[serde(default)]
    parameters: Vec<ParameterDefinition>,
}

impl From<InputExecution> for PendingInput {
    fn from(execution: InputExecution) -> Self {
        let id = execution.id;
        match execution.input {
            Some(InputStep { message, ok, submitter, parameters }) => {
                Self { id, message, proceed_text: ok, submitter, parameters }
            }
            None => Self { id, message: String::new(), proceed_text: None, submitter: None, parameters: Vec::new() },
        }
    }
}

/// An input as the stage view tells it (`pipeline-rest-api`: `PendingInputActionsExt`, `InputParameterDefExt`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StageViewInput {
    #[serde(default)]
    id: String,
    #[serde(default)]
    message: String,
    proceed_text: Option<String>,
    #[serde(default)]
    inputs: Vec<InputParameter>,
}

#[derive(Deserialize)]
struct InputParameter {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    description: Option<String>,
    #[serde(default)]
    definition: Value,
}

impl From<InputParameter> for ParameterDefinition {
    fn from(input: InputParameter) -> Self {
        let choices = input.definition.get("choices").and_then(Value::as_array);
        let choices = choices.map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        let default = input.definition.get("defaultVal").filter(|value| !value.is_null()).cloned();
        Self {
            name: input.name,
            kind: input.kind,
            description: input.description,
            default_parameter_value: default.map(ParameterValue::of),
            choices,
        }
    }
}

impl From<StageViewInput> for PendingInput {
    fn from(input: StageViewInput) -> Self {
        let parameters = input.inputs.into_iter().map(ParameterDefinition::from).collect();
        let StageViewInput { id, message, proceed_text, .. } = input;
        Self { id, message, proceed_text, submitter: None, parameters }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_step_wrote_is_read_out_of_its_page() {
        let log = |more: bool| {
            let text =
                "cut <b>line\n<span class=\"timestamp\">x</span>a &lt;b&gt; &amp;lt; <a href='/y'>#12</a>\nit&#039;s\n";
            serde_json::from_value::<StepLog>(json!({ "nodeId": "11", "text": text, "hasMore": more })).unwrap().lines()
        };
        assert_eq!(log(true), "xa <b> &lt; #12\nit's\n");
        assert!(log(false).starts_with("cut line\n"));
        let empty: StepLog = serde_json::from_value(json!({ "nodeId": "11", "length": 0, "hasMore": false })).unwrap();
        assert_eq!(empty.lines(), "");
    }

    #[test]
    fn stages_of_any_version_of_the_graph_view_are_read() {
        let stage = |start: Value, children: Value| {
            json!({ "id": "6", "name": "Test", "state": "failure", "startTimeMillis": start, "totalDurationMillis": 9,
                    "children": children })
        };
        let inner =
            json!([{ "id": 8, "name": "unit", "state": "failure" }, { "id": "9", "name": "end", "state": "skipped" }]);
        let stages = json!([stage(json!(5), inner), stage(json!("Started 3 days ago"), json!([]))]);
        for answer in [json!({ "status": "ok", "data": { "stages": stages } }), json!({ "stages": stages })] {
            let answer: GraphAnswer = serde_json::from_value(answer.clone())
                .unwrap_or_else(|_| outbound::decode::decode(answer.to_string().as_bytes()).unwrap());
            let stages = answer.stages();
            let told: Vec<_> =
                stages.iter().map(|one| (one.name.as_str(), one.status.as_str(), one.same_inside)).collect();
            assert_eq!(
                told,
                [
                    ("Test", "FAILED", true),
                    ("unit", "FAILED", false),
                    ("end", "NOT_EXECUTED", false),
                    ("Test", "FAILED", false),
                ]
            );
            assert_eq!(
                (stages[0].start_time_millis, stages[0].duration_millis, stages[3].start_time_millis),
                (5, Some(9), 0)
            );
        }
    }
}
