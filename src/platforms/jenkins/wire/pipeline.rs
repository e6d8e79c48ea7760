//! What the plugin `pipeline-rest-api` tells of pipelines: stages, steps, inputs.

use serde::Deserialize;
use serde_json::Value;

/// A pipeline's run or stage, or a step (`pipeline-rest-api`: `RunExt`, `StageNodeExt`, `FlowNodeExt`). It has no `tree`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::platforms::jenkins) struct Flow {
    #[serde(default)]
    pub(in crate::platforms::jenkins) id: String,
    #[serde(default)]
    pub(in crate::platforms::jenkins) name: String,
    #[serde(default)]
    pub(in crate::platforms::jenkins) status: String,
    #[serde(default)]
    pub(in crate::platforms::jenkins) start_time_millis: i64,
    #[serde(default)]
    pub(in crate::platforms::jenkins) duration_millis: i64,
    #[serde(default)]
    pub(in crate::platforms::jenkins) pause_duration_millis: i64,
    pub(in crate::platforms::jenkins) error: Option<FlowError>,
    #[serde(default)]
    pub(in crate::platforms::jenkins) stages: Vec<Self>,
    /// Of a stage that is asked for by its id.
    #[serde(default)]
    pub(in crate::platforms::jenkins) stage_flow_nodes: Vec<Self>,
}

#[derive(Deserialize)]
pub(in crate::platforms::jenkins) struct FlowError {
    #[serde(default)]
    pub(in crate::platforms::jenkins) message: String,
}

/// An input that a pipeline waits for (`pipeline-rest-api`: `PendingInputActionsExt`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::platforms::jenkins) struct PendingInput {
    #[serde(default)]
    pub(in crate::platforms::jenkins) id: String,
    #[serde(default)]
    pub(in crate::platforms::jenkins) message: String,
    pub(in crate::platforms::jenkins) proceed_text: Option<String>,
    #[serde(default)]
    pub(in crate::platforms::jenkins) inputs: Vec<InputParameter>,
}

#[derive(Deserialize)]
pub(in crate::platforms::jenkins) struct InputParameter {
    #[serde(default)]
    pub(in crate::platforms::jenkins) name: String,
    #[serde(default, rename = "type")]
    pub(in crate::platforms::jenkins) kind: String,
    pub(in crate::platforms::jenkins) description: Option<String>,
    #[serde(default)]
    pub(in crate::platforms::jenkins) definition: Value,
}
