//! What names a job and a build: as agents write it, and as it stands in a path.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use kit::links::Link;
use tools::ToolError;

/// Folders in a job's full name, at most, itself included.
const MAX_DEPTH: usize = 12;

/// Full name of a job or folder: `folder/name`. A branch of a multibranch job whose name holds a slash has it as `%2F`,
/// as Jenkins itself writes it: `team/web/feature%2Flogin`. A configuration of a matrix project is the last part:
/// `team/matrix/jdk=17,os=linux`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobName {
    name: String,
    /// Whether the last part is a configuration of the matrix project before it, and no job in a folder.
    is_configuration: bool,
}

/// What somebody wrote who means a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// What it may mean: one of the first if Jenkins has it, and else the last.
    pub(super) names: Vec<JobName>,
    /// The build that a link leads to.
    pub(super) build: Option<BuildName>,
}

impl JobName {
    /// Reads a name as people and models write it: a full name, a link to a page of the job, its path (`job/team/job/web`), or
    /// the words on that page (`team » web`).
    ///
    /// # Errors
    /// When it can't be one; the text says why.
    pub(super) fn read(text: &str, argument: &str) -> Result<Written, ToolError> {
        if let Some(link) = Link::read(text) {
            return Self::of_link(&link, argument)?.ok_or_else(|| no_job(&link, argument));
        }
        let literal = Self::parse(text, argument)?;
        let parts: Vec<String> = literal.as_str().split('/').map(str::to_owned).collect();
        let other = if text.contains(" » ") {
            // A part on a page is a name as people see it, which may have slashes.
            let parts: Vec<String> = text.split('»').map(|part| one_part(part.trim())).collect();
            Some((Self::parse(&parts.join("/"), argument)?, None))
        } else if parts.first().is_some_and(|first| first == "job") {
            Self::of_path(&parts)
        } else {
            None
        };
        Ok(match other {
            Some((name, build)) => Written { names: vec![literal, name], build },
            None => Written { names: vec![literal], build: None },
        })
    }

    /// What a link to Jenkins' pages leads to: `…/job/team/job/web/12/console`, with views in between, or one of Blue Ocean.
    fn of_link(link: &Link, argument: &str) -> Result<Option<Written>, ToolError> {
        if let Some([_, job, detail, branch, rest @ ..]) = link.after("organizations")
            && detail == "detail"
        {
            let job = Self::parse(job, argument)?;
            let name = Self::parse(&format!("{job}/{}", one_part(branch)), argument)?;
            // Of a job without branches the last part is its own name.
            let names = if *branch == job.short() { vec![name, job] } else { vec![name] };
            return Ok(Some(Written { names, build: rest.first().and_then(|word| BuildName::of_word(word)) }));
        }
        let at = link.segments().iter().position(|segment| segment == "job");
        let path = at.and_then(|at| link.segments().get(at..)).and_then(Self::of_path);
        let Some((name, build)) = path else { return Ok(None) };
        let is_configuration = name.is_configuration;
        let checked = Self::parse(name.as_str(), argument)?;
        Ok(Some(Written { names: vec![Self { is_configuration, ..checked }], build }))
    }

    /// What a path of Jenkins' leads to: jobs with views between them, then a configuration or a build.
    fn of_path(path: &[String]) -> Option<(Self, Option<BuildName>)> {
        let mut names = Vec::new();
        let mut rest = path;
        loop {
            match rest {
                [job, name, following @ ..] if job == "job" => {
                    names.push(one_part(name));
                    rest = following;
                }
                [view, _, following @ ..] if view == "view" && !names.is_empty() => rest = following,
                _ => break,
            }
        }
        let name = Some(names).filter(|names| !names.is_empty()).map(|names| Self::of(&names.join("/")))?;
        match rest {
            [part, following @ ..] if part.contains('=') => {
                Some((name.configuration(part), following.first().and_then(|word| BuildName::of_word(word))))
            }
            [part, ..] => Some((name, BuildName::of_word(part))),
            [] => Some((name, None)),
        }
    }

