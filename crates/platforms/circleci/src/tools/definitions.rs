//! `list_circleci_pipeline_definitions`: what a project can be run by.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, name, read};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    locate::{Listing, Read},
    names::Slug,
    text, v3,
    wire::Definition,
};
use kit::args::PageArgs;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_circleci_pipeline_definitions",
    "Definitions of runs",
    "Lists a project's pipeline definitions, each with where its configuration and its code come from. Their ids are what \
     trigger_circleci_pipeline takes as definition_id, which projects with slugs that begin with circleci/ need.",
)
.cached(Duration::from_mins(10));

/// Arguments of `list_circleci_pipeline_definitions`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Slug of the project, such as `gh/acme/web`, or a link.
    #[schemars(length(min = 1, max = 2048))]
    project_slug: String,
    #[serde(flatten)]
    page: PageArgs<50, 50>,
}

/// A definition.
#[derive(Serialize, JsonSchema, Clone)]
pub(super) struct DefinitionView {
    /// Id: `definition_id` of trigger_circleci_pipeline.
    pub(super) id: String,
    /// Name.
    pub(super) name: String,
    /// Where its configuration comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_source: Option<String>,
    /// Where its code comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkout_source: Option<String>,
}

fn source(provider: Option<&String>, repository: Option<&String>, file: Option<&String>) -> Option<String> {
    let parts: Vec<String> = [provider, repository, file].into_iter().flatten().map(|part| name(part)).collect();
    text::optional(Some(&parts.join(" ")), 512)
}

impl DefinitionView {
    fn of_v2(definition: &Definition) -> Self {
        let of = |one: Option<&crate::wire::Source>| {
            let one = one?;
            let repository = one.repo.as_ref().and_then(|repo| repo.full_name.as_ref());
            source(one.provider.as_ref(), repository, one.file_path.as_ref())
        };
        Self {
            id: name(&definition.id),
            name: name(&definition.name),
            config_source: of(definition.config_source.as_ref()),
            checkout_source: of(definition.checkout_source.as_ref()),
        }
    }

    fn of_v3(definition: &v3::Definition) -> Self {
        let of = |one: Option<&v3::Source>| {
            let one = one?;
            let vcs = one.vcs.as_ref();
            let (provider, repository) =
                (vcs.and_then(|vcs| vcs.provider.as_ref()), vcs.and_then(|vcs| vcs.repo_full_name.as_ref()));
            source(provider, repository, one.file_path.as_ref())
        };
        Self {
            id: name(&definition.id),
            name: name(&definition.attributes.name),
            config_source: of(definition.attributes.config.as_ref()),
            checkout_source: of(definition.attributes.checkout.as_ref()),
        }
    }
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, LIST, list)]
}

async fn list(
    circleci: Arc<CircleCi>,
    input: ListInput,
    context: CallContext,
) -> Result<Page<DefinitionView>, ToolError> {
    let place = Place::of(&input.page)?;
    let (is_first, at) = (place.at.is_none(), place.at.clone());
    let slug = circleci.allowed(&input.project_slug, &context).await?;
    let project = circleci.fetch_project(&slug, &context).await?;
    let found = circleci.fetch_definitions(&slug, &project.id, at, &context).await?;
    let entries = found.items.into_iter().map(|one| (format!("{} {}", one.name, one.id), one)).collect();
    let page = place.page(entries, found.next, input.page.limit());
    if !page.items.is_empty() || page.truncated || !is_first {
        return Ok(page);
    }
    Ok(page.with_hint("the project has none: it is run without definition_id"))
}

impl CircleCi {
    /// The definitions by which a project can be run, from a page on.
    pub(super) async fn fetch_definitions(
        &self,
        slug: &Slug,
        project: &str,
        at: Option<String>,
        context: &CallContext,
    ) -> Result<Read<DefinitionView>, ToolError> {
        let (doing, about) = ("list pipeline definitions", slug.to_string());
        let listing = |call| Listing::new(call, doing, About::Project(&about)).from(at);
        if self.api(context).await? == Api::V3 {
            let call = Call::get(Api::V3, ["pipelines"]).query("filter[project_id]", &project);
            let found: Read<v3::Definition> = self.list(listing(call), |_| false, context).await?;
            return Ok(Read { items: found.items.iter().map(DefinitionView::of_v3).collect(), next: found.next });
        }
        let call = Call::get(Api::V2, ["projects", project, "pipeline-definitions"]);
        let found: Read<Definition> = self.list(listing(call), |_| false, context).await?;
        Ok(Read { items: found.items.iter().map(DefinitionView::of_v2).collect(), next: found.next })
    }
}
