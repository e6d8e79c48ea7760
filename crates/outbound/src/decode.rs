//! JSON as platforms really send it, read into our types. One odd value must not cost the whole answer: what doesn't fit is
//! first tried in another form (a number that is a text, a text that is a number), and then left out where that is possible. A
//! null is then an absent member, an element of a list is passed over. What was left out is noted by its path: for the log,
//! and for whoever asked ([`noting`]). What can't do without it is an error that names the path.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashSet},
    fmt::Write,
};

use arrayvec::ArrayString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment, Track};

use super::{RequestError, Seldom};

/// Values of one answer that are mended at most, of a small one and of any. The same oddity in all of a list is one.
const MAX_MENDS: usize = 200;
const MIN_MENDS: usize = 8;
/// Bytes that are read again and again for it, at most: each mend reads the whole answer once more, on the thread of other calls.
const MAX_READ_AGAIN: usize = 32 * 1024 * 1024;
/// Paths that are noted of one answer, at most.
const MAX_NOTED: usize = 8;

/// A place in an answer, such as `items[].status`: names of members, without what was in them, cut to what fits.
pub type Place = ArrayString<64>;

tokio::task_local! {
    static NOTED: RefCell<BTreeSet<String>>;
}

/// Does something, and gives the places of platforms' answers whose values were left out meanwhile, as far as they were read
/// in the same task.
pub async fn noting<F: Future>(work: F) -> (F::Output, Vec<String>) {
    NOTED
        .scope(RefCell::default(), async {
            let output = work.await;
            (output, NOTED.with(|noted| noted.take().into_iter().collect()))
        })
        .await
}

/// Reads JSON.
///
/// # Errors
/// [`RequestError::Interrupted`] when it ends early, [`RequestError::NotJson`] when it is none, and
/// [`RequestError::Unreadable`] when it lacks what can't be done without.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RequestError> {
    // Nearly all answers fit.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut value = parse(bytes)?;
    let mut mender = Mender::default();
    let entries =
        |value: &Value| value.as_array().map_or(0, |entries| entries.iter().filter(|one| !one.is_null()).count());
    let came = entries(&value);
    let most = (MAX_READ_AGAIN / bytes.len().max(1)).clamp(MIN_MENDS, MAX_MENDS);
    for _ in 0..most {
        let mut track = Track::new();
        match T::deserialize(serde_path_to_error::Deserializer::new(&value, &mut track)) {
            // A list of which no entry can be read is not an empty one.
            Ok(_) if came > 0 && entries(&value) == 0 => return Err(RequestError::unreadable("[]")),
            Ok(read) => {
                note(&mender.left_out);
                return Ok(read);
            }
            Err(_) => mender.mend(&mut value, &steps(&track.path()))?,
        }
    }
    Err(RequestError::unreadable(""))
}

/// JSON, and what some servers write that is none (Stapler of Jenkins): `NaN` as a number, which is null, half of a pair of
/// surrogates in a text that was cut, which is a replacement, and control characters in texts as they are, such as the
/// ESC of colours (`org/kohsuke/stapler/export/JSONDataWriter.java`).
fn parse(bytes: &[u8]) -> Result<Value, RequestError> {
    // An answer without a body did not end early.
    let is_empty = bytes.trim_ascii().is_empty();
    let of = |error: &serde_json::Error| {
        if error.is_eof() && !is_empty { RequestError::Interrupted } else { RequestError::NotJson }
    };
    let error = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(bytes);
    let Some(mended) = mended(&text) else { return Err(of(&error)) };
    serde_json::from_str(&mended).map_err(|error| of(&error))
}

/// A text of JSON with null for `NaN` and infinities outside of its texts, and in them U+FFFD for halves of pairs and control
/// characters by their numbers; nothing if there are none.
fn mended(text: &str) -> Option<String> {
    let mut mended = String::with_capacity(text.len());
    let (mut in_text, mut escaped, mut found) = (false, false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !in_text && let Some(word) = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            mended.push_str("null");
            found = true;
            rest = rest.get(word.len()..).unwrap_or_default();
            continue;
        }
        if in_text
            && !escaped
            && let Some(first @ 0xd800..=0xdfff) = unit(rest)
        {
            let second = rest.get(6..).and_then(unit);
            let is_pair = first < 0xdc00 && second.is_some_and(|second| (0xdc00..=0xdfff).contains(&second));
            let length = if is_pair { 12 } else { 6 };
            mended.push_str(if is_pair { rest.get(..length).unwrap_or_default() } else { "\\ufffd" });
            found |= !is_pair;
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        if in_text && !escaped && c < ' ' {
            let _infallible = write!(mended, "\\u{:04x}", u32::from(c));
            found = true;
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_text,
            '"' => in_text = !in_text,
            _ => {}
        }
        mended.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    found.then_some(mended)
}

/// What a text of JSON begins with, if that is a unit of UTF-16 by its number: `\u00fc`.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Member(String),
    Element(usize),
}

