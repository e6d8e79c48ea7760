//! What agents are told of a tool's arguments and answer. Calls are checked with the schemas that are derived from Rust's
//! types; published is the same in the few words that every client and model API takes. A client that meets another word
//! drops the tool, refuses the whole list, or loses a closed list without telling anybody. The table in `clients` says
//! which word each of them doesn't take.

use std::{collections::BTreeSet, mem};

use serde_json::{Map, Value, json};

/// A schema that is an object, as all but `true` and `false` are.
type Node = Map<String, Value>;

/// Length above which a text's is left out: grammars that are made of schemas repeat a rule for each character.
const MAX_LENGTH: u64 = 1_000;
/// Repetitions at which a grammar is refused. Those of a list and of a text in it are multiplied.
pub const MAX_REPETITIONS: u64 = 2_000;
/// Entries of a list from which on their number is left out.
const MAX_ENTRIES: u64 = 500;
/// Examples that are told.
const EXAMPLES: usize = 3;
/// Values of an object that may hold any.
const ANYTHING: &str = "Any value.";
/// Holds what the values of a closed list mean, until the description is put together.
const MEANINGS: &str = "\0meanings";

/// The schema of a tool's arguments as it is published: inline, each value of one type, closed lists as one `enum` with
/// what the values mean in the description, nothing nullable. It leaves out bounds that clients can't hold, so a call that
/// fits it may still be refused; one that fits the given schema fits this one, but for `null` and for values of a second
/// type, which are taken and not told.
#[must_use]
pub fn arguments(schema: &Node) -> Node {
    let mut root = inlined(schema);
    root.insert("type".to_owned(), json!("object"));
    simplify(&mut root);
    root.entry("properties").or_insert_with(|| json!({}));
    finish(&mut root, 1);
    // What the arguments are of says the tool's own description.
    root.remove("description");
    root
}

/// The schema of a tool's answer as it is published: inline, and without formats that only Rust knows.
#[must_use]
pub fn answer(schema: &Node) -> Node {
    let mut root = inlined(schema);
    tidy(&mut root);
    root
}

fn tidy(node: &mut Node) {
    subschemas(node, &mut tidy);
    let format = node.get("format").and_then(Value::as_str).unwrap_or_default();
    if ["int", "uint", "float", "double"].iter().any(|of_numbers| format.starts_with(of_numbers)) {
        node.remove("format");
    }
    for word in ["oneOf", "anyOf"] {
        let forms = node.get(word).and_then(Value::as_array);
        let lists = forms.and_then(|forms| forms.iter().map(|form| values_of(form.as_object()?)).collect());
        if let Some(lists) = lists.filter(|lists: &Vec<Node>| !lists.is_empty()) {
            node.remove(word);
            take(node, closed_list(lists));
        }
    }
    describe(node);
}

/// A form that is one text or a closed list of them, as a closed list.
fn values_of(form: &Node) -> Option<Node> {
    let mut form = form.clone();
    if let Some(only) = form.remove("const") {
        form.insert("enum".to_owned(), json!([only]));
    }
    let is_text = form.get("enum")?.as_array()?.iter().all(Value::is_string);
    is_text.then_some(form)
}

/// Calls `change` with the schemas right below one.
fn subschemas(node: &mut Node, change: &mut dyn FnMut(&mut Node)) {
    for (word, value) in node.iter_mut() {
        match (word.as_str(), value) {
            ("properties" | "patternProperties" | "dependentSchemas", Value::Object(named)) => {
                named.values_mut().filter_map(Value::as_object_mut).for_each(&mut *change);
            }
            (
                "items"
                | "additionalProperties"
                | "unevaluatedProperties"
                | "unevaluatedItems"
                | "propertyNames"
                | "contains"
                | "not"
                | "if"
                | "then"
                | "else",
                Value::Object(one),
            ) => change(one),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(several)) => {
                several.iter_mut().filter_map(Value::as_object_mut).for_each(&mut *change);
            }
            _ => {}
        }
    }
}

/// The schema with each reference replaced by what it refers to.
fn inlined(schema: &Node) -> Node {
    let mut root = schema.clone();
    inline(&mut root, schema, &mut vec!["#".to_owned()]);
    root
}

