//! Logs, read in parts: never a whole huge one is kept. What takes the pieces, and how lines are cleaned.
//!
//! Jenkins tells a log in two ways. `consoleText` streams it from its beginning. `logText/progressiveText?start=N` begins
//! at an offset into its raw form, which has annotations that the text lacks: so an offset is only good where Jenkins
//! itself gave it (`X-Text-Size`). Of a build that has ended it puts all the rest into the controller's memory
//! (`org/kohsuke/stapler/framework/io/LargeText.java`), so it is asked for builds that run.

use std::{collections::VecDeque, ops::ControlFlow};

use regex::Regex;

use outbound::Scan;

/// Bytes of a log that one call reads at most.
pub(super) const MAX_SCAN: u64 = 64 * 1024 * 1024;
/// Bytes of a line that are searched; the rest of it isn't.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// Characters of a line that are answered.
const MAX_LINE: usize = 500;

/// Leaves out what comes first, and keeps what follows up to a number of bytes.
pub(super) struct Window {
    skip: u64,
    max: usize,
    kept: Vec<u8>,
}

impl Window {
    pub(super) fn new(skip: u64, max: usize) -> Self {
        Self { skip, max, kept: Vec::new() }
    }

    /// What was kept, up to the end of a line where something was left out; and whether there is more.
    pub(super) fn finish(mut self) -> (Vec<u8>, bool) {
        let more = self.kept.len() > self.max;
        if more {
            self.kept.truncate(self.max);
            let line_end = self.kept.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
            let whole = line_end.unwrap_or_else(|| whole_characters(&self.kept));
            self.kept.truncate(whole);
        }
        (self.kept, more)
    }
}

impl Scan for Window {
    fn take(&mut self, piece: &[u8]) -> ControlFlow<()> {
        let left_out = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
        self.skip -= left_out as u64;
        // One more than wanted, to know that there is more.
        let room = (self.max + 1).saturating_sub(self.kept.len());
        self.kept.extend(piece.iter().skip(left_out).take(room));
        if self.kept.len() > self.max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The length of the longest beginning that doesn't end inside of a character.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    }
}

/// Keeps the end.
pub(super) struct Tail {
    max: usize,
    kept: VecDeque<u8>,
    /// Bytes that came.
    pub(super) total: u64,
}

impl Tail {
    pub(super) fn new(max: usize) -> Self {
        Self { max, kept: VecDeque::new(), total: 0 }
    }

