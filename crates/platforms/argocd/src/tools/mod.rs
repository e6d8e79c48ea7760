//! Argo CD's tools, one file a group. A tool names its application, calls, and answers with typed fields;
//! [`super::error`] words what goes wrong.

mod actions;
mod app;
mod apps;
mod appsets;
mod delete;
mod diff;
mod events;
mod logs;
mod manifests;
mod names;
mod operation;
mod policy;
mod revision;
mod rollback;
mod state;
mod surroundings;
mod sync;
mod tree;

use std::{cmp::Ordering, collections::HashMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use self::names::Names;
use super::{
    ArgoCd,
    client::{Call, Error},
    error::to_tool_error,
    text,
    wire::{Application, Items},
};
use kit::args::Cursor;
use outbound::RequestError;
use tokio::sync::SemaphorePermit;
use tools::{CallContext, ErrorCode, ToolEntry, ToolError, mutation, page::encode_cursor, read};

/// Bytes of an answer for what stands beside its list.
const ROOM_FOR_THE_REST: usize = 2_048;
/// Time that a call waits for a place among those that may hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every tool of Argo CD.
pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    [
        apps::entries(argocd),
        app::entries(argocd),
        tree::entries(argocd),
        diff::entries(argocd),
        manifests::entries(argocd),
        events::entries(argocd),
        logs::entries(argocd),
        revision::entries(argocd),
        surroundings::entries(argocd),
        appsets::entries(argocd),
        operation::entries(argocd),
        sync::entries(argocd),
        rollback::entries(argocd),
        actions::entries(argocd),
        policy::entries(argocd),
        delete::entries(argocd),
    ]
    .concat()
}

/// Arguments that name the application that a tool is about.
#[derive(Deserialize, JsonSchema)]
struct AppArgs {
    /// Name of the application, `namespace/name`, or a link to its page.
    #[serde(rename = "app")]
    #[schemars(length(min = 1, max = 2048))]
    name: String,
    /// Project of the application. Without it Argo CD doesn't tell a missing application from a forbidden one.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    project: Option<String>,
    /// Namespace of the application, as list_argocd_apps answers it. Left out, Argo CD's own.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    app_namespace: Option<String>,
}

impl AppArgs {
    fn target(&self, argocd: &ArgoCd) -> Result<Target, ToolError> {
        argocd.home.check(&self.name, names::APP.argument)?;
        let Names { name, namespace } = Names::read(&self.name, self.app_namespace.as_ref(), names::APP)?;
        Ok(Target { name, project: self.project.clone(), namespace })
    }
}

/// The application that a call is about.
#[derive(Clone)]
struct Target {
    name: String,
    project: Option<String>,
    namespace: Option<String>,
}

impl Target {
    /// `GET` of something below the application.
    fn get(&self, below: &[&str]) -> Call {
        self.named(Call::get(self.path(below)))
    }

    /// `DELETE` of something below the application.
    fn delete(&self, below: &[&str]) -> Call {
        self.named(Call::delete(self.path(below)))
    }

    /// `POST` to something below the application. The names are part of the body then.
    fn post(&self, below: &[&str], body: Value) -> Call {
        Call::post(self.path(below), self.with_names(body))
    }

    /// `PATCH` of the application.
    fn patch(&self, body: Value) -> Call {
        Call::patch(self.path(&[]), self.with_names(body))
    }

    fn path<'a>(&'a self, below: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
        ["applications", &self.name].into_iter().chain(below.iter().copied())
    }

    fn named(&self, call: Call) -> Call {
        call.maybe("project", self.project.as_ref()).maybe("appNamespace", self.namespace.as_ref())
    }

    fn with_names(&self, mut body: Value) -> Value {
        if let Some(map) = body.as_object_mut() {
            let names = [("project", &self.project), ("appNamespace", &self.namespace)];
            map.extend(names.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into()))));
        }
        body
    }
}

