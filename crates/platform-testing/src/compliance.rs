//! What every platform must be and do, whatever it is: its tools' declarations, its manifest part, how each tool fails
//! with each way in which an upstream can fail, that a call can be ended, and that nothing secret comes out. A platform's
//! tests take part by [`complies!`](crate::complies).

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture, stream};
use serde_json::{Value, json};

use crate::{
    Connected, Fault, Faulty, PLANTED,
    altering::{Alteration, Altering, Asked, MARK, Pages, Plan, places},
};
use api::{
    Reason,
    platform::{PlatformSpec, declared_reasons, examples},
};
use kit::{Connect, HealthStatus};
use outbound::changes;
use tools::{Effect, ErrorCode, Fate, ToolEntry, publish};

/// The URL of a double, and what keeps it running.
pub type Running = (String, Box<dyn Any + Send + Sync>);
/// A double that starts.
pub type Starting = BoxFuture<'static, Running>;

/// A tool and its arguments.
pub type Call = (&'static str, Value);

/// A call that changes something.
pub struct Act {
    /// What makes what it is about, if that isn't there.
    pub before: Option<Call>,
    /// It.
    pub call: Call,
}

impl Act {
    /// One that can be made at once.
    #[must_use]
    pub fn new(tool: &'static str, arguments: Value) -> Self {
        Self { before: None, call: (tool, arguments) }
    }

    /// The same, after another call.
    #[must_use]
    pub fn after(self, tool: &'static str, arguments: Value) -> Self {
        Self { before: Some((tool, arguments)), ..self }
    }
}

/// A platform, as it takes part.
pub struct Subject {
    /// Its name in `spec.platform`.
    pub name: &'static str,
    /// The word in its tools' names.
    pub word: &'static str,
    /// Makes its client.
    pub connect: Connect,
    /// `spec.platform` for an upstream at this URL.
    pub spec: fn(&str) -> Value,
    /// Credentials, each value with [`PLANTED`] in it.
    pub credentials: &'static [(&'static str, &'static str)],
    /// For each tool, arguments with which it asks the upstream.
    pub calls: fn() -> Vec<(&'static str, Value)>,
    /// Requests that one call of a tool makes at most to an upstream that only fails, a login and a look at the token
    /// included.
    pub most_requests: usize,
    /// The tool that answers how the platform does, also when it does badly.
    pub tells_health: &'static str,
    /// Starts the platform's double, and gives its URL and what keeps it.
    pub double: fn() -> Starting,
    /// Tools for which 404 is the platform's way to answer an empty list.
    pub empty_is_404: &'static [&'static str],
    /// A call of each tool that changes something, with which it does so at a double that `acting` starts.
    pub acts: fn() -> Vec<Act>,
    /// Starts a double for the one of this tool.
    pub acting: fn(&str) -> Starting,
    /// Whether a request changes something at the platform, by what its reference says, not by what the client believes.
    pub changes: fn(&Asked) -> bool,
    /// How its lists say that they go on, if they are paged by tokens.
    pub pages: Option<Pages>,
}

impl Subject {
    fn connect(&self, url: &str) -> Connected {
        Connected::new(self.connect, &(self.spec)(url), self.credentials)
    }

    /// Connected to where nobody listens.
    #[must_use]
    pub fn nowhere(&self) -> Connected {
        self.connect("http://127.0.0.1:1")
    }
}

/// Words with which a tool's name begins.
const VERBS: &[&str] = &[
    "analyze",
    "approve",
    "cancel",
    "check",
    "delete",
    "destroy",
    "diff",
    "disable",
    "discover",
    "enable",
    "explain",
    "filter",
    "find",
    "get",
    "list",
    "lookup",
    "mute",
    "preview",
    "query",
    "read",
    "rebuild",
    "refresh",
    "renew",
    "rerun",
    "retry",
    "revoke",
    "rollback",
    "run",
    "search",
    "set",
    "start",
    "stop",
    "submit",
    "sync",
    "tail",
    "terminate",
    "trigger",
    "undelete",
    "unmute",
    "update",
    "validate",
    "wait",
    "write",
];

/// Its sample names it and can be called.
pub fn an_example_names_its_platform_and_can_be_called(subject: &Subject) {
    let name = subject.name;
    let (_, example) = examples().into_iter().find(|(of, _)| *of == name).unwrap();
    let declaration = example.platform.declaration().unwrap();
    assert_eq!(declaration.name(), name);
    assert!(declaration.endpoint(api::endpoint::AddressPolicy::Cluster).is_ok(), "{name}");
    assert!(declaration.endpoint_field().starts_with(&format!("spec.platform.{name}.")), "{name}");
    assert_eq!(declaration.problems(), Vec::new(), "{name}");
    let again: PlatformSpec = serde_json::from_value(serde_json::to_value(&example.platform).unwrap()).unwrap();
    assert_eq!(again, example.platform, "{name}");
}

/// Its own reasons are there once, and say what to do.
pub fn declared_reasons_are_their_own_and_say_what_to_do(subject: &Subject) {
    let name = subject.name;
    let (_, reasons) = declared_reasons().into_iter().find(|(of, _)| *of == name).unwrap();
    let mut seen = BTreeSet::new();
    for reason in reasons {
        assert!(seen.insert(reason.name), "{name}: {} twice", reason.name);
        assert!(reason.name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}: {}", reason.name);
        assert!(reason.name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}: {}", reason.name);
        assert!(reason.meaning.ends_with('.') && reason.meaning.len() > 20, "{name}: {}", reason.name);
    }
}

fn described(place: &str, schema: &serde_json::Map<String, Value>) {
    assert_eq!(schema["type"], "object", "{place}");
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    for (field, property) in properties {
        assert!(property.get("description").is_some(), "{place}: {field} has no description");
        assert!(field.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{place}: {field}");
    }
}

fn declared_well(subject: &Subject, tool: &ToolEntry) {
    let declaration = &tool.declaration;
    let name = declaration.name;
    let parts: Vec<&str> = name.split('_').collect();
    assert!(parts.len() >= 3 && parts[1] == subject.word, "{name}: verb, platform, noun");
    assert!(VERBS.contains(&parts[0]), "{name} begins with no known verb");
    assert!(name.len() <= 60, "{name} is too long with a prefix");
    assert!(declaration.description.ends_with('.') && declaration.description.len() >= 30, "{name}");
    assert!(declaration.description.len() <= 600, "{name} tells too much: it fills every agent's context");
    assert!(!declaration.title.is_empty() && !declaration.title.ends_with('.'), "{name}");
    assert_eq!(tool.input_schema["additionalProperties"], false, "{name} takes what it doesn't know");
    described(name, &publish::arguments(&tool.input_schema));
    described(name, &publish::answer(&tool.output_schema));
    if declaration.cached.is_some() {
        assert!(declaration.effect == Effect::Read && !declaration.sensitive, "{name} may not be cached");
    }
    for taken in ["confirm", "plan", "idempotency_key", "cache"] {
        let properties = tool.input_schema.get("properties").and_then(Value::as_object);
        assert!(properties.is_none_or(|map| !map.contains_key(taken)), "{name}: {taken} is the server's");
    }
}

/// Every tool is declared well, and refuses what it does not know.
pub fn every_tool_is_declared_well_and_refuses_what_it_does_not_know(subject: &Subject) {
    let connected = subject.nowhere();
    assert!(!connected.tools.is_empty());
    for (name, tool) in &connected.tools {
        declared_well(subject, tool);
        let schema = Value::Object((*tool.input_schema).clone());
        assert!(!jsonschema::is_valid(&schema, &json!({ "no_such_argument": 1 })), "{name}");
    }
    let instructions = connected.platform.instructions();
    assert!(instructions.len() > 100 && instructions.len() < 2_000, "{}", subject.name);
}

/// Every tool has a call in this suite.
pub fn every_tool_has_a_call_in_this_suite(subject: &Subject) {
    let called: BTreeSet<_> = (subject.calls)().iter().map(|(name, _)| *name).collect();
    let there: BTreeSet<_> = subject.nowhere().tools.keys().copied().collect();
    assert_eq!(called, there, "{}", subject.name);
}

/// A schema without its words.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let is_text = |name: &str, value: &Value| matches!(name, "description" | "title") && value.is_string();
            let kept = fields.iter().filter(|(name, value)| !is_text(name, value));
            kept.map(|(name, value)| (name.clone(), bare(value))).collect()
        }
        Value::Array(entries) => entries.iter().map(bare).collect(),
        other => other.clone(),
    }
}

