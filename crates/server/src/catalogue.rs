//! The tools that this connector offers: what the platform has, less what the manifest hides, with the definitions that
//! agents see.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::{
    access::{Access, Rights},
    guards::deadline,
    text::canonical_json,
};
use api::{
    connector::{Mutations, OutputSchemas},
    duration::ApiDuration,
    pattern::NamePattern,
};
use pod_api::config::ToolsConfig;
use tools::{Behavior, Effect, ToolEntry, publish};

/// Argument with which a tool that changes something is told to do it.
pub const CONFIRM: &str = "confirm";
/// Argument that names what was announced.
pub const PLAN: &str = "plan";
/// Argument that names one act, so that it is not done twice.
pub const IDEMPOTENCY_KEY: &str = "idempotency_key";
/// Argument with which a caller says that a kept answer will not do.
pub const CACHE: &str = "cache";

/// Why the tools can't be offered.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A schema is wrong.
    #[error("failed to compile the input schema of {tool}: {cause}")]
    CompileSchema {
        /// The tool.
        tool: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// Two tools have one name.
    #[error("two tools are named {0}")]
    DuplicateName(&'static str),
    /// An argument has the name of one that the server adds.
    #[error("{tool} has an argument {argument}, which the server adds itself")]
    ReservedArgument {
        /// The tool.
        tool: &'static str,
        /// The argument.
        argument: &'static str,
    },
}

/// A tool that is offered.
pub struct OfferedTool {
    /// The tool as the platform wrote it.
    pub entry: ToolEntry,
    /// Its definition as agents see it.
    pub definition: Tool,
    /// Checks its arguments, more strictly than the definition tells: not every client can hold every bound.
    pub validator: jsonschema::Validator,
    /// Names of its arguments.
    pub parameters: Vec<String>,
    /// Whether it does nothing without `confirm: true`.
    pub confirmed: bool,
    /// How long its answers are kept; not at all, if there is no time.
    pub kept_for: Option<Duration>,
    /// How long its answers are given to every caller; not at all, if there is no time.
    pub shared_for: Option<Duration>,
    /// For a tool that waits for as long as its caller says: how long it waits if nothing is said.
    pub waits: Option<Duration>,
}

impl OfferedTool {
    /// Whether it changes something.
    #[must_use]
    pub fn mutates(&self) -> bool {
        mutates(&self.entry)
    }
}

/// The tools.
pub struct Catalogue {
    offered: BTreeMap<String, Arc<OfferedTool>>,
    /// Full names of tools that would be offered if mutations were, with their names without the prefix.
    read_only_hides: BTreeMap<String, &'static str>,
    /// For each [`Rights`], by their index.
    lists: Vec<Arc<[Tool]>>,
    digest: String,
}

impl Catalogue {
    /// Puts the catalogue together. `cache` says whether answers are kept.
    ///
    /// # Errors
    /// When a platform's tool can't be offered, which is a fault of this program.
    pub fn new(
        entries: Vec<ToolEntry>,
        config: &ToolsConfig,
        access: &Access,
        cache: bool,
    ) -> Result<Self, CatalogueError> {
        let mut offered = BTreeMap::new();
        let mut read_only_hides = BTreeMap::new();
        for entry in entries {
            let declared = &entry.declaration;
            if !is_allowed(config, declared.name, declared.off_by_default) {
                continue;
            }
            let name = format!("{}{}", config.prefix, declared.name);
            if mutates(&entry) && config.mutations == Mutations::ReadOnly {
                read_only_hides.insert(name, declared.name);
                continue;
            }
            let bare = declared.name;
            if offered.insert(name.clone(), Arc::new(offer(entry, name, config.output_schemas, cache)?)).is_some() {
                return Err(CatalogueError::DuplicateName(bare));
            }
        }
        let definitions: Vec<Value> =
            offered.values().map(|tool| serde_json::to_value(&tool.definition).unwrap_or_default()).collect();
        let digest = digest::digest(&digest::SHA256, canonical_json(&Value::Array(definitions)).as_bytes());
        let list = |rights: &Arc<Rights>| {
            let visible = |tool: &&Arc<OfferedTool>| rights.allow(tool.entry.declaration.name, tool.mutates());
            offered.values().filter(visible).map(|tool| tool.definition.clone()).collect()
        };
        let lists = access.every().map(list).collect();
        let digest = format!("sha256:{}", hex::encode(digest.as_ref()));
        Ok(Self { offered, read_only_hides, lists, digest })
    }

    /// The tools that a caller with these rights may use, in the order of their names.
    #[must_use]
    pub fn list(&self, rights: &Rights) -> Arc<[Tool]> {
        self.lists.get(rights.index).cloned().unwrap_or_default()
    }

    /// An offered tool, whoever may use it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<OfferedTool>> {
        self.offered.get(name)
    }

    /// The names of the offered tools, without the prefix.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.offered.values().map(|tool| tool.entry.declaration.name)
    }

    /// The name without the prefix of a tool that is not offered only because mutations aren't.
    #[must_use]
    pub fn hidden_by_read_only(&self, name: &str) -> Option<&'static str> {
        self.read_only_hides.get(name).copied()
    }

    /// Number of tools that a caller with every right is offered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offered.len()
    }

    /// Whether no tool is offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offered.is_empty()
    }

    /// Digest of the definitions: `sha256:` and 64 hex digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

