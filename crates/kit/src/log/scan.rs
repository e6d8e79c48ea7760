//! Logs read in pieces: a part of one, its end, or the lines that match. No more is kept than is wanted.

use std::{collections::VecDeque, iter, ops::ControlFlow};

use regex::Regex;

use super::{complete, decode_line, line};
use outbound::Scan;

/// Bytes of a line that are searched at a time. A longer one is searched piece by piece.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// Bytes that a match may span from one piece into the next, which begins with twice as many of the one before: escape
/// sequences are among them.
pub const MAX_SPAN: usize = 4 * 1024;
/// Stands at the end of a piece that goes on, lest it match as the end of a line: a character that no text has.
const GOES_ON: char = '\u{10ffff}';

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
        // The first line may have lost its beginning. If it was written over since, what it shows is whole all the same. Of one that
        // is longer than what is shown of a line its end is shown: it may say more than what follows it.
        let mut whole = all.as_slice();
        let mut part = None;
        if let (true, Some((first, rest))) = (cut, all.split_first()) {
            let over = first.trim_ascii_end().contains(&b'\r');
            if !over && first.len() > width && rest.len() < lines {
                part = Some(end_of_line(first, width));
            }
            if part.is_some() || (!over && !rest.is_empty()) {
                whole = rest;
            }
        }
        let wanted = whole.get(whole.len().saturating_sub(lines)..).unwrap_or_default();
        let kept = part.into_iter().chain(wanted.iter().map(|bytes| line(&decode_line(bytes), width)));
        (kept.collect::<Vec<_>>().join("\n"), cut || whole.len() > lines)
    }
}

/// The last characters of a line that has lost its beginning, with a mark in its place.
fn end_of_line(part: &[u8], width: usize) -> String {
    // It may begin within a character.
    let from = part.iter().position(|byte| !(0x80..0xc0).contains(byte)).filter(|from| *from < 4).unwrap_or_default();
    let text = line(&decode_line(part.get(from..).unwrap_or_default()), usize::MAX);
    let left_out = (text.chars().count() + 1).saturating_sub(width);
    iter::once('…').chain(text.chars().skip(left_out)).collect()
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
    /// Whether a line was so long that it was searched piece by piece.
    pub in_pieces: bool,
    bytes: u64,
    line: Vec<u8>,
    /// Of a line that is searched piece by piece.
    pieces: Option<Pieces>,
    before: VecDeque<String>,
}

/// What is known of the pieces of a line that came before.
#[derive(Debug)]
struct Pieces {
    /// How the line begins.
    begin: String,
    /// What is shown of the first match.
    matched: Option<String>,
}

impl Search {
    /// Begins.
    #[must_use]
    pub const fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            found: Vec::new(),
            lines: 0,
            in_pieces: false,
            bytes: 0,
            line: Vec::new(),
            pieces: None,
            before: VecDeque::new(),
        }
    }

    /// Ends: the last line may have no end of its own.
    pub fn finish(&mut self) {
        if (!self.line.is_empty() || self.pieces.is_some()) && !self.is_full() {
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
        if bytes.trim_ascii_end().contains(&b'\r') {
            self.pieces = None;
        }
        let (text, matched) = match self.pieces.take() {
            None => (line(&whole, self.wanted.width), self.look(&whole, false, 0)),
            Some(Pieces { begin, matched }) => (begin, matched.or_else(|| self.look(&whole, false, 1))),
        };
        let context = self.wanted.context;
        for earlier in self.found.iter_mut().rev().take(context) {
            let distance = usize::try_from(self.lines - earlier.line).unwrap_or(usize::MAX);
            if distance <= context {
                earlier.after.push(text.clone());
            }
        }
        if let Some(shown) = matched.filter(|_| self.found.len() < self.wanted.max_matches) {
            let before = self.before.iter().cloned().collect();
            self.found.push(Found { line: self.lines, text: shown, before, after: Vec::new() });
        }
        if context > 0 {
            if self.before.len() == context {
                self.before.pop_front();
            }
            self.before.push_back(text);
        }
    }

    /// What is shown of a match in a part of a line, which may go on, and of which the first characters may be those before
    /// it. A match at the end of what goes on may be none, and is left to the next part if that has all of it.
    fn look(&self, part: &str, goes_on: bool, skip: usize) -> Option<String> {
        let from = part.char_indices().nth(skip).map_or(part.len(), |(at, _)| at);
        let found = if goes_on {
            let open = format!("{part}{GOES_ON}");
            let found = self.wanted.pattern.find_at(&open, from).map(|one| one.range());
            found.filter(|one| one.end < part.len() || one.start < part.len().saturating_sub(MAX_SPAN))
        } else {
            self.wanted.pattern.find_at(part, from).map(|one| one.range())
        };
        found.map(|one| around(part, one.start, self.wanted.width))
    }

    fn append(&mut self, part: &[u8]) {
        let mut rest = part;
        loop {
            let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len());
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.line.extend(now);
            rest = later;
            if self.line.len() <= MAX_LINE_BYTES {
                return;
            }
            // Of a line that is written over again and again, as progress is, the last writing counts.
            let over = self.line.trim_ascii_end().iter().rposition(|byte| *byte == b'\r');
            if let Some(at) = over {
                self.line.drain(..=at);
                self.pieces = None;
            } else {
                self.put_aside();
            }
        }
    }

    /// Searches what came of a line, and keeps the end of it.
    fn put_aside(&mut self) {
        self.in_pieces = true;
        let end = complete(&self.line);
        let piece = line(&decode_line(self.line.get(..end).unwrap_or_default()), usize::MAX);
        let (begin, matched) = match self.pieces.take() {
            None => (around(&piece, 0, self.wanted.width), self.look(&piece, true, 0)),
            Some(Pieces { begin, matched }) => (begin, matched.or_else(|| self.look(&piece, true, 1))),
        };
        self.pieces = Some(Pieces { begin, matched });
        // With the character before, which an expression may ask for.
        let mut from = self.line.len().saturating_sub(2 * MAX_SPAN);
        while self.line.get(from).is_some_and(|byte| (0x80..0xc0).contains(byte)) {
            from += 1;
        }
        self.line.drain(..from);
    }
}

