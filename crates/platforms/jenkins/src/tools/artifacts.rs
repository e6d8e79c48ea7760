//! `list_jenkins_artifacts`: files that a build kept.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AGE_OF_AN_ENDED_BUILD, BuildArgs, BuildName, read};
use crate::Jenkins;
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError, page::encode_cursor};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_jenkins_artifacts",
    "Files that a build kept",
    "Answers the paths of the artifacts of a build.",
)
.cached_if_final(AGE_OF_AN_ENDED_BUILD);

/// Arguments of `list_jenkins_artifacts`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    #[serde(flatten)]
    build: BuildArgs<{ BuildName::LAST_SUCCESSFUL }>,
    #[serde(flatten)]
    page: PageArgs<100, 200>,
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
    let limit = input.page.limit();
    let from: usize = input.page.position()?;
    let tree =
        format!("number,building,inProgress,artifacts[relativePath]{{{from},{}}}", from.saturating_add(limit + 1));
    let target = input.build.target(&jenkins, &context).await?;
    let build = jenkins.fetch_build(&target, &tree, &context).await?;
    target.say_if_final(&build, &context);
    let paths = build.artifacts.iter().take(limit).map(|one| ArtifactView { path: one.relative_path.clone() });
    let items: Vec<ArtifactView> = paths.collect();
    let truncated = build.artifacts.len() > limit;
    let mut hints = Vec::new();
    if items.is_empty() {
        let none = if build.goes_on() {
            "has none yet: it runs"
        } else if build.is_of_maven_modules() {
            // A module's are those of its own build (`hudson/maven/reporters/MavenArtifact.java`).
            "has none itself; those of its Maven modules are not told here"
        } else {
            "has no artifacts"
        };
        hints.push(format!("build {} {none}", build.number));
    }
    Ok(Page { items, truncated, next_cursor: truncated.then(|| encode_cursor(&(from + limit).to_string())), hints })
}