/// What each tool takes and answers, as agents are told it, without the words: for the snapshot on which agents and their
/// makers rely. A change of it is one for the changelog.
#[must_use]
pub fn shapes(subject: &Subject) -> BTreeMap<&'static str, Value> {
    let shape = |tool: &ToolEntry| {
        let (input, output) = (publish::arguments(&tool.input_schema), publish::answer(&tool.output_schema));
        let [input, output] = [input, output].map(|schema| bare(&Value::Object(schema)));
        json!({ "effect": format!("{:?}", tool.declaration.effect), "input": input, "output": output })
    };
    subject.nowhere().tools.iter().map(|(name, tool)| (*name, shape(tool))).collect()
}

/// Every way in which an upstream fails, and the codes of which one must come of it.
fn faults() -> Vec<(&'static str, Fault, &'static [ErrorCode])> {
    use ErrorCode::{
        CredentialsUnavailable, DeadlineExceeded, NotFound, PermissionDenied, PlatformError, PlatformUnavailable,
        RateLimited, ResultTooLarge,
    };
    let page = format!("<!doctype html><title>{PLANTED}</title>");
    let text = format!("{{\"{PLANTED}\":\"{PLANTED}\",\"errors\":[\"{PLANTED}\"],\"message\":\"{PLANTED}\"}}");
    let huge = vec![b' '; outbound::MAX_BODY_BYTES + 1];
    let json = "application/json";
    vec![
        ("refused", Fault::Refuses, &[PlatformUnavailable]),
        ("hanging", Fault::Hangs, &[DeadlineExceeded, PlatformUnavailable]),
        ("closing", Fault::Closes, &[PlatformUnavailable]),
        ("401", Fault::answer(401, json, &text), &[CredentialsUnavailable, PlatformError]),
        ("403", Fault::answer(403, json, &text), &[PermissionDenied, CredentialsUnavailable, PlatformError]),
        ("404", Fault::answer(404, json, &text), &[NotFound, PlatformError, PermissionDenied]),
        ("429", Fault::answer(429, json, &text), &[RateLimited]),
        ("500", Fault::answer(500, json, &text), &[PlatformError, PlatformUnavailable]),
        ("503", Fault::answer(503, json, &text), &[PlatformUnavailable, PlatformError]),
        ("504", Fault::answer(504, json, &text), &[PlatformUnavailable, PlatformError, DeadlineExceeded]),
        ("page", Fault::answer(200, "text/html", &page), &[PlatformError]),
        ("error page", Fault::answer(502, "text/html", &page), &[PlatformError, PlatformUnavailable]),
        ("no JSON", Fault::answer(200, json, PLANTED), &[PlatformError]),
        ("other JSON", Fault::answer(200, json, &format!("[\"{PLANTED}\"]")), &[PlatformError]),
        (
            "huge",
            Fault::Answers("HTTP/1.1 200 OK\r\ncontent-type: application/json".to_owned(), huge),
            &[ResultTooLarge, PlatformError],
        ),
    ]
}