fn inline(node: &mut Node, root: &Node, open: &mut Vec<String>) {
    for word in ["$schema", "$id", "$comment", "$defs"] {
        node.remove(word);
    }
    let Some(Value::String(reference)) = node.remove("$ref") else {
        subschemas(node, &mut |below| inline(below, root, open));
        return;
    };
    let definition = reference.strip_prefix("#/$defs/").and_then(|name| root.get("$defs")?.get(name)?.as_object());
    let definition = if reference == "#" { Some(root) } else { definition };
    let mut found = definition.cloned().unwrap_or_default();
    if open.contains(&reference) {
        // Here it would begin again and never end, so from here on everything of this type is taken.
        found.retain(|word, _| matches!(word.as_str(), "type" | "description"));
    }
    // What stands beside a reference is about this place.
    found.append(node);
    *node = found;
    open.push(reference);
    inline(node, root, open);
    open.pop();
}

fn type_of(node: &Node) -> Option<&str> {
    node.get("type").and_then(Value::as_str)
}

/// Fills in what another schema says and this one doesn't.
fn take(node: &mut Node, mut other: Node) {
    other.append(node);
    *node = other;
}

/// Says the same in fewer words, from the inside out.
fn simplify(node: &mut Node) {
    if node.get("additionalProperties").and_then(Value::as_object).is_some_and(|values| kinds(values).len() > 1) {
        // Values of several types have no form that all clients take.
        node.insert("additionalProperties".to_owned(), Value::Bool(true));
    }
    subschemas(node, &mut simplify);
    if let Some(Value::Array(parts)) = node.remove("allOf") {
        let parts = parts.into_iter().filter_map(into_node);
        let joined = parts.fold(mem::take(node), |whole, part| join(whole, part, true));
        *node = joined;
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(Value::Array(forms)) = node.remove(word) {
            let forms = forms.into_iter().filter_map(into_node).filter(|form| type_of(form) != Some("null")).collect();
            take(node, choose(forms));
        }
    }
    state_type(node);
    match type_of(node) {
        Some("object") => simplify_object(node),
        Some("array") if !node.get("items").is_some_and(Value::is_object) => {
            node.insert("items".to_owned(), json!({}));
        }
        _ => {}
    }
    let own: &[&str] = match type_of(node) {
        Some("string") => &["minLength", "maxLength", "pattern"],
        Some("integer" | "number") => &["minimum", "maximum"],
        Some("array") => &["items", "minItems", "maxItems"],
        Some("object") => &["properties", "required", "additionalProperties"],
        _ => &[],
    };
    let common = ["type", "description", "enum", "default", "examples", MEANINGS];
    node.retain(|word, _| common.contains(&word.as_str()) || own.contains(&word.as_str()));
    check_default(node);
}

/// The types that a value may have, but for null.
fn kinds(node: &Node) -> BTreeSet<&str> {
    fn own(node: &Node) -> &[Value] {
        match node.get("type") {
            Some(Value::Array(types)) => types,
            Some(kind) => std::slice::from_ref(kind),
            None => &[],
        }
    }
    let forms = ["anyOf", "oneOf"].into_iter().filter_map(|word| node.get(word)?.as_array()).flatten();
    let forms = forms.filter_map(Value::as_object).flat_map(own);
    own(node).iter().chain(forms).filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
}

fn into_node(value: Value) -> Option<Node> {
    match value {
        Value::Object(node) => Some(node),
        _ => None,
    }
}

/// One of several forms that a value may have: all of them, where they are closed lists or objects; otherwise the text,
/// because everything can be written as one, or else the first.
fn choose(mut forms: Vec<Node>) -> Node {
    if forms.len() > 1 && forms.iter().all(|form| form.contains_key("enum")) {
        return closed_list(forms);
    }
    let objects = forms.iter().all(|form| type_of(form) == Some("object"));
    if objects && let Some(joined) = forms.clone().into_iter().reduce(|whole, form| join(whole, form, false)) {
        return joined;
    }
    let text = forms.iter().position(|form| type_of(form) == Some("string")).unwrap_or_default();
    if forms.is_empty() { Node::new() } else { forms.swap_remove(text) }
}

