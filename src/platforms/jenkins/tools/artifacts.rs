//! `list_jenkins_artifacts`: files that a build kept.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::{AGE_OF_AN_ENDED_BUILD, bounded, build_input, position, read};
use crate::{
    platforms::jenkins::Jenkins,
    tools::{CallContext, Cursor, Page, ToolDeclaration, ToolEntry, ToolError},
};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_jenkins_artifacts",
    "Files that a build kept",
    "Answers the paths of the artifacts of a build.",
)
.cached_if_final(AGE_OF_AN_ENDED_BUILD);

build_input! {
    /// Arguments of `list_jenkins_artifacts`.
    ListInput, LastSuccessful {
        /// Artifacts of one answer: 1 to 200, 100 if left out.
        #[serde(default)]
        #[schemars(range(min = 1, max = 200))]
        limit: Option<usize>,
        /// Where to go on: next_cursor of the previous answer.
        #[serde(default)]
        #[schemars(length(max = 200))]
        cursor: Option<String>,
    }
}

/// An artifact.
#[derive(Serialize, JsonSchema)]
struct ArtifactView {
    /// Its path.
    path: String,
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, LIST, list)]
}

async fn list(jenkins: Arc<Jenkins>, input: ListInput, context: CallContext) -> Result<Page<ArtifactView>, ToolError> {
    let limit = bounded("limit", input.limit, 100, (1, 200))?;
    let from: usize = position(input.cursor.as_deref())?;
    let tree =
        format!("number,building,inProgress,artifacts[relativePath]{{{from},{}}}", from.saturating_add(limit + 1));
    let target = input.target(&jenkins, &context).await?;
    let build = jenkins.fetch_build(&target, &tree, &context).await?;
    target.say_if_final(&build, &context);
    let paths = build.artifacts.iter().take(limit).map(|one| ArtifactView { path: one.relative_path.clone() });
    let items: Vec<ArtifactView> = paths.collect();
    let truncated = build.artifacts.len() > limit;
    let mut hints = Vec::new();
    if items.is_empty() {
        let none = if build.building { "has none yet: it runs" } else { "has no artifacts" };
        hints.push(format!("build {} {none}", build.number));
    }
    Ok(Page { items, truncated, next_cursor: truncated.then(|| Cursor((from + limit).to_string()).encode()), hints })
}