/// Time for a call whose end is waited for.
fn patience(fault: &Fault) -> Option<Duration> {
    matches!(fault, Fault::Hangs).then_some(Duration::from_secs(2))
}

/// Every tool answers every way in which an upstream fails with an error of the right code, and asks no more often than it may.
pub async fn every_tool_fails_well_with_every_fault(subject: &Subject) {
    let cases = faults().into_iter().flat_map(|(name, fault, codes)| {
        (subject.calls)().into_iter().map(move |(tool, arguments)| (name, fault.clone(), codes, tool, arguments))
    });
    let wrong: Vec<String> = stream::iter(cases)
        .map(|(name, fault, codes, tool, arguments)| async move {
            let patience = patience(&fault);
            let faulty = Faulty::start(fault);
            let connected = subject.connect(&faulty.url());
            let connected = Connected { patience: patience.unwrap_or(connected.patience), ..connected };
            let outcome = connected.call(tool, arguments).await;
            let place = format!("{}: {tool} with an upstream that is {name}", subject.name);
            if faulty.asked() > subject.most_requests {
                return Some(format!("{place} asks {} times", faulty.asked()));
            }
            match outcome {
                Ok(answer) if name == "404" && subject.empty_is_404.contains(&tool) => {
                    answer["hints"][0].is_null().then(|| format!("{place} answers {answer} without a hint"))
                }
                Ok(_) if tool == subject.tells_health && name.parse::<u16>().is_ok() => None,
                Ok(answer) => Some(format!("{place} answers {answer}")),
                Err(error) if !codes.contains(&error.code) => Some(format!("{place}: {error:?}")),
                Err(_) => None,
            }
        })
        .buffer_unordered(32)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a mutation would do is looked up.
pub async fn what_a_mutation_would_do_is_not_made_up(subject: &Subject) {
    for (tool, arguments) in (subject.calls)() {
        let faulty = Faulty::start(Fault::answer(500, "application/json", "{}"));
        let connected = subject.connect(&faulty.url());
        if connected.tools[tool].declaration.effect == Effect::Read {
            continue;
        }
        let previewed = connected.preview(tool, arguments).await;
        assert!(faulty.asked() > 0, "{}: {tool} says what it would do without looking", subject.name);
        assert!(previewed.is_err(), "{}: {tool} saw a failure and says {previewed:?}", subject.name);
    }
}

/// Whatever one odd value an answer of the platform has, and if it ends early: a tool tells what is known, or what can't be
/// read. The way to the platform is well then, and not to be blamed.
pub async fn an_odd_value_is_never_blamed_on_the_way(subject: &Subject) {
    let (upstream, _running) = (subject.double)().await;
    let altering = Altering::start(&upstream).await;
    let mut wrong = BTreeSet::new();
    let mut tried = 0;
    for (tool, arguments) in (subject.calls)() {
        altering.plan(None);
        let mutates = subject.nowhere().tools[tool].declaration.effect != Effect::Read;
        let asked = async |connected: &Connected| {
            if mutates {
                connected.preview(tool, arguments.clone()).await.map(drop)
            } else {
                connected.call(tool, arguments.clone()).await.map(drop)
            }
        };
        let begun = Instant::now();
        // The double may lack what the tool asks for: its error is an answer like others.
        let _known = asked(&subject.connect(&altering.url)).await;
        // A tool that waits, as some do, meets a few oddities in its first answer; the way to read is the same.
        let waits = begun.elapsed() > Duration::from_secs(1);
        let (answers, places_of_each) = if waits { (1, 4) } else { (usize::MAX, usize::MAX) };
        for (answer, body) in altering.seen().iter().enumerate().take(answers) {
            let connected = subject.connect(&altering.url);
            let whole = (!body.is_null()).then(|| (String::new(), Alteration::Cut));
            // Each place meets null and absence, and the other oddities by turns; what is in a list once more, one of all.
            let values = places(body).into_iter().take(places_of_each).enumerate().flat_map(|(number, place)| {
                let all = Alteration::OF_A_VALUE;
                let [null, missing, others @ ..] = all;
                let met = if is_in_a_second_element(&place) {
                    vec![all[number % all.len()]]
                } else {
                    vec![null, missing, others[number % others.len()]]
                };
                met.into_iter().map(move |alteration| (place.clone(), alteration))
            });
            for (place, alteration) in values.chain(whole) {
                let seen = format!("{tool}, answer {answer} at {place:?}: {alteration:?}");
                altering.plan(Some(Plan { answer, place, alteration }));
                tried += 1;
                if let Err(error) = asked(&connected).await
                    && (error.code == ErrorCode::Internal || error.message.contains("does not answer as the API"))
                {
                    wrong.insert(format!("{seen}: {error:?}"));
                }
            }
        }
    }
    let shown: Vec<&String> = wrong.iter().take(60).collect();
    assert!(wrong.is_empty(), "{} of {tried} in {}: {shown:#?}", wrong.len(), subject.name);
    assert!(tried > 100, "{}: only {tried} were tried", subject.name);
}

/// Of a failure, what a platform wrote stands in `platform_words`, which are marked, and in none of the connector's own words:
/// whichever text of whichever answer it is. Calls are made as they are, and about what isn't there, of which is told what
/// is there instead.
pub async fn words_of_the_platform_stand_apart(subject: &Subject) {
    let (upstream, _running) = (subject.double)().await;
    let altering = Altering::start(&upstream).await;
    let (mut mixed, mut apart) = (BTreeSet::new(), 0);
    for (tool, arguments) in (subject.calls)() {
        let mutates = subject.nowhere().tools[tool].declaration.effect != Effect::Read;
        for arguments in std::iter::once(arguments.clone()).chain(about_others(&arguments)) {
            let asked = async |connected: &Connected| {
                if mutates {
                    connected.preview(tool, arguments.clone()).await.map(drop)
                } else {
                    connected.call(tool, arguments.clone()).await.map(drop)
                }
            };
            altering.plan(None);
            let begun = Instant::now();
            let _known = asked(&subject.connect(&altering.url)).await;
            if begun.elapsed() > Duration::from_secs(1) {
                continue;
            }
            for (answer, body) in altering.seen().iter().enumerate() {
                let is_text = |place: &String| {
                    // What AWS calls an error is told in brackets, as AWS' word.
                    let is_code = subject.name == "cloudWatch" && place == "/__type";
                    body.pointer(place).is_some_and(Value::is_string) && !is_in_a_second_element(place) && !is_code
                };
                for place in places(body).into_iter().filter(is_text) {
                    let seen = format!("{tool} {arguments}, answer {answer} at {place:?}");
                    altering.plan(Some(Plan { answer, place, alteration: Alteration::Marked }));
                    let Err(error) = asked(&subject.connect(&altering.url)).await else { continue };
                    let own = [Some(&error.message), error.remedy.as_ref(), error.argument.as_ref()];
                    if own.into_iter().flatten().any(|text| text.contains(MARK)) {
                        mixed.insert(format!("{seen}: {error:?}"));
                    }
                    apart += usize::from(error.platform_words.is_some_and(|words| words.concat().contains(MARK)));
                }
            }
        }
    }
    let shown: Vec<&String> = mixed.iter().take(40).collect();
    assert!(mixed.is_empty(), "{} in {}: {shown:#?}", mixed.len(), subject.name);
    // Vault's and AWS' answers to these calls name nothing else.
    assert!(apart > 0 || ["vault", "cloudWatch"].contains(&subject.name), "{}: nothing was told apart", subject.name);
}

/// A call's arguments with one of them about something else, which isn't there.
fn about_others(arguments: &Value) -> Vec<Value> {
    let other = |value: &Value| match value {
        Value::String(text) => Some(json!(format!("{text}x"))),
        Value::Number(number) => Some(json!(number.as_u64()? + 1_000)),
        Value::Object(members) => {
            let mut members = members.clone();
            members.insert("other".to_owned(), json!("x"));
            Some(Value::Object(members))
        }
        _ => None,
    };
    let members = arguments.as_object().into_iter().flatten();
    let changed = members.filter_map(|(name, value)| {
        let mut changed = arguments.clone();
        changed[name] = other(value)?;
        Some(changed)
    });
    changed.collect()
}

fn is_in_a_second_element(place: &str) -> bool {
    place.split('/').any(|step| step == "1")
}

/// Where a tool asks the platform for several things and one of them fails, it fails, or its answer says that something is
/// missing: an answer that holds less than it could is never told as the whole.
pub async fn a_part_that_fails_is_never_hidden(subject: &Subject) {
    let (upstream, _running) = (subject.double)().await;
    let altering = Altering::start(&upstream).await;
    let mut hidden = BTreeSet::new();
    for (tool, arguments) in (subject.calls)() {
        if subject.nowhere().tools[tool].declaration.effect != Effect::Read {
            continue;
        }
        let ask = async |plan| {
            altering.plan(plan);
            subject.connect(&altering.url).call(tool, arguments.clone()).await
        };
        let begun = Instant::now();
        let Ok(whole) = ask(None).await else { continue };
        let requests = altering.seen().len();
        if begun.elapsed() > Duration::from_secs(1) {
            continue;
        }
        let Ok(again) = ask(None).await else { continue };
        for answer in 0..requests {
            let plan = Plan { answer, place: String::new(), alteration: Alteration::Fails };
            let Ok(part) = ask(Some(plan)).await else { continue };
            if lacks(&whole, &again, &part) && said(&part) == said(&whole) {
                hidden.insert(format!("{tool}, request {answer}: {part}"));
            }
        }
    }
    let shown: Vec<&String> = hidden.iter().take(20).collect();
    assert!(hidden.is_empty(), "{} in {}: {shown:#?}", hidden.len(), subject.name);
}

/// Whether an answer differs from the whole one in more than what differs from call to call.
fn lacks(whole: &Value, again: &Value, part: &Value) -> bool {
    match (whole, again, part) {
        (Value::Object(whole), Value::Object(again), Value::Object(part)) => whole.iter().any(|(name, value)| {
            let nothing = Value::Null;
            lacks(value, again.get(name).unwrap_or(&nothing), part.get(name).unwrap_or(&nothing))
        }),
        (Value::Array(whole), Value::Array(again), Value::Array(part)) => {
            whole.len() != part.len()
                || whole.iter().zip(again).zip(part).any(|((whole, again), part)| lacks(whole, again, part))
        }
        _ => whole == again && whole != part,
    }
}

/// What an answer says of what it lacks, or why, anywhere in it.
fn said(answer: &Value) -> Vec<String> {
    const WORDS: [&str; 9] =
        ["hints", "missing", "truncated", "incomplete", "unknown", "not_known", "problem", "why_not", "error"];
    match answer {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| {
                let says = WORDS.contains(&name.as_str()) || value == "unknown";
                let own = says.then(|| format!("{name}: {value}"));
                own.into_iter().chain(said(value))
            })
            .collect(),
        Value::Array(elements) => elements.iter().flat_map(said).collect(),
        _ => Vec::new(),
    }
}

