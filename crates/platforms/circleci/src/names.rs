//! What names things at CircleCI: slugs of projects, ids, and links into its web site, which are read and never called.
//! And the projects that a manifest allows.
//!
//! A slug is taken as three opaque parts. CircleCI's documents name `gh`, `github`, `bb`, `bitbucket`, and `circleci` with
//! two ids for projects of the GitHub App, GitLab and Bitbucket Data Center; no rule is made of it.

use std::fmt;

use url::Url;

use api::pattern::PathPattern;
use tools::{ErrorCode, ToolError};

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slug([String; 3]);

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

impl Slug {
    /// Reads a slug, or a link that holds one.
    ///
    /// # Errors
    /// When it is neither.
    pub(super) fn parse(text: &str) -> Result<Self, ToolError> {
        if text.contains("://") {
            return Link::parse(text).and_then(|link| link.slug).ok_or_else(|| not_a_slug("project_slug"));
        }
        Self::of_parts(&text.split('/').collect::<Vec<_>>()).ok_or_else(|| not_a_slug("project_slug"))
    }

    fn of_parts(parts: &[&str]) -> Option<Self> {
        let fits = |part: &&str| {
            !part.is_empty()
                && part.len() <= 255
                && !matches!(*part, "." | "..")
                && !part.chars().any(|c| c.is_whitespace() || c.is_control() || "%?#\\".contains(c))
        };
        match parts {
            [provider, organization, project] if parts.iter().all(fits) => {
                Some(Self([provider, organization, project].map(|part| (*part).to_owned())))
            }
            _ => None,
        }
    }

    /// The three parts, to be encoded one by one: a slash that is encoded with them leads nowhere.
    pub(super) fn parts(&self) -> [String; 3] {
        self.0.clone()
    }

    /// Whether it is a project of the GitHub App, GitLab or Bitbucket Data Center, whose runs need a definition.
    pub(super) fn is_app_based(&self) -> bool {
        self.0[0] == "circleci"
    }

    /// The form in which slugs are compared: with the short names of providers.
    fn canonical(&self) -> String {
        canonical(&self.to_string())
    }
}

fn canonical(slug: &str) -> String {
    match slug.split_once('/') {
        Some(("github", rest)) => format!("gh/{rest}"),
        Some(("bitbucket", rest)) => format!("bb/{rest}"),
        _ => slug.to_owned(),
    }
}

fn not_a_slug(argument: &str) -> ToolError {
    ToolError::invalid_argument("that is neither a project's slug nor a link that names one")
        .with_argument(argument)
        .with_remedy("a slug is provider/organization/project, such as gh/acme/web; list_circleci_projects tells them")
}

/// The projects that the manifest allows.
#[derive(Clone, Debug, Default)]
pub(super) struct Projects(Option<Vec<PathPattern>>);

impl Projects {
    pub(super) fn new(allowed: Option<&Vec<PathPattern>>) -> Self {
        Self(allowed.map(|patterns| patterns.iter().map(|one| PathPattern(canonical(&one.0))).collect()))
    }

    /// Whether every project is allowed, so that none needs to be asked for.
    pub(super) const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a slug, as CircleCI writes it, is allowed.
    pub(super) fn allows(&self, slug: &str) -> bool {
        let slug = canonical(slug);
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(&slug)))
    }

    /// Says no to a project that is not allowed.
    ///
    /// # Errors
    /// [`ErrorCode::PermissionDenied`]. It does not tell which project an id belongs to.
    pub(super) fn check(&self, slug: &str) -> Result<(), ToolError> {
        if self.allows(slug) {
            return Ok(());
        }
        Err(ToolError::new(ErrorCode::PermissionDenied, "the manifest of the connector does not allow that project")
            .with_remedy("whoever owns the connector can add it to spec.platform.circleCi.projects"))
    }

    /// A project by which the probe can tell whether the token sees anything.
    pub(super) fn probed(&self) -> Option<Slug> {
        let patterns = self.0.iter().flatten();
        patterns.filter(|one| !one.0.contains('*')).find_map(|one| Slug::parse(&one.0).ok())
    }
}

impl Slug {
    /// Reads a slug and says no to one that is not allowed.
    ///
    /// # Errors
    /// As [`Slug::parse`] and [`Projects::check`].
    pub(super) fn allowed(text: &str, projects: &Projects) -> Result<Self, ToolError> {
        let slug = Self::parse(text)?;
        projects.check(&slug.canonical())?;
        Ok(slug)
    }
}

