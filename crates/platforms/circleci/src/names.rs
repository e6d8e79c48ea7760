//! What names things at CircleCI: slugs of projects, ids, and links into its web site, which are read and never called.
//! And the projects that a manifest allows.
//!
//! A slug is taken as three opaque parts. CircleCI's documents name `gh`, `github`, `bb`, `bitbucket`, and `circleci` with
//! two ids for projects of the GitHub App, GitLab and Bitbucket Data Center; no rule is made of it. Such a project has two
//! slugs, with the ids as UUIDs and in a shorter form; which belong together only CircleCI says
//! (CircleCI-Public/circleci-cli #1281, #1833).

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

use api::pattern::PathPattern;
use kit::links;
use tools::{ErrorCode, ToolError};

use super::wire::Project;

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
        if let Some(link) = Link::read(text) {
            return link.slug.ok_or_else(|| not_a_slug("project_slug"));
        }
        let text = text.trim().trim_matches('/');
        Self::of_parts(&text.split('/').collect::<Vec<_>>()).ok_or_else(|| not_a_slug("project_slug"))
    }

    fn of_parts(parts: &[&str]) -> Option<Self> {
        let fits = |part: &&str| {
            !part.is_empty()
                && part.len() <= 255
                && !matches!(*part, "." | "..")
                && !part.chars().any(|c| c.is_whitespace() || c.is_control() || "%?#/\\".contains(c))
        };
        match parts {
            [provider, organization, project] if parts.iter().all(fits) => {
                Some(Self([provider, organization, project].map(|part| (*part).to_owned())))
            }
            _ => None,
        }
    }

    /// The three parts, to be encoded one by one: a slash that is encoded with them leads nowhere.
    pub(super) fn parts(&self) -> [&str; 3] {
        self.0.each_ref().map(String::as_str)
    }

    /// Whether it is a project of the GitHub App, GitLab or Bitbucket Data Center, whose runs need a definition.
    pub(super) fn is_app_based(&self) -> bool {
        self.0[0] == "circleci"
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
        .with_remedy(
            "a slug is provider/organization/project, such as gh/acme/web; taken are links of CircleCI's site with it, and \
             addresses of repositories at github.com and bitbucket.org; list_circleci_projects tells slugs, as those of GitLab \
             and of the GitHub App, circleci/<id>/<id>",
        )
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

    /// Whether a slug may be another form of one that is allowed, so that CircleCI must be asked for the project.
    pub(super) fn may_be_another_form(&self, slug: &str) -> bool {
        let is_app = |slug: &str| slug.starts_with("circleci/");
        is_app(slug) && self.0.iter().flatten().any(|pattern| is_app(&pattern.0))
    }

    /// Whether a project, as CircleCI describes it, is allowed by one of its slugs.
    pub(super) fn allows_project(&self, project: &Project) -> bool {
        let by_ids = format!("circleci/{}/{}", project.organization_id, project.id);
        self.allows(&project.slug) || (project.slug.starts_with("circleci/") && self.allows(&by_ids))
    }

    /// A project by which the probe can tell whether the token sees anything.
    pub(super) fn probed(&self) -> Option<Slug> {
        let patterns = self.0.iter().flatten();
        patterns.filter(|one| !one.0.contains('*')).find_map(|one| Slug::parse(&one.0).ok())
    }
}

/// What is said of a project that is not allowed. It does not tell which project an id belongs to.
pub(super) fn not_allowed() -> ToolError {
    ToolError::new(ErrorCode::PermissionDenied, "the manifest of the connector does not allow that project")
        .with_remedy("whoever owns the connector can add it to spec.platform.circleCi.projects")
}

/// Which slugs mean projects that are allowed though the manifest has them in another form, those that were asked for last.
/// What a slug means stays.
pub(super) struct Forms(Mutex<LruCache<String, bool>>);

impl Default for Forms {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::MIN.saturating_add(999))))
    }
}

impl Forms {
    /// Whether a slug is known to be allowed, or not to be.
    pub(super) fn known(&self, slug: &str) -> Option<bool> {
        self.lock().get(slug).copied()
    }