/// What came of an act with a fault on the way.
struct Acted {
    outcome: Result<Value, tools::ToolError>,
    /// Whether the client says that a change was sent.
    sent: bool,
    asked: Vec<Asked>,
    /// The same call at once again, without the fault.
    again: Result<Value, tools::ToolError>,
}

/// Acts with a double of its own. The end of one blocks its thread until it has its own locks, which a task that has used up what
/// Tokio gives it for one turn never gets: here as many run in one task as there are cases.
async fn act(subject: &Subject, act: &Act, plan: Option<(usize, Alteration)>) -> Acted {
    tokio::task::coop::unconstrained(async {
        let (upstream, _running) = (subject.acting)(act.call.0).await;
        if let Some((tool, arguments)) = &act.before {
            let made = subject.connect(&upstream).call(tool, arguments.clone()).await;
            assert!(made.is_ok(), "{tool}: {made:?}");
        }
        let altering = Altering::start(&upstream).await;
        altering.plan(plan.map(|(answer, alteration)| Plan { answer, place: String::new(), alteration }));
        let connected = subject.connect(&altering.url);
        let (tool, arguments) = &act.call;
        let (outcome, sent) = changes::noting(connected.call(tool, arguments.clone())).await;
        let asked = altering.asked();
        altering.plan(None);
        let again = connected.call(tool, arguments.clone()).await;
        Acted { outcome, sent, asked, again }
    })
    .await
}

