//! Matrix projects and their builds, as the plugin matrix-project tells of them (`hudson/matrix/MatrixProject.java`,
//! `MatrixBuild.java`): a project has configurations, which are jobs of their own; a build of it has a run of each, which
//! has the build's number.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use url::Url;

/// What a job or folder is.
#[derive(Deserialize)]
pub(crate) struct Project {
    #[serde(default, rename = "_class")]
    class: String,
}

impl Project {
    /// Whether it is a matrix project.
    pub(crate) fn is_matrix(&self) -> bool {
        self.class.ends_with("MatrixProject")
    }
}

/// A configuration of a matrix project. Its name is its combination of values: `jdk=17,os=linux`.
#[derive(Deserialize)]
pub(crate) struct Configuration {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) color: Option<String>,
}

/// A run of a configuration.
#[derive(Deserialize, Clone)]
pub(crate) struct ConfigurationRun {
    pub(crate) number: u32,
    #[serde(default)]
    url: String,
    pub(crate) result: Option<String>,
    #[serde(default)]
    pub(crate) building: bool,
}

impl ConfigurationRun {
    /// The combination that it is a run of: the last part but the number of its URL, which nothing else tells. The URL's
    /// host is that of the configured root URL, and is not looked at.
    pub(crate) fn combination(&self) -> Option<String> {
        let url = Url::parse(&self.url).ok()?;
        let parts: Vec<&str> = url.path_segments()?.filter(|part| !part.is_empty()).collect();
        let [.., combination, number] = parts.as_slice() else { return None };
        let name = percent_decode_str(combination).decode_utf8().ok()?.into_owned();
        Some(name).filter(|name| number.parse() == Ok(self.number) && !name.contains('/'))
    }
}

/// A run whose tests are part of another build's report: that of a configuration, or of a Maven module
/// (`hudson/tasks/test/AggregatedTestResultAction.java`).
#[derive(Deserialize)]
pub(crate) struct ChildRun {
    #[serde(default)]
    url: String,
}

impl ChildRun {
    /// The full name of what it is a run of: `team/matrix/jdk=17`, `team/maven/com.acme$core`.
    pub(crate) fn job(&self) -> Option<String> {
        let url = Url::parse(&self.url).ok()?;
        let parts: Vec<&str> = url.path_segments()?.filter(|part| !part.is_empty()).collect();
        let at = parts.iter().position(|part| *part == "job")?;
        let (_number, mut rest) = parts.get(at..)?.split_last()?;
        let mut names = Vec::new();
        while let ["job", name, following @ ..] = rest {
            names.push(*name);
            rest = following;
        }
        names.extend(rest);
        let decoded = |name: &&str| Some(percent_decode_str(name).decode_utf8().ok()?.replace('/', "%2F"));
        Some(names.iter().map(decoded).collect::<Option<Vec<_>>>()?.join("/")).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_tells_its_combination_by_its_url() {
        let combination = |url: &str| {
            ConfigurationRun { number: 5, url: url.to_owned(), result: None, building: false }.combination()
        };
        let at = |path: &str| combination(&format!("https://wrong.example.com/jenkins/job/matrix/{path}"));
        assert_eq!(at("jdk=17,os=linux/5/").as_deref(), Some("jdk=17,os=linux"));
        assert_eq!(at("os=Windows%20Server/5/").as_deref(), Some("os=Windows Server"));
        for other in ["jdk=17/6/", "jdk=17/", "a%2Fb=1/5/", "jdk=%ff/5/"] {
            assert_eq!(at(other), None, "{other}");
        }
        assert_eq!(combination("job/matrix/jdk=17/5/"), None);
    }

    #[test]
    fn a_run_tells_its_job_by_its_url() {
        for (path, expected) in [
            ("job/team/job/matrix/jdk=17,os=linux/5/", Some("team/matrix/jdk=17,os=linux")),
            ("job/matrix/os=Windows%20Server/5/", Some("matrix/os=Windows Server")),
            ("job/maven/com.acme$core/5/", Some("maven/com.acme$core")),
            ("job/team/job/tests/5/", Some("team/tests")),
            ("job/web/job/feature%252Flogin/5/", Some("web/feature%2Flogin")),
            ("view/all", None),
            ("job/", None),
        ] {
            let run = ChildRun { url: format!("https://wrong.example.com/jenkins/{path}") };
            assert_eq!(run.job().as_deref(), expected, "{path}");
        }
        assert_eq!(ChildRun { url: String::new() }.job(), None);
    }
}