    /// Remembers it.
    pub(super) fn learn(&self, slug: &str, allowed: bool) {
        self.lock().put(slug.to_owned(), allowed);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// What a link names, of CircleCI's web site or API, whatever its host, or of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) slug: Option<Slug>,
    pub(super) branch: Option<String>,
    pub(super) run_id: Option<String>,
    pub(super) pipeline_number: Option<u64>,
    pub(super) workflow_id: Option<String>,
    pub(super) job_id: Option<String>,
    pub(super) job_number: Option<u64>,
}

/// Names of providers with which paths of the old site, and slugs, begin.
const PROVIDERS: [&str; 5] = ["gh", "github", "bb", "bitbucket", "circleci"];

impl Link {
    /// Reads a link, or the address of a repository as Git has it. Nothing for what is no link, or names none of it.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some((host, path)) = of_git(text.trim()) {
            return Self::of_repository(host, &path.split('/').collect::<Vec<_>>());
        }
        let link = links::Link::read(text)?;
        let segments: Vec<&str> = link.segments().iter().map(String::as_str).filter(|one| !one.is_empty()).collect();
        let mut read = Self::of_repository(link.host(), &segments).or_else(|| {
            // A Server may lie below a path.
            (0..=segments.len().min(2)).find_map(|start| Self::of_site(segments.get(start..).unwrap_or_default()))
        })?;
        read.branch =
            read.branch.or_else(|| link.query("branch").map(str::to_owned)).filter(|branch| !branch.is_empty());
        Some(read)
    }

    /// A repository's page, or what Git calls it.
    fn of_repository(host: &str, segments: &[&str]) -> Option<Self> {
        let provider = match host.to_ascii_lowercase().trim_start_matches("www.") {
            "github.com" | "ssh.github.com" => "gh",
            "bitbucket.org" | "altssh.bitbucket.org" => "bb",
            _ => return None,
        };
        let [organization, project, rest @ ..] = segments else { return None };
        let project = project.strip_suffix(".git").unwrap_or(project);
        let branch = match rest {
            ["tree" | "branch", branch @ ..] => Some(branch.join("/")),
            _ => None,
        };
        Some(Self { slug: Some(Slug::of_parts(&[provider, organization, project])?), branch, ..Self::default() })
    }

    /// A path of the web site, as it is and as it was, or of the API. Shapes: the vendor's own command line
    /// (CircleCI-Public/circleci-cli, 5bb7183, `internal/cmdutil/appurls.go`), its MCP server
    /// (CircleCI-Public/mcp-server-circleci, 8787136, `src/lib/project-detection`), and what GitHub's checks and the
    /// vendor's orbs link to (`workflow-run`).
    fn of_site(segments: &[&str]) -> Option<Self> {
        let id = |text: &&str| is_uuid(text).then(|| (*text).to_owned());
        let slug = |parts: &[&str]| Slug::of_parts(parts).map(Some);
        let mut link = Self::default();
        match segments {
            ["pipelines", "workflows", rest @ ..] => link.of_run(&[&["workflows"][..], rest].concat()),
            ["pipelines", provider, organization, project, rest @ ..] => {
                link.slug = slug(&[provider, organization, project])?;
                match rest {
                    [number, rest @ ..] if number.parse::<u64>().is_ok() => {
                        link.pipeline_number = number.parse().ok();
                        link.of_run(rest);
                    }
                    rest => link.of_run(rest),
                }
            }
            ["pipeline", run, ..] => link.run_id = Some(id(run)?),
            ["workflow-run" | "workflow", workflow, rest @ ..] => {
                link.workflow_id = Some(id(workflow)?);
                match rest {
                    ["job" | "jobs", job, ..] if is_uuid(job) => link.job_id = id(job),
                    rest => link.of_run(rest),
                }
            }
            ["jobs", provider, organization, project, number, ..] => {
                link.slug = slug(&[provider, organization, project])?;
                link.job_number = Some(number.parse().ok()?);
            }
            ["jobs" | "job", job, ..] => link.job_id = Some(id(job)?),
            ["insights" | "projects", provider, organization, project, ..]
            | ["settings", "project", provider, organization, project, ..]
                if PROVIDERS.contains(provider) =>
            {
                link.slug = slug(&[provider, organization, project])?;
            }
            ["api", _, "project" | "insights", provider, organization, project, rest @ ..] => {
                link.slug = slug(&[provider, organization, project])?;
                match rest {
                    ["pipeline", number, ..] => link.pipeline_number = number.parse().ok(),
                    ["job", number, ..] | [number, ..] => link.job_number = number.parse().ok(),
                    [] => {}
                }
            }
            ["api", _, kind, rest @ ..] => {
                let singular = kind.trim_end_matches('s');
                let kind = if singular == "run" { "pipeline" } else { singular };
                return Self::of_site(&[&[kind][..], rest].concat());
            }
            [provider, organization, project, rest @ ..] if PROVIDERS.contains(provider) => {
                link.slug = slug(&[provider, organization, project])?;
                match rest {
                    ["tree", branch @ ..] => link.branch = Some(branch.join("/")),
                    [number, ..] => link.job_number = number.parse().ok(),
                    [] => {}
                }
            }
            _ => return None,
        }
        Some(link)
    }

    /// What follows a run in a path: pairs of a word and what it names.
    fn of_run(&mut self, rest: &[&str]) {
        for pair in rest.chunks(2) {
            match pair {
                ["workflows", id] if is_uuid(id) => self.workflow_id = Some((*id).to_owned()),
                ["jobs" | "job", number] => self.job_number = number.parse().ok(),
                _ => {}
            }
        }
    }
}

