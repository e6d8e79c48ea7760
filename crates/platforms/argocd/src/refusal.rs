//! What an answer of Argo CD that says no means: by status, gRPC code, and the texts that its versions have. What no row
//! knows stays unknown: a 400 need not be the caller's fault, nor a 500 Argo CD's, because plain Go errors come as code 2,
//! and Kubernetes' and the repository server's errors keep their own codes (`util/grpc/errors.go`).
//!
//! Read in argoproj/argo-cd at v2.14.0, v3.0.0, v3.2.9 and v3.5.1: `server/application/application.go`,
//! `server/applicationset/applicationset.go`, `util/argo/argo.go`, `reposerver/repository/repository.go`,
//! `util/rbac/rbac.go`. Status codes are those of the gRPC gateway (1.16, `HTTPStatusFromCode`).

use std::time::Duration;

use super::client::{Cause, Error, Right};
use outbound::decode::Place;
use tools::ErrorCode::{
    self, Conflict, CredentialsUnavailable, DeadlineExceeded, InvalidArgument, NotFound, PermissionDenied,
    PlatformError, PlatformUnavailable, ResultTooLarge,
};

/// A text of Argo CD whose meaning is known, and that meaning in our words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    status: u16,
    text: &'static str,
    /// Class of the error.
    pub(super) code: ErrorCode,
    /// What happened.
    pub(super) message: &'static str,
    /// What to do about it.
    pub(super) remedy: &'static str,
    /// The argument that it is about.
    pub(super) argument: Option<&'static str>,
}

