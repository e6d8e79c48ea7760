//! Metrics of a link to a graph of AWS' console: `#metricsV2:graph=~(metrics~(~(~'AWS*2fEC2~'CPUUtilization~'InstanceId~'i-1)))`.
//! The console writes JSON so that it can stand in a link ("JSURL": <https://github.com/Sage/jsurl>).

use std::iter::Peekable;

use serde_json::{Map, Value};

use super::{
    Dimensions,
    data::Query,
    invalid,
    named::{decoded, place_of},
    periods::is_period,
};
use crate::place::Place;
use kit::links::Link;
use tools::ToolError;

/// Levels of lists and objects in each other, at most.
const MAX_DEPTH: usize = 8;

/// The metrics and expressions of the graph that an argument is a link to; nothing if it is no link of the console.
///
/// # Errors
/// When the link is of another region or account, or leads to no graph.
pub(super) fn graph_of(text: &str, argument: &str, here: &Place) -> Result<Option<Vec<Query>>, ToolError> {
    let Some(link) = Link::read(text) else { return Ok(None) };
    let Some(place) = place_of(&link, argument, here)? else { return Ok(None) };
    let place = decoded(&decoded(&place));
    let none = || {
        invalid(argument, format!("the link in {argument} names no metric"))
            .with_remedy("give namespace, metric and dimensions; list_cloudwatch_metrics tells them")
    };
    let (_, graph) = place.split_once("graph=").ok_or_else(none)?;
    let graph = value(&mut graph.chars().peekable(), 0).ok_or_else(none)?;
    let stat = graph.get("stat").and_then(Value::as_str);
    let period = graph.get("period");
    let mut before: Vec<String> = Vec::new();
    let mut queries = Vec::new();
    for row in graph.get("metrics").and_then(Value::as_array).ok_or_else(none)? {
        queries.extend(query_of(row, stat, period, &mut before));
    }
    if queries.is_empty() { Err(none()) } else { Ok(Some(queries)) }
}

/// A row of a graph: namespace, name, and names and values of dimensions, then what is said of it; or an expression alone. `.` is
/// what stands there in the row before, and `...` all that stands before the last value.
fn query_of(row: &Value, stat: Option<&str>, period: Option<&Value>, before: &mut Vec<String>) -> Option<Query> {
    let row = row.as_array()?;
    let words: Vec<&str> = row.iter().filter_map(Value::as_str).collect();
    let said = row.iter().find(|part| part.is_object());
    let say = |name: &str| said.and_then(|said| said.get(name)).and_then(Value::as_str).map(str::to_owned);
    let is_hidden = said.and_then(|said| said.get("visible")) == Some(&Value::Bool(false));
    let of_all = Query {
        id: say("id"),
        label: say("label"),
        account: say("accountId"),
        answered: is_hidden.then_some(false),
        period: said.and_then(|said| said.get("period")).or(period).and_then(period_of),
        ..Query::metric(String::new(), String::new(), Dimensions::new(), None)
    };
    if let Some(expression) = say("expression") {
        return Some(Query { namespace: None, metric: None, expression: Some(expression), ..of_all });
    }
    let mut whole: Vec<String> = Vec::new();
    for word in &words {
        match *word {
            "..." => whole.extend(before.iter().take(before.len().saturating_sub(words.len() - 1)).cloned()),
            "." => whole.push(before.get(whole.len())?.clone()),
            word => whole.push(word.to_owned()),
        }
    }
    let [namespace, metric, dimensions @ ..] = whole.as_slice() else { return None };
    let pairs = dimensions.chunks_exact(2).filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone())));
    let query = Query {
        namespace: Some(namespace.clone()),
        metric: Some(metric.clone()),
        dimensions: pairs.collect(),
        stat: say("stat").or_else(|| stat.map(str::to_owned)),
        ..of_all
    };
    *before = whole;
    Some(query)
}

