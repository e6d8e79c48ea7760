//! `list_circleci_projects`: the projects that the token's user follows.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{name, page, read};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    wire::Followed,
};
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_circleci_projects",
    "Projects",
    "Lists the projects that the connector's CircleCI user follows, with the slugs by which the other tools name them. \
     Projects that it can see and does not follow work as well, and are not listed.",
)
.cached(Duration::from_mins(1));

/// Arguments of `list_circleci_projects`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Only projects whose slugs hold this text.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    name_contains: Option<String>,
    #[serde(flatten)]
    page: PageArgs<50, 200>,
}

/// A project.
#[derive(Serialize, JsonSchema)]
struct ProjectView {
    /// Slug: `project_slug` of the other tools.
    slug: String,
    /// Where its repository is: `github`, `bitbucket` or `circleci`.
    vcs: String,
}

impl ProjectView {
    /// Where v1.1 states no slug, it is made of its parts, with the short names of providers.
    fn of(project: &Followed) -> Option<Self> {
        let vcs = project.vcs_type.as_deref().unwrap_or_default();
        let provider = match vcs {
            "github" => "gh",
            "bitbucket" => "bb",
            other => other,
        };
        let made = || Some(format!("{provider}/{}/{}", project.username.as_ref()?, project.reponame.as_ref()?));
        let slug = project.slug.clone().or_else(made)?;
        Some(Self { slug: name(&slug), vcs: name(vcs) })
    }
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, LIST, list)]
}

async fn list(circleci: Arc<CircleCi>, input: ListInput, context: CallContext) -> Result<Page<ProjectView>, ToolError> {
    let call = Call::get(Api::V11, ["projects"]);
    let followed: Vec<Followed> = circleci.ask(&call, "list projects", About::Account, &context).await?;
    let wanted = |project: &ProjectView| {
        circleci.projects.allows(&project.slug)
            && input.name_contains.as_ref().is_none_or(|part| project.slug.contains(part))
    };
    let entries = followed.iter().filter_map(ProjectView::of).filter(wanted);
    let entries = entries.map(|project| (project.slug.clone(), project)).collect();
    let page = page(entries, false, &input.page)?;
    Ok(match (page.items.is_empty(), followed.is_empty()) {
        (true, true) => page.with_hint("the connector's user follows no project; name one by its slug all the same"),
        (true, false) => page.with_hint("none of the followed projects matches, or none is allowed by the manifest"),
        (false, _) => page,
    })
}
