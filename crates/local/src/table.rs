//! What a person sees while connectors run: a table that is drawn anew on a terminal, and a line for each transition
//! where nobody looks.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
    net::SocketAddr,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    door::endpoint_url,
    finding::Finding,
    fleet::{View, changes},
};
use api::{ConditionType, condition};
use common::foreign::whole_line;

/// Puts the cursor at the top of a terminal and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// What a cluster has and this machine hasn't.
pub const NOT_HERE: &str =
    "not judged here: NetworkPolicy and egress, replicas and the pods' resources, the image, traces and audit files";

/// Where the state of the connectors is shown.
pub struct Table {
    address: SocketAddr,
    redraw: bool,
    color: bool,
    header: String,
    drawn: String,
    views: Vec<View>,
    findings: Vec<Finding>,
}

impl Table {
    /// Shows on standard output, in color if that is a terminal and nobody objects.
    #[must_use]
    pub fn new(address: SocketAddr, header: String, no_color: bool) -> Self {
        let redraw = io::stdout().is_terminal();
        let color = redraw && !no_color;
        Self { address, redraw, color, header, drawn: String::new(), views: Vec::new(), findings: Vec::new() }
    }

    /// Shows what changed.
    ///
    /// # Errors
    /// When standard output can't be written. Nobody who reads it any more is no fault.
    pub fn show(&mut self, views: Vec<View>, findings: &[Finding]) -> io::Result<()> {
        let text = if self.redraw {
            let table = self.draw(&views, findings);
            if table == self.drawn { String::new() } else { format!("{CLEAR}{table}") }
        } else {
            self.tell(&views, findings)
        };
        if self.redraw && !text.is_empty() {
            text.trim_start_matches(CLEAR).clone_into(&mut self.drawn);
        }
        self.views = views;
        self.findings = findings.to_vec();
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    /// One line for everything that changed since the last time.
    fn tell(&self, views: &[View], findings: &[Finding]) -> String {
        let mut text = String::new();
        if self.views.is_empty() && self.findings.is_empty() && !(views.is_empty() && findings.is_empty()) {
            let _infallible = writeln!(text, "{}\n{NOT_HERE}", self.header);
        }
        for finding in findings.iter().filter(|finding| !self.findings.contains(finding)) {
            let _infallible = writeln!(text, "{finding}");
        }
        for view in views {
            let before = self.views.iter().find(|earlier| earlier.key == view.key);
            if view.running && !before.is_some_and(|earlier| earlier.running) {
                say(&mut text, format_args!("{}: serving at {}", view.key, endpoint_url(self.address, &view.key)));
            }
            if view.running && before.is_none_or(|earlier| earlier.credentials != view.credentials) {
                say(&mut text, format_args!("{}: credentials {}", view.key, view.credentials));
            }
            let conditions = before.map_or(&[][..], |earlier| &earlier.status.conditions);
            for condition in changes(conditions, &view.status.conditions) {
                let Condition { type_, status, reason, message, .. } = condition;
                say(&mut text, format_args!("{}: {type_}={status} {reason}: {message}", view.key));
            }
        }
        for gone in self.views.iter().filter(|earlier| !views.iter().any(|view| view.key == earlier.key)) {
            say(&mut text, format_args!("{}: removed", gone.key));
        }
        text
    }

    /// The whole table.
    fn draw(&self, views: &[View], findings: &[Finding]) -> String {
        let mut text = format!("{}\n{NOT_HERE}\n\n", self.header);
        let mut rows =
            vec![["CONNECTOR", "READY", "REASON", "HEALTH", "CREDENTIALS", "TOOLS", "URL"].map(str::to_owned)];
        for view in views {
            let of = |type_| condition::find(&view.status.conditions, type_);
            let reason = |type_| of(type_).map(|condition| condition.reason.clone()).unwrap_or_default();
            let ready = of(ConditionType::Ready).map(|condition| condition.status.clone()).unwrap_or_default();
            rows.push([
                view.key.to_string(),
                ready,
                reason(ConditionType::Ready),
                reason(ConditionType::PlatformHealthy),
                reason(ConditionType::CredentialsAccepted),
                view.status.tools.as_ref().map(|tools| tools.count.to_string()).unwrap_or_default(),
                if view.running { endpoint_url(self.address, &view.key) } else { String::new() },
            ]);
        }
        text.push_str(&self.columns(&rows));
        for view in views {
            let credentials = if view.running { format!(": credentials {}", view.credentials) } else { String::new() };
            text.push('\n');
            say(&mut text, format_args!("{}{credentials}", view.key));
            let rows: Vec<[String; 4]> = view
                .status
                .conditions
                .iter()
                .map(|condition| {
                    let Condition { type_, status, reason, message, .. } = condition.clone();
                    [format!("  {type_}"), status, reason, message]
                })
                .collect();
            text.push_str(&self.columns(&rows));
        }
        if !findings.is_empty() {
            text.push('\n');
        }
        for finding in findings {
            let _infallible = writeln!(text, "{finding}");
        }
        text
    }

    /// Rows in columns of even width; words that are the status of a condition have their color.
    fn columns<const N: usize>(&self, rows: &[[String; N]]) -> String {
        let rows: Vec<[String; N]> = rows
            .iter()
            .map(|row| std::array::from_fn(|at| row.get(at).map_or_else(String::new, |cell| whole_line(cell))))
            .collect();
        let mut widths = [0; N];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()) + 2);
                line.push_str(&self.colored(cell));
                line.push_str(&padding);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn colored(&self, cell: &str) -> String {
        let code = match cell {
            "True" => "32",
            "False" => "31",
            "Unknown" => "33",
            _ => return cell.to_owned(),
        };
        if self.color { format!("\x1b[{code}m{cell}\x1b[0m") } else { cell.to_owned() }
    }
}