/// Whatever request of a call that changes something fails, and however: that nothing was changed is told if, and only if, the
/// platform took no request that changes something; and then the same call can be made at once.
pub async fn what_was_sent_decides_what_is_told_of_a_change(subject: &Subject) {
    let acts = (subject.acts)();
    let mutates = |tool: &&str| subject.nowhere().tools[*tool].declaration.effect != Effect::Read;
    let there: BTreeSet<_> = subject.nowhere().tools.keys().copied().filter(mutates).collect();
    assert_eq!(acts.iter().map(|act| act.call.0).collect::<BTreeSet<_>>(), there, "{}", subject.name);
    let is_change = |asked: &Asked| (subject.changes)(asked);
    let mut cases = Vec::new();
    for one in &acts {
        let whole = act(subject, one, None).await;
        let tool = one.call.0;
        assert!(whole.outcome.is_ok() && whole.sent, "{tool}: {:?}", whole.outcome);
        assert!(whole.asked.iter().any(is_change), "{tool} changes nothing: {:?}", whole.asked);
        let faults = [Alteration::Fails, Alteration::Breaks, Alteration::Refuses];
        cases.extend((0..whole.asked.len()).flat_map(|number| faults.map(|fault| (one, number, fault))));
    }
    let wrong: Vec<String> = stream::iter(cases)
        .map(|(one, number, fault)| async move {
            let acted = act(subject, one, Some((number, fault))).await;
            let taken = acted.asked.iter().any(|asked| {
                is_change(asked) && asked.status.is_none_or(|status| !status.is_client_error())
            });
            let is_true = acted.sent == taken
                && acted.outcome.as_ref().err().is_none_or(|error| match error.fate(acted.sent) {
                    Fate::Undone => !taken && acted.again.is_ok(),
                    Fate::Unknown | Fate::Made => taken,
                });
            (!is_true).then(|| {
                let Acted { outcome, sent, again, .. } = &acted;
                let seen: Vec<_> = acted.asked.iter().map(|a| format!("{} {} {} {:?}", a.method, a.uri, a.operation, a.status)).collect();
                format!("{}, request {number} {fault:?}: taken {taken}, sent {sent}, {outcome:?}, again {again:?}: {seen:#?}", one.call.0)
            })
        })
        .buffer_unordered(16)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}: {}", subject.name, wrong.join("\n"));
}