impl ArgoCd {
    /// Makes a call about an application.
    async fn ask<T: DeserializeOwned>(
        &self,
        target: &Target,
        call: &Call,
        doing: &str,
        right: &str,
        context: &CallContext,
    ) -> Result<T, ToolError> {
        match self.session.call(call, context.deadline).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.explain(target, error, doing, right, context).await),
        }
    }

    /// As [`ArgoCd::ask`], for what Argo CD takes from its cache, and works out by a refresh where that holds nothing
    /// (`getCachedAppState`): while a controller doesn't work, such calls hang. They have places of their own, so that they don't take
    /// those of calls that are answered at once.
    async fn ask_slowly<T: DeserializeOwned>(
        &self,
        target: &Target,
        call: &Call,
        doing: &str,
        context: &CallContext,
    ) -> Result<T, ToolError> {
        let too_large = || to_tool_error(RequestError::BodyTooLarge.into(), doing, "");
        self.ask_for_much(target, call, doing, context).await?.ok_or_else(too_large)
    }

    /// As [`ArgoCd::ask_slowly`]; none where the answer is larger than what is read.
    async fn ask_for_much<T: DeserializeOwned>(
        &self,
        target: &Target,
        call: &Call,
        doing: &str,
        context: &CallContext,
    ) -> Result<Option<T>, ToolError> {
        let right = "applications, get";
        let _place = self.any_slow_place(context).await?;
        match self.session.call(call, context.deadline).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::Request(RequestError::BodyTooLarge)) => Ok(None),
            Err(Error::Request(RequestError::Timeout)) => Err(hangs(doing, &target.name)),
            Err(error) => Err(self.explain(target, error, doing, right, context).await),
        }
    }

    /// A place for a call that may hang.
    async fn any_slow_place(&self, context: &CallContext) -> Result<SemaphorePermit<'_>, ToolError> {
        self.slow_place(context.remaining().mul_f64(0.5).min(PATIENCE)).await.ok_or_else(all_slow)
    }

    /// The application.
    async fn fetch_app(&self, target: &Target, context: &CallContext) -> Result<Application, ToolError> {
        match self.look(target, context).await {
            Ok(app) => Ok(app),
            Err(error) => Err(self.explain(target, error, "read the application", "applications, get", context).await),
        }
    }

    /// The application, or why Argo CD didn't give it.
    async fn look(&self, target: &Target, context: &CallContext) -> Result<Application, Error> {
        self.session.object(&target.get(&[]), &target.name, context.deadline).await
    }

    /// Words an error. Without a project, Argo CD says of a missing application that access is denied, and with one of an
    /// application in another namespace that it isn't there; then the applications that the account sees tell which it is.
    async fn explain(
        &self,
        target: &Target,
        error: Error,
        doing: &str,
        right: &str,
        context: &CallContext,
    ) -> ToolError {
        let worded = to_tool_error(error, &format!("{doing} {:?}", target.name), right);
        let is_missing = match error {
            Error::NoApplication => true,
            Error::Forbidden(None) => target.project.is_none(),
            _ => false,
        };
        // Whoever needs another right has read the application before, or will be told of it by the next read.
        if !is_missing || !right.ends_with(", get") {
            return worded;
        }
        let fields = "items.metadata.name,items.metadata.namespace";
        let call = Call::get(["applications"]).query("fields", &fields);
        let Ok(seen) = self.session.call::<Items<Application>>(&call, context.deadline).await else { return worded };
        let there: Vec<&str> = seen
            .items
            .iter()
            .filter(|app| app.metadata.name == target.name)
            .map(|app| app.metadata.namespace.as_str())
            .collect();
        match (there.as_slice(), target.namespace.as_deref()) {
            ([], _) => missing(target, &seen.items),
            (there, Some(namespace)) if there.contains(&namespace) => match error {
                Error::NoApplication => worded.with_remedy("it is there, in another project: leave project out"),
                _ => worded,
            },
            (there, stated) => elsewhere(target, there, stated, error, right),
        }
    }
}

