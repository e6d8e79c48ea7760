//! What the plugin `pipeline-rest-api` tells of pipelines: stages, steps, inputs.

use serde::Deserialize;
use serde_json::Value;

/// A pipeline's run or stage, or a step (`pipeline-rest-api`: `RunExt`, `StageNodeExt`, `FlowNodeExt`). It has no `tree`.
#[derive(Deserialize)]
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
    #[serde(default)]
    pub(crate) duration_millis: i64,
    #[serde(default)]
    pub(crate) pause_duration_millis: i64,
    pub(crate) error: Option<FlowError>,
    #[serde(default)]
    pub(crate) stages: Vec<Self>,
    /// Of a stage that is asked for by its id.
    #[serde(default)]
    pub(crate) stage_flow_nodes: Vec<Self>,
}

#[derive(Deserialize)]
pub(crate) struct FlowError {
    #[serde(default)]
    pub(crate) message: String,
}

/// An input that a pipeline waits for (`pipeline-rest-api`: `PendingInputActionsExt`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PendingInput {
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) message: String,
    pub(crate) proceed_text: Option<String>,
    #[serde(default)]
    pub(crate) inputs: Vec<InputParameter>,
}

#[derive(Deserialize)]
pub(crate) struct InputParameter {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) definition: Value,
}
