//! Text that CircleCI and the programs in its jobs wrote: brought to plain lines, bounded, and for logs reduced to what
//! tells of a failure.

use std::fmt::Write;

/// Lines before and after one that speaks of an error.
const AROUND: usize = 2;
/// Lines of the end of a log that are always kept.
const END: usize = 30;
/// Bytes of a line.
const MAX_LINE: usize = 1_000;

/// A name or message on one line, without control characters, cut to so many characters.
pub(super) fn clean(text: &str, most: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    plain.trim().to_owned()
}

/// [`clean`] for what may be empty or not there.
pub(super) fn optional(text: Option<&str>, most: usize) -> Option<String> {
    text.map(|text| clean(text, most)).filter(|text| !text.is_empty())
}

/// Terminal output as plain text: escape sequences and control characters are dropped, and of a line that was written
/// over with carriage returns the last writing stays.
pub(super) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut line = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\n' => {
                out.push_str(&line);
                out.push('\n');
                line.clear();
            }
            '\r' if chars.peek() != Some(&'\n') => line.clear(),
            '\t' => line.push('\t'),
            c if c.is_control() => {}
            c => line.push(c),
        }
    }
    out.push_str(&line);
    out
}

/// ECMA-48: a control sequence ends with a byte from `@` to `~`, a string with BEL or ST.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            for c in chars.by_ref() {
                if ('@'..='~').contains(&c) {
                    break;
                }
            }
        }
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next();
                    break;
                }
            }
        }
        Some(c) if ('\u{20}'..='\u{2f}').contains(&c) => {
            chars.next();
        }
        _ => {}
    }
}

/// How many of these bytes can be shown, when more may follow: a character or an escape sequence that is cut at the end
/// is left for the next part. At least one byte, so that reading goes on.
pub(super) fn whole(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    for back in 1..=3.min(bytes.len()) {
        let at = bytes.len() - back;
        let Some(byte) = bytes.get(at) else { break };
        let needs = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        if needs > back {
            end = at;
        }
        break;
    }
    let tail = bytes.get(end.saturating_sub(32)..end).unwrap_or_default();
    if let Some(escape) = tail.iter().rposition(|byte| *byte == 0x1b) {
        let rest = tail.get(escape + 1..).unwrap_or_default();
        let is_cut = match rest.split_first() {
            None => true,
            Some((b'[', parameters)) => !parameters.iter().any(|byte| (b'@'..=b'~').contains(byte)),
            Some(_) => false,
        };
        if is_cut {
            end = end - tail.len() + escape;
        }
    }
    end.max(bytes.len().min(1))
}

/// The end of a text, from the beginning of a line where that is possible.
pub(super) fn end_of(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let mut from = text.len() - bytes;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let tail = text.get(from..).unwrap_or_default();
    match tail.split_once('\n') {
        Some((_, lines)) if !lines.is_empty() => lines,
        _ => tail,
    }
}

/// Whether a line speaks of a failure, in the words that compilers, test runners and shells use.
fn tells_of_a_failure(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let words = [
        "error",
        "fail",
        "exception",
        "panic",
        "fatal",
        "traceback",
        "assert",
        "not found",
        "denied",
        "exit code",
        "killed",
    ];
    words.iter().any(|word| line.contains(word))
}

/// A log reduced to the lines that tell of a failure, with those around them, and to its end. What is left out is marked.
/// For CircleCI Server, which has no condensed logs of its own.
pub(super) fn condense(text: &str, bytes: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = vec![false; lines.len()];
    for (at, line) in lines.iter().enumerate() {
        if at + END >= lines.len() {
            kept.get_mut(at).into_iter().for_each(|keep| *keep = true);
        } else if tells_of_a_failure(line) {
            let around = at.saturating_sub(AROUND)..=(at + AROUND).min(lines.len() - 1);
            kept.get_mut(around).into_iter().flatten().for_each(|keep| *keep = true);
        }
    }
    let mut out = String::new();
    let (mut skipped, mut last) = (0_usize, None);
    for (line, keep) in lines.iter().zip(kept) {
        // Lines that repeat themselves, as progress does, say nothing new.
        if !keep || last == Some(line) {
            skipped += 1;
            continue;
        }
        if skipped > 0 {
            let _infallible = writeln!(out, "[{skipped} lines left out]");
            skipped = 0;
        }
        out.extend(line.chars().take(MAX_LINE));
        out.push('\n');
        last = Some(line);
    }
    end_of(&out, bytes).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terminal_output_becomes_text() {
        let raw = "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}x\r\n10%\r50%\r100%\n\u{1b}(Bend\u{0}\ttab";
        assert_eq!(plain(raw.as_bytes()), "red x\n100%\nend\ttab");
    }

    #[test]
    fn what_is_cut_is_left_for_the_next_part() {
        for (bytes, expected) in [
            ("ab".as_bytes(), 2),
            (b"ab\xc3", 2),
            (b"ab\xc3\xbc", 4),
            (b"ab\xe2\x82", 2),
            (b"ab\x1b", 2),
            (b"ab\x1b[3", 2),
            (b"ab\x1b[31m", 7),
            (b"\x1b[3", 1),
            (b"", 0),
        ] {
            assert_eq!(whole(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_condensed_log_keeps_the_failure_and_the_end() {
        let mut log: Vec<String> = (0..500).map(|n| format!("compiling {n}")).collect();
        log[100] = "error: no such thing".into();
        let short = condense(&log.join("\n"), 8_192);
        assert!(
            short.starts_with("[98 lines left out]\ncompiling 98\ncompiling 99\nerror: no such thing\n"),
            "{short}"
        );
        assert!(short.ends_with("compiling 499\n") && short.len() < 1_000);
        assert_eq!(condense(&"same\n".repeat(1_000), 8_192).matches("same").count(), 1);
        assert_eq!(end_of("one\ntwo\nthree", 7), "three");
    }

    proptest! {
        #[test]
        fn parts_make_up_the_whole(text in "(\\PC|\u{1b}\\[[0-9]{1,3}m|\n){0,200}", size in 4usize..40) {
            let bytes = text.as_bytes();
            let (mut at, mut shown) = (0, String::new());
            while at < bytes.len() {
                let part = &bytes[at..bytes.len().min(at + size.max(8))];
                let taken = if at + part.len() == bytes.len() { part.len() } else { whole(part) };
                shown.push_str(&plain(&part[..taken]));
                at += taken;
            }
            prop_assert_eq!(shown, plain(bytes));
        }
    }
}