/// No application of the name is seen.
fn missing(target: &Target, seen: &[Application]) -> ToolError {
    let message = format!("there is no application {:?}, or the connector's account may not see it", target.name);
    let mut similar: Vec<(f64, &str)> = seen
        .iter()
        .map(|app| app.metadata.name.as_str())
        .map(|name| (strsim::jaro_winkler(name, &target.name), name))
        .collect();
    similar.retain(|(likeness, _)| *likeness > 0.75);
    similar.sort_by(|a, b| b.0.total_cmp(&a.0));
    similar.dedup_by_key(|(_, name)| *name);
    similar.truncate(5);
    let error = ToolError::new(ErrorCode::NotFound, message).with_argument("app");
    if similar.is_empty() {
        error.with_remedy("list_argocd_apps tells the names; pass the project to be told which of the two it is")
    } else {
        let names = similar.into_iter().map(|(_, name)| name);
        error.with_remedy("platform_words are similar names").with_platform_words(names)
    }
}

/// Applications of the name are seen, in these namespaces.
fn elsewhere(target: &Target, there: &[&str], stated: Option<&str>, error: Error, right: &str) -> ToolError {
    let some = if there.len() > 10 { "some of the namespaces" } else { "the namespaces" };
    let name = &target.name;
    let message = match stated {
        Some(stated) => format!("there is no application {name:?} in the namespace {stated:?}, or it may not be seen"),
        None => {
            format!("there is no application {name:?} in Argo CD's own namespace, or the account may not do that to it")
        }
    };
    let remedy = format!("platform_words are {some} with applications of this name: pass one of them as app_namespace");
    let denied = matches!(error, Error::Forbidden(_));
    let code = if denied && stated.is_none() { ErrorCode::PermissionDenied } else { ErrorCode::NotFound };
    let remedy = if code == ErrorCode::PermissionDenied {
        format!("{remedy}; if it is that one, the account needs: {right}")
    } else {
        remedy
    };
    ToolError::new(code, message)
        .with_argument("app_namespace")
        .with_remedy(remedy)
        .with_platform_words(there.iter().take(10).copied())
}

/// Every place for calls that may hang is taken.
fn all_slow() -> ToolError {
    ToolError::new(ErrorCode::RateLimited, "several calls that Argo CD is slow to answer are on their way")
        .with_remedy(
            "come back when they have ended; get_argocd_app_status, list_argocd_apps and other tools that ask for nothing to be \
             worked out go on",
        )
        .with_retry_after(PATIENCE)
}

/// A call that Argo CD answers out of its cache was not answered.
fn hangs(doing: &str, name: &str) -> ToolError {
    let message = format!("Argo CD did not {doing} {name:?} in time");
    ToolError::new(ErrorCode::DeadlineExceeded, message).with_remedy(
        "it has nothing of the application in its cache, and waits for its application controller to compare it: \
         get_argocd_app_status tells what is known, and when it was compared last (reconciled_at)",
    )
}

/// Words an error of a call that is about no application.
fn failed<'a>(doing: &'a str, right: &'a str) -> impl Fn(Error) -> ToolError + 'a {
    move |error| to_tool_error(error, doing, right)
}

/// Whether an object of this kind may be a Secret, whose values are shown to nobody: it is, or its kind isn't told.
fn may_be_secret(kind: &str) -> bool {
    kind.is_empty() || kind.eq_ignore_ascii_case("Secret")
}

/// What names a resource, by its manifest: group, kind, namespace, and name or what its name begins with.
fn names_of(manifest: &Value) -> [String; 4] {
    let of = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = of("/apiVersion");
    let group = version.split_once('/').map(|(group, _)| group).unwrap_or_default();
    let name = [of("/metadata/name"), of("/metadata/generateName")].into_iter().find(|name| !name.is_empty());
    [group.to_owned(), of("/kind"), of("/metadata/namespace"), name.unwrap_or_default()]
}

/// Stands between a key and its number where several entries have the key. It is in no name of an object.
const REPEATED: char = '\0';

/// A part of a list whose entries differ in size.
struct Part<T> {
    entries: Vec<T>,
    next_cursor: Option<String>,
    /// What is left out for ever, because an answer can't hold it.
    hints: Vec<String>,
}

impl<T> Part<T> {
    fn is_cut(&self) -> bool {
        self.next_cursor.is_some() || !self.hints.is_empty()
    }
}

