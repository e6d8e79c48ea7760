//! How things are printed: as text for a person, with colours where they are wanted, or as JSON or YAML for a program.

use std::{
    error::Error as StdError,
    fmt::Write as _,
    io::{self, Write as _},
};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::{
    doctor::{Finding, Verdict},
    status::Node,
};

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a person
    Text,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

impl Format {
    /// Renders something, as a text by `text`.
    ///
    /// # Errors
    /// When it can't be written, which is a fault of this program.
    pub fn render<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Result<String, Box<dyn StdError>> {
        Ok(match self {
            Self::Text => text(),
            Self::Json => serde_json::to_string_pretty(value)? + "\n",
            Self::Yaml => serde_saphyr::to_string(value)?,
        })
    }
}

/// How something does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    /// Well.
    Good,
    /// Badly.
    Bad,
    /// Nobody knows, or it is on its way.
    Unknown,
}

impl Mark {
    fn style(self) -> Style {
        let color = match self {
            Self::Good => AnsiColor::Green,
            Self::Bad => AnsiColor::Red,
            Self::Unknown => AnsiColor::Yellow,
        };
        color.on_default()
    }
}

/// A text in the colour of a mark. Whoever prints it takes the colour out where it isn't wanted.
pub fn paint(mark: Mark, text: &str) -> String {
    let style = mark.style();
    format!("{style}{text}{style:#}")
}

/// Prints to standard output. Whoever reads it may stop before the end, as `head` does.
///
/// # Errors
/// When it can't be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut output = anstream::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A cell of a table, and its colour if it has one.
pub type Cell = (String, Option<Mark>);

/// A table as kubectl prints them: columns two blanks apart.
pub fn table(head: &[&str], rows: &[Vec<Cell>]) -> String {
    let head: Vec<Cell> = head.iter().map(|title| ((*title).to_owned(), None)).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
            cells.map(|(text, _)| text.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let last = row.len().saturating_sub(1);
        for (column, ((cell, mark), width)) in row.iter().zip(&widths).enumerate() {
            let blanks = if column == last { 0 } else { width.saturating_sub(cell.chars().count()) + 2 };
            text.push_str(&mark.map_or_else(|| cell.clone(), |mark| paint(mark, cell)));
            text.extend(std::iter::repeat_n(' ', blanks));
        }
        text.push('\n');
    }
    text
}

/// A tree with lines.
pub fn tree(root: &Node) -> String {
    let mut text = format!("{}: {}\n", paint(root.mark, &root.what), root.text);
    branches(&root.children, "", &mut text);
    text
}

fn branches(nodes: &[Node], indent: &str, text: &mut String) {
    let last = nodes.len().saturating_sub(1);
    for (number, node) in nodes.iter().enumerate() {
        let (branch, below) = if number == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let _ = writeln!(text, "{indent}{branch}{}: {}", paint(node.mark, &node.what), node.text);
        branches(&node.children, &format!("{indent}{below}"), text);
    }
}

/// The tools of a connector: what each does, and whether it changes something.
pub fn tools(tools: &[Value]) -> String {
    let rows = tools.iter().map(|tool| {
        let text = |pointer: &str| tool.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let is = |hint: &str| tool.pointer(&format!("/annotations/{hint}")).and_then(Value::as_bool);
        let effect = match (is("readOnlyHint"), is("destructiveHint")) {
            (Some(true), _) => ("reads".to_owned(), None),
            (_, Some(false)) => ("changes".to_owned(), Some(Mark::Unknown)),
            _ => ("may destroy".to_owned(), Some(Mark::Bad)),
        };
        let required = tool.pointer("/inputSchema/required").and_then(Value::as_array);
        let required: Vec<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
        let description = visible(text("/description"));
        let first = description.split_once(". ").map_or(description.as_str(), |(first, _)| first);
        let short: String = first.chars().take(100).collect();
        vec![
            (visible(text("/name")), None),
            effect,
            (if required.is_empty() { "-".to_owned() } else { visible(&required.join(",")) }, None),
            (short, None),
        ]
    });
    table(&["TOOL", "EFFECT", "NEEDS", "WHAT FOR"], &rows.collect::<Vec<_>>())
}

/// The answer of a tool: what it is made of where it is structured, and its texts otherwise.
pub fn answer(result: &Value) -> String {
    if let Some(structured) = result.get("structuredContent") {
        return format!("{structured:#}\n");
    }
    let blocks = result.get("content").and_then(Value::as_array).into_iter().flatten();
    let texts = blocks.filter_map(|block| block.get("text").and_then(Value::as_str));
    let pretty =
        |text: &str| serde_json::from_str::<Value>(text).map_or_else(|_| visible(text), |value| format!("{value:#}"));
    let text: String = texts.map(|text| pretty(text) + "\n").collect();
    if result.get("isError") == Some(&Value::Bool(true)) {
        paint(Mark::Bad, "The call failed.\n") + &text
    } else {
        text
    }
}

/// What came of the checks.
pub fn findings(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let (mark, word) = match finding.verdict {
            Verdict::Well => (Mark::Good, "ok   "),
            Verdict::Doubtful => (Mark::Unknown, "?    "),
            Verdict::Wrong => (Mark::Bad, "wrong"),
        };
        format!("{} {}: {}\n", paint(mark, word), finding.what, finding.text)
    };
    findings.iter().map(line).collect()
}

/// A text that somebody else wrote, without what a terminal would act on and without what isn't seen.
fn visible(text: &str) -> String {
    common::foreign::clean(text).into_owned()
}

/// An error with what caused it, each once.
pub fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn structured_answers_are_printed_as_such_and_errors_say_so() {
        let good = json!({"structuredContent": {"a": 1}, "content": [{"type": "text", "text": "{\"a\":1}"}]});
        assert_eq!(answer(&good), "{\n  \"a\": 1\n}\n");
        let bad = json!({"isError": true, "content": [{"type": "text", "text": "{\"code\":\"not_found\"}"}]});
        let text = answer(&bad);
        assert!(text.contains("The call failed.") && text.contains("\"code\": \"not_found\""), "{text}");
        let plain = json!({"content": [{"type": "text", "text": "a\u{1b}[31mb"}]});
        assert_eq!(answer(&plain), "ab\n");
    }

    #[test]
    fn tools_show_what_they_change_and_need() {
        let text = tools(&[
            json!({"name": "read", "description": "Reads it. And more.", "annotations": {"readOnlyHint": true},
                   "inputSchema": {"required": ["path"]}}),
            json!({"name": "drop", "description": "Drops it", "annotations": {"destructiveHint": true}}),
        ]);
        let plain = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines[1], "read  reads        path   Reads it");
        assert_eq!(lines[2], "drop  may destroy  -      Drops it");
    }

    #[test]
    fn json_and_yaml_are_whole_documents() {
        let value = json!({"a": [1]});
        assert_eq!(Format::Json.render(&value, String::new).unwrap(), "{\n  \"a\": [\n    1\n  ]\n}\n");
        assert_eq!(Format::Yaml.render(&value, String::new).unwrap().trim(), "a:\n- 1");
    }
}