/// A line in which words of a manifest or a platform stand.
fn say(text: &mut String, line: fmt::Arguments<'_>) {
    text.push_str(&whole_line(&line.to_string()));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::manifests::Key;
    use api::{McpConnectorStatus, Reason};

    fn view(ready: Option<bool>, reason: Reason) -> View {
        let finding = condition::Finding::new(ConditionType::Ready, ready, reason, "words");
        View {
            key: Key { namespace: "ci".into(), name: "jenkins".into() },
            status: McpConnectorStatus {
                conditions: condition::merge(&[], &[finding], Some(1), Timestamp::UNIX_EPOCH),
                ..McpConnectorStatus::default()
            },
            running: true,
            credentials: "from the Secret bot".to_owned(),
        }
    }

    fn table(redraw: bool, color: bool) -> Table {
        let address = "127.0.0.1:8080".parse().unwrap();
        Table { redraw, color, ..Table::new(address, "the header".to_owned(), true) }
    }

    #[test]
    fn a_transition_is_one_line_and_the_same_again_is_none() {
        let mut table = table(false, false);
        let first = table.tell(&[view(None, Reason::Starting)], &[]);
        assert!(first.starts_with("the header\n"), "{first}");
        assert!(first.contains("ci/jenkins: serving at http://127.0.0.1:8080/ci/jenkins/mcp\n"), "{first}");
        assert!(first.contains("ci/jenkins: credentials from the Secret bot\n"), "{first}");
        assert!(first.ends_with("ci/jenkins: Ready=Unknown Starting: words\n"), "{first}");
        table.views = vec![view(None, Reason::Starting)];
        assert_eq!(table.tell(&[view(None, Reason::Starting)], &[]), "");
        assert_eq!(table.tell(&[view(Some(true), Reason::Ready)], &[]), "ci/jenkins: Ready=True Ready: words\n");
        assert_eq!(table.tell(&[], &[]), "ci/jenkins: removed\n");
    }

    #[test]
    fn words_of_others_are_one_line_without_what_is_not_seen() {
        let mut odd = view(None, Reason::Starting);
        odd.key.name = "a\n::error::b\u{1b}[2J".to_owned();
        odd.credentials = "from\r\nthe \u{202e}Secret".to_owned();
        let odd = [odd];
        let (told, drawn) = (table(false, false).tell(&odd, &[]), table(true, false).draw(&odd, &[]));
        assert!(told.lines().chain(drawn.lines()).all(|line| !line.starts_with("::")), "{told}{drawn}");
        for text in [told, drawn] {
            assert!(text.chars().all(common::foreign::is_seen) && text.contains("ci/a ::error::b"), "{text:?}");
            assert!(text.contains("credentials from the Secret\n"), "{text:?}");
        }
    }

    #[test]
    fn columns_stand_below_each_other_whatever_their_color() {
        let plain = table(true, false).draw(&[view(Some(false), Reason::Timeout)], &[]);
        let lines: Vec<&str> = plain.lines().collect();
        let row = lines.iter().position(|line| line.starts_with("CONNECTOR")).unwrap();
        assert_eq!(lines[row].find("REASON"), lines[row + 1].find("Timeout"));
        let colored = table(true, true).draw(&[view(Some(false), Reason::Timeout)], &[]);
        assert!(colored.contains("\x1b[31mFalse\x1b[0m"));
        assert_eq!(colored.replace("\x1b[31m", "").replace("\x1b[0m", ""), plain);
    }
}