    /// Reads a full name.
    ///
    /// # Errors
    /// When it can't be one; the text says why.
    pub(super) fn parse(text: &str, argument: &str) -> Result<Self, ToolError> {
        let name = text.trim_matches('/');
        let refuse = |why: &str| {
            Err(ToolError::invalid_argument(format!("{argument} is no full name of a job: {why}"))
                .with_argument(argument)
                .with_remedy("give it as search_jenkins_jobs answers it, such as folder/name"))
        };
        if name.contains("://") {
            return refuse("it is a URL");
        }
        if name.is_empty() || name.split('/').any(str::is_empty) {
            return refuse("a part of it is empty");
        }
        if name.split('/').any(|part| matches!(part, "." | "..")) {
            return refuse("a part of it is . or ..");
        }
        if name.split('/').count() > MAX_DEPTH || name.chars().any(char::is_control) {
            return refuse("it is too deep, or holds control characters");
        }
        Ok(Self::of(name))
    }

    fn of(name: &str) -> Self {
        Self { name: name.to_owned(), is_configuration: false }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.name
    }

    /// The path below the base URL, each segment as yet unencoded: `%2F` in a name becomes `%252F` on the way, as Jenkins
    /// wants it. A configuration has no `job` before it (`hudson/matrix/MatrixProject.java`, `getUrlChildPrefix`).
    pub(super) fn segments(&self) -> Vec<String> {
        if let (true, Some(project)) = (self.is_configuration, self.parent()) {
            return project.segments().into_iter().chain([self.short().to_owned()]).collect();
        }
        self.name.split('/').flat_map(|part| ["job".to_owned(), part.to_owned()]).collect()
    }

    /// The folder, or matrix project, that it is in; none at the top.
    pub(super) fn parent(&self) -> Option<Self> {
        self.name.rsplit_once('/').map(|(parent, _)| Self::of(parent))
    }

    /// The last part.
    pub(super) fn short(&self) -> &str {
        self.name.rsplit_once('/').map_or(self.name.as_str(), |(_, name)| name)
    }

    /// A configuration of this matrix project.
    pub(super) fn configuration(&self, combination: &str) -> Self {
        Self { name: format!("{}/{combination}", self.name), is_configuration: true }
    }

    /// Whether it is a configuration of a matrix project.
    pub(super) const fn is_configuration(&self) -> bool {
        self.is_configuration
    }

    /// The matrix project, and the configuration of it, that this name may mean; nothing if it can only be a job in a
    /// folder. Jobs may be called `a=b` too, so what it means is for Jenkins to say.
    pub(super) fn as_configuration(&self) -> Option<(Self, Self)> {
        let is_pair = |pair: &str| pair.split_once('=').is_some_and(|(axis, _)| !axis.is_empty());
        if self.is_configuration {
            return None;
        }
        // A matrix without axes has one configuration of this name (`hudson/matrix/Combination.java`).
        let may_be = self.short() == "default" || self.short().split(',').all(is_pair);
        let project = self.parent().filter(|_| may_be)?;
        let configuration = project.configuration(self.short());
        Some((project, configuration))
    }
}

/// Words that a link leads to no job. A view looks like a folder, and is a choice of jobs that are elsewhere.
fn no_job(link: &Link, argument: &str) -> ToolError {
    let (to, instead) = if link.segments().iter().any(|segment| segment == "view") {
        (
            "to a view, which chooses jobs of a folder and is none itself",
            "; search_jenkins_jobs finds jobs by their names",
        )
    } else {
        ("that leads to no job", "")
    };
    ToolError::invalid_argument(format!("{argument} is a link {to}"))
        .with_argument(argument)
        .with_remedy(format!("give the link of the job's page, or its full name, such as folder/name{instead}"))
}

/// A part of a full name, in which slashes are encoded.
fn one_part(name: &str) -> String {
    name.replace('/', "%2F")
}