/// Seconds, if AWS has such a period.
fn period_of(value: &Value) -> Option<u32> {
    let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok())?;
    is_period(seconds).then_some(seconds)
}

/// A value, as the console writes it; nothing for what is none.
fn value(text: &mut Peekable<impl Iterator<Item = char>>, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH || text.next()? != '~' {
        return None;
    }
    match text.peek()? {
        '\'' => {
            text.next();
            Some(Value::String(word(text)))
        }
        '(' => {
            text.next();
            if text.peek() == Some(&'~') {
                let mut entries = Vec::new();
                while text.peek()? != &')' {
                    entries.push(value(text, depth + 1)?);
                }
                text.next();
                return Some(Value::Array(entries));
            }
            let mut members = Map::new();
            while text.peek()? != &')' {
                let name = word(text);
                members.insert(name, value(text, depth + 1)?);
                if text.peek() == Some(&'~') {
                    text.next();
                }
            }
            text.next();
            Some(Value::Object(members))
        }
        _ => {
            let word = word(text);
            Some(serde_json::from_str(&word).unwrap_or(Value::String(word)))
        }
    }
}

/// What stands up to the next mark, with `*2f` for a character of two digits, `**20ac` for one of four, and `!` for `$`.
fn word(text: &mut Peekable<impl Iterator<Item = char>>) -> String {
    let mut word = String::new();
    while let Some(c) = text.next_if(|c| !matches!(c, '~' | ')')) {
        match c {
            '!' => word.push('$'),
            '*' => {
                let digits = if text.next_if_eq(&'*').is_some() { 4 } else { 2 };
                let code: String = (0..digits).filter_map(|_| text.next_if(char::is_ascii_hexdigit)).collect();
                word.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
            }
            c => word.push(c),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Place {
        Place::new("eu-central-1".to_owned())
    }

    const CONSOLE: &str = "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#metricsV2";

    #[test]
    fn a_graph_is_read_as_the_console_writes_it() {
        let link = format!(
            "{CONSOLE}:graph=~(metrics~(~(~'AWS*2fEC2~'CPUUtilization~'InstanceId~'i-1)~(~'.~'NetworkIn~'.~'.~(stat~'Sum~id~'m2~period~60))\
             ~(~'...~'i-2)~(~(expression~'m2*2f60~label~'per*20minute)))~view~'timeSeries~stacked~false~stat~'Maximum~period~300)"
        );
        let read = graph_of(&link, "namespace", &here()).unwrap().unwrap();
        let told: Vec<String> = read
            .iter()
            .map(|query| {
                let dimensions: Vec<&String> = query.dimensions.values().collect();
                let Query { metric, stat, id, expression, period, .. } = query;
                format!("{metric:?} {stat:?} {dimensions:?} {id:?} {expression:?} {}", period.unwrap())
            })
            .collect();
        assert_eq!(
            told,
            [
                "Some(\"CPUUtilization\") Some(\"Maximum\") [\"i-1\"] None None 300",
                "Some(\"NetworkIn\") Some(\"Sum\") [\"i-1\"] Some(\"m2\") None 60",
                "Some(\"NetworkIn\") Some(\"Maximum\") [\"i-2\"] None None 300",
                "None None [] None Some(\"m2/60\") 300",
            ]
        );
        assert_eq!(read[0].namespace.as_deref(), Some("AWS/EC2"));
        assert_eq!(graph_of("AWS/EC2", "namespace", &here()).unwrap().map(|_| ()), None);
        for wrong in [
            format!("{CONSOLE}:query=x"),
            format!("{CONSOLE}:graph=~(metrics~(~("),
            format!("{CONSOLE}:graph=~(view~'x)"),
            CONSOLE.replace("eu-central-1", "us-east-1"),
        ] {
            assert_eq!(graph_of(&wrong, "namespace", &here()).err().unwrap().argument.as_deref(), Some("namespace"));
        }
    }
}