/// Closed lists as one.
fn closed_list(forms: Vec<Node>) -> Node {
    let (mut values, mut meanings) = (Vec::new(), Vec::new());
    for mut form in forms {
        let Some(Value::Array(own)) = form.remove("enum") else { continue };
        match (form.remove(MEANINGS), form.get("description").and_then(Value::as_str), own.as_slice()) {
            (Some(Value::Array(known)), ..) => meanings.extend(known),
            (_, Some(meaning), [Value::String(value)]) => {
                meanings.push(json!(format!("{value}: {}", meaning.trim_end_matches('.'))));
            }
            _ => {}
        }
        values.extend(own.into_iter().filter(|value| !value.is_null()));
    }
    let mut list = Node::new();
    list.insert("enum".to_owned(), Value::Array(values));
    if !meanings.is_empty() {
        list.insert(MEANINGS.to_owned(), Value::Array(meanings));
    }
    state_type(&mut list);
    list
}

/// Two objects as one that has the properties of both. Needed is what `both` need, or what either needs.
fn join(mut whole: Node, mut other: Node, both: bool) -> Node {
    if let (Some(Value::Object(mine)), Some(Value::Object(others))) =
        (whole.get_mut("properties"), other.get_mut("properties"))
    {
        for (name, theirs) in mem::take(others) {
            match (mine.get_mut(&name).and_then(Value::as_object_mut), theirs) {
                (Some(own), Value::Object(theirs))
                    if own.contains_key("enum") && theirs.contains_key("enum") && !both =>
                {
                    let own_words = mem::take(own);
                    *own = closed_list(vec![own_words.clone(), theirs]);
                    take(own, own_words.into_iter().filter(|(word, _)| word != "enum" && word != MEANINGS).collect());
                }
                (Some(_), _) => {}
                (None, theirs) => {
                    mine.insert(name, theirs);
                }
            }
        }
        other.remove("properties");
    }
    let needed = |node: &mut Node| match node.remove("required") {
        Some(Value::Array(names)) => names,
        _ => Vec::new(),
    };
    let (mine, others) = (needed(&mut whole), needed(&mut other));
    let required: Vec<Value> = if both {
        let more = others.into_iter().filter(|name| !mine.contains(name)).collect::<Vec<_>>();
        mine.into_iter().chain(more).collect()
    } else {
        mine.into_iter().filter(|name| others.contains(name)).collect()
    };
    whole.insert("required".to_owned(), Value::Array(required));
    take(&mut whole, other);
    whole
}

/// Makes the type one word, which it is for whatever has one at all.
fn state_type(node: &mut Node) {
    if let Some(only) = node.remove("const") {
        node.insert("enum".to_owned(), json!([only]));
    }
    if let Some(Value::Array(values)) = node.get_mut("enum") {
        values.retain(|value| !value.is_null());
        let mut seen = Vec::new();
        values.retain(|value| {
            !seen.contains(value) && {
                seen.push(value.clone());
                true
            }
        });
        if values.iter().all(Value::is_string) {
            node.insert("type".to_owned(), json!("string"));
        }
    }
    if let Some(Value::Array(types)) = node.get("type") {
        let types: Vec<&str> = types.iter().filter_map(Value::as_str).filter(|word| *word != "null").collect();
        let word = ["string", "number"].into_iter().find(|word| types.contains(word)).or(types.first().copied());
        let word = word.unwrap_or("null").to_owned();
        node.insert("type".to_owned(), Value::String(word));
    }
}

