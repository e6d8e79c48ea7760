//! Which namespaces an operator looks after, and the name of the Lease that its replicas share.

use std::{collections::BTreeSet, fmt};

/// The namespaces whose connectors an operator runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This one.
    One(String),
    /// All that there are and will be, but for these, which are left to others.
    AllBut(BTreeSet<String>),
}

/// Why settings name no scope.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// Nothing is left out of one namespace.
    #[error(
        "--watch-namespace (WATCH_NAMESPACE) and --ignore-namespaces (IGNORE_NAMESPACES) can't be set together: an \
         operator of one namespace sees no other"
    )]
    Both,
}

impl Scope {
    /// The scope that the settings name: of one namespace if one is watched, and of all but those that are ignored
    /// otherwise.
    ///
    /// # Errors
    /// When both are set.
    pub fn new(watched: Option<String>, ignored: BTreeSet<String>) -> Result<Self, ScopeError> {
        match watched {
            None => Ok(Self::AllBut(ignored)),
            Some(namespace) if ignored.is_empty() => Ok(Self::One(namespace)),
            Some(_) => Err(ScopeError::Both),
        }
    }

    /// Every namespace.
    #[must_use]
    pub const fn all() -> Self {
        Self::AllBut(BTreeSet::new())
    }

    /// Name of the Lease, in the operator's namespace. An operator of one namespace has its own, because several of them
    /// may live in one namespace. The others share one whatever they leave out, so that a change of that is handed over
    /// from leader to leader.
    #[must_use]
    pub fn lease_name(&self) -> String {
        match self {
            Self::One(namespace) => format!("mcp-connectors-operator-{namespace}"),
            Self::AllBut(_) => "mcp-connectors-operator".to_owned(),
        }
    }

    /// The field selector by which the API server leaves out what is ignored; none where nothing is.
    #[must_use]
    pub fn field_selector(&self) -> Option<String> {
        match self {
            Self::One(_) => None,
            Self::AllBut(ignored) => {
                let terms: Vec<String> =
                    ignored.iter().map(|namespace| format!("metadata.namespace!={namespace}")).collect();
                (!terms.is_empty()).then(|| terms.join(","))
            }
        }
    }

    /// What two operators both look after, if there is anything.
    #[must_use]
    pub fn shared(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::AllBut(ignored), Self::AllBut(others)) => Some(Self::AllBut(ignored | others)),
            (Self::AllBut(ignored), Self::One(namespace)) | (Self::One(namespace), Self::AllBut(ignored)) => {
                (!ignored.contains(namespace)).then(|| Self::One(namespace.clone()))
            }
            (Self::One(namespace), Self::One(other)) => (namespace == other).then(|| self.clone()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(namespace) => write!(formatter, "the namespace {namespace}"),
            Self::AllBut(ignored) => {
                formatter.write_str("all namespaces")?;
                for (number, namespace) in ignored.iter().enumerate() {
                    write!(formatter, "{}{namespace}", if number == 0 { " but " } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(namespace: &str) -> Scope {
        Scope::One(namespace.to_owned())
    }

    fn all_but(ignored: &[&str]) -> Scope {
        Scope::AllBut(ignored.iter().map(|namespace| (*namespace).to_owned()).collect())
    }

    #[test]
    fn settings_name_one_namespace_or_what_is_left_out_of_all() {
        let ignored = || BTreeSet::from(["b".to_owned(), "a".to_owned()]);
        assert_eq!(Scope::new(None, BTreeSet::new()).unwrap(), Scope::all());
        assert_eq!(Scope::new(None, ignored()).unwrap(), all_but(&["a", "b"]));
        assert_eq!(Scope::new(Some("a".to_owned()), BTreeSet::new()).unwrap(), one("a"));
        let refused = Scope::new(Some("a".to_owned()), ignored()).unwrap_err().to_string();
        assert!(refused.contains("WATCH_NAMESPACE") && refused.contains("IGNORE_NAMESPACES"), "{refused}");
    }

    #[test]
    fn what_is_ignored_is_left_out_by_the_api_server() {
        let selector = all_but(&["b", "a"]).field_selector();
        assert_eq!(selector.as_deref(), Some("metadata.namespace!=a,metadata.namespace!=b"));
        assert_eq!(Scope::all().field_selector(), None);
        assert_eq!(one("a").field_selector(), None);
    }

    #[test]
    fn a_change_of_what_is_left_out_keeps_the_lease() {
        assert_eq!(all_but(&["a"]).lease_name(), Scope::all().lease_name());
        assert_ne!(one("a").lease_name(), Scope::all().lease_name());
        assert_ne!(one("a").lease_name(), one("b").lease_name());
    }

    #[test]
    fn two_scopes_share_what_neither_leaves_out() {
        for (first, second, shared) in [
            (Scope::all(), Scope::all(), Some(Scope::all())),
            (all_but(&["a"]), all_but(&["b"]), Some(all_but(&["a", "b"]))),
            (all_but(&["a"]), one("b"), Some(one("b"))),
            (all_but(&["a"]), one("a"), None),
            (one("a"), one("a"), Some(one("a"))),
            (one("a"), one("b"), None),
        ] {
            assert_eq!(first.shared(&second), shared, "{first} and {second}");
            assert_eq!(second.shared(&first), shared, "{second} and {first}");
        }
    }

    #[test]
    fn a_person_reads_what_is_left_out() {
        assert_eq!(one("a").to_string(), "the namespace a");
        assert_eq!(Scope::all().to_string(), "all namespaces");
        assert_eq!(all_but(&["b", "a"]).to_string(), "all namespaces but a, b");
    }
}
