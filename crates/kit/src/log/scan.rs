//! Logs read in pieces: a part of one, its end, or the lines that match. No more is kept than is wanted.

use std::{collections::VecDeque, ops::ControlFlow};

use regex::Regex;

use super::{complete, decode_line, line};
use outbound::Scan;

/// Bytes of a line that are searched; the rest of it isn't.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// Leaves out what comes first, and keeps what follows up to a number of bytes.
#[derive(Debug)]
pub struct Window {
    skip: u64,
    max: usize,
    kept: Vec<u8>,
}

impl Window {
    /// Leaves out `skip` bytes, and keeps `max`.
    #[must_use]
    pub const fn new(skip: u64, max: usize) -> Self {
        Self { skip, max, kept: Vec::new() }
    }

    /// What was kept, up to the end of a line where something was left out; and whether there is more.
    #[must_use]
    pub fn finish(mut self) -> (Vec<u8>, bool) {
        let more = self.kept.len() > self.max;
        if more {
            self.kept.truncate(self.max);
            let line_end = self.kept.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
            let whole = line_end.unwrap_or_else(|| complete(&self.kept));
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

/// Keeps the end.
#[derive(Debug)]
pub struct Tail {
    keep: usize,
    read: u64,
    kept: VecDeque<u8>,
    /// Bytes that came.
    pub total: u64,
}

impl Tail {
    /// Keeps the last `keep` bytes of the first `read`.
    #[must_use]
    pub const fn new(keep: usize, read: u64) -> Self {
        Self { keep, read, kept: VecDeque::new(), total: 0 }
    }

    /// The last lines of what came, each cut to `width` characters, and whether something before them was left out.
    #[must_use]
    pub fn finish(self, lines: usize, width: usize) -> (String, bool) {
        let cut = self.total > self.kept.len() as u64;
        let bytes = Vec::from(self.kept);
        let mut all: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        // What follows the last end of a line is no line if it is empty.
        all.pop_if(|line| line.is_empty());
        // The first line may have lost its beginning. If it was written over since, what it shows is whole all the same.
        let mut whole = all.as_slice();
        if let (true, Some((first, rest))) = (cut, all.split_first()) {
            let over = first.trim_ascii_end().iter().position(|byte| *byte == b'\r');
            if over.is_none() && !rest.is_empty() {
                whole = rest;
            }
        }
        let wanted = whole.get(whole.len().saturating_sub(lines)..).unwrap_or_default();
        let kept: Vec<String> = wanted.iter().map(|bytes| line(&decode_line(bytes), width)).collect();
        (kept.join("\n"), cut || whole.len() > lines)
    }
}

impl Scan for Tail {
    fn take(&mut self, piece: &[u8]) -> ControlFlow<()> {
        self.total += piece.len() as u64;
        self.kept.extend(piece.iter().skip(piece.len().saturating_sub(self.keep)));
        let surplus = self.kept.len().saturating_sub(self.keep);
        self.kept.drain(..surplus);
        if self.total > self.read { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// A line that was found.
#[derive(Debug)]
pub struct Found {
    /// Its number, from 1.
    pub line: u64,
    /// What stands in it.
    pub text: String,
    /// Lines before it.
    pub before: Vec<String>,
    /// Lines after it.
    pub after: Vec<String>,
}

/// What is looked for in a log.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What a line must match.
    pub pattern: Regex,
    /// Lines that are shown before and after one that does.
    pub context: usize,
    /// Matches, at most.
    pub max_matches: usize,
    /// Characters of a line that are shown.
    pub width: usize,
    /// Bytes of the log that are read, at most.
    pub read: u64,
}

/// Looks for lines.
#[derive(Debug)]
pub struct Search {
    wanted: Wanted,
    /// The lines that match.
    pub found: Vec<Found>,
    /// Lines that were looked at.
    pub lines: u64,
    bytes: u64,
    line: Vec<u8>,
    before: VecDeque<String>,
}

impl Search {
    /// Begins.
    #[must_use]
    pub const fn new(wanted: Wanted) -> Self {
        Self { wanted, found: Vec::new(), lines: 0, bytes: 0, line: Vec::new(), before: VecDeque::new() }
    }

    /// Ends: the last line may have no end of its own.
    pub fn finish(&mut self) {
        if !self.line.is_empty() && !self.is_full() {
            self.judge();
        }
    }

    /// Whether all was found that is wanted, with what follows the last one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.found.len() >= self.wanted.max_matches
            && self.found.last().is_none_or(|last| last.after.len() >= self.wanted.context)
    }

    fn judge(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        self.lines += 1;
        let whole = line(&decode_line(&bytes), usize::MAX);
        let text = line(&whole, self.wanted.width);
        let context = self.wanted.context;
        for earlier in self.found.iter_mut().rev().take(context) {
            let distance = usize::try_from(self.lines - earlier.line).unwrap_or(usize::MAX);
            if distance <= context {
                earlier.after.push(text.clone());
            }
        }
        if self.found.len() < self.wanted.max_matches && self.wanted.pattern.is_match(&whole) {
            let before = self.before.iter().cloned().collect();
            self.found.push(Found { line: self.lines, text: text.clone(), before, after: Vec::new() });
        }
        if context > 0 {
            if self.before.len() == context {
                self.before.pop_front();
            }
            self.before.push_back(text);
        }
    }

    fn append(&mut self, part: &[u8]) {
        self.line.extend(part);
        if self.line.len() > MAX_LINE_BYTES {
            // Of a line that is written over again and again, as progress is, the last writing counts.
            let shown = self.line.trim_ascii_end().iter().rposition(|byte| *byte == b'\r').map_or(0, |at| at + 1);
            self.line.drain(..shown);
            self.line.truncate(MAX_LINE_BYTES);
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
        if self.bytes > self.wanted.read { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
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
        let tail = feed(Tail::new(10, 999), b"first\nsecond\nthird\n", 4);
        assert_eq!(tail.total, 19);
        assert_eq!(tail.finish(5, 99), ("third".to_owned(), true));
        assert_eq!(feed(Tail::new(99, 999), b"a\nb\nc", 2).finish(2, 99), ("b\nc".to_owned(), true));
        assert_eq!(feed(Tail::new(99, 999), b"a\nb\n", 2).finish(2, 99), ("a\nb".to_owned(), false));
        assert_eq!(feed(Tail::new(99, 999), b"a\n\nb\n", 2).finish(2, 99), ("\nb".to_owned(), true));
        assert_eq!(feed(Tail::new(99, 4), b"a\nb\nc\nd\n", 2).finish(9, 99), ("a\nb\nc".to_owned(), false));
        // A line that is longer than what is kept loses its beginning, and is shown all the same.
        assert_eq!(feed(Tail::new(4, 999), b"abcdefgh\n", 2).finish(9, 99), ("fgh".to_owned(), true));
        // One that was written over shows its last writing.
        let progress = b"10%\r20%\r30%\rERROR: no space\r\nend\n";
        assert_eq!(feed(Tail::new(24, 999), progress, 5).finish(9, 99), ("ERROR: no space\nend".to_owned(), true));
        assert_eq!(feed(Tail::new(12, 999), progress, 5).finish(9, 99), ("end".to_owned(), true));
    }

    #[test]
    fn a_search_numbers_lines_and_stops_when_it_has_enough() {
        let log = b"a\nerror 1\nb\nc\nerror 2\nd\nerror 3".as_slice();
        let wanted = |max_matches| Wanted {
            pattern: Regex::new("error").unwrap(),
            context: 1,
            max_matches,
            width: 99,
            read: 999,
        };
        for piece in [1, 3, 100] {
            let mut search = feed(Search::new(wanted(9)), log, piece);
            search.finish();
            let found: Vec<_> =
                search.found.iter().map(|one| (one.line, one.before.join(" "), one.after.join(" "))).collect();
            let expected = [(2, "a", "b"), (5, "c", "d"), (7, "d", "")];
            assert_eq!(found, expected.map(|(line, before, after)| (line, before.to_owned(), after.to_owned())));
            let search = feed(Search::new(wanted(1)), log, piece);
            assert!(search.is_full());
            assert_eq!((search.found.len(), search.lines), (1, 3));
        }
    }

    #[test]
    fn what_a_line_of_progress_ends_with_is_found() {
        let progress = "downloading, still downloading\r".repeat(2_000);
        let log = format!("{progress}ERROR: no space left on device\r\nnext\n");
        let pattern = Regex::new("no space left").unwrap();
        let wanted = Wanted { pattern, context: 0, max_matches: 9, width: 99, read: 1 << 20 };
        for piece in [7, 4_096] {
            let mut search = feed(Search::new(wanted.clone()), log.as_bytes(), piece);
            search.finish();
            let found: Vec<_> = search.found.iter().map(|one| (one.line, one.text.as_str())).collect();
            assert_eq!(found, [(1, "ERROR: no space left on device")]);
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
