//! Every tool of every platform, as agents see it: held against what MCP clients and model APIs take, and weighed. Prints
//! both tables; `cargo test` shows them with `--nocapture`.

use std::{collections::BTreeMap, fmt::Write as _};

use api::platform;
use cli::reference;
use client_rules::{ANSWER, ARGUMENTS, Rule};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::served::serve_tools;

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

/// A tool of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    #[serde(default)]
    description: String,
    input_schema: Map<String, Value>,
    output_schema: Map<String, Value>,
}

/// A platform's list, as it comes.
struct List {
    word: String,
    tools: Vec<Tool>,
    /// Characters of all of it.
    characters: usize,
}

/// The list of each platform, as a caller with every right gets it: with the tools that are off by default if `whole`.
async fn lists(whole: bool) -> Vec<List> {
    let mut lists = Vec::new();
    for (name, example) in platform::examples() {
        let mut spec = serde_json::to_value(&example.platform).unwrap();
        // Nobody is called, and nobody could be.
        for address in ["url", "endpoint"] {
            if address == "endpoint" || spec[name].get(address).is_some() {
                spec[name][address] = json!("http://127.0.0.1:1");
                spec[name]["insecureHttp"] = json!(true);
                break;
            }
        }
        let declared = reference::tools_of(&example.platform).unwrap();
        let names = declared.iter().filter(|_| whole).map(|tool| tool.name);
        let allow: Vec<&str> = ["*"].into_iter().chain(names).collect();
        let tools = json!({ "mutations": "Confirm", "allow": allow, "deny": [], "prefix": "" });
        let limits = json!({ "callTimeout": "20s", "maxConcurrentCalls": 64, "maxResultBytes": 65536 });
        let tools = serve_tools(&spec, &tools, &limits, &[], "1h").await.list().await;
        let characters = tools.to_string().chars().count();
        lists.push(List { word: name.to_ascii_lowercase(), tools: serde_json::from_value(tools).unwrap(), characters });
    }
    lists
}

/// What is broken, and at how many places each rule was looked at.
#[derive(Default)]
struct Findings {
    broken: BTreeMap<&'static str, Vec<String>>,
    places: BTreeMap<&'static str, usize>,
}

impl Findings {
    fn check(&mut self, rules: &'static [Rule], tool: &str, schema: &serde_json::Map<String, Value>) {
        let (broken, places) = client_rules::check(rules, schema);
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
    for List { word, tools, .. } in lists(true).await {
        assert!(tools.len() > 10, "{word}");
        for tool in tools {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let description = &tool.description;
            if tool.name.len() > MAX_NAME || !tool.name.chars().all(is_plain) {
                wrong.push(format!("{}: a name that clients can't prefix", tool.name));
            }
            if description.is_empty() || description.len() > MAX_DESCRIPTION || !description.is_ascii() {
                wrong.push(format!("{}: a description that is too long, or not ASCII", tool.name));
            }
            findings.check(ARGUMENTS, &tool.name, &tool.input_schema);
            findings.check(ANSWER, &tool.name, &tool.output_schema);
            // Clients take a schema without a dialect for what their library knows best.
            for schema in [&tool.input_schema, &tool.output_schema] {
                let schema = Value::Object(schema.clone());
                for draft in [jsonschema::Draft::Draft7, jsonschema::Draft::Draft202012] {
                    let built = jsonschema::options().with_draft(draft).build(&schema);
                    assert!(built.is_ok(), "{} {draft:?}: {:?}", tool.name, built.err());
                }
            }
        }
    }
    for rule in ARGUMENTS.iter().chain(ANSWER) {
        let broken = findings.broken.get(rule.says).map_or(0, Vec::len);
        println!("{:>5} of {:>5} | {} | {}", broken, findings.places[rule.says], rule.says, rule.wanted_by);
    }
    assert!(findings.broken.is_empty() && wrong.is_empty(), "{:#?} {wrong:#?}", findings.broken);
}

#[tokio::test]
async fn no_list_outgrows_its_budget() {
    let mut table = String::new();
    let mut too_large = Vec::new();
    let lists = lists(false).await;
    let budgets: BTreeMap<&str, usize> = BUDGETS.iter().copied().collect();
    assert!(lists.iter().map(|list| list.word.as_str()).eq(budgets.keys().copied()));
    for List { word, tools, characters } in &lists {
        let budget = budgets[word.as_str()];
        let named = tools
            .iter()
            .map(|tool| json!({ "name": tool.name, "description": tool.description, "parameters": tool.input_schema }));
        let tokens = named.collect::<Value>().to_string().chars().count() / 4;
        let (count, whole) = (tools.len(), characters / 4);
        writeln!(table, "{word:>10} | {count:>2} tools | {tokens:>5} of {budget} tokens | {whole:>6} with answers")
            .unwrap();
        if tokens > budget {
            too_large.push(word.as_str());
        }
    }
    println!("{table}");
    assert!(too_large.is_empty(), "{too_large:?}\n{table}");
}
