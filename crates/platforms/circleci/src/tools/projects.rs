//! `list_circleci_projects`: the projects that the token's user follows.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, name, read};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    wire::Followed,
};
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

/// Projects of which CircleCI is asked in one call whether the manifest names them in another form.
const MAX_ASKED: usize = 20;

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
    /// Only projects whose slugs or names hold this text, in capitals or not.
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
    /// Name, where it is no part of the slug.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
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
        let slug = project.slug.clone().or_else(|| project.ids()).or_else(made)?;
        let called = project.name.as_ref().or(project.reponame.as_ref()).filter(|called| !slug.ends_with(*called));
        Some(Self { name: called.map(|called| name(called)), slug: name(&slug), vcs: name(vcs) })
    }
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, LIST, list)]
}

async fn list(circleci: Arc<CircleCi>, input: ListInput, context: CallContext) -> Result<Page<ProjectView>, ToolError> {
    let place = Place::of(&input.page)?;
    let call = Call::get(Api::V11, ["projects"]);
    let followed: Vec<Followed> = circleci.ask(&call, "list projects", About::Account, &context).await?;
    let wanted = input.name_contains.as_ref().map(|part| part.to_lowercase());
    let is_wanted = |project: &ProjectView| {
        let holds = |text: &str| wanted.as_ref().is_none_or(|part| text.to_lowercase().contains(part));
        holds(&project.slug) || project.name.as_deref().is_some_and(holds)
    };
    let (mut entries, mut asked, mut unknown) = (Vec::new(), 0, 0);
    for project in &followed {
        let Some(view) = ProjectView::of(project).filter(is_wanted) else { continue };
        let by_ids = || project.ids().is_some_and(|slug| circleci.projects.allows(&slug));
        let mut is_allowed = circleci.projects.allows(&view.slug) || by_ids();
        if !is_allowed && circleci.projects.may_be_another_form(&view.slug) {
            if asked < MAX_ASKED {
                asked += 1;
                is_allowed = circleci.check_slug(&view.slug, &context).await.is_ok();
            } else {
                unknown += 1;
            }
        }
        if is_allowed {
            entries.push((view.slug.clone(), view));
        }
    }
    let mut page = place.page(entries, None, input.page.limit());
    if unknown > 0 {
        page = page.with_hint(format!(
            "of {unknown} more it was not asked whether the manifest allows them: name them by slug"
        ));
    }
    Ok(match (page.items.is_empty(), followed.is_empty()) {
        (true, true) => page.with_hint("the connector's user follows no project; name one by its slug all the same"),
        (true, false) if unknown == 0 => {
            // mcp-server-circleci #175, apache/devlake #8634.
            page.with_hint(
                "none of the followed projects matches, or none is allowed by the manifest; one that is not followed is named by \
                 its slug all the same",
            )
        }
        _ => page,
    })
}
