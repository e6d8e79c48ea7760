//! `get_argocd_manifests`: what Git says, rendered.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use super::{AppArgs, ROOM_FOR_THE_REST, may_be_secret, names_of, part, read};
use crate::{ArgoCd, text};
use kit::args::PageArgs;
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Bytes of one answer.
const MAX_BYTES: usize = 64 * 1024;
/// What stands for a value of a Secret.
const MASK: &str = "++++++++";

const MANIFESTS: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_manifests",
    "Manifests of an application",
    "Answers the manifests that Git says for an application, rendered by Helm, Kustomize or a plugin, at the revision \
     that it follows or at another one. Values of Secrets are masked.",
);

/// Arguments of `get_argocd_manifests`.
#[derive(Deserialize, JsonSchema)]
struct ManifestsInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Revision: a commit, branch, tag or chart version. Left out, the one that the application follows. Not for an
    /// application with a list of sources.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    revision: Option<String>,
    /// Only manifests of this kind.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    kind: Option<String>,
    #[serde(flatten)]
    page: PageArgs<50, 50>,
}

/// What Git says.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Rendered {
    /// Revision that was rendered.
    revision: Option<String>,
    /// What renders them: `Helm`, `Kustomize`, `Directory` or `Plugin`.
    source_type: Option<String>,
    /// The manifests.
    manifests: Vec<Value>,
    /// Whether manifests were left out.
    truncated: bool,
    /// Pass this as `cursor` to go on; absent at the end.
    next_cursor: Option<String>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, MANIFESTS, manifests)]
}

async fn manifests(argocd: Arc<ArgoCd>, input: ManifestsInput, context: CallContext) -> Result<Rendered, ToolError> {
    let limit = input.page.limit();
    let target = input.app.target(&argocd)?;
    if input.revision.is_some() {
        argocd.check_takes_revision(&target, "revision", &context).await?;
    }
    let found = argocd.fetch_rendering(&target, input.revision.as_ref(), &context).await?;
    let parsed: Vec<Value> = found.manifests.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let unread = found.manifests.len() - parsed.len();
    let kind = |manifest: &Value| manifest.get("kind").and_then(Value::as_str).map(ToOwned::to_owned);
    let wanted: Vec<(String, Value)> = parsed
        .into_iter()
        .filter(|manifest| input.kind.is_none() || kind(manifest) == input.kind)
        .map(|manifest| (names_of(&manifest).join("/"), mask(manifest)))
        .collect();
    let count = wanted.len();
    let room = MAX_BYTES.min(context.max_result_bytes.saturating_sub(ROOM_FOR_THE_REST));
    let part = part(wanted, str::cmp, input.page.cursor(), limit, room)?;
    let truncated = part.is_cut();
    let mut hints = part.hints;
    if unread > 0 {
        hints.push(format!("{unread} manifests can't be read, and are left out"));
    }
    if count == 0 {
        hints.push("Git names none that match".to_owned());
    } else if truncated {
        hints.push(format!("there are {count}; go on with next_cursor, or narrow it by kind"));
    }
    Ok(Rendered {
        revision: text::optional(&found.revision),
        source_type: text::optional(&found.source_type),
        manifests: part.entries,
        truncated,
        next_cursor: part.next_cursor,
        hints,
    })
}

/// Masks a Secret's values, whether or not Argo CD has done it, and the copy of them that kubectl keeps. Objects of
/// other kinds stay as they are.
fn mask(mut manifest: Value) -> Value {
    if !may_be_secret(manifest.get("kind").and_then(Value::as_str).unwrap_or_default()) {
        return manifest;
    }
    for field in ["data", "stringData"] {
        if let Some(values) = manifest.get_mut(field).and_then(Value::as_object_mut) {
            values.values_mut().for_each(|value| *value = MASK.into());
        } else if let Some(value) = manifest.get_mut(field) {
            *value = MASK.into();
        }
    }
    if let Some(annotations) = manifest.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    manifest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_shows_its_keys_only() {
        let manifest = json!({
            "kind": "Secret",
            "metadata": { "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "planted", "a": "b" } },
            "data": { "password": "planted" },
            "stringData": "planted",
        });
        let mut unknown = manifest.clone();
        unknown["kind"] = Value::Null;
        assert!(!mask(unknown).to_string().contains("planted"));
        let masked = mask(manifest).to_string();
        assert!(
            masked.contains("password") && masked.contains("\"a\":\"b\"") && !masked.contains("planted"),
            "{masked}"
        );
    }
}
