//! `list_vault_mounts`, `list_vault_auth_methods` and `list_vault_roles`: what there is beside secrets.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{failed, read};
use crate::{
    MOUNTS_AGE, Vault,
    client::{Call, Error},
    paths::{kv_version, segments},
    session::{Listed, MAX_PAGES, MORE_NAMES},
    wire,
};
use kit::args::PageArgs;
use tools::{CallContext, ErrorCode, Page, ToolDeclaration, ToolEntry, ToolError};

const MOUNTS: ToolDeclaration = ToolDeclaration::read(
    "list_vault_mounts",
    "Vault's secret engines",
    "Lists the secret engines that the connector's token has any access to: path, type, and for KV \
                  engines the version. Secrets of KV engines can be read with the other tools.",
)
.cached(Duration::from_secs(60));

const AUTH_METHODS: ToolDeclaration = ToolDeclaration::read(
    "list_vault_auth_methods",
    "Vault's auth methods",
    "Lists the auth methods by which clients log in to Vault: path and type.",
)
.cached(Duration::from_secs(60));

const ROLES: ToolDeclaration = ToolDeclaration::read(
    "list_vault_roles",
    "Roles of a Vault engine",
    "Lists the names of the roles of a secret engine (such as database; static roles with static-roles/ in front) or of an \
                  auth method (such as auth/approle; users of userpass and ldap). It answers no credentials, and makes none.",
)
.cached(Duration::from_secs(30));

/// Where the engine of a plugin is looked into that isn't known.
const USUAL: &[&str] = &["roles", "role"];

/// Folders of roles that one call looks into.
const MAX_FOLDERS: usize = 20;

/// Arguments of `list_vault_mounts`.
#[derive(Deserialize, JsonSchema)]
struct MountsInput {
    /// Only engines of this type, such as `kv`, `database` or `pki`.
    #[serde(default, rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    kind: Option<String>,
    #[serde(flatten)]
    page: PageArgs<100, 100>,
}

/// Arguments of `list_vault_auth_methods`.
#[derive(Deserialize, JsonSchema)]
struct AuthInput {
    #[serde(flatten)]
    page: PageArgs<100, 100>,
}

/// Arguments of `list_vault_roles`.
#[derive(Deserialize, JsonSchema)]
struct RolesInput {
    /// Mount of a secret engine, such as `database`, or of an auth method with `auth/` in front, such as
    /// `auth/approle`.
    #[schemars(length(min = 1, max = 512))]
    mount: String,
    #[serde(flatten)]
    page: PageArgs<200, 200>,
}

/// A secret engine.
#[derive(Serialize, JsonSchema)]
struct MountEntry {
    /// Where it is mounted.
    path: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// Version of a KV engine: 1 or 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    kv_version: Option<u8>,
    /// What its administrator wrote about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
}

/// An auth method.
#[derive(Serialize, JsonSchema)]
struct AuthEntry {
    /// Where it is mounted, with `auth/` in front.
    path: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
}

pub(super) fn entries(vault: &Arc<Vault>) -> Vec<ToolEntry> {
    vec![read(vault, MOUNTS, mounts), read(vault, AUTH_METHODS, auth_methods), read(vault, ROLES, roles)]
}

async fn mounts(vault: Arc<Vault>, input: MountsInput, context: CallContext) -> Result<Page<MountEntry>, ToolError> {
    // Asked for anew: this is the tool by which one sees whether something has changed.
    let known = vault.mounts(Duration::ZERO, context.deadline).await.map_err(failed(
        "list mounts at",
        "sys/internal/ui/mounts",
        "read",
    ))?;
    let wanted = |mount: &wire::Mount| input.kind.as_ref().is_none_or(|kind| *kind == mount.kind);
    let entries: Vec<MountEntry> = known
        .secret
        .iter()
        .filter(|(_, mount)| wanted(mount))
        .map(|(path, mount)| MountEntry {
            path: path.clone(),
            kind: mount.kind.clone(),
            kv_version: kv_version(mount).map(super::super::paths::KvVersion::number),
            description: mount.description.chars().take(256).collect(),
        })
        .collect();
    let public: Vec<&str> = known
        .secret
        .iter()
        .filter(|(_, mount)| wanted(mount) && mount.is_listed_to_all())
        .map(|(path, _)| path.as_str())
        .take(20)
        .collect();
    let public = (!public.is_empty()).then(|| {
        format!("listed to everybody, whatever the token may do in them (listing_visibility): {}", public.join(", "))
    });
    let page = input.page.cut(entries, |entry| entry.path.as_str())?;
    if !page.items.is_empty() {
        return Ok(public.into_iter().fold(page, Page::with_hint));
    }
    Ok(page.with_hint("there is none that the connector's token has any access to; its policies decide what is listed"))
}