/// Cuts a list, put into an order of its keys, to one part of so many entries and so many bytes as JSON at most. Keys need
/// not differ: several hooks may have the same `generateName`.
///
/// # Errors
/// When `cursor` is not one of ours.
fn part<T: Serialize>(
    mut entries: Vec<(String, T)>,
    order: impl Fn(&str, &str) -> Ordering,
    cursor: Option<&Cursor>,
    limit: usize,
    bytes: usize,
) -> Result<Part<T>, ToolError> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (key, _) in &mut entries {
        let before = seen.entry(key.clone()).and_modify(|count| *count += 1).or_default();
        if *before > 0 {
            *key = format!("{key}{REPEATED}{before:06}");
        }
    }
    entries.sort_by(|a, b| order(&a.0, &b.0));
    let after = cursor.map(Cursor::key).transpose()?;
    let is_shown = |key: &str| after.as_ref().is_some_and(|after| order(key, after).is_le());
    let mut part = Part { entries: Vec::new(), next_cursor: None, hints: Vec::new() };
    let (mut room, mut last): (usize, Option<String>) = (bytes, None);
    for (key, entry) in entries.into_iter().filter(|(key, _)| !is_shown(key)) {
        let size = serde_json::to_vec(&entry).map_or(usize::MAX, |text| text.len().saturating_add(1));
        let left_out = (size > bytes).then(|| {
            let name = text::clean(key.split(REPEATED).next().unwrap_or_default());
            format!("{name} is left out: it alone is larger than an answer may be")
        });
        let cost = left_out.as_ref().map_or(size, String::len);
        let is_full = part.entries.len() + part.hints.len() == limit || cost > room;
        // Each part has one at least, so that there is an end.
        if let Some(last) = last.take_if(|_| is_full) {
            part.next_cursor = Some(encode_cursor(&last));
            break;
        }
        room = room.saturating_sub(cost);
        match left_out {
            Some(hint) => part.hints.push(hint),
            None => part.entries.push(entry),
        }
        last = Some(key);
    }
    Ok(part)
}

/// What names a resource inside an application.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct ResourceName {
    /// API group, such as `apps`; empty or left out for the core group.
    #[serde(default)]
    #[schemars(length(max = 253))]
    group: String,
    /// Kind, such as `Deployment`.
    #[schemars(length(min = 1, max = 63))]
    kind: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    name: String,
    /// Namespace; left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    namespace: Option<String>,
}

impl ResourceName {
    fn matches(&self, group: &str, kind: &str, namespace: &str, name: &str) -> bool {
        self.group == group
            && self.kind == kind
            && self.name == name
            && self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
    }
}

impl std::fmt::Display for ResourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All parts, one after the other.
    fn all(entries: &[(String, String)], limit: usize, bytes: usize) -> Vec<Part<String>> {
        let (mut parts, mut cursor): (_, Option<Cursor>) = (Vec::new(), None);
        loop {
            let part = part(entries.to_vec(), |a, b| b.cmp(a), cursor.as_ref(), limit, bytes).unwrap();
            cursor = part.next_cursor.clone().map(Cursor::from);
            parts.push(part);
            if cursor.is_none() {
                return parts;
            }
        }
    }

    proptest! {
        #[test]
        fn parts_give_every_entry_once(sizes in proptest::collection::vec(1usize..60, 0..40), limit in 1usize..9) {
            // Two of each name.
            let named = |(i, size): (usize, &usize)| (format!("{:03}", i / 2), "x".repeat(*size));
            let entries: Vec<_> = sizes.iter().enumerate().map(named).collect();
            let parts = all(&entries, limit, 50);
            // Two quotes and a comma are more than the text.
            let (fit, large): (Vec<&usize>, Vec<&usize>) = sizes.iter().rev().partition(|size| **size <= 47);
            let seen: Vec<usize> = parts.iter().flat_map(|part| part.entries.iter().map(String::len)).collect();
            prop_assert_eq!(seen, fit.into_iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(parts.iter().map(|part| part.hints.len()).sum::<usize>(), large.len());
            for part in &parts {
                prop_assert!(part.entries.len() + part.hints.len() <= limit);
                prop_assert!(!part.entries.is_empty() || !part.hints.is_empty() || sizes.is_empty());
                prop_assert!(part.entries.iter().map(|one| one.len() + 3).sum::<usize>() <= 50);
            }
        }
    }
}