impl std::fmt::Display for JobName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Which build of a job is meant: its number, or the last of some kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BuildName {
    Number(u32),
    Last,
    LastFailed,
    LastSuccessful,
    LastCompleted,
    LastStable,
    LastUnstable,
    LastUnsuccessful,
}

impl BuildName {
    /// Places in [`Self::WORDS`].
    pub(super) const LAST: usize = 0;
    pub(super) const LAST_SUCCESSFUL: usize = 2;
    pub(super) const LAST_COMPLETED: usize = 3;
    pub(super) const LAST_UNSUCCESSFUL: usize = 6;

    const WORDS: [(Self, &'static str, &'static str); 7] = [
        (Self::Last, "last", "lastBuild"),
        (Self::LastFailed, "lastFailed", "lastFailedBuild"),
        (Self::LastSuccessful, "lastSuccessful", "lastSuccessfulBuild"),
        (Self::LastCompleted, "lastCompleted", "lastCompletedBuild"),
        (Self::LastStable, "lastStable", "lastStableBuild"),
        (Self::LastUnstable, "lastUnstable", "lastUnstableBuild"),
        (Self::LastUnsuccessful, "lastUnsuccessful", "lastUnsuccessfulBuild"),
    ];

    /// The last of the kind that has this place in [`Self::WORDS`].
    pub(super) fn last<const PLACE: usize>() -> Self {
        Self::WORDS.get(PLACE).map_or(Self::Last, |(build, _, _)| *build)
    }

    /// A build as people write it: `12`, `#12`, `lastFailed`, `lastFailedBuild`.
    fn of_word(word: &str) -> Option<Self> {
        let known = Self::WORDS.iter().find(|(_, name, permalink)| *name == word || *permalink == word);
        let number = || word.strip_prefix('#').unwrap_or(word).parse().ok().filter(|number| *number > 0);
        known.map(|(build, ..)| *build).or_else(|| number().map(Self::Number))
    }

    /// The segment of a path. Jenkins has permalinks for the last ones (`hudson/model/PermalinkProjectAction.java`).
    pub(super) fn segment(self) -> String {
        let word = Self::WORDS.iter().find(|(build, _, _)| *build == self);
        match (self, word) {
            (Self::Number(number), _) => number.to_string(),
            (_, Some((_, _, permalink))) => (*permalink).to_owned(),
            (_, None) => "lastBuild".to_owned(),
        }
    }
}

impl std::fmt::Display for BuildName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "build {number}"),
            Self::Last => f.write_str("the last build"),
            Self::LastFailed => f.write_str("the last failed build"),
            Self::LastSuccessful => f.write_str("the last build that succeeded or was unstable"),
            Self::LastCompleted => f.write_str("the last completed build"),
            Self::LastStable => f.write_str("the last stable build"),
            Self::LastUnstable => f.write_str("the last unstable build"),
            Self::LastUnsuccessful => f.write_str("the last build that did not succeed"),
        }
    }
}

impl<'de> Deserialize<'de> for BuildName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Word(String),
        }
        let build = match Written::deserialize(deserializer)? {
            Written::Number(number) => Some(Self::Number(number)).filter(|_| number > 0),
            Written::Word(word) => Self::of_word(&word),
        };
        build.ok_or_else(|| serde::de::Error::custom("no build"))
    }
}

/// As a caller writes it, because it is the default in a tool's schema.
impl Serialize for BuildName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Self::WORDS.iter().find(|(build, _, _)| build == self) {
            Some((_, word, _)) => serializer.serialize_str(word),
            None => serializer.serialize_str(&self.segment()),
        }
    }
}

impl JsonSchema for BuildName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BuildName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": u32::MAX,
            "minLength": 1,
            "pattern": "^(last(Failed|Successful|Completed|Stable|Unstable|Unsuccessful)?(Build)?|#?[1-9][0-9]{0,9})$",
        })
    }
}

/// The build that a call names; left out, the last of the kind that has this place in [`BuildName::WORDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked<const DEFAULT: usize>(Option<BuildName>);

