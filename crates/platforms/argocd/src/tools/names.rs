//! Names of objects as people write them: the name, `namespace/name` as Argo CD's command line prints it, or the address of a page
//! of Argo CD's, such as `https://argocd.example.com/argocd/applications/team-a/web?view=tree`. A slash is no part of a name: Argo CD's
//! gateway looks for the route in the decoded path (gRPC gateway 1.16, `ServeMux.ServeHTTP`), where it would lead to another one.

use kit::links::Link;
use tools::ToolError;

/// A kind of object that has a page.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// What it is, in a sentence.
    title: &'static str,
    /// What stands before its name in a path.
    path: &'static str,
    /// The argument that names it.
    pub(super) argument: &'static str,
    /// The argument that names its namespace, if it is in one.
    namespace: Option<&'static str>,
}

pub(super) const APP: Kind =
    Kind { title: "an application", path: "applications", argument: "app", namespace: Some("app_namespace") };
pub(super) const APPSET: Kind =
    Kind { title: "an ApplicationSet", path: "applicationsets", argument: "name", namespace: Some("appset_namespace") };
pub(super) const PROJECT: Kind = Kind { title: "a project", path: "projects", argument: "name", namespace: None };

/// What names an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
}

impl Names {
    /// Reads a name; `namespace` is what another argument says of its namespace.
    ///
    /// # Errors
    /// When it can't be a name, or when the two contradict each other.
    pub(super) fn read(text: &str, namespace: Option<&String>, kind: Kind) -> Result<Self, ToolError> {
        let invalid = |message: String| {
            let remedy = match kind.namespace {
                Some(namespace) => format!("give its name, or namespace/name, or {namespace} beside the name"),
                None => "give its name".to_owned(),
            };
            ToolError::invalid_argument(message).with_argument(kind.argument).with_remedy(remedy)
        };
        let Kind { title, argument, .. } = kind;
        let parts: Vec<String> = match Link::read(text) {
            Some(link) => of_link(&link, kind)
                .ok_or_else(|| invalid(format!("{argument} is a link, and not one to {title} of Argo CD")))?,
            None => text.trim().split('/').map(ToOwned::to_owned).collect(),
        };
        let (stated, name) = match parts.as_slice() {
            [name] => (None, name),
            [stated, name] if kind.namespace.is_some() => (Some(stated), name),
            _ => return Err(invalid(format!("{argument} can't be the name of {title}: it holds a slash"))),
        };
        if parts.iter().any(|part| part.contains('/')) {
            return Err(invalid(format!("{argument} can't be the name of {title}: it holds a slash")));
        }
        if name.is_empty() || stated.is_some_and(String::is_empty) {
            return Err(invalid(format!("{argument} names nothing")));
        }
        if let (Some(stated), Some(namespace)) = (stated, namespace)
            && stated != namespace
        {
            return Err(invalid(format!(
                "{argument} names the namespace {stated:?}, and another argument {namespace:?}"
            )));
        }
        Ok(Self { name: name.clone(), namespace: stated.or(namespace).cloned() })
    }
}

/// Namespace and name, or the name alone, in the address of a page, or of the API.
fn of_link(link: &Link, kind: Kind) -> Option<Vec<String>> {
    let segments = link.segments();
    let at = segments.iter().position(|segment| segment == kind.path)?;
    let (before, after) = (segments.get(..at)?, segments.get(at + 1..)?);
    let mut after = after.iter().cloned();
    let first = after.next()?;
    let is_api = before.iter().rev().map(String::as_str).take(2).eq(["v1", "api"]);
    if is_api || kind.namespace.is_none() {
        let namespace = ["appNamespace", "appsetNamespace"].into_iter().find_map(|name| link.query(name));
        return Some(namespace.map(ToOwned::to_owned).into_iter().chain([first]).collect());
    }
    // Pages before 2.5 have no namespace in their address.
    Some(std::iter::once(first).chain(after.next()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, namespace: Option<&str>) -> Option<(String, Option<String>)> {
        let namespace = namespace.map(ToOwned::to_owned);
        Names::read(text, namespace.as_ref(), APP).ok().map(|names| (names.name, names.namespace))
    }

    #[test]
    fn names_are_taken_as_people_write_them() {
        for (text, namespace, expected) in [
            ("web", None, Some(("web", None))),
            (" web ", Some("team-a"), Some(("web", Some("team-a")))),
            ("team-a/web", None, Some(("web", Some("team-a")))),
            ("team-a/web", Some("team-a"), Some(("web", Some("team-a")))),
            ("team-a/web", Some("team-b"), None),
            ("web/resource-tree/x", None, None),
            ("/web", None, None),
            ("web/", None, None),
            (
                "https://argocd.example.com/applications/argocd/web?view=tree&resource=",
                None,
                Some(("web", Some("argocd"))),
            ),
            (
                "<https://example.com/tools/argocd/applications/team-a/web?node=a%2Fb>",
                None,
                Some(("web", Some("team-a"))),
            ),
            ("https://argocd.example.com/applications/web", None, Some(("web", None))),
            ("https://argocd.example.com/applications/web", Some("team-a"), Some(("web", Some("team-a")))),
            (
                "https://argocd.example.com/api/v1/applications/web/resource-tree?appNamespace=team-a",
                None,
                Some(("web", Some("team-a"))),
            ),
            ("https://argocd.example.com/api/v1/applications/web", None, Some(("web", None))),
            ("https://argocd.example.com/applications", None, None),
            ("https://argocd.example.com/settings/projects/team", None, None),
        ] {
            let expected = expected.map(|(name, namespace)| (name.to_owned(), namespace.map(ToOwned::to_owned)));
            assert_eq!(read(text, namespace), expected, "{text}");
        }
        let project = |text: &str| Names::read(text, None, PROJECT).map(|names| names.name);
        assert_eq!(project("https://argocd.example.com/settings/projects/team?tab=summary").unwrap(), "team");
        assert_eq!(project("default/detailed").unwrap_err().argument.as_deref(), Some("name"));
    }

    proptest! {
        #[test]
        fn no_name_holds_a_slash(text in "\\PC{0,60}", namespace in proptest::option::of("[a-z]{1,8}")) {
            if let Ok(names) = Names::read(&text, namespace.as_ref(), APP) {
                prop_assert!(!names.name.is_empty() && !names.name.contains('/'));
            }
        }
    }
}