fn mutates(entry: &ToolEntry) -> bool {
    entry.declaration.effect != Effect::Read || matches!(entry.behavior, Behavior::Mutation { .. })
}

fn is_allowed(config: &ToolsConfig, name: &str, off_by_default: bool) -> bool {
    let matches = |pattern: &NamePattern| pattern.matches(name) && (!off_by_default || pattern.is_exact());
    config.allow.iter().any(matches) && !config.deny.iter().any(|pattern| pattern.matches(name))
}

fn offer(entry: ToolEntry, name: String, answers: OutputSchemas, cache: bool) -> Result<OfferedTool, CatalogueError> {
    let declared = entry.declaration;
    let confirmed = matches!(entry.behavior, Behavior::Mutation { .. });
    let kept_for = declared.cached.filter(|_| cache && !mutates(&entry) && !declared.sensitive);
    let shared_for = declared.shared.filter(|_| cache && !mutates(&entry) && !declared.sensitive);
    let mut input = (*entry.input_schema).clone();
    let added =
        [confirmed.then(build_confirmation), kept_for.map(|age| build_cache_control(age, declared.cached_if_final))];
    add_arguments(&mut input, declared.name, added.into_iter().flatten().flatten())?;
    let (told, answer) = if entry.as_written {
        (input.clone(), (*entry.output_schema).clone())
    } else {
        (publish::arguments(&input), publish::answer(&entry.output_schema))
    };
    let output = if confirmed { build_mutation_output(&answer) } else { answer };
    let description = if confirmed {
        Cow::Owned(format!(
            "{} Without confirm: true it changes nothing and answers what it would do, with a plan; pass that plan \
             together with confirm: true to do exactly this.",
            declared.description
        ))
    } else {
        Cow::Borrowed(declared.description)
    };
    let parameters =
        input.get("properties").and_then(Value::as_object).map(|map| map.keys().cloned().collect()).unwrap_or_default();
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .build(&Value::Object(input.clone()))
        .map_err(|error| CatalogueError::CompileSchema { tool: declared.name, cause: error.to_string() })?;
    let annotations = ToolAnnotations::from_raw(
        Some(declared.title.to_owned()),
        Some(declared.effect == Effect::Read),
        Some(declared.effect == Effect::Destroy),
        Some(declared.idempotent || declared.effect == Effect::Read),
        // A platform is a closed world with respect to the agent, but its content comes from anybody.
        Some(true),
    );
    let definition =
        Tool::new(name, description, Arc::new(told)).with_title(declared.title).with_annotations(annotations);
    let definition = match answers {
        OutputSchemas::Publish => definition.with_raw_output_schema(Arc::new(output)),
        OutputSchemas::Omit => definition,
    };
    let waits = deadline::waits(&input);
    Ok(OfferedTool { entry, definition, validator, parameters, confirmed, kept_for, shared_for, waits })
}