async fn auth_methods(vault: Arc<Vault>, input: AuthInput, context: CallContext) -> Result<Page<AuthEntry>, ToolError> {
    let asked = vault
        .session
        .data::<std::collections::BTreeMap<String, wire::Mount>>(
            &Call::get(["sys", "auth"]).optional(),
            context.deadline,
        )
        .await;
    let (methods, partial) = match asked {
        Ok(methods) => (methods, false),
        // Without a policy for sys/auth there is still the list of those that the token has to do with.
        Err(Error::Forbidden(_)) => {
            let known = vault.mounts(Duration::ZERO, context.deadline).await.map_err(failed(
                "list auth methods at",
                "sys/auth",
                "read",
            ))?;
            (known.auth.clone(), true)
        }
        Err(error) => return Err(failed("list auth methods at", "sys/auth", "read")(error)),
    };
    let entries: Vec<AuthEntry> = methods
        .into_iter()
        .map(|(path, mount)| AuthEntry { path: format!("auth/{}", path.trim_matches('/')), kind: mount.kind })
        .collect();
    let page = input.page.cut(entries, |entry| entry.path.as_str())?;
    if !partial {
        return Ok(page);
    }
    Ok(page.with_hint("these are the methods that the token has access to; for all of them it needs read on sys/auth"))
}

async fn roles(vault: Arc<Vault>, input: RolesInput, context: CallContext) -> Result<Page<String>, ToolError> {
    let mount = segments("mount", &input.mount)?;
    let known = vault.mounts(MOUNTS_AGE, context.deadline).await.map_err(failed(
        "list mounts at",
        "sys/internal/ui/mounts",
        "read",
    ))?;
    let kind = match mount.split_first() {
        Some((first, rest)) if first == "auth" => known.auth.get(&rest.join("/")),
        _ => known.secret.get(&mount.join("/")),
    }
    .map(|mount| mount.kind.clone());
    let is_auth = mount.first().is_some_and(|first| first == "auth");
    let folders = match (is_auth, kind.as_deref()) {
        (false, None) => {
            return Err(ToolError::new(
                ErrorCode::NotFound,
                "no secret engine that the connector's token has any access to is mounted there",
            )
            .with_argument("mount")
            .with_remedy("list_vault_mounts tells the mounts; write auth/ in front of an auth method's"));
        }
        (is_auth, kind) => role_folders(is_auth, kind.unwrap_or_default()).ok_or_else(|| {
            ToolError::invalid_argument(
                "an engine of this type, which is in platform_words, has no roles that can be listed",
            )
            .with_argument("mount")
            .with_platform_words(kind)
        })?,
    };
    let (mut names, mut hints, mut refused) = (Vec::new(), Vec::new(), None);
    let (mut looked, mut lists) = (Vec::new(), 0);
    for (number, folder) in folders.iter().enumerate() {
        let call = Call::list(mount.iter().map(String::as_str).chain(folder.split('/')));
        let path = call.policy_path();
        let listed = match vault.session.list(&call, MAX_PAGES, context.deadline).await {
            // What is listed beside the first needs no policy, nor a version of Vault that has it.
            Err(Error::NoRoute | Error::Unsupported) if number > 0 || folders == USUAL => {
                looked.push(format!("{}/{folder}", mount.join("/")));
                continue;
            }
            // The engine may have the other one only, and the policy with it.
            Err(error @ Error::Forbidden(_)) if folders == USUAL => {
                hints.push(format!("{folder} are not listed: that needs the capability list on {path}"));
                refused.get_or_insert(failed("list", &path, "list")(error));
                continue;
            }
            Err(error) if number > 0 && !matches!(error, Error::TokenRejected | Error::TokenBarred) => {
                let why = match error {
                    Error::Forbidden(_) => format!("that needs the capability list on {path}"),
                    error => failed("list", &path, "list")(error).message,
                };
                hints.push(format!("{folder} are not listed: {why}"));
                continue;
            }
            Err(Error::NoRoute) if is_auth && kind.is_none() => {
                return Err(ToolError::new(
                    ErrorCode::NotFound,
                    format!(
                        "Vault has nothing at {path}: no auth method is mounted there, or it calls its roles otherwise"
                    ),
                )
                .with_argument("mount")
                .with_remedy("list_vault_auth_methods tells the methods that the token sees, and their types"));
            }
            outcome => outcome.map_err(failed("list", &path, "list"))?,
        };
        let prefix = if number > 0 { format!("{folder}/") } else { String::new() };
        looked.push(format!("{}/{folder}", mount.join("/")));
        let (found, unread, cut) = unfolded(&vault, &call, listed, &mut lists, &context).await;
        names.extend(found.into_iter().map(|name| format!("{prefix}{name}")));
        if cut {
            hints.push(MORE_NAMES.to_owned());
        }
        if unread {
            hints.push(format!("names of {folder} that end in a slash are folders of roles that were not looked into"));
        }
    }
    match refused {
        Some(refused) if looked.is_empty() => return Err(refused),
        _ if names.is_empty() => hints.push(format!("nothing is listed at {}", looked.join(", "))),
        _ => {}
    }
    let page = input.page.cut(names, String::as_str)?;
    Ok(hints.into_iter().fold(page, Page::with_hint))
}