/// Host and path of a repository, as Git writes them over SSH: `git@host:path`, `ssh://git@host:22/path`.
fn of_git(text: &str) -> Option<(&str, &str)> {
    let (authority, path) = match text.strip_prefix("ssh://") {
        Some(rest) => rest.split_once('/')?,
        None if text.starts_with("git@") => text.split_once(':')?,
        None => return None,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    Some((host, path.trim_matches('/')))
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
        for written in ["gh/acme/web/", " gh/acme/web ", "/gh/acme/web"] {
            assert_eq!(Slug::parse(written).unwrap().to_string(), "gh/acme/web", "{written}");
        }
        for bad in ["", "acme/web", "gh/acme/web/main", "gh//web", "gh/../web", "gh/acme/we%2Fb", "gh/acme/we?b"] {
            assert_eq!(Slug::parse(bad).unwrap_err().argument.as_deref(), Some("project_slug"), "{bad}");
        }
    }

    #[test]
    fn links_are_read() {
        let slug = |text: &str| Some(Slug::parse(text).unwrap());
        let workflow = || Some(ID.to_owned());
        let none = Link::default;
        let app = "https://app.circleci.com";
        let full = Link {
            slug: slug("github/acme/web"),
            pipeline_number: Some(12),
            workflow_id: workflow(),
            job_number: Some(34),
            ..none()
        };
        let job = |text: &str| Link { slug: slug(text), job_number: Some(34), ..none() };
        let branch = |text: &str, branch: &str| Link { slug: slug(text), branch: Some(branch.into()), ..none() };
        let project = |text: &str| Link { slug: slug(text), ..none() };
        for (text, expected) in [
            (format!("{app}/pipelines/github/acme/web/12/workflows/{ID}/jobs/34"), full.clone()),
            (format!("<{app}/pipelines/github/acme/web/12/workflows/{ID}/jobs/34/steps/0:103>"), full.clone()),
            (format!("https://ci.example.com/circle/pipelines/github/acme/web/12/workflows/{ID}/jobs/34/"), full),
            (format!("{app}/pipelines/circleci/a/b?branch=x%2Fy"), branch("circleci/a/b", "x/y")),
            (
                format!("{app}/pipelines/workflows/{ID}/jobs/3"),
                Link { workflow_id: workflow(), job_number: Some(3), ..none() },
            ),
            (
                format!("https://circleci.com/workflow-run/{ID}?utm_source=x"),
                Link { workflow_id: workflow(), ..none() },
            ),
            (format!("{app}/workflow/{ID}/job/{ID}"), Link { workflow_id: workflow(), job_id: workflow(), ..none() }),
            (format!("{app}/pipeline/{ID}"), Link { run_id: workflow(), ..none() }),
            (format!("https://circleci.com/api/v2/pipeline/{ID}/workflow"), Link { run_id: workflow(), ..none() }),
            (format!("https://circleci.com/api/v2/workflow/{ID}/job"), Link { workflow_id: workflow(), ..none() }),
            (format!("https://circleci.com/api/v3/jobs/{ID}"), Link { job_id: workflow(), ..none() }),
            (format!("{app}/jobs/github/acme/web/34/parallel-runs/0/steps/0-103"), job("github/acme/web")),
            ("https://circleci.com/gh/acme/web/34?utm_campaign=x#tests/containers/0".into(), job("gh/acme/web")),
            ("https://circleci.com/api/v1.1/project/gh/acme/web/34".into(), job("gh/acme/web")),
            ("https://circleci.com/gh/acme/web".into(), project("gh/acme/web")),
            ("https://circleci.com/gh/acme/web/tree/feature%2Fx".into(), branch("gh/acme/web", "feature/x")),
            (format!("{app}/projects/gh/acme/web/"), project("gh/acme/web")),
            (format!("{app}/settings/project/circleci/a/b/triggers"), project("circleci/a/b")),
            (format!("{app}/insights/github/acme/web/workflows/build/overview"), project("github/acme/web")),
            ("https://github.com/acme/web.git".into(), project("gh/acme/web")),
            ("https://github.com/acme/web/tree/feature/x".into(), branch("gh/acme/web", "feature/x")),
            ("https://github.com/acme/web/pull/7".into(), project("gh/acme/web")),
            ("git@github.com:acme/web.git".into(), project("gh/acme/web")),
            ("ssh://git@bitbucket.org/acme/web.js.git".into(), project("bb/acme/web.js")),
        ] {
            assert_eq!(Link::read(&text), Some(expected), "{text}");
        }
        for other in [
            "https://example.com/",
            "https://gitlab.com/acme/web",
            "https://app.circleci.com/pipelines/github/acme",
            "https://app.circleci.com/workflow/x",
            "ftp://x/pipelines/gh/a/b",
            "gh/acme/web",
        ] {
            assert_eq!(Link::read(other), None, "{other}");
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
            assert_eq!(projects.allows(slug), expected, "{slug}");
        }
        assert_eq!(projects.probed().unwrap().to_string(), "bb/x/y");
        assert!(Projects::new(None).is_open() && Projects::new(None).allows("x/y/z"));
        assert!(!projects.may_be_another_form("circleci/a/b"));
    }

    #[test]
    fn both_slugs_of_an_app_project_mean_it() {
        let project =
            |slug: &str| Project { id: "p".into(), slug: slug.into(), organization_id: "o".into(), vcs_info: None };
        for (allowed, slug, expected) in [
            ("circleci/o/p", "circleci/short/one", true),
            ("circleci/o/*", "circleci/short/one", true),
            ("circleci/short/one", "circleci/short/one", true),
            ("circleci/o/q", "circleci/short/one", false),
            // Ids are no slug of a project of another kind.
            ("circleci/o/p", "gh/acme/web", false),
        ] {
            let projects = Projects::new(Some(&vec![PathPattern(allowed.into())]));
            assert_eq!(projects.allows_project(&project(slug)), expected, "{allowed} {slug}");
            assert_eq!(projects.may_be_another_form(slug), slug.starts_with("circleci/"));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Slug::parse(&text);
            for front in ["", "https://app.circleci.com/", "https://github.com/", "git@", "ssh://", "https://x/pipelines/gh/"] {
                let _ = Link::read(&format!("{front}{text}"));
            }
        }
    }
}