/// What an object may hold beside its properties is never said by `true` or `false`: google-genai takes no tool in which it
/// is. A closed one says nothing, and an open one what its values are. Without properties it has no `properties` either, in
/// which autogen and mcp-use find that nothing may be given.
fn simplify_object(node: &mut Node) {
    let additional = node.remove("additionalProperties");
    let is_closed = [additional.as_ref(), node.get("unevaluatedProperties")].contains(&Some(&Value::Bool(false)));
    let has_patterns = node.contains_key("patternProperties");
    let properties = node.get("properties").and_then(Value::as_object);
    let names: Vec<String> = properties.into_iter().flat_map(Map::keys).cloned().collect();
    let is_open = match &additional {
        Some(Value::Bool(is_open)) => *is_open,
        Some(_) => true,
        None => !is_closed && (has_patterns || properties.is_none()),
    };
    if is_open {
        let typed = additional.filter(|of| of.get("type").is_some());
        node.insert("additionalProperties".to_owned(), typed.unwrap_or_else(|| json!({ "description": ANYTHING })));
    }
    if names.is_empty() {
        node.remove("properties");
        if !is_open {
            node.insert("properties".to_owned(), json!({}));
        }
    }
    if let Some(Value::Array(required)) = node.get_mut("required") {
        required.retain(|name| name.as_str().is_some_and(|name| names.iter().any(|known| known == name)));
        if required.is_empty() {
            node.remove("required");
        }
    }
}

/// Leaves out a default that says no more than that the argument may be left out, and one that doesn't fit.
fn check_default(node: &mut Node) {
    let Some(default) = node.get("default") else { return };
    let is_listed = node.get("enum").and_then(Value::as_array).is_none_or(|values| values.contains(default));
    let fits = match (type_of(node), default) {
        (Some("string"), Value::String(_)) | (Some("boolean"), Value::Bool(_)) | (Some("number"), Value::Number(_)) => {
            true
        }
        (Some("integer"), Value::Number(number)) => !number.is_f64(),
        (Some("array"), Value::Array(entries)) => !entries.is_empty(),
        (Some("object"), Value::Object(map)) => !map.is_empty(),
        _ => false,
    };
    if !(fits && is_listed) {
        node.remove("default");
    }
}

/// Puts descriptions together and leaves out lengths that a grammar can't hold. `times` says how often the place may be
/// repeated by the lists that it is in.
fn finish(node: &mut Node, times: u64) {
    describe(node);
    let is_long = |length: u64| length > MAX_LENGTH || length.saturating_mul(times) >= MAX_REPETITIONS;
    if node.get("maxLength").and_then(Value::as_u64).is_some_and(is_long) {
        node.remove("maxLength");
    }
    if node.get("pattern").and_then(Value::as_str).is_some_and(|pattern| !is_plain(pattern, times)) {
        node.remove("pattern");
    }
    let mut inner = times;
    if let Some(entries) = node.get("maxItems").and_then(Value::as_u64) {
        if entries >= MAX_ENTRIES || entries.saturating_mul(times) >= MAX_REPETITIONS {
            node.remove("maxItems");
        } else {
            inner = times.saturating_mul(entries.max(1));
        }
    }
    subschemas(node, &mut |below| finish(below, inner));
}

/// Whether a pattern can be made a grammar of: it is about the whole text, without looking around or naming classes of
/// characters, and what it repeats, it repeats seldom.
pub fn is_plain(pattern: &str, times: u64) -> bool {
    let most = pattern
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next()?.rsplit(',').next()?.parse::<u64>().ok())
        .max();
    let repeats = most.unwrap_or_default().saturating_mul(times);
    pattern.starts_with('^')
        && pattern.ends_with('$')
        && repeats < MAX_REPETITIONS
        && !["(?", "\\p", "\\P", "\\b", "\\B"].iter().any(|word| pattern.contains(word))
}

/// Adds to a description what the values of a closed list mean, and examples.
fn describe(node: &mut Node) {
    let described = node.get("description").and_then(Value::as_str);
    let mut parts: Vec<String> = described.map(str::to_owned).into_iter().collect();
    if let Some(Value::Array(meanings)) = node.remove(MEANINGS) {
        let meanings: Vec<&str> = meanings.iter().filter_map(Value::as_str).collect();
        parts.push(format!("{}.", meanings.join("; ")));
    }
    if let Some(Value::Array(examples)) = node.remove("examples") {
        let examples: Vec<String> = examples
            .iter()
            .take(EXAMPLES)
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect();
        parts.push(format!("Such as {}.", examples.join(", ")));
    }
    if !parts.is_empty() {
        // The lines of a comment in the source mean nothing.
        let text = parts.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        node.insert("description".to_owned(), Value::String(text));
    }
}

#[cfg(test)]
mod tests;
