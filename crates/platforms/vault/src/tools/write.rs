//! `write_vault_secret`: writes keys of a secret, with values that are given or that are generated on the way, so that
//! they need not pass through an agent. No value is ever answered.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    failed,
    keeping::{Keeping, Pruned},
    mutation, secrets,
};
use crate::{
    Vault,
    client::{Call, Error},
    paths::{KvVersion, Location, segments},
    wire,
};
use kit::args::yes;
use outbound::RequestError;
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};
use vault_api::numbers::{self, may_be_rounded};

/// Keys of one call.
const MAX_KEYS: usize = 100;
/// Bytes of the given values, as JSON.
const MAX_DATA: usize = 256 * 1024;
/// Characters of a value that is generated here. Their number divides no power of two, so bytes are drawn anew.
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

const WRITE: ToolDeclaration = ToolDeclaration::destroy(
    "write_vault_secret",
    "Write a secret",
    "Writes keys of a secret in a KV engine. With patch (the default) other keys stay; without it the \
                  secret is replaced. generate lets a value be made up on the way, so that it never passes through \
                  you. On KV version 2 it makes a new version, and refuses if the secret has changed in between. \
                  Never answers values.",
);

/// Arguments of `write_vault_secret`.
#[derive(Deserialize, JsonSchema)]
struct WriteInput {
    /// The mount followed by the path in it, without `data/`, such as `secret/apps/web`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Mount, if it should not be found by the path; `path` is then the path in it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    mount: Option<String>,
    /// Keys with their values. With patch, null removes a key.
    #[serde(default)]
    data: Map<String, Value>,
    /// Keys whose values are generated.
    #[serde(default)]
    generate: BTreeMap<String, Generate>,
    /// Version that the secret must have now (KV version 2); 0 for a secret that must not exist. Left out, the version
    /// that is there when the tool begins.
    #[serde(default)]
    cas: Option<u64>,
    /// Whether keys that are not named stay. KV version 1 can only replace: false must be said there.
    #[serde(default = "yes")]
    patch: bool,
}

/// How a value is generated.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Generate {
    /// Name of a password policy of Vault, which then generates it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    policy: Option<String>,
    /// Length of a value of letters and digits, 16 to 256; 32 if left out. Not with policy.
    #[serde(default)]
    #[schemars(range(min = 16, max = 256))]
    length: Option<usize>,
}

/// What was written.
#[derive(Serialize, JsonSchema)]
struct Written {
    /// Mount.
    mount: String,
    /// Path in the mount.
    path: String,
    /// Version that was made (KV version 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// When Vault will delete that version by itself (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    /// Keys that were written; with patch, `a/b` for the key b in a, beside which the others stay.
    keys: Vec<String>,
    /// Keys that were removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
}

/// What is at the path now.
struct Current {
    /// Newest version; 0 if there is none.
    version: u64,
    /// Names of the keys, if the newest version can be read.
    keys: Option<Vec<String>>,
}

pub(super) fn entries(vault: &Arc<Vault>) -> Vec<ToolEntry> {
    vec![mutation(vault, WRITE, preview, write)]
}

impl WriteInput {
    fn patches(&self) -> bool {
        self.patch
    }

    async fn locate(&self, vault: &Vault, context: &CallContext) -> Result<Location, ToolError> {
        self.check()?;
        let location = vault.locate_now(&self.path, self.mount.as_deref(), context.deadline).await?;
        vault.rules.check(&location)?;
        if location.version == KvVersion::One {
            if self.patches() {
                return Err(ToolError::invalid_argument(
                    "a KV engine of version 1 can't change single keys: the whole secret is replaced",
                )
                .with_argument("patch")
                .with_remedy("set patch to false, and give every key that the secret shall have"));
            }
            if self.cas.is_some() {
                return Err(
                    ToolError::invalid_argument("a KV engine of version 1 keeps no versions").with_argument("cas")
                );
            }
        }
        self.check_numbers(location.version)?;
        Ok(location)
    }