/// Whether a text has the form of CircleCI's ids.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// What a link into the web site names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) slug: Option<Slug>,
    pub(super) pipeline_number: Option<u64>,
    pub(super) workflow_id: Option<String>,
    pub(super) job_number: Option<u64>,
}

impl Link {
    /// Reads a link such as `https://app.circleci.com/pipelines/gh/acme/web/12/workflows/<id>/jobs/34`, whatever its
    /// host, or the older form `https://circleci.com/gh/acme/web/34`, which names a job.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let parts: Vec<&str> = url.path_segments()?.filter(|part| !part.is_empty()).collect();
        let mut link = Self::default();
        let rest = match parts.as_slice() {
            ["pipelines", "workflows", rest @ ..] => {
                link.workflow_id = rest.first().map(|id| (*id).to_owned());
                rest.get(1..).unwrap_or_default()
            }
            ["pipelines", provider, organization, project, rest @ ..] => {
                link.slug = Slug::of_parts(&[provider, organization, project]);
                match rest {
                    [number, rest @ ..] if number.parse::<u64>().is_ok() => {
                        link.pipeline_number = number.parse().ok();
                        rest
                    }
                    rest => rest,
                }
            }
            ["jobs", provider, organization, project, number]
            | [provider @ ("gh" | "github" | "bb" | "bitbucket"), organization, project, number] => {
                link.slug = Slug::of_parts(&[provider, organization, project]);
                link.job_number = number.parse().ok();
                &[]
            }
            _ => return None,
        };
        for pair in rest.chunks(2) {
            match pair {
                ["workflows", id] => link.workflow_id = Some((*id).to_owned()),
                ["jobs", number] => link.job_number = number.parse().ok(),
                _ => {}
            }
        }
        link.workflow_id = link.workflow_id.filter(|id| is_uuid(id));
        Some(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "5034460f-c7c4-4c43-9457-de07e2029e7b";

    #[test]
    fn a_slug_is_three_opaque_parts() {
        for good in ["gh/acme/web", "github/acme/web", "bb/acme/web.js", "circleci/RxWKr/3dCk", "new/some one/x"] {
            assert_eq!(Slug::parse(good).is_ok(), !good.contains(' '), "{good}");
        }
        for bad in ["", "acme/web", "gh/acme/web/main", "gh//web", "gh/../web", "gh/acme/we%2Fb", "gh/acme/we?b"] {
            assert_eq!(Slug::parse(bad).unwrap_err().argument.as_deref(), Some("project_slug"), "{bad}");
        }
    }

    #[test]
    fn links_are_read() {
        let link =
            Link::parse(&format!("https://app.circleci.com/pipelines/github/acme/web/12/workflows/{ID}/jobs/34"));
        let link = link.unwrap();
        assert_eq!(link.slug.as_ref().unwrap().to_string(), "github/acme/web");
        assert_eq!((link.pipeline_number, link.job_number), (Some(12), Some(34)));
        assert_eq!(link.workflow_id.as_deref(), Some(ID));
        let branch = Link::parse("https://app.circleci.com/pipelines/circleci/a/b?branch=main").unwrap();
        assert_eq!((branch.slug.unwrap().to_string().as_str(), branch.pipeline_number), ("circleci/a/b", None));
        let short = Link::parse(&format!("https://app.circleci.com/pipelines/workflows/{ID}/jobs/3")).unwrap();
        assert_eq!((short.workflow_id.as_deref(), short.job_number), (Some(ID), Some(3)));
        assert_eq!(Link::parse("https://circleci.com/gh/acme/web/34").unwrap().job_number, Some(34));
        for other in ["https://example.com/", "ftp://x/pipelines/gh/a/b", "gh/acme/web"] {
            assert_eq!(Link::parse(other), None, "{other}");
        }
    }

    #[test]
    fn names_of_providers_mean_the_same_in_both_forms() {
        let allowed = vec![PathPattern("github/acme/*".into()), PathPattern("bb/x/y".into())];
        let projects = Projects::new(Some(&allowed));
        for (slug, expected) in [
            ("gh/acme/web", true),
            ("github/acme/web", true),
            ("bitbucket/x/y", true),
            ("gh/other/web", false),
            ("gl/acme/web", false),
        ] {
            assert_eq!(Slug::allowed(slug, &projects).is_ok(), expected, "{slug}");
        }
        assert_eq!(projects.probed().unwrap().to_string(), "bb/x/y");
        assert!(Projects::new(None).is_open() && Projects::new(None).allows("x/y/z"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Slug::parse(&text);
            let _ = Link::parse(&text);
            let _ = Link::parse(&format!("https://app.circleci.com/pipelines/{text}"));
        }
    }
}
