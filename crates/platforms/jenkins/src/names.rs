//! What names a job and a build: as agents write it, and as it stands in a path.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

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

impl JobName {
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
        // A matrix without axes has one configuration of this name (`hudson/matrix/Combination.java`).
        let may_be = self.short() == "default" || self.short().split(',').all(is_pair);
        let project = self.parent().filter(|_| may_be)?;
        let configuration = project.configuration(self.short());
        Some((project, configuration))
    }
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
}

impl BuildName {
    /// Places in [`Self::WORDS`].
    pub(super) const LAST: usize = 0;
    pub(super) const LAST_FAILED: usize = 1;
    pub(super) const LAST_SUCCESSFUL: usize = 2;
    pub(super) const LAST_COMPLETED: usize = 3;

    const WORDS: [(Self, &'static str, &'static str); 4] = [
        (Self::Last, "last", "lastBuild"),
        (Self::LastFailed, "lastFailed", "lastFailedBuild"),
        (Self::LastSuccessful, "lastSuccessful", "lastSuccessfulBuild"),
        (Self::LastCompleted, "lastCompleted", "lastCompletedBuild"),
    ];

    /// The last of the kind that has this place in [`Self::WORDS`].
    pub(super) fn last<const PLACE: usize>() -> Self {
        Self::WORDS.get(PLACE).map_or(Self::Last, |(build, _, _)| *build)
    }

    fn of_word(word: &str) -> Option<Self> {
        let known = Self::WORDS.iter().find(|(_, name, _)| *name == word).map(|(build, _, _)| *build);
        known.or_else(|| word.parse().ok().filter(|number| *number > 0).map(Self::Number))
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
            Self::LastSuccessful => f.write_str("the last successful build"),
            Self::LastCompleted => f.write_str("the last completed build"),
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
            "pattern": "^(last|lastFailed|lastSuccessful|lastCompleted|[1-9][0-9]{0,9})$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("0", None),
            ("-1", None),
            ("\"first\"", None),
        ] {
            assert_eq!(read(text).as_deref(), segment, "{text}");
        }
    }
}