impl<const DEFAULT: usize> Asked<DEFAULT> {
    /// The build, where the job's name may be a link to one.
    ///
    /// # Errors
    /// When both name one, and not the same.
    pub(super) fn or_of_link(self, link: Option<BuildName>) -> Result<BuildName, ToolError> {
        match (self.0, link) {
            (Some(asked), Some(linked)) if asked != linked => {
                Err(ToolError::invalid_argument(format!("job is a link to {linked}, and build is {asked}"))
                    .with_argument("build")
                    .with_remedy("leave build out, or give the job's name without a build"))
            }
            (asked, linked) => Ok(asked.or(linked).unwrap_or_else(BuildName::last::<DEFAULT>)),
        }
    }
}

impl<'de, const DEFAULT: usize> Deserialize<'de> for Asked<DEFAULT> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BuildName::deserialize(deserializer).map(|build| Self(Some(build)))
    }
}

impl<const DEFAULT: usize> Serialize for Asked<DEFAULT> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.unwrap_or_else(BuildName::last::<DEFAULT>).serialize(serializer)
    }
}

impl<const DEFAULT: usize> JsonSchema for Asked<DEFAULT> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BuildName".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BuildName::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_job_is_what_people_paste() {
        let read = |text: &str| {
            let Written { names, build } = JobName::read(text, "job").unwrap();
            let names: Vec<String> = names.iter().map(|name| name.segments().join("/")).collect();
            (names, build.map(BuildName::segment))
        };
        let base = "https://ci.example.com/jenkins";
        for (text, names, build) in [
            ("team/web".to_owned(), vec!["job/team/job/web"], None),
            (format!("{base}/job/team/job/web/"), vec!["job/team/job/web"], None),
            (
                format!("<{base}/view/Mine/job/team/view/all/job/web/12/console?x#y>"),
                vec!["job/team/job/web"],
                Some("12"),
            ),
            (
                format!("{base}/job/shop/job/feature%252Flogin/lastFailedBuild/"),
                vec!["job/shop/job/feature%2Flogin"],
                Some("lastFailedBuild"),
            ),
            (format!("{base}/job/shop/job/feature%2Flogin"), vec!["job/shop/job/feature%2Flogin"], None),
            (format!("{base}/job/m/jdk=21,os=linux/5/"), vec!["job/m/jdk=21,os=linux"], Some("5")),
            (format!("{base}/job/team/job/50%2525%20done/ws/"), vec!["job/team/job/50%25 done"], None),
            (
                format!("{base}/blue/organizations/jenkins/team%2Fshop/detail/feature%2Flogin/7/pipeline"),
                vec!["job/team/job/shop/job/feature%2Flogin"],
                Some("7"),
            ),
            (
                format!("{base}/blue/organizations/jenkins/team%2Fweb/detail/web/7/pipeline"),
                vec!["job/team/job/web/job/web", "job/team/job/web"],
                Some("7"),
            ),
            ("job/team/job/web".to_owned(), vec!["job/job/job/team/job/job/job/web", "job/team/job/web"], None),
            (
                "/job/team/job/web/12/".to_owned(),
                vec!["job/job/job/team/job/job/job/web/job/12", "job/team/job/web"],
                Some("12"),
            ),
            (
                "team » shop » feature/login".to_owned(),
                vec!["job/team » shop » feature/job/login", "job/team/job/shop/job/feature%2Flogin"],
                None,
            ),
        ] {
            let expected = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(read(&text), (expected, build.map(str::to_owned)), "{text}");
        }
        for text in [format!("{base}/view/all"), base.to_owned(), format!("{base}/job/")] {
            let error = JobName::read(&text, "job").unwrap_err();
            assert_eq!(error.argument.as_deref(), Some("job"), "{text}");
            assert_eq!(error.message.contains("to a view"), text.contains("/view/"), "{error:?}");
        }
    }

    #[test]
    fn a_build_is_named_once() {
        let asked = |text: &str| serde_json::from_str::<Asked<{ BuildName::LAST }>>(text).unwrap();
        let twelve = Some(BuildName::Number(12));
        assert_eq!(asked("\"#12\"").or_of_link(None).unwrap(), BuildName::Number(12));
        assert_eq!(asked("12").or_of_link(twelve).unwrap(), BuildName::Number(12));
        assert_eq!(Asked::<{ BuildName::LAST }>::default().or_of_link(twelve).unwrap(), BuildName::Number(12));
        assert_eq!(Asked::<{ BuildName::LAST }>::default().or_of_link(None).unwrap(), BuildName::Last);
        assert_eq!(asked("\"last\"").or_of_link(twelve).unwrap_err().argument.as_deref(), Some("build"));
    }

    proptest! {
        #[test]
        fn a_link_to_a_job_leads_to_it(parts in proptest::collection::vec("[^\\x00-\\x1f\\x7f-\\x9f]{1,8}", 1..5)) {
            prop_assume!(!parts.iter().any(|part| part == "." || part == ".."));
            let mut url = url::Url::parse("https://x/").unwrap();
            url.path_segments_mut().unwrap().pop().extend(parts.iter().flat_map(|part| ["job", part.as_str()]));
            let Written { names, .. } = JobName::read(url.as_str(), "job").unwrap();
            let expected: Vec<String> = parts.iter().map(|part| one_part(part)).collect();
            // What comes before or after a name can't be told from slashes of its own.
            prop_assume!(!expected.iter().any(|part| part.trim().is_empty()));
            prop_assert_eq!(names[0].as_str(), expected.join("/"));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = JobName::read(&text, "job");
            let _ = JobName::read(&format!("https://x/{text}"), "job");
        }
    }

    #[test]
    fn a_full_name_becomes_a_path() {
        let job = JobName::parse("/team/web/feature%2Flogin/", "job").unwrap();
        assert_eq!(job.segments(), ["job", "team", "job", "web", "job", "feature%2Flogin"]);
        assert_eq!((job.parent().unwrap().as_str(), job.short()), ("team/web", "feature%2Flogin"));
        assert_eq!(JobName::parse("web", "job").unwrap().parent(), None);
        for text in ["", "/", "a//b", "a/../b", "https://jenkins/job/web", "a\nb"] {
            let error = JobName::parse(text, "job").unwrap_err();
            assert_eq!(error.argument.as_deref(), Some("job"), "{text}");
        }
    }

    #[test]
    fn a_configuration_has_no_job_before_it() {
        let name = JobName::parse("team/matrix/jdk=17,os=linux", "job").unwrap();
        assert_eq!(name.segments(), ["job", "team", "job", "matrix", "job", "jdk=17,os=linux"]);
        let (project, configuration) = name.as_configuration().unwrap();
        assert_eq!((project.as_str(), project.is_configuration()), ("team/matrix", false));
        assert_eq!(configuration.segments(), ["job", "team", "job", "matrix", "jdk=17,os=linux"]);
        assert_eq!((configuration.as_str(), configuration.parent()), (name.as_str(), Some(project)));
        for (text, may_be) in [
            ("matrix/default", true),
            ("matrix/os=", true),
            ("jdk=17", false),
            ("matrix/=17", false),
            ("matrix/jdk=17,linux", false),
            ("team/web", false),
        ] {
            assert_eq!(JobName::parse(text, "job").unwrap().as_configuration().is_some(), may_be, "{text}");
        }
    }

    #[test]
    fn a_build_is_a_number_or_a_last_one() {
        let read = |text: &str| serde_json::from_str::<BuildName>(text).ok().map(BuildName::segment);
        for (text, segment) in [
            ("12", Some("12")),
            ("\"12\"", Some("12")),
            ("\"last\"", Some("lastBuild")),
            ("\"lastFailed\"", Some("lastFailedBuild")),
            ("\"lastUnstableBuild\"", Some("lastUnstableBuild")),
            ("\"#12\"", Some("12")),
            ("\"##1\"", None),
            ("0", None),
            ("-1", None),
            ("\"first\"", None),
        ] {
            assert_eq!(read(text).as_deref(), segment, "{text}");
        }
    }
}