    /// The last lines of what came, and whether something before them was left out.
    pub(super) fn finish(self, lines: usize) -> (String, bool) {
        let cut = self.total > self.kept.len() as u64;
        let text = String::from_utf8_lossy(&Vec::from(self.kept)).into_owned();
        // The first line may have lost its beginning.
        let text = if cut { text.split_once('\n').map_or(text.as_str(), |(_, rest)| rest) } else { text.as_str() };
        let count = text.lines().count();
        let kept: Vec<String> = text.lines().skip(count.saturating_sub(lines)).map(clean).collect();
        (kept.join("\n"), cut || count > lines)
    }
}

impl Scan for Tail {
    fn take(&mut self, piece: &[u8]) -> ControlFlow<()> {
        self.total += piece.len() as u64;
        self.kept.extend(piece.iter().skip(piece.len().saturating_sub(self.max)));
        let surplus = self.kept.len().saturating_sub(self.max);
        self.kept.drain(..surplus);
        if self.total > MAX_SCAN { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// A line that was found.
pub(super) struct Found {
    /// Its number, from 1.
    pub(super) line: u64,
    pub(super) text: String,
    pub(super) before: Vec<String>,
    pub(super) after: Vec<String>,
}

/// Looks for lines.
pub(super) struct Search {
    wanted: Regex,
    context: usize,
    max_matches: usize,
    pub(super) found: Vec<Found>,
    /// Lines that were looked at.
    pub(super) lines: u64,
    bytes: u64,
    line: Vec<u8>,
    before: VecDeque<String>,
}

impl Search {
    pub(super) fn new(wanted: Regex, context: usize, max_matches: usize) -> Self {
        Self {
            wanted,
            context,
            max_matches,
            found: Vec::new(),
            lines: 0,
            bytes: 0,
            line: Vec::new(),
            before: VecDeque::new(),
        }
    }

    /// The last line may have no end.
    pub(super) fn finish(&mut self) {
        if !self.line.is_empty() && !self.is_full() {
            self.judge();
        }
    }

    /// Whether all was found that is wanted, with what follows the last one.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= self.max_matches && self.found.last().is_none_or(|last| last.after.len() >= self.context)
    }

    fn judge(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        self.lines += 1;
        let whole = clean_whole(&String::from_utf8_lossy(&bytes));
        let text = cut(&whole);
        for earlier in self.found.iter_mut().rev().take(self.context) {
            let distance = usize::try_from(self.lines - earlier.line).unwrap_or(usize::MAX);
            if distance <= self.context {
                earlier.after.push(text.clone());
            }
        }
        if self.found.len() < self.max_matches && self.wanted.is_match(&whole) {
            let before = self.before.iter().cloned().collect();
            self.found.push(Found { line: self.lines, text: text.clone(), before, after: Vec::new() });
        }
        if self.context > 0 {
            if self.before.len() == self.context {
                self.before.pop_front();
            }
            self.before.push_back(text);
        }
    }
}

impl Scan for Search {
    fn take(&mut self, piece: &[u8]) -> ControlFlow<()> {
        self.bytes += piece.len() as u64;
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, following) = rest.split_at(end);
            self.append(line);
            self.judge();
            if self.is_full() {
                return ControlFlow::Break(());
            }
            rest = following.get(1..).unwrap_or_default();
        }
        self.append(rest);
        if self.bytes > MAX_SCAN { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Search {
    fn append(&mut self, part: &[u8]) {
        let room = MAX_LINE_BYTES.saturating_sub(self.line.len());
        self.line.extend(part.iter().take(room));
    }
}

/// A line without what steers terminals, and cut.
pub(super) fn clean(line: &str) -> String {
    cut(&clean_whole(line))
}

/// A text of several lines, each as [`clean`] has it.
pub(super) fn clean_lines(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| if line.ends_with('\n') { self::clean(line) + "\n" } else { self::clean(line) })
        .collect()
}

fn clean_whole(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            // ESC [ parameters final byte: colours and the like (ECMA-48).
            '\u{1b}' => {
                if rest.clone().next() == Some('[') {
                    rest.next();
                    rest.by_ref().find(|c| ('@'..='~').contains(c));
                }
            }
            '\t' => clean.push(c),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

fn cut(line: &str) -> String {
    if line.chars().nth(MAX_LINE).is_none() {
        return line.to_owned();
    }
    line.chars().take(MAX_LINE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed<T: Scan>(mut scan: T, text: &[u8], piece: usize) -> T {
        for piece in text.chunks(piece.max(1)) {
            if scan.take(piece).is_break() {
                break;
            }
        }
        scan
    }

    #[test]
    fn a_window_ends_with_a_line_or_a_character() {
        let log = "one\ntwo\nthree\n".as_bytes();
        assert_eq!(feed(Window::new(4, 6), log, 3).finish(), (b"two\n".to_vec(), true));
        assert_eq!(feed(Window::new(4, 99), log, 3).finish(), (b"two\nthree\n".to_vec(), false));
        assert_eq!(feed(Window::new(99, 9), log, 3).finish(), (Vec::new(), false));
        assert_eq!(feed(Window::new(0, 3), "üüü".as_bytes(), 1).finish(), ("ü".as_bytes().to_vec(), true));
    }

    #[test]
    fn a_tail_has_whole_lines_and_counts_all() {
        let tail = feed(Tail::new(10), b"first\nsecond\nthird\n", 4);
        assert_eq!(tail.total, 19);
        assert_eq!(tail.finish(5), ("third".to_owned(), true));
        assert_eq!(feed(Tail::new(99), b"a\nb\nc", 2).finish(2), ("b\nc".to_owned(), true));
        assert_eq!(feed(Tail::new(99), b"a\nb\n", 2).finish(2), ("a\nb".to_owned(), false));
    }

    #[test]
    fn a_search_numbers_lines_and_stops_when_it_has_enough() {
        let log = b"a\nerror 1\nb\nc\nerror 2\nd\nerror 3".as_slice();
        let wanted = Regex::new("error").unwrap();
        for piece in [1, 3, 100] {
            let mut search = feed(Search::new(wanted.clone(), 1, 9), log, piece);
            search.finish();
            let found: Vec<_> =
                search.found.iter().map(|one| (one.line, one.before.join(" "), one.after.join(" "))).collect();
            let expected = [(2, "a", "b"), (5, "c", "d"), (7, "d", "")];
            assert_eq!(found, expected.map(|(line, before, after)| (line, before.to_owned(), after.to_owned())));
            let search = feed(Search::new(wanted.clone(), 1, 1), log, piece);
            assert!(search.is_full());
            assert_eq!((search.found.len(), search.lines), (1, 3));
        }
    }

    #[test]
    fn lines_lose_what_steers_terminals() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m\ttab\u{7}\r"), "red\ttab");
        assert_eq!(clean(&"ü".repeat(900)).chars().count(), MAX_LINE);
        for (text, clean) in [("a\r\nb\r\n", "a\nb\n"), ("a\n\nb", "a\n\nb"), ("", "")] {
            assert_eq!(clean_lines(text), clean);
        }
    }

    proptest! {
        #[test]
        fn windows_side_by_side_are_the_whole(log in "[aü\n]{0,80}", max in 4usize..20, piece in 1usize..9) {
            let (mut offset, mut read) = (0, Vec::new());
            loop {
                let (part, more) = feed(Window::new(offset, max), log.as_bytes(), piece).finish();
                offset += part.len() as u64;
                read.extend(part);
                if !more {
                    break;
                }
            }
            prop_assert_eq!(read, log.into_bytes());
        }
    }
}
