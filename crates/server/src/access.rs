//! Who may use what: the rules of `spec.access`, looked up by the caller that a token proves.

use std::{fmt, sync::Arc};

use api::pattern::NamePattern;
use pod_api::config::AccessConfig;

/// Stands for every ServiceAccount of a namespace in a rule.
const EVERY: &str = "*";

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Somebody, where `access.anonymous` lets everyone call.
    Anonymous,
    /// Whoever calls a connector that runs without a cluster, where nobody is asked for a token of one.
    Local,
    /// A ServiceAccount that proved itself.
    ServiceAccount(ServiceAccount),
    /// The operator, which may do the handshake and read `/status`.
    Operator,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Local => f.write_str("local"),
            Self::ServiceAccount(account) => account.fmt(f),
            Self::Operator => f.write_str("operator"),
        }
    }
}

/// Whether a caller may use tools that change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutating {
    /// It may.
    Allowed,
    /// Others may, of which this caller isn't told.
    OthersOnly,
    /// Nobody may: no rule names who, which every caller may be told.
    Nobody,
}

/// What a caller may use of what the connector offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Which of [`Access::every`] they are.
    pub index: usize,
    /// Names without the prefix.
    pub tools: Vec<NamePattern>,
    /// Whether tools that change something are among them.
    pub mutating: Mutating,
}

impl Rights {
    /// Whether a tool may be used.
    #[must_use]
    pub fn allow(&self, name: &str, mutates: bool) -> bool {
        (self.mutating == Mutating::Allowed || !mutates) && self.names(name)
    }

    /// Whether it may be told of a tool that changes something, though it may not use it now.
    #[must_use]
    pub fn may_know_of(&self, name: &str) -> bool {
        self.mutating != Mutating::OthersOnly && self.names(name)
    }

    fn names(&self, name: &str) -> bool {
        self.tools.iter().any(|pattern| pattern.matches(name))
    }
}

/// The rules of `spec.access`.
#[derive(Debug)]
pub struct Access {
    anonymous: bool,
    /// Of everyone: nobody is named, so nothing is changed.
    everyone: Arc<Rights>,
    /// Of whoever runs the connector on a machine of their own.
    local: Arc<Rights>,
    rules: Vec<(ServiceAccount, Arc<Rights>)>,
}

impl Access {
    /// The rules as they stand in the configuration.
    #[must_use]
    pub fn new(config: &AccessConfig) -> Self {
        let every = || vec![NamePattern(EVERY.to_owned())];
        let is_anybody_named = config.allow.iter().any(|rule| rule.mutations == Some(true));
        let others = if is_anybody_named { Mutating::OthersOnly } else { Mutating::Nobody };
        let rule = |(index, rule): (usize, &api::connector::AccessRule)| {
            let account = ServiceAccount { namespace: rule.namespace.clone(), name: rule.service_account.clone() };
            let tools = rule.tools.clone().unwrap_or_else(every);
            let mutating = if rule.mutations == Some(true) { Mutating::Allowed } else { others };
            (account, Arc::new(Rights { index: index + 2, tools, mutating }))
        };
        Self {
            anonymous: config.anonymous,
            everyone: Arc::new(Rights { index: 0, tools: every(), mutating: Mutating::Nobody }),
            local: Arc::new(Rights { index: 1, tools: every(), mutating: Mutating::Allowed }),
            rules: config.allow.iter().enumerate().map(rule).collect(),
        }
    }

    /// Whether everyone may call without a token.
    #[must_use]
    pub const fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// All rights that any caller can have, in the order of their index.
    pub fn every(&self) -> impl Iterator<Item = &Arc<Rights>> {
        [&self.everyone, &self.local].into_iter().chain(self.rules.iter().map(|(_, rights)| rights))
    }

    /// What a caller may use; nothing if no rule is about it. A rule for the exact name wins over one for `*`.
    #[must_use]
    pub fn rights(&self, caller: &Caller) -> Option<&Arc<Rights>> {
        match caller {
            Caller::Anonymous => self.anonymous.then_some(&self.everyone),
            Caller::Local => self.anonymous.then_some(&self.local),
            Caller::Operator => None,
            Caller::ServiceAccount(account) => {
                let find = |name: &str| {
                    let about = |rule: &&(ServiceAccount, Arc<Rights>)| {
                        rule.0.namespace == account.namespace && rule.0.name == name
                    };
                    self.rules.iter().find(about).map(|(_, rights)| rights)
                };
                find(&account.name).or_else(|| find(EVERY))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::connector::AccessRule;

    fn rule(namespace: &str, account: &str, tools: Option<&str>, mutations: Option<bool>) -> AccessRule {
        AccessRule {
            namespace: namespace.into(),
            service_account: account.into(),
            tools: tools.map(|pattern| vec![NamePattern(pattern.into())]),
            mutations,
        }
    }

    fn caller(namespace: &str, name: &str) -> Caller {
        Caller::ServiceAccount(ServiceAccount { namespace: namespace.into(), name: name.into() })
    }

    fn access(anonymous: bool, allow: Vec<AccessRule>) -> Access {
        Access::new(&AccessConfig { anonymous, allow, audiences: vec![] })
    }

    #[test]
    fn the_exact_name_wins_over_the_star_whatever_the_order() {
        let wide = rule("agents", "*", None, Some(true));
        let narrow = rule("agents", "triage", Some("get_*"), None);
        for rules in [vec![wide.clone(), narrow.clone()], vec![narrow, wide]] {
            let access = access(false, rules);
            let rights = access.rights(&caller("agents", "triage")).unwrap();
            assert!(rights.allow("get_x", false) && !rights.allow("list_x", false) && !rights.allow("get_x", true));
            assert!(access.rights(&caller("agents", "other")).unwrap().allow("list_x", true));
            assert!(access.rights(&caller("elsewhere", "triage")).is_none());
        }
    }

    #[test]
    fn nobody_is_listed_by_accident() {
        let closed = access(false, vec![]);
        for caller in [caller("a", "b"), Caller::Anonymous, Caller::Operator] {
            assert!(closed.rights(&caller).is_none());
        }
        let open = access(true, vec![]);
        for (caller, mutates) in [(Caller::Anonymous, false), (Caller::Local, true)] {
            let rights = open.rights(&caller).unwrap();
            assert!(rights.allow("anything", false) && rights.may_know_of("anything"));
            assert_eq!(rights.allow("anything", true), mutates, "{caller}");
        }
        assert!(open.rights(&Caller::Operator).is_none());
    }

    #[test]
    fn who_may_not_mutate_is_told_so_only_where_nobody_may() {
        let narrow = rule("agents", "triage", Some("get_*"), None);
        let nobody = access(false, vec![narrow.clone(), rule("agents", "*", None, Some(false))]);
        let triage = nobody.rights(&caller("agents", "triage")).unwrap();
        assert!(triage.may_know_of("get_x") && !triage.may_know_of("delete_x") && !triage.allow("get_x", true));
        assert!(nobody.rights(&caller("agents", "other")).unwrap().may_know_of("delete_x"));

        let somebody = access(false, vec![narrow, rule("agents", "keeper", None, Some(true))]);
        assert!(!somebody.rights(&caller("agents", "triage")).unwrap().may_know_of("get_x"));
        assert!(somebody.rights(&caller("agents", "keeper")).unwrap().allow("delete_x", true));
    }

    #[test]
    fn an_account_named_star_is_no_pattern() {
        let access = access(false, vec![rule("agents", "triage", None, None)]);
        assert!(access.rights(&caller("agents", "*")).is_none());
    }
}