/// The names of a list, with what is in folders in the place of these (hashicorp/vault#27203: roles of `ldap` may lie
/// in some). Says whether any was not looked into, and whether there may be more names in one that was.
async fn unfolded(
    vault: &Vault,
    list: &Call,
    listed: Listed,
    lists: &mut usize,
    context: &CallContext,
) -> (Vec<String>, bool, bool) {
    let (mut found, mut unread, mut cut) = (Vec::new(), false, listed.cut);
    let mut folders = VecDeque::from([(String::new(), listed.names)]);
    while let Some((above, names)) = folders.pop_front() {
        for name in names {
            let path = format!("{above}{name}");
            if !name.ends_with('/') {
                found.push(path);
                continue;
            }
            *lists += 1;
            let below = if *lists <= MAX_FOLDERS {
                vault.session.list(&list.below(&path), MAX_PAGES, context.deadline).await.ok()
            } else {
                None
            };
            if let Some(below) = below.filter(|below| !below.names.is_empty()) {
                cut |= below.cut;
                folders.push_back((path, below.names));
            } else {
                unread = true;
                found.push(path);
            }
        }
    }
    (found, unread, cut)
}

/// Where an engine or auth method of a type keeps what its credentials or logins are made by: its roles first, then what there
/// is beside them. None for one that has nothing of the kind. By the API references of each
/// (developer.hashicorp.com/vault/api-docs); a type that isn't named here is asked as most call them. Those with `ns_`
/// in front are of namespaces (OpenBao: `routing.go`).
fn role_folders(is_auth: bool, kind: &str) -> Option<&'static [&'static str]> {
    Some(match (is_auth, kind) {
        (true, "userpass" | "radius" | "okta") => &["users"],
        (true, "ldap") => &["users", "groups"],
        (true, "cert") => &["certs"],
        (true, "kerberos") => &["groups"],
        (true, "github") => &["map/teams", "map/users"],
        (true, "aws" | "gcp" | "token" | "ns_token" | "cf" | "pcf")
        | (false, "azure" | "pki" | "ssh" | "consul" | "kubernetes" | "rabbitmq" | "ad" | "mongodbatlas") => &["roles"],
        (true, _) | (false, "nomad" | "alicloud" | "terraform" | "transform") => &["role"],
        (false, "database" | "aws") => &["roles", "static-roles"],
        (false, "ldap" | "openldap") => &["role", "static-role"],
        (false, "gcp") => &["rolesets", "static-accounts", "impersonated-accounts"],
        (false, "identity" | "ns_identity") => &["oidc/role"],
        (
            false,
            "kv" | "generic" | "cubbyhole" | "ns_cubbyhole" | "system" | "ns_system" | "transit" | "totp" | "gcpkms"
            | "keymgmt" | "kmip" | "",
        ) => return None,
        (false, _) => USUAL,
    })
}