fn steps(path: &Path) -> Vec<Step> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Element(*index)),
            Segment::Map { key } => Some(Step::Member(key.clone())),
            // The name of a variant, and what serde has buffered: the value itself is then what doesn't fit.
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// The steps as people read them, with no number of an element: so a log has one line for all of a list.
fn pattern(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Member(name) if text.is_empty() => text.push_str(name),
            Step::Member(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Element(_) => text.push_str("[]"),
        }
    }
    text
}

pub(super) fn place(pattern: &str) -> Place {
    let mut place = Place::new();
    for c in pattern.chars() {
        // The names of members are the platform's words.
        let known = c.is_ascii_alphanumeric() || "_-.[]".contains(c);
        if place.try_push(if known { c } else { '_' }).is_err() {
            break;
        }
    }
    if place.is_empty() {
        place.push_str("its beginning");
    }
    place
}

#[derive(Default)]
struct Mender {
    /// Values that were tried in another form.
    tried: HashSet<Vec<Step>>,
    /// Where the last trouble began. What can't do without a value is left out next, and so on upwards.
    origin: Vec<Step>,
    left_out: BTreeSet<String>,
}

impl Mender {
    /// Changes the value at which reading failed, so that it may go on.
    fn mend(&mut self, root: &mut Value, steps: &[Step]) -> Result<(), RequestError> {
        if !self.origin.starts_with(steps) {
            self.origin = steps.to_vec();
        }
        let Some((last, before)) = steps.split_last() else {
            // Neither an object nor a list is no answer of an API at all.
            let is_form = root.is_object() || root.is_array();
            let unreadable = RequestError::unreadable(&pattern(&self.origin));
            return Err(if is_form { unreadable } else { RequestError::NotJson });
        };
        let Some(value) = find(root, steps) else {
            return Err(RequestError::unreadable(&pattern(steps)));
        };
        if let Some(other) = self.tried.insert(steps.to_vec()).then(|| other_form(value)).flatten() {
            *value = other;
            return Ok(());
        }
        self.left_out.insert(pattern(steps));
        // What doesn't fit once never does, so all of the list that are alike are left out at once.
        let odd = value.take();
        if odd.is_object() || odd.is_array() {
            if let Some(parent) = find(root, before) {
                leave_out(parent, last);
            }
        } else {
            *value = odd.clone();
            leave_out_alike(root, before, last, &odd);
        }
        Ok(())
    }
}

fn find<'a>(value: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Member(name) => value.get_mut(name.as_str()),
        Step::Element(index) => value.get_mut(*index),
    })
}

/// The same in the form that was meant, maybe.
fn other_form(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => match text.trim() {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            text => serde_json::from_str::<serde_json::Number>(text).ok().map(Value::Number),
        },
        Value::Number(number) => match number.as_f64() {
            // A whole number that was written with a fraction.
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and within the bounds")]
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => Some((float as i64).into()),
            _ => Some(number.to_string().into()),
        },
        Value::Bool(flag) => Some(flag.to_string().into()),
        _ => None,
    }
}

/// Whether one fits wherever the other does.
fn is_alike(one: &Value, other: &Value) -> bool {
    let negative = |value: &Value| value.as_i64().is_some_and(i64::is_negative);
    one == other || (one.is_f64() && other.is_f64()) || (negative(one) && negative(other))
}

fn leave_out(parent: &mut Value, step: &Step) {
    match (parent, step) {
        (Value::Object(members), Step::Member(name)) => drop(members.remove(name)),
        (Value::Array(elements), Step::Element(index)) if *index < elements.len() => drop(elements.remove(*index)),
        _ => {}
    }
}