/// Pages whose tokens lead back, to the same page or in a circle: a tool ends its look at them with what came, each entry once,
/// and says that this isn't all.
pub async fn pages_that_lead_back_are_left(subject: &Subject) {
    let Some(pages) = subject.pages else { return };
    let (upstream, _running) = (subject.double)().await;
    let altering = Altering::start(&upstream).await;
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (tool, arguments) in (subject.calls)() {
        let reads = subject.nowhere().tools[tool].declaration.effect == Effect::Read;
        let asked = async || {
            let connected = subject.connect(&altering.url);
            if reads {
                connected.call(tool, arguments.clone()).await
            } else {
                connected.preview(tool, arguments.clone()).await.map(|preview| preview.state)
            }
        };
        altering.plan(None);
        let Ok(whole) = asked().await else { continue };
        for tokens in [1, 2] {
            altering.lead_back(pages, tokens);
            let outcome = asked().await;
            if altering.led_back() == 0 {
                break;
            }
            tried += 1;
            let times = altering.asked().len();
            let is_true = match &outcome {
                Ok(_) if !reads => true,
                Ok(answer) if *answer == whole => true,
                Ok(answer) => repeated(answer) <= repeated(&whole) && (said(answer) != said(&whole) || is_cut(answer)),
                Err(_) => !reads,
            };
            if !is_true || times > MOST_REQUESTS {
                wrong.push(format!("{tool}, {tokens} tokens, {times} requests: {outcome:?}, whole: {whole}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} in {}: {wrong:#?}", wrong.len(), subject.name);
    assert!(tried > 5, "{}: only {tried} were tried", subject.name);
}

/// Requests that a call makes at most of pages that lead back.
const MOST_REQUESTS: usize = 60;

/// Objects that stand in the same list of an answer more than once.
fn repeated(answer: &Value) -> usize {
    match answer {
        Value::Object(members) => members.values().map(repeated).sum(),
        Value::Array(elements) => {
            let objects: Vec<String> =
                elements.iter().filter(|element| element.is_object()).map(Value::to_string).collect();
            let distinct: BTreeSet<&String> = objects.iter().collect();
            objects.len() - distinct.len() + elements.iter().map(repeated).sum::<usize>()
        }
        _ => 0,
    }
}

/// Whether an answer says that there is more.
fn is_cut(answer: &Value) -> bool {
    match answer {
        Value::Object(members) => {
            members.iter().any(|(name, value)| name == "truncated" && value == true || is_cut(value))
        }
        _ => false,
    }
}

/// Arguments that take the link of a page where a name is asked for.
const LINKED: [&str; 7] = ["app", "job", "job_id", "path", "pipeline_id", "project_slug", "workflow_id"];

/// A link to another installation of the platform is refused by name before anything is asked: what is called the same here is
/// not what was meant.
pub async fn a_link_to_another_installation_is_refused(subject: &Subject) {
    let mut tried = 0;
    for (tool, mut arguments) in (subject.calls)() {
        let takes_links = |name: &&str| arguments.get(*name).is_some() && (*name != "path" || subject.name == "vault");
        for argument in LINKED.into_iter().filter(takes_links).collect::<Vec<_>>() {
            let named = std::mem::replace(&mut arguments[argument], json!("https://elsewhere.example.org/x"));
            let connected = subject.connect("http://here.example.com");
            let refused = if connected.tools[tool].declaration.effect == Effect::Read {
                connected.call(tool, arguments.clone()).await.map(drop)
            } else {
                connected.preview(tool, arguments.clone()).await.map(drop)
            };
            let place = format!("{}: {tool}, {argument}", subject.name);
            let error = refused.expect_err(&place);
            assert_eq!(
                (error.code, error.argument.as_deref()),
                (ErrorCode::InvalidArgument, Some(argument)),
                "{place}"
            );
            assert!(error.message.contains("elsewhere.example.org"), "{place}: {error:?}");
            arguments[argument] = named;
            tried += 1;
        }
    }
    // CloudWatch's names say of which region and account they are, which its own tests hold.
    assert!(tried > 5 || subject.name == "cloudWatch", "{}: {tried}", subject.name);
}

/// The probe tells every fault by a reason that is declared.
pub async fn every_probe_tells_every_fault(subject: &Subject) {
    let known: BTreeSet<String> =
        <Reason as strum::IntoEnumIterator>::iter().map(|reason| reason.as_str().to_owned()).collect();
    let declared = declared_reasons().into_iter().find(|(name, _)| *name == subject.name).unwrap().1;
    for (name, fault, _) in faults() {
        let patience = patience(&fault);
        let faulty = Faulty::start(fault);
        let connected = subject.connect(&faulty.url());
        let report = Connected { patience: patience.unwrap_or(connected.patience), ..connected }.probe().await;
        let place = format!("{}: {name}", subject.name);
        assert_ne!(report.status, HealthStatus::Ok, "{place}: {report:?}");
        let reason = &report.reason;
        assert!(known.contains(reason) || declared.iter().any(|one| one.name == reason), "{place}: {reason}");
        assert!(report.message.len() > 15, "{place}: {report:?}");
    }
}

/// A call that is dropped leaves the platform at once.
pub async fn a_call_that_is_dropped_leaves_the_platform_at_once(subject: &Subject) {
    for (tool, arguments) in (subject.calls)() {
        let mut faulty = Faulty::start(Fault::Hangs);
        let connected = subject.connect(&faulty.url());
        let call = connected.call(tool, arguments);
        tokio::select! {
            outcome = call => panic!("{tool} ended by itself: {outcome:?}"),
            () = faulty.is_asked() => {}
        }
        // The call is dropped here.
        let left = tokio::time::timeout(Duration::from_secs(30), faulty.is_left()).await;
        assert!(left.is_ok(), "{}: {tool} goes on without its caller", subject.name);
    }
}

/// Without credentials every tool says so, or that the platform can't be reached.
pub async fn without_credentials_every_tool_says_so_or_works(subject: &Subject) {
    let faulty = Faulty::start(Fault::Closes);
    let connected = Connected::new(subject.connect, &(subject.spec)(&faulty.url()), &[]);
    for (tool, arguments) in (subject.calls)() {
        let error = connected.call(tool, arguments).await.unwrap_err();
        let expected = [ErrorCode::CredentialsUnavailable, ErrorCode::PlatformUnavailable];
        assert!(expected.contains(&error.code), "{}: {tool}: {error:?}", subject.name);
    }
}

/// Has the platform of a [`compliance::Subject`](crate::compliance::Subject) pass the suite: a test each.
#[macro_export]
macro_rules! complies {
    ($subject:path) => {
        mod compliance {
            use $crate::compliance;

            #[test]
            fn an_example_names_its_platform_and_can_be_called() {
                compliance::an_example_names_its_platform_and_can_be_called(&$subject());
            }

            #[test]
            fn declared_reasons_are_their_own_and_say_what_to_do() {
                compliance::declared_reasons_are_their_own_and_say_what_to_do(&$subject());
            }

            #[tokio::test]
            async fn every_tool_is_declared_well_and_refuses_what_it_does_not_know() {
                compliance::every_tool_is_declared_well_and_refuses_what_it_does_not_know(&$subject());
            }

            #[tokio::test]
            async fn every_tool_has_a_call_in_this_suite() {
                compliance::every_tool_has_a_call_in_this_suite(&$subject());
            }

            #[tokio::test]
            async fn what_tools_take_and_answer_changes_knowingly() {
                let shapes = compliance::shapes(&$subject());
                $crate::insta::with_settings!({ sort_maps => true, prepend_module_to_snapshot => false }, {
                    $crate::insta::assert_yaml_snapshot!("tools", shapes);
                });
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_tool_fails_well_with_every_fault() {
                compliance::every_tool_fails_well_with_every_fault(&$subject()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_a_mutation_would_do_is_not_made_up() {
                compliance::what_a_mutation_would_do_is_not_made_up(&$subject()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn an_odd_value_is_never_blamed_on_the_way() {
                compliance::an_odd_value_is_never_blamed_on_the_way(&$subject()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn words_of_the_platform_stand_apart() {
                compliance::words_of_the_platform_stand_apart(&$subject()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_part_that_fails_is_never_hidden() {
                compliance::a_part_that_fails_is_never_hidden(&$subject()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_was_sent_decides_what_is_told_of_a_change() {
                compliance::what_was_sent_decides_what_is_told_of_a_change(&$subject()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn pages_that_lead_back_are_left() {
                compliance::pages_that_lead_back_are_left(&$subject()).await;
            }

            #[tokio::test]
            async fn a_link_to_another_installation_is_refused() {
                compliance::a_link_to_another_installation_is_refused(&$subject()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_probe_tells_every_fault() {
                compliance::every_probe_tells_every_fault(&$subject()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_call_that_is_dropped_leaves_the_platform_at_once() {
                compliance::a_call_that_is_dropped_leaves_the_platform_at_once(&$subject()).await;
            }

            #[tokio::test]
            async fn without_credentials_every_tool_says_so_or_works() {
                compliance::without_credentials_every_tool_says_so_or_works(&$subject()).await;
            }
        }
    };
}