/// An argument that the server adds, and its schema.
type Added = (&'static str, Value);

/// The arguments of the confirmation.
fn build_confirmation() -> Vec<Added> {
    let confirm = json!({
        "type": "boolean",
        "default": false,
        "description": "true does it; false, or leaving it out, answers what would be done.",
    });
    let plan = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
        "description": "The plan of the answer that said what would be done. With it, nothing is done if the state has \
                        changed since.",
    });
    let key = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 128,
        "description": "A name of your own for this one act. Repeat it, together with the plan, if you make the call again \
                        because you don't know what became of it: within ten minutes it is done once. Without the plan, \
                        another replica of this server might do it again.",
    });
    vec![(CONFIRM, confirm), (PLAN, plan), (IDEMPOTENCY_KEY, key)]
}

/// The argument of tools whose answers are kept for a time.
fn build_cache_control(kept_for: Duration, if_final: bool) -> Vec<Added> {
    let about = if if_final { " about what changes no more" } else { "" };
    let description = format!(
        "false asks the platform. Otherwise an answer of the last {}{about} may be given again; its age stands in _meta.",
        ApiDuration(kept_for)
    );
    vec![(CACHE, json!({ "type": "boolean", "default": true, "description": description }))]
}

fn add_arguments(
    schema: &mut Map<String, Value>,
    tool: &'static str,
    added: impl Iterator<Item = Added>,
) -> Result<(), CatalogueError> {
    for (argument, description) in added {
        let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(properties) = properties
            && properties.insert(argument.to_owned(), description).is_some()
        {
            return Err(CatalogueError::ReservedArgument { tool, argument });
        }
    }
    Ok(())
}