fn leave_out_alike(value: &mut Value, before: &[Step], last: &Step, odd: &Value) {
    match (before.split_first(), value) {
        (Some((Step::Member(name), rest)), Value::Object(members)) => {
            if let Some(member) = members.get_mut(name) {
                leave_out_alike(member, rest, last, odd);
            }
        }
        (Some((Step::Element(_), rest)), Value::Array(elements)) => {
            for element in elements {
                leave_out_alike(element, rest, last, odd);
            }
        }
        (None, Value::Object(members)) => {
            if let Step::Member(name) = last
                && members.get(name).is_some_and(|member| is_alike(member, odd))
            {
                members.remove(name);
            }
        }
        (None, Value::Array(elements)) => elements.retain(|element| !is_alike(element, odd)),
        _ => {}
    }
}

/// Notes a place whose value was left out by who read it in a way of its own.
pub fn leave_out_at(path: &str) {
    note(&BTreeSet::from([path.to_owned()]));
}

/// Tells the log, each path once a while, and whoever wants to know.
fn note(left_out: &BTreeSet<String>) {
    static LOGGED: Seldom<Place> = Seldom::new();
    for path in left_out.iter().take(MAX_NOTED) {
        let place = place(path);
        let _nobody_asks = NOTED.try_with(|noted| noted.borrow_mut().insert(place.to_string()));
        if LOGGED.is_due(place) {
            tracing::info!(path = place.as_str(), "a value of the platform's answer does not fit, and is left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize, Debug, PartialEq, Default)]
    #[serde(default)]
    struct Build {
        queue: Option<u64>,
        name: String,
        seconds: f64,
        running: bool,
        actions: Vec<Action>,
        labels: BTreeMap<String, String>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct Action {
        id: String,
        #[serde(default)]
        causes: Vec<String>,
    }

    fn read(value: &Value) -> Build {
        decode(value.to_string().as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn an_odd_value_costs_no_more_than_itself() {
        let odd = json!({
            "queue": -1,
            "name": 12,
            "seconds": "3.5",
            "running": "true",
            "actions": [null, {}, { "id": "a", "causes": null }, { "id": 7, "causes": ["x", null, "y"] }, "text"],
            "labels": { "a": "b", "c": null },
        });
        let (build, left_out) = noting(async { read(&odd) }).await;
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let action = |id: &str, causes: &[&str]| Action {
            id: id.to_owned(),
            causes: causes.iter().map(|cause| (*cause).to_owned()).collect(),
        };
        let actions = vec![action("a", &[]), action("7", &["x", "y"])];
        let expected = Build { queue: None, name: "12".into(), seconds: 3.5, running: true, actions, labels };
        assert_eq!(build, expected);
        assert_eq!(left_out, ["actions[]", "actions[].causes", "actions[].causes[]", "labels.c", "queue"]);
    }

    #[test]
    fn a_long_list_of_the_same_oddity_is_mended_at_once() {
        let actions: Vec<Value> = (0..5_000).map(|id| json!({ "id": id.to_string(), "causes": null })).collect();
        assert_eq!(read(&json!({ "actions": actions })).actions.len(), 5_000);
        let words: Vec<Value> = (0..5_000).map(|id| json!({ "id": id.to_string(), "causes": "n/a" })).collect();
        assert_eq!(read(&json!({ "actions": words })).actions.len(), 5_000);
        let nulls: Vec<Value> = vec![Value::Null; 5_000];
        assert_eq!(read(&json!({ "actions": nulls })).actions.len(), 0);
    }

    #[test]
    fn a_large_answer_is_not_read_again_and_again() {
        let actions: Vec<Value> = (0..300).map(|id| json!({ "id": id.to_string(), "causes": { "no": id } })).collect();
        let mut odd = json!({ "actions": actions });
        odd["actions"].as_array_mut().unwrap().truncate(150);
        assert_eq!(read(&odd).actions.len(), 150);
        odd["name"] = "x".repeat(4 * 1024 * 1024).into();
        assert!(matches!(decode::<Build>(odd.to_string().as_bytes()), Err(RequestError::Unreadable(_))));
    }

    #[test]
    fn a_list_of_which_nothing_can_be_read_is_no_empty_one() {
        let of = |value: Value| decode::<Vec<Action>>(value.to_string().as_bytes()).map(|read| read.len());
        assert_eq!(of(json!([])), Ok(0));
        assert_eq!(of(json!([null])), Ok(0));
        assert_eq!(of(json!([{ "id": "a" }, 7])), Ok(1));
        assert_eq!(of(json!([{ "name": "a" }, 7])).unwrap_err(), RequestError::unreadable("[]"));
    }

    #[test]
    fn what_can_not_be_done_without_is_named() {
        #[derive(Deserialize, Debug)]
        #[expect(dead_code, reason = "read, not used")]
        struct Whole {
            part: Action,
        }
        let of = |text: &str| decode::<Whole>(text.as_bytes()).unwrap_err().to_string();
        assert!(of(r#"{"part": {"id": null}}"#).ends_with("at part.id"), "{}", of(r#"{"part": {"id": null}}"#));
        assert!(of(r#"{"other": 1}"#).ends_with("at its beginning"), "{}", of(r#"{"other": 1}"#));
        assert_eq!(decode::<Whole>(b"\"text\"").unwrap_err(), RequestError::NotJson);
        assert_eq!(decode::<Whole>(b"{\"part\": {\"id\":").unwrap_err(), RequestError::Interrupted);
        assert_eq!(decode::<Whole>(b" ").unwrap_err(), RequestError::NotJson);
        assert_eq!(decode::<Whole>(b"upstream connect error").unwrap_err(), RequestError::NotJson);
    }

    #[test]
    fn numbers_that_are_none_are_no_numbers() {
        let text = br#"{"seconds": NaN, "name": "NaN \"-Infinity", "actions": [Infinity, {"id": "x"}]}"#;
        let build: Build = decode(text).unwrap();
        assert_eq!((build.seconds, build.name.as_str(), build.actions.len()), (0.0, "NaN \"-Infinity", 1));
    }

    #[test]
    fn half_of_a_pair_is_replaced() {
        let text =
            br#"{"seconds": 1, "name": "a\ud83d\ude80 b\ud83d", "actions": [{"id": "\ude80\\ud83d\ud83d\u0041"}]}"#;
        let build: Build = decode(text).unwrap();
        assert_eq!(
            (build.name.as_str(), build.actions[0].id.as_str()),
            ("a\u{1f680} b\u{fffd}", "\u{fffd}\\ud83d\u{fffd}A")
        );
    }

    /// As Stapler writes a text: all but a few characters as they are.
    fn as_stapler_writes(text: &str) -> String {
        let mut written = String::from('"');
        for c in text.chars() {
            match c {
                '"' => written.push_str("\\\""),
                '\\' => written.push_str("\\\\"),
                '\n' => written.push_str("\\n"),
                '\r' => written.push_str("\\r"),
                '\t' => written.push_str("\\t"),
                other => written.push(other),
            }
        }
        written.push('"');
        written
    }

    #[test]
    fn what_ends_early_in_a_text_with_control_characters_is_interrupted() {
        assert_eq!(decode::<Build>(b"{\"name\": \"\x1b[31mno").unwrap_err(), RequestError::Interrupted);
        assert_eq!(decode::<Build>(b"<a title=\"\x1b\nno\">").unwrap_err(), RequestError::NotJson);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(|number: f64| Value::from(number)),
            "[a-z0-9]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 40, 5, |inner| {
            let names = prop_oneof!["queue", "name", "actions", "id", "causes", "labels", "seconds"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(names, inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn texts_are_read_with_whatever_stands_in_them(name in "[\\x00-\\x7f\u{e4}\u{1f680}]{0,20}", id in "[\\x00-\\x1f\"\\\\]{0,6}") {
            let text = format!(
                r#"{{"seconds": NaN, "name": {}, "actions": [{{"id": {}}}]}}"#,
                as_stapler_writes(&name),
                as_stapler_writes(&id)
            );
            let read: Build = decode(text.as_bytes()).unwrap();
            prop_assert_eq!((read.name, &read.actions[0].id), (name, &id));
        }

        #[test]
        fn whatever_stands_in_an_object_is_read(members in proptest::collection::btree_map("queue|name|actions|labels", any_json(), 0..4)) {
            let value = Value::Object(members.into_iter().collect());
            prop_assert!(decode::<Build>(value.to_string().as_bytes()).is_ok());
        }

        #[test]
        fn what_fits_is_read_as_it_is(name in "\\PC{0,20}", queue in any::<Option<u64>>(), seconds in 0f64..1e6) {
            let value = json!({ "name": name, "queue": queue, "seconds": seconds });
            let read: Build = decode(value.to_string().as_bytes()).unwrap();
            prop_assert_eq!((read.name, read.queue), (name, queue));
        }
    }
}