const fn known(
    (status, text): (u16, &'static str),
    code: ErrorCode,
    message: &'static str,
    remedy: &'static str,
    argument: Option<&'static str>,
) -> Known {
    Known { status, text, code, message, remedy, argument }
}

/// A token that was just issued, by another clock (argoproj-labs/terraform-provider-argocd#454): a new one would be no better.
const fn of_the_future(text: &'static str) -> Known {
    known(
        (401, text),
        CredentialsUnavailable,
        "Argo CD holds the connector's token for one of the future",
        "clocks differ: those of Argo CD's nodes, or of whoever issued the token, must be set; it passes by itself when they differ by \
         seconds",
        None,
    )
}

/// A message that is larger than gRPC takes (grpc-go), which has the code of a limit of calls (argoproj/argo-cd#3117).
pub(super) const TOO_LARGE: &str = "message larger than max";

/// grpc-go's words of a call for which there is no connection; those of one that broke off have another `desc`.
const NO_CONNECTION: &str = "connection error: desc = \"transport: ";

/// The API server's own address, at which its gateway asks it by gRPC, too (`server/server.go`, v3.5.1).
const ITSELF: &[&str] = &["dial tcp 127.0.0.1", "dial tcp [::1]"];

/// The first row that fits counts.
static KNOWN: &[Known] = &[
    known(
        (400, "does not have deployment with id"),
        InvalidArgument,
        "the application has no deployment with this id",
        "list_argocd_app_history tells the ids",
        Some("history_id"),
    ),
    known(
        (400, "v0.11 or lower"),
        Conflict,
        "Argo CD has not written down where this deployment came from, so it can't go back to it",
        "sync to its revision with sync_argocd_app",
        Some("history_id"),
    ),
    known(
        (400, "max pods to view logs"),
        InvalidArgument,
        "these are more pods than Argo CD reads logs of at once",
        "name a pod, or a resource with fewer pods",
        None,
    ),
    known(
        (400, "is not allowed in project"),
        Conflict,
        "the application's project is not there, or does not permit the application's namespace",
        "spec.project of the application must name a project that exists, whose sourceNamespaces hold the application's \
         namespace; list_argocd_apps tells the project, get_argocd_project what it permits",
        None,
    ),
    // The conditions of a spec that is looked at anew (argoproj/argo-cd#21480).
    known(
        (400, "not accessible"),
        PlatformError,
        "Argo CD can't reach the application's repository",
        "it is asked before anything is applied: try again when it answers; whoever runs Argo CD can see its state there",
        None,
    ),
    known(
        (400, "application destination spec for"),
        Conflict,
        "Argo CD can't use the application's destination",
        "spec.destination must name one cluster that list_argocd_clusters lists",
        None,
    ),
    known(
        (400, "application spec for"),
        Conflict,
        "Argo CD holds the application's spec for invalid",
        "get_argocd_app_status tells why, in sync.message; the spec must be corrected where it is kept",
        None,
    ),
    known(
        (400, "sync with replace was disabled"),
        InvalidArgument,
        "this Argo CD does not let a sync replace resources",
        "leave Replace=true out",
        Some("sync_options"),
    ),
    known(
        (400, "not found as part of application"),
        NotFound,
        "the application has no such resource",
        "get_argocd_resource_tree tells what there is now",
        Some("resource"),
    ),
    known(
        (400, "ApplicationSet references project"),
        Conflict,
        "the ApplicationSet names a project that is not there",
        "list_argocd_projects tells the projects",
        None,
    ),
    known(
        (400, "type mismatch, parameter"),
        InvalidArgument,
        "Argo CD can't read an argument: it has another form than is expected",
        "check numbers and times among the arguments",
        None,
    ),
    of_the_future("not valid yet"),
    of_the_future("used before issued"),
    known(
        (403, "invalid sync window"),
        Conflict,
        "Argo CD can't read a sync window of the project, and permits no sync until it can",
        "get_argocd_sync_windows tells the windows; whoever owns the project must correct them",
        None,
    ),
    known(
        (403, "not permitted in project"),
        PermissionDenied,
        "the application's project does not permit a repository, a cluster or a namespace that it uses",
        "get_argocd_project tells what the project permits",
        None,
    ),
    // Kubernetes' own sentence (`NewForbidden` of its API machinery).
    known(
        (403, " is forbidden"),
        PermissionDenied,
        "Kubernetes does not let Argo CD do it",
        "it is Argo CD's own account in the target cluster, or the one that it impersonates there, that lacks the right, \
         and not the connector's account",
        None,
    ),
    known(
        (429, TOO_LARGE),
        ResultTooLarge,
        "a message inside Argo CD is larger than its parts take of each other",
        "asking again is of no use: whoever runs Argo CD can raise ARGOCD_GRPC_MAX_SIZE_MB of its parts, or the \
         application must be made smaller",
        None,
    ),
    known(
        (500, "error parsing the selector"),
        InvalidArgument,
        "Argo CD can't read the selector",
        "write labels as team=payments,tier!=test; a comma means and",
        Some("selector"),
    ),
    known(
        (500, "error getting app source by source index"),
        InvalidArgument,
        "the application has fewer sources than that",
        "get_argocd_app_status tells its sources, counted from 0",
        Some("source_index"),
    ),
    known(
        (500, "must be resolved"),
        InvalidArgument,
        "the revision is no commit: it is a branch, a tag, or the version of a chart",
        "give the whole commit, as get_argocd_app_status or list_argocd_app_history answers it",
        Some("revision"),
    ),
    known(
        (500, "no chart found for application"),
        InvalidArgument,
        "this source of the application is no chart",
        "give source_index: get_argocd_app_status tells the sources, counted from 0",
        Some("source_index"),
    ),
    known(
        (500, "there are no clusters with this name"),
        Conflict,
        "the application's destination names a cluster that Argo CD does not know",
        "spec.destination must name one cluster that list_argocd_clusters lists",
        None,
    ),
    known(
        (500, "clusters with the same name"),
        Conflict,
        "the application's destination names several clusters that have the same name",
        "spec.destination must name one cluster, by its address",
        None,
    ),
    known(
        (500, "can't have both name and server defined"),
        Conflict,
        "the application's destination names its cluster twice, by name and by address",
        "spec.destination must have one of the two",
        None,
    ),
    known(
        (500, "no matching service account found"),
        Conflict,
        "the application's project names no account that Argo CD may use in the target cluster and namespace",
        "whoever owns the project must add one to its destinationServiceAccounts",
        None,
    ),
    known(
        (500, "is not permitted to manage"),
        PermissionDenied,
        "the application's project does not permit this resource",
        "get_argocd_project tells what the project permits",
        None,
    ),
    known(
        (500, "templated `project` fields"),
        InvalidArgument,
        "Argo CD can't work out an ApplicationSet whose project is a template",
        "the cluster's controller can: list_argocd_apps tells the applications that it has made",
        None,
    ),
    known(
        (500, "unable to generate Applications of ApplicationSet"),
        PlatformError,
        "the ApplicationSet's generators or templates fail",
        "get_argocd_appset tells its conditions; what its generators name (repositories, clusters) must be readable",
        None,
    ),
    // Where the cache holds nothing, Argo CD answers the application's conditions (`getCachedAppState`).
    known(
        (500, "ComparisonError"),
        Conflict,
        "Argo CD could not compare the application with Git, so it knows neither its tree nor what differs",
        "get_argocd_app_status tells why, in sync.message",
        None,
    ),
    known(
        (500, "InvalidSpecError"),
        Conflict,
        "Argo CD holds the application's spec for invalid, so it knows neither its tree nor what differs",
        "get_argocd_app_status tells why, in sync.message",
        None,
    ),
    known(
        (500, "application refresh deadline exceeded"),
        DeadlineExceeded,
        "Argo CD waited in vain for its application controller to compare the application",
        "get_argocd_app_status tells what is known, and when it was compared last (reconciled_at); if that stays so, the \
         controller, or the one of this cluster, is busy or doesn't work",
        None,
    ),
    known(
        (500, "cache: key is missing"),
        Conflict,
        "Argo CD has nothing of the application in its cache: it was not compared yet",
        "refresh_argocd_app has it compared; if that doesn't help, Argo CD's application controller doesn't work",
        None,
    ),
    // The first words of the kubelet's own sentence, read as a time (argoproj/argo-cd#21286).
    known(
        (500, "parsing time \""),
        PlatformError,
        "the log of a container is not where Kubernetes keeps it",
        "name a pod and a container that runs; previous gives the log before the last restart",
        None,
    ),
    known(
        (500, "Lua"),
        PlatformError,
        "the script that Argo CD has for this kind fails",
        "where an action takes parameters, look at their values; otherwise whoever runs Argo CD must look at its \
         resource customizations",
        None,
    ),
    known(
        (500, "error patching resource"),
        Conflict,
        "Kubernetes refuses the change",
        "look at the resource: it may have changed meanwhile, or an admission policy forbids it",
        None,
    ),
    // Beside itself (`ITSELF`), the API server asks only the one by gRPC that reads repositories.
    known(
        (503, NO_CONNECTION),
        PlatformUnavailable,
        "Argo CD's API server can't reach its repository server, which reads Git and renders manifests",
        "try again in a minute: it may have been restarted; status, lists, trees and logs need no repository",
        None,
    ),
    known(
        (500, "application is nil"),
        PlatformError,
        "this version of Argo CD reads the request in another way",
        "an administrator can say which version runs",
        None,
    ),
];

/// What manifests can't be made of: the repository server's sentences that keep code 9.
const MANIFESTS: &[&str] = &[
    "Failed to evaluate jsonnet",
    "Failed to unmarshal",
    "Found multiple objects in",
    "Failed to open \"",
    "Failed to read \"",
];

/// Whether the API server works, and waited in vain for what stands behind it, or has no connection to that.
pub(super) fn is_behind(status: u16, code: i64, text: &str) -> bool {
    match (status, code) {
        (503, 14) => text.contains(NO_CONNECTION) && !is_itself(text),
        (504, 4) => true,
        _ => false,
    }
}

fn is_itself(text: &str) -> bool {
    ITSELF.iter().any(|address| text.contains(address))
}

/// What an answer means that has a mark of Argo CD's own.
pub(super) fn judge(status: u16, code: i64, text: &str, retry_after: Option<Duration>) -> Error {
    let says = |known: &str| text.contains(known);
    if status == 503 && is_itself(text) {
        return Error::Unavailable(status);
    }
    if let Some(known) = KNOWN.iter().find(|known| known.status == status && says(known.text)) {
        // Argo CD's own words for a right that is missing may name anything.
        if !(status == 403 && text.starts_with(DENIED)) {
            return Error::Known(known);
        }
    }
    match status {
        400 if says("another operation is already in progress") => Error::OperationRunning,
        400 if says("No operation is in progress") => Error::NoOperation,
        400 if says("application is deleting") => Error::Deleting,
        400 if says("auto-sync") || says("Automatic Sync") => Error::AutoSync,
        400 if code == 9 && (says("resolving repo revision") || says("unable to resolve")) => Error::Revision,
        400 if says("error getting repo") => Error::Failed(Cause::Repository),
        400 if MANIFESTS.iter().any(|known| says(known)) => Error::Failed(Cause::Manifests),
        400 | 422 => Error::Refused(status),
        // Kubernetes' answer to Argo CD, which keeps its code on the way.
        401 if text.ends_with("Unauthorized") || says("asked for the client to provide credentials") => {
            Error::ClusterRejects
        }
        401 => Error::TokenRejected { expired: says("expired") },
        403 if says("sync window") && !text.starts_with(DENIED) => Error::SyncWindow,
        403 if is_nobodys(text) => Error::TokenRejected { expired: false },
        403 => Error::Forbidden(right_of(text)),
        // go-git's sentence, to which Argo CD gives this code (`gitErrToGRPC`).
        404 if text == "repository not found" => Error::Failed(Cause::Repository),
        404 if says("applications.argoproj.io") => Error::NoApplication,
        404 => Error::NotFound,
        409 => Error::Changed,
        429 => Error::RateLimited(retry_after),
        500 if says("Too many conflicts") => Error::Changed,
        // Seen of 3.2 when manifests are asked for at a branch that is not there.
        500 if says("unable to resolve") && says("to a commit SHA") => Error::Revision,
        500 => Error::Failed(Cause::of(text)),
        501 => Error::Unimplemented,
        502..=504 => Error::Unavailable(status),
        other => Error::Status(other),
    }
}

const DENIED: &str = "permission denied";

/// What rights are about, and what they permit (`util/rbac/rbac.go`, v3.5.1): a right of other words is none that is known.
const RESOURCES: &[&str] = &[
    "accounts",
    "applications",
    "applicationsets",
    "certificates",
    "clusters",
    "exec",
    "extensions",
    "gpgkeys",
    "logs",
    "projects",
    "repositories",
    "write-repositories",
];
const ACTIONS: &[&str] = &["action", "create", "delete", "get", "invoke", "override", "sync", "update"];

/// The right that a refusal names: `permission denied: applications, override, team/web, sub: …` (`EnforceErr`). Without one it is
/// not known whether a right is missing or the object.
fn right_of(text: &str) -> Option<Right> {
    let mut words = text.strip_prefix(DENIED)?.strip_prefix(": ")?.split(", ");
    let plain = |word: &&str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_./*".contains(c);
        !word.is_empty() && word.chars().all(known)
    };
    let (resource, action) = (words.next().filter(plain)?, words.next().filter(plain)?);
    let is_known =
        RESOURCES.contains(&resource) && action.split('/').next().is_some_and(|verb| ACTIONS.contains(&verb));
    if !is_known {
        return None;
    }
    Some(Right(Place::from(&format!("{resource}, {action}")).ok()?))
}

/// Whether a refusal names a right and no account. Where anonymous users may read, a token that isn't accepted is no
/// error, and the call is made as nobody's (`Authenticate` in `server/server.go`, `EnforceErr` in `util/rbac/rbac.go`,
/// v3.5.1; argoproj/argo-cd#4862): what is missing is the token, and no right of the account.
fn is_nobodys(text: &str) -> bool {
    right_of(text).is_some() && !text.contains(", sub: ") && !text.contains(", iat: ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_row_is_reached_by_its_own_text() {
        for row in KNOWN {
            let text = format!("rpc error: {} planted", row.text);
            assert_eq!(judge(row.status, 2, &text, None), Error::Known(row), "{}", row.text);
            assert!(!row.message.is_empty() && !row.remedy.is_empty(), "{}", row.text);
            // The same words with another status are another thing.
            let other = judge(418, 2, &text, None);
            assert_eq!(other, Error::Status(418), "{}", row.text);
        }
    }

    #[test]
    fn the_right_is_the_one_that_is_named() {
        let right = |text: &str| match judge(403, 7, text, None) {
            Error::Forbidden(right) => right.map(|right| right.0.to_string()),
            other => panic!("{text}: {other:?}"),
        };
        for (text, expected) in [
            (
                "permission denied: applications, override, default/web, sub: mcp, iat: 1",
                Some("applications, override"),
            ),
            (
                "permission denied: applications, action/apps/Deployment/restart, a/b, sub: mcp",
                Some("applications, action/apps/Deployment/restart"),
            ),
            ("permission denied: logs, get, a/sync window, iat: 2026-01-01T00:00:00Z", Some("logs, get")),
            ("permission denied", None),
            ("permission denied: what is\nthis, get", None),
            ("permission denied: applications", None),
        ] {
            assert_eq!(right(text).as_deref(), expected, "{text}");
        }
        let nobodys = "permission denied: applications, sync, default/web";
        assert_eq!(judge(403, 7, nobodys, None), Error::TokenRejected { expired: false });
    }

    #[test]
    fn what_kubernetes_refuses_to_argocd_is_not_said_of_the_connector() {
        let forbidden =
            "pods \"web-1\" is forbidden: User \"system:serviceaccount:argocd:a\" cannot get resource \"pods\"";
        assert!(matches!(judge(403, 7, forbidden, None), Error::Known(known) if known.message.contains("Kubernetes")));
        for text in
            ["error getting resource: Unauthorized", "the server has asked for the client to provide credentials"]
        {
            assert_eq!(judge(401, 16, text, None), Error::ClusterRejects, "{text}");
        }
        for (text, expired) in
            [("invalid session: token has invalid claims: token is expired", true), ("no session information", false)]
        {
            assert_eq!(judge(401, 16, text, None), Error::TokenRejected { expired });
        }
        assert_eq!(judge(404, 5, "repository not found", None), Error::Failed(Cause::Repository));
        assert_eq!(judge(404, 5, "applications.argoproj.io \"web\" not found", None), Error::NoApplication);
    }

    #[test]
    fn an_outage_of_argocd_is_told_from_one_behind_it() {
        let dialing = |address: &str| {
            format!(
                "connection error: desc = \"transport: Error while dialing: dial tcp {address}: connect: connection refused\""
            )
        };
        let cut = "connection error: desc = \"error reading from server: EOF\"".to_owned();
        for (status, code, text, behind, known) in [
            (503, 14, dialing("10.0.0.1:8081"), true, true),
            (503, 14, dialing("127.0.0.1:8080"), false, false),
            (503, 14, dialing("[::1]:8080"), false, false),
            (503, 14, cut, false, false),
            // Of a proxy, and of a Kubernetes that is overloaded.
            (503, 503, "upstream connect error".to_owned(), false, false),
            (503, 14, "the server was unable to return a response in time".to_owned(), false, false),
            (504, 4, "context deadline exceeded".to_owned(), true, false),
            (504, 0, String::new(), false, false),
        ] {
            assert_eq!(is_behind(status, code, &text), behind, "{text}");
            let error = judge(status, code, &text, None);
            assert_eq!(matches!(error, Error::Known(_)), known, "{text}");
            assert!(error.is_outage() && error.fate_is_unknown(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_refusal_that_no_row_knows_is_never_the_arguments_fault(status in 400u16..600, code in 0i64..17, text in "[a-z ]{0,30}") {
            let error = crate::error::to_tool_error(judge(status, code, &text, None), "read x", "applications, get");
            prop_assert_ne!(error.code, InvalidArgument, "{} {}", status, text);
            prop_assert!(error.argument.is_none());
        }

        #[test]
        fn no_text_panics_and_none_comes_out(status in 100u16..700, text in "\\PC{0,40}planted") {
            let error = crate::error::to_tool_error(judge(status, 2, &text, None), "read x", "applications, get");
            let shown = format!("{error:?}");
            prop_assert!(!shown.contains("planted"), "{}", shown);
        }
    }
}