/// So many characters of a line around a place in it, with marks where something is left out.
pub(super) fn around(line: &str, at: usize, width: usize) -> String {
    if line.chars().nth(width).is_none() {
        return line.to_owned();
    }
    let before = line.get(..at).map_or(0, |before| before.chars().count());
    // The beginning of a line tells more, as long as it shows the place.
    let left_out = if before < width / 2 { 0 } else { before - width / 4 };
    let mark = (left_out > 0).then_some('…');
    let room = width.saturating_sub(usize::from(mark.is_some()));
    let mut rest = line.chars().skip(left_out);
    let shown: String = rest.by_ref().take(room.saturating_sub(1)).collect();
    // The last character, or a mark in its place.
    let last = rest.next();
    let end = if rest.next().is_some() { Some('…') } else { last };
    mark.into_iter().chain(shown.chars()).chain(end).collect()
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
        let long = format!("{}E_QUOTA exceeded\nFinished: FAILURE\n", "ü".repeat(300));
        let told = feed(Tail::new(200, 999), long.as_bytes(), 7).finish(9, 20);
        assert_eq!(told, (format!("…{}E_QUOTA exceeded\nFinished: FAILURE", "ü".repeat(3)), true));
        assert_eq!(feed(Tail::new(201, 999), long.as_bytes(), 7).finish(2, 20), told);
        assert_eq!(feed(Tail::new(200, 999), long.as_bytes(), 7).finish(1, 20), ("Finished: FAILURE".to_owned(), true));
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

    fn search(log: &[u8], pattern: &str, piece: usize) -> Search {
        let pattern = Regex::new(pattern).unwrap();
        let wanted = Wanted { pattern, context: 1, max_matches: 9, width: 40, read: 1 << 30 };
        let mut search = feed(Search::new(wanted), log, piece);
        search.finish();
        search
    }

    #[test]
    fn what_stands_anywhere_in_a_long_line_is_found_and_shown() {
        let filler = "var a=function(e,t){return e+t};".repeat(8_000);
        let log = format!("first\n{filler}throw E_QUOTA 1{filler}\nsecond\n{filler}E_QUOTA 2\nlast E_QUOTA 3");
        for piece in [4_096, 70_000] {
            let found = search(log.as_bytes(), "E_QUOTA [0-9]", piece);
            let lines: Vec<_> = found.found.iter().map(|one| one.line).collect();
            assert_eq!((lines, found.lines, found.in_pieces), (vec![2, 4, 5], 5, true));
            for (at, one) in found.found.iter().enumerate() {
                assert!(one.text.contains(&format!("E_QUOTA {}", at + 1)), "{}", one.text);
                assert!(one.text.chars().count() <= 40, "{}", one.text);
            }
            assert_eq!(found.found[0].before, ["first"]);
            assert!(found.found[2].before[0].starts_with("var a=") && found.found[2].before[0].ends_with('…'));
            // The ends of pieces are no ends of lines, and their beginnings no beginnings; what spans too much is missed.
            for (pattern, lines) in
                [("E_QUOTA 2$", 1), ("^first$", 1), ("^E_QUOTA", 0), ("t\\)$", 0), ("^var", 2), ("^var.*2", 0)]
            {
                assert_eq!(search(log.as_bytes(), pattern, piece).found.len(), lines, "{pattern}");
            }
        }
        // Written over, so that nothing of it is seen.
        let over = format!("{filler}E_QUOTA\rdone\n");
        assert_eq!(search(over.as_bytes(), "E_QUOTA", 4_096).found.len(), 0);
    }

    #[test]
    fn a_line_is_shown_around_a_place() {
        let line = format!("{}NO{}", "ü".repeat(100), "a".repeat(100));
        assert_eq!(around(&line, 200, 20), format!("…{}NO{}…", "ü".repeat(5), "a".repeat(11)));
        assert_eq!(around(&line, 8, 20), format!("{}…", "ü".repeat(19)));
        assert_eq!(around(&line, line.len() - 1, 20), format!("…{}", "a".repeat(6)));
        assert_eq!(around("short", 3, 20), "short");
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
        fn a_text_is_found_wherever_it_stands(before in 0usize..20_000, after in 0usize..9_000, piece in 1usize..50_000, part in "[aü]") {
            let log = format!("{}needle{}\n", part.repeat(before), part.repeat(after));
            let found = search(log.as_bytes(), "needle", piece).found;
            prop_assert_eq!(found.len(), 1);
            prop_assert!(found[0].text.contains("needle"));
            prop_assert!(found[0].text.chars().count() <= 40);
        }

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