/// The answer's schema of a tool that changes something, as it is published.
fn build_mutation_output(result: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert(
        "properties".to_owned(),
        json!({
            "applied": { "type": "boolean", "description": "Whether it was done." },
            "would": { "type": "string", "description": "What would be done; absent if it was done." },
            "plan": { "type": "string", "description": "Names what would be done, to whom and in which state." },
            "state": { "description": "The state that it would be done to." },
            "result": result,
            "replayed": {
                "type": "boolean",
                "description": "true if this is the answer of the same call made before; nothing was done now.",
            },
        }),
    );
    schema.insert("required".to_owned(), json!(["applied"]));
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use pod_api::config::AccessConfig;

    fn catalogue(mutations: Mutations, allow: &[&str], deny: &[&str], prefix: &str) -> Catalogue {
        let patterns = |patterns: &[&str]| patterns.iter().map(|p| NamePattern((*p).to_owned())).collect();
        let prefix = prefix.to_owned();
        build(&ToolsConfig {
            mutations,
            allow: patterns(allow),
            deny: patterns(deny),
            prefix,
            ..testing::tools_config()
        })
    }

    fn build(config: &ToolsConfig) -> Catalogue {
        let access = Access::new(&AccessConfig { anonymous: true, allow: vec![], audiences: vec![] });
        Catalogue::new(testing::FakePlatform::default().entries(), config, &access, true).unwrap()
    }

    fn names(catalogue: &Catalogue) -> Vec<&str> {
        catalogue.offered.keys().map(String::as_str).collect()
    }

    #[test]
    fn the_manifest_decides_what_is_offered() {
        let all = ["delete_fake_thing", "echo_fake_text", "get_fake_thing", "wait_fake_time"];
        assert_eq!(names(&catalogue(Mutations::Confirm, &["*"], &[], "")), all);
        assert_eq!(names(&catalogue(Mutations::ReadOnly, &["*"], &[], "")), all[1..]);
        assert_eq!(
            names(&catalogue(Mutations::Confirm, &["*"], &["*_thing"], "")),
            all[1..=3].iter().filter(|n| !n.ends_with("_thing")).copied().collect::<Vec<_>>()
        );
        assert_eq!(names(&catalogue(Mutations::ReadOnly, &["reveal_*"], &[], "")), Vec::<&str>::new());
        assert_eq!(
            names(&catalogue(Mutations::ReadOnly, &["reveal_fake_secret"], &[], "x_")),
            ["x_reveal_fake_secret"]
        );
    }

    #[test]
    fn read_only_knows_what_it_hides_and_deny_does_not() {
        let hidden = catalogue(Mutations::ReadOnly, &["*"], &[], "x_");
        assert_eq!(hidden.hidden_by_read_only("x_delete_fake_thing"), Some("delete_fake_thing"));
        let denied = catalogue(Mutations::ReadOnly, &["*"], &["delete_*"], "");
        assert_eq!(denied.hidden_by_read_only("delete_fake_thing"), None);
    }

    #[test]
    fn the_digest_follows_what_agents_are_told() {
        let one = catalogue(Mutations::ReadOnly, &["*"], &[], "");
        assert_eq!(one.digest(), catalogue(Mutations::ReadOnly, &["*"], &[], "").digest());
        assert_ne!(one.digest(), catalogue(Mutations::Confirm, &["*"], &[], "").digest());
        assert!(one.digest().starts_with("sha256:") && one.digest().len() == 71);
    }

    #[test]
    fn schemas_of_answers_can_be_left_out_and_nothing_else_changes() {
        let published = build(&testing::tools_config());
        let omitted = build(&ToolsConfig { output_schemas: OutputSchemas::Omit, ..testing::tools_config() });
        for (name, tool) in &published.offered {
            let mut told = tool.definition.clone();
            assert!(told.output_schema.take().is_some(), "{name}");
            assert_eq!(omitted.get(name).unwrap().definition, told);
        }
        assert_ne!(published.digest(), omitted.digest());
    }

    #[test]
    fn agents_see_what_is_published_and_calls_are_checked_with_more() {
        let catalogue = build(&testing::tools_config());
        let tool = catalogue.get("get_fake_thing").unwrap();
        let expected = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "description": "Name of the thing." },
                "color": { "type": "string", "enum": ["red", "blue"] },
                "limit": { "type": "integer", "minimum": 1, "maximum": 100 },
            },
            "required": ["name"],
        });
        assert_eq!(Value::Object((*tool.definition.input_schema).clone()), expected);
        assert!(!tool.validator.is_valid(&json!({ "name": "a", "limit": 101 })));
        let wait = catalogue.get("wait_fake_time").unwrap();
        assert!(!tool.validator.is_valid(&json!({ "name": "a", "more": 1 })), "closed, though it isn't said");
        let nothing = json!({ "type": "object", "properties": {} });
        assert_eq!(Value::Object((*wait.definition.input_schema).clone()), nothing);
    }

    #[test]
    fn a_mutation_is_confirmed_and_its_schemas_say_so() {
        let catalogue = catalogue(Mutations::Confirm, &["*"], &[], "");
        let tool = catalogue.get("delete_fake_thing").unwrap();
        for parameter in [CONFIRM, PLAN, IDEMPOTENCY_KEY] {
            assert!(tool.parameters.iter().any(|name| name == parameter));
        }
        let output = Value::Object((*tool.definition.output_schema.clone().unwrap()).clone());
        let validator = jsonschema::validator_for(&output).unwrap();
        assert!(validator.is_valid(&json!({"applied": true, "result": {"deleted": {"name": "a"}}, "replayed": true})));
        assert!(!validator.is_valid(&json!({"applied": true, "result": {"deleted": 1}})));
        assert!(!validator.is_valid(&json!({"result": {}})));
        let annotations = tool.definition.annotations.clone().unwrap();
        assert_eq!((annotations.read_only_hint, annotations.destructive_hint), (Some(false), Some(true)));
    }
}