    /// Refuses to make a secret in a folder `data/` of the engine, which is where a path as the API has it leads
    /// (mitodl/ol-infrastructure#4575). With `mount` it is clear what is meant.
    fn refuse_the_apis_path(&self, location: &Location, newest: Option<u64>) -> Result<(), ToolError> {
        match location.path.split_first() {
            Some((kind, rest)) if location.is_like_api() && newest == Some(0) && self.mount.is_none() => {
                let Location { mount, .. } = location;
                let meant = rest.join("/");
                Err(ToolError::invalid_argument(format!(
                    "there is no secret at {}, and {kind}/ is what paths of the API have there, which the tools add",
                    location.full()
                ))
                .with_argument("path")
                .with_remedy(format!(
                    "leave {kind}/ out of the path: {mount}/{meant}; if a folder of that name is meant, pass mount: \
                     {mount}, and path without it"
                )))
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), ToolError> {
        let count = self.data.len() + self.generate.len();
        if count == 0 || count > MAX_KEYS {
            let message = format!("data and generate must name 1 to {MAX_KEYS} keys together");
            return Err(ToolError::invalid_argument(message).with_argument("data"));
        }
        if let Some(key) = self.generate.keys().find(|key| self.data.contains_key(*key)) {
            return Err(ToolError::invalid_argument(format!("the key {key:?} stands in data and in generate"))
                .with_argument("generate"));
        }
        if self.data.keys().chain(self.generate.keys()).any(|key| key.is_empty() || key.len() > 256) {
            return Err(ToolError::invalid_argument("a key must have 1 to 256 characters").with_argument("data"));
        }
        if !self.patches() && self.data.values().any(Value::is_null) {
            return Err(
                ToolError::invalid_argument("null removes a key, which only patch can do").with_argument("data")
            );
        }
        if serde_json::to_vec(&self.data).map_or(usize::MAX, |bytes| bytes.len()) > MAX_DATA {
            return Err(
                ToolError::invalid_argument(format!("data is larger than {MAX_DATA} bytes")).with_argument("data")
            );
        }
        for (key, generate) in &self.generate {
            let wrong = |what: &str| {
                Err(ToolError::invalid_argument(format!("generate of {key:?}: {what}")).with_argument("generate"))
            };
            match (&generate.policy, generate.length) {
                (Some(_), Some(_)) => return wrong("a policy decides about the length itself"),
                (None, Some(length)) if !(16..=256).contains(&length) => return wrong("length must be from 16 to 256"),
                (Some(policy), None) => {
                    segments("generate", policy)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A number that comes as a float may have had more digits, and one of version 2 is answered as a float.
    fn check_numbers(&self, version: KvVersion) -> Result<(), ToolError> {
        let is_whole = |number: &str| number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok();
        let is_kept = |number: &str| !may_be_rounded(number) || (version == KvVersion::One && is_whole(number));
        match self.data.iter().find(|(_, value)| !numbers::all(&value.to_string(), &is_kept)) {
            None => Ok(()),
            Some((key, _)) => {
                let message =
                    format!("{key:?} has a number with more digits than is kept on the way to Vault and back");
                Err(ToolError::invalid_argument(message).with_argument("data").with_remedy("give it as a text"))
            }
        }
    }

    /// The keys that are written and those that are removed. A patch goes into objects (RFC 7396): of one, its keys are told.
    fn keys(&self) -> (Vec<String>, Vec<String>) {
        let (mut written, mut removed) = (self.generate.keys().cloned().collect(), Vec::new());
        name_leaves(&self.data, "", self.patch, &mut written, &mut removed);
        written.sort();
        (written, removed)
    }
}

fn name_leaves(
    data: &Map<String, Value>,
    above: &str,
    goes_in: bool,
    written: &mut Vec<String>,
    removed: &mut Vec<String>,
) {
    for (key, value) in data {
        let name = format!("{above}{key}");
        match value {
            Value::Object(keys) if goes_in && !keys.is_empty() => {
                name_leaves(keys, &format!("{name}/"), goes_in, written, removed);
            }
            Value::Null if goes_in => removed.push(name),
            _ => written.push(name),
        }
    }
}

/// What a patch makes where nothing is yet: all that it doesn't remove.
fn without_nulls(data: &mut Map<String, Value>) {
    data.retain(|_, value| !value.is_null());
    data.values_mut().filter_map(Value::as_object_mut).for_each(without_nulls);
}

/// Names, as many as are worth reading.
fn join<T: AsRef<str>>(names: &[T]) -> String {
    let told = names.iter().take(MAX_KEYS).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > MAX_KEYS { format!("{told} and {} more", names.len() - MAX_KEYS) } else { told }
}

async fn preview(vault: Arc<Vault>, input: WriteInput, context: CallContext) -> Result<Preview, ToolError> {
    let location = input.locate(&vault, &context).await?;
    let current = current(&vault, &location, &context).await?;
    input.refuse_the_apis_path(&location, current.as_ref().map(|current| current.version))?;
    if let (Some(expected), Some(current)) = (input.cas, &current)
        && expected != current.version
    {
        return Err(outrun(&location, expected, Some(current)));
    }
    let (written, removed) = input.keys();
    let and_remove = if removed.is_empty() { String::new() } else { format!(" and remove {}", join(&removed)) };
    let how = if input.patches() { "write the keys" } else { "replace the secret by the keys" };
    let is_patched = current.as_ref().is_none_or(|current| current.keys.is_some());
    let is_inner = |name: &String| !input.data.contains_key(name) && !input.generate.contains_key(name);
    let goes_in = is_patched && written.iter().chain(&removed).any(is_inner);
    let beside = if goes_in { ", beside which the other keys in the same object stay" } else { "" };
    let left_out: Vec<&String> = current
        .iter()
        .flat_map(|current| current.keys.iter().flatten())
        .filter(|key| !input.patches() && !written.contains(key))
        .collect();
    let newest = current.as_ref().map(|current| current.version);
    let (pruned, ends, unseen) = match location.version {
        KvVersion::One => (Pruned::UpTo(0, 0), None, String::new()),
        KvVersion::Two => {
            let keeping = Keeping::ask(&vault, &location, &context).await;
            (keeping.pruned(newest), keeping.ends(), keeping.unseen())
        }
    };
    let lost = match (location.version, left_out.as_slice(), &pruned) {
        (_, [], _) => String::new(),
        (KvVersion::One, names, _) => format!("; lost for good: {}", join(names)),
        (_, names, Pruned::UpTo(last, _)) if Some(*last) >= newest => format!("; lost for good: {}", join(names)),
        (_, names, Pruned::Maybe(last)) if Some(*last) >= newest => {
            format!("; only in older versions from then on, if Vault keeps any: {}", join(names))
        }
        (_, names, _) => format!("; only in older versions from then on: {}", join(names)),
    };
    let ends = ends.map(|after| format!("; Vault deletes the new version by itself {after}")).unwrap_or_default();
    let state = match &current {
        Some(current) => json!({
            "version": (location.version == KvVersion::Two).then_some(current.version),
            "keys": current.keys,
        }),
        None => json!({ "unknown": "the token's policies don't permit to read what is there" }),
    };
    // A patch needs a version that can be read; over another one, it is a version of its own.
    let unpatched = match &current {
        Some(Current { version, keys: None }) if input.patches() && *version > 0 => format!(
            "; the newest version, {version}, is deleted or destroyed, so none of its keys stay: the new version has only \
             these"
        ),
        _ => String::new(),
    };
    let (written, full, pruned) = (join(&written), location.full(), pruned.in_words(&unseen));
    Ok(Preview {
        would: format!("{how} {written}{and_remove} at {full}{beside}{lost}{pruned}{ends}{unpatched}"),
        state,
    })
}

async fn write(vault: Arc<Vault>, input: WriteInput, context: CallContext) -> Result<Written, ToolError> {
    let location = input.locate(&vault, &context).await?;
    let (written, removed) = input.keys();
    let expected = match (location.version, input.cas) {
        (KvVersion::One, _) => None,
        (KvVersion::Two, Some(cas)) => Some((cas, None)),
        (KvVersion::Two, None) => {
            current(&vault, &location, &context).await?.map(|current| (current.version, Some(current.keys.is_some())))
        }
    };
    input.refuse_the_apis_path(&location, expected.map(|(version, _)| version))?;
    let mut data = input.data;
    for (key, generate) in &input.generate {
        data.insert(key.clone(), Value::String(generated(&vault, generate, &context).await?));
    }
    let path = location.api("data").join("/");
    let patches = input.patch;
    // A patch needs a version that can be read: without one, the keys are all that there will be.
    let patches_something = patches && !matches!(expected, Some((0, _) | (_, Some(false))));
    let call = match location.version {
        KvVersion::One => Call::post(location.api("data"), Value::Object(data)),
        KvVersion::Two => {
            let options = expected.map_or_else(|| json!({}), |(version, _)| json!({ "cas": version }));
            if patches_something {
                Call::patch(location.api("data"), json!({ "data": data, "options": options }))
            } else {
                if patches {
                    without_nulls(&mut data);
                }
                Call::post(location.api("data"), json!({ "data": data, "options": options }))
            }
        }
    };
    let capability = if patches_something && location.version == KvVersion::Two { "patch" } else { "update" };
    let answer: Result<Option<wire::Envelope<wire::VersionInfo>>, Error> =
        vault.session.call(&call, context.deadline).await;
    if let (Err(Error::CasMismatch), Some((expected, _))) = (&answer, expected) {
        let now = current(&vault, &location, &context).await.ok().flatten();
        return Err(outrun(&location, expected, now.as_ref()));
    }
    let answer = answer.map_err(|error| match error {
        Error::NotFound if patches_something => ToolError::new(
            ErrorCode::NotFound,
            format!("there is no readable version at {} that could be patched", location.full()),
        )
        .with_argument("path")
        .with_remedy("set patch to false to write the secret anew"),
        // The method came with Vault 1.9 (hashicorp/vault#13502).
        Error::Unsupported if patches_something => ToolError::invalid_argument(
            "this Vault takes no patch of a secret, which came with 1.9; nothing was written",
        )
        .with_argument("patch")
        .with_remedy("set patch to false, and give every key that the secret shall have"),
        error => failed("write", &path, capability)(error),
    })?;
    let made = answer.and_then(|envelope| envelope.data);
    let ends_at = made.as_ref().and_then(|info| info.ends_at()).map(ToOwned::to_owned);
    let version = made.map(|info| info.version).filter(|version| *version > 0);
    // Version 2 answers the version that it made, version 1 nothing at all (`path_data.go` and `passthrough.go` of the
    // engine). Another answer is one of an engine that was made anew in between: the write is somewhere else.
    if version.is_some() != (location.version == KvVersion::Two) {
        return Err(ToolError::new(
            ErrorCode::OutcomeUnread,
            format!(
                "Vault took a write to {}, but not as a KV engine of version {} answers one: whether the secret has the keys \
                 is not known",
                location.full(),
                location.version.number()
            ),
        )
        .with_remedy(
            "look with list_vault_mounts whether the engine has another version now, and with read_vault_secret at the secret",
        ));
    }
    Ok(Written { path: location.path(), mount: location.mount, version, ends_at, keys: written, removed })
}

/// Somebody else wrote in between: nothing is written, and the caller learns by which version, where that can be read.
fn outrun(location: &Location, expected: u64, now: Option<&Current>) -> ToolError {
    let mut error = failed("write", &location.full(), "update")(Error::CasMismatch);
    match now.map(|now| now.version).filter(|now| *now != expected) {
        Some(0) => error.message = format!("the call expects version {expected} of the secret, and there is none now"),
        Some(now) => {
            error.message = format!("the call expects version {expected} of the secret, which has version {now} now");
        }
        None => {}
    }
    error
}

/// What is at a path; none if the token's policies don't permit to know.
async fn current(vault: &Vault, location: &Location, context: &CallContext) -> Result<Option<Current>, ToolError> {
    match secrets::tree(vault, location, (None, 1), true, context).await {
        Ok(tree) => Ok(Some(Current {
            version: tree.version.as_ref().map_or(0, |version| version.version),
            keys: Some(tree.names()),
        })),
        Err((_, Error::NotFound)) => Ok(Some(Current { version: 0, keys: None })),
        Err((_, Error::VersionGone(gone))) => Ok(Some(Current { version: gone.version, keys: None })),
        Err((_, Error::Forbidden(_))) => Ok(None),
        Err((kind, error)) => Err(failed("read", &location.api(kind).join("/"), "read")(error)),
    }
}

async fn generated(vault: &Vault, generate: &Generate, context: &CallContext) -> Result<String, ToolError> {
    let Some(policy) = &generate.policy else { return random(generate.length.unwrap_or(32)) };
    let name = segments("generate", policy)?;
    let path = ["sys", "policies", "password"].into_iter().chain(name.iter().map(String::as_str)).chain(["generate"]);
    let call = Call::get(path);
    let path = call.policy_path();
    let made: wire::Password = vault.session.data(&call, context.deadline).await.map_err(|error| match error {
        Error::NotFound => ToolError::new(ErrorCode::NotFound, format!("Vault has no password policy {policy:?}"))
            .with_argument("generate"),
        error => failed("generate by", &path, "read")(error),
    })?;
    if made.password.is_empty() {
        return Err(failed("generate by", &path, "read")(Error::Request(RequestError::unreadable("data"))));
    }
    Ok(made.password)
}

/// Letters and digits, each as likely as the other: 5.95 bits a character.
fn random(length: usize) -> Result<String, ToolError> {
    let mut text = String::with_capacity(length);
    let mut bytes = [0_u8; 64];
    while text.len() < length {
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ToolError::internal("the system gives no random numbers"))?;
        // 248 is four times 62: what lies above would make some characters likelier.
        let usable = bytes.iter().filter(|byte| **byte < 248);
        let characters = usable.filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
        text.extend(characters.take(length - text.len()).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_have_the_length_and_every_character() {
        let mut seen = std::collections::BTreeSet::new();
        for length in [16, 32, 256] {
            for _ in 0..30 {
                let text = random(length).unwrap();
                assert_eq!(text.len(), length);
                seen.extend(text.bytes());
            }
        }
        assert_eq!(seen.len(), ALPHABET.len());
        assert_ne!(random(32), random(32));
    }
}
