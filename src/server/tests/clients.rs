//! Every tool of every platform, as agents see it: held against what MCP clients and model APIs take, and weighed. Prints
//! both tables; `cargo test` shows them with `--nocapture`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::*;
use crate::{
    platforms::testing::tools_of_every_platform,
    server::check_tool,
    tools::clients::{self, Rule},
};

/// Tokens (characters ÷ 4) that a platform's list costs a model: names, descriptions and arguments of all tools, as
/// compact JSON. A list that outgrows its budget costs every agent that; give it more only for something that is worth it.
const BUDGETS: &[(&str, usize)] =
    &[("argocd", 8_150), ("circleci", 6_150), ("cloudwatch", 6_300), ("jenkins", 6_000), ("vault", 4_050)];

/// Optional texts that mean something by being empty, and nothing by being left out: the API group of what has none.
const EMPTY_MEANS_SOMETHING: &[(&str, &str)] = &[("get_argocd_logs", "at \"/group\"")];

/// Characters of a name: clients put their own and the server's before it, within 64.
const MAX_NAME: usize = 47;
/// Characters of a description that OpenAI takes.
const MAX_DESCRIPTION: usize = 1_024;

/// The tools of each platform, as a caller with every right is offered them.
fn lists(allow: impl Fn(&str) -> bool) -> BTreeMap<&'static str, Vec<rmcp::model::Tool>> {
    let access = Access::new(&AccessConfig { anonymous: true, allow: vec![], audiences: vec![] });
    let list = |entries: Vec<crate::tools::ToolEntry>| {
        let names = entries.iter().map(|entry| entry.declaration.name).filter(|name| allow(name));
        let every = ["*"].into_iter().chain(names).map(|name| NamePattern(name.to_owned())).collect();
        let config = crate::server::config::ToolsConfig { allow: every, ..tools_config() };
        let entries = entries.into_iter().chain([check_tool::build_tool(Arc::new(starting()))]).collect();
        let catalogue = Catalogue::new(entries, &config, &access, true).unwrap();
        let every = access.every().next().unwrap();
        catalogue.list(every).to_vec()
    };
    tools_of_every_platform().into_iter().map(|(platform, entries)| (platform, list(entries))).collect()
}

/// What is broken, and at how many places each rule was looked at.
#[derive(Default)]
struct Findings {
    broken: BTreeMap<&'static str, Vec<String>>,
    places: BTreeMap<&'static str, usize>,
}

impl Findings {
    fn check(&mut self, rules: &'static [Rule], tool: &str, schema: &serde_json::Map<String, Value>) {
        let (broken, places) = clients::check(rules, schema);
        for rule in rules {
            *self.places.entry(rule.says).or_default() += places;
        }
        let is_meant = |place: &str| EMPTY_MEANS_SOMETHING.contains(&(tool, place));
        for (rule, place) in broken.into_iter().filter(|(_, place)| !is_meant(place)) {
            self.broken.entry(rule).or_default().push(format!("{tool} {place}"));
        }
    }
}

#[tokio::test]
async fn every_client_takes_every_tool() {
    let mut findings = Findings::default();
    let mut wrong = Vec::new();
    for (platform, tools) in lists(|_| true) {
        assert!(tools.len() > 10, "{platform}");
        for tool in tools {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let description = tool.description.as_deref().unwrap_or_default();
            if tool.name.len() > MAX_NAME || !tool.name.chars().all(is_plain) {
                wrong.push(format!("{}: a name that clients can't prefix", tool.name));
            }
            if description.is_empty() || description.len() > MAX_DESCRIPTION || !description.is_ascii() {
                wrong.push(format!("{}: a description that is too long, or not ASCII", tool.name));
            }
            let answer = tool.output_schema.clone().unwrap();
            findings.check(clients::ARGUMENTS, &tool.name, &tool.input_schema);
            findings.check(clients::ANSWER, &tool.name, &answer);
            // Clients take a schema without a dialect for what their library knows best.
            for schema in [&*tool.input_schema, &*answer] {
                let schema = Value::Object(schema.clone());
                for draft in [jsonschema::Draft::Draft7, jsonschema::Draft::Draft202012] {
                    let built = jsonschema::options().with_draft(draft).build(&schema);
                    assert!(built.is_ok(), "{} {draft:?}: {:?}", tool.name, built.err());
                }
            }
        }
    }
    for rule in clients::ARGUMENTS.iter().chain(clients::ANSWER) {
        let broken = findings.broken.get(rule.says).map_or(0, Vec::len);
        println!("{:>5} of {:>5} | {} | {}", broken, findings.places[rule.says], rule.says, rule.wanted_by);
    }
    assert!(findings.broken.is_empty() && wrong.is_empty(), "{:#?} {wrong:#?}", findings.broken);
}

#[tokio::test]
async fn no_list_outgrows_its_budget() {
    let mut table = String::new();
    let mut too_large = Vec::new();
    let lists = lists(|_| false);
    assert_eq!(lists.keys().copied().collect::<Vec<_>>(), BUDGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for ((platform, tools), (_, budget)) in lists.iter().zip(BUDGETS) {
        let tokens = |value: Value| value.to_string().chars().count() / 4;
        let named = tools.iter().map(
            |tool| json!({ "name": tool.name, "description": tool.description, "parameters": *tool.input_schema }),
        );
        let (tokens, whole) = (tokens(named.collect()), tokens(json!(tools)));
        writeln!(
            table,
            "{platform:>10} | {:>2} tools | {tokens:>5} of {budget} tokens | {whole:>6} with answers",
            tools.len()
        )
        .unwrap();
        if tokens > *budget {
            too_large.push(*platform);
        }
    }
    println!("{table}");
    assert!(too_large.is_empty(), "{too_large:?}\n{table}");
}
