//! Bytes that a program wrote to a terminal, as the text that the terminal would show: without escape sequences and control
//! characters, and of a line that was written over (progress bars) what was written last.
//!
//! Escape sequences: ECMA-48, 5th edition. Jenkins' console notes are concealed text (`hudson/console/ConsoleNote.java`: from
//! `ESC[8mha:` to `ESC[0m`), which since 2025 is part of what `progressiveText` answers.

use std::{borrow::Cow, iter::Peekable, str::Chars};

use encoding_rs::{Encoding, WINDOWS_1252};

/// The parameters of a control sequence, at most: a longer one is no sequence.
const MAX_SEQUENCE: usize = 64;

/// What a terminal would show of a text of several lines.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut line = Line::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => {
                shown.push_str(&line.text);
                shown.push('\n');
                // What was concealed and not shown again would hide the rest of the log.
                line = Line::default();
            }
            '\u{1b}' => line.obey(&escape(&mut chars)),
            c => line.write(c),
        }
    }
    shown.push_str(&line.text);
    shown
}

/// A line, as [`plain`] has it, cut to `max` characters.
#[must_use]
pub fn line(text: &str, max: usize) -> String {
    cut(plain(text.trim_end_matches(['\r', '\n'])), max)
}

/// A text of several lines, each as [`line()`] has it.
#[must_use]
pub fn lines(text: &str, max: usize) -> String {
    let plain = plain(text);
    let ended = plain.split_inclusive('\n').map(|line| match line.strip_suffix('\n') {
        Some(line) => cut(line.to_owned(), max) + "\n",
        None => cut(line.to_owned(), max),
    });
    ended.collect()
}

fn cut(line: String, max: usize) -> String {
    if line.chars().nth(max).is_none() {
        return line;
    }
    line.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// A line while it is written.
#[derive(Default)]
struct Line {
    text: String,
    /// The cursor went back to the beginning: the next character writes the line over.
    returned: bool,
    concealed: bool,
}

impl Line {
    fn write(&mut self, c: char) {
        match c {
            '\r' => self.returned = true,
            '\u{8}' => drop(self.text.pop()),
            c if self.concealed || (c.is_control() && c != '\t') => {}
            c => {
                if std::mem::take(&mut self.returned) {
                    self.text.clear();
                }
                self.text.push(c);
            }
        }
    }

    fn obey(&mut self, sequence: &Sequence) {
        match sequence.last {
            // Erase in line: from the cursor, which counts here only at the beginning, or all.
            'K' if self.returned || sequence.parameters == "2" => self.text.clear(),
            'm' => {
                for parameter in sequence.parameters.split(';') {
                    match parameter {
                        "8" => self.concealed = true,
                        "" | "0" | "28" => self.concealed = false,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// A control sequence; of any other escape sequence nothing is kept.
#[derive(Default)]
struct Sequence {
    parameters: String,
    last: char,
}

/// Reads what follows an escape character.
fn escape(chars: &mut Peekable<Chars<'_>>) -> Sequence {
    match chars.peek() {
        Some('[') => {
            chars.next();
            let mut parameters = String::new();
            while let Some(c) = chars.peek().copied() {
                // Whatever else comes is no part of it, above all no end of a line.
                if !(' '..='~').contains(&c) || parameters.len() == MAX_SEQUENCE {
                    break;
                }
                chars.next();
                if ('@'..='~').contains(&c) {
                    return Sequence { parameters, last: c };
                }
                parameters.push(c);
            }
        }
        // A string, such as a window's title or a link's target, ends with BEL or ST (ESC \).
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(c) = chars.next_if(|c| *c != '\n') {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some(c) if (' '..='/').contains(c) => {
            chars.next();
            chars.next_if(|c| *c != '\n');
        }
        Some(c) if !c.is_control() => {
            chars.next();
        }
        _ => {}
    }
    Sequence::default()
}

/// A line's bytes as text: UTF-8, and where it is not, Windows-1252, in which every byte is a character.
#[must_use]
pub fn decode_line(bytes: &[u8]) -> Cow<'_, str> {
    // A character that was cut off is no sign of another encoding.
    let whole = bytes.get(..complete_character(bytes)).unwrap_or(bytes);
    match std::str::from_utf8(whole) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// A text's bytes as text: as its byte order mark says, or `charset` (of a `Content-Type`), or line by line as
/// [`decode_line`] does.
#[must_use]
pub fn decode<'a>(bytes: &'a [u8], charset: Option<&str>) -> Cow<'a, str> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(bytes.get(mark..).unwrap_or_default()).0;
    }
    if std::str::from_utf8(bytes).is_err()
        && let Some(encoding) = charset.and_then(|label| Encoding::for_label(label.as_bytes()))
        && encoding != encoding_rs::UTF_8
    {
        return encoding.decode_without_bom_handling(bytes).0;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.split_inclusive(|byte| *byte == b'\n').map(decode_line).collect()),
    }
}

/// The `charset` of a `Content-Type`, such as `text/plain; charset=windows-1252`.
#[must_use]
pub fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

/// A file's bytes as text, in the way of [`decode`]; nothing if they are no text.
#[must_use]
pub fn readable(bytes: &[u8], charset: Option<&str>) -> Option<String> {
    let steers = |byte: &u8| *byte < 0x20 && !matches!(*byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x08 | 0x1b);
    let is_text = Encoding::for_bom(bytes).is_some()
        || match std::str::from_utf8(bytes.get(..complete_character(bytes)).unwrap_or(bytes)) {
            Ok(_) => !bytes.contains(&0),
            // Every byte is a character of some encoding; what programs read has others than texts.
            Err(_) => !bytes.iter().any(steers),
        };
    is_text.then(|| plain(&decode(bytes, charset)))
}

/// How many of these bytes don't end inside of a character of UTF-8.
fn complete_character(bytes: &[u8]) -> usize {
    for back in 1..=3.min(bytes.len()) {
        let at = bytes.len() - back;
        let needs = match bytes.get(at) {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            Some(0x80..=0xbf) => continue,
            _ => 1,
        };
        return if needs > back { at } else { bytes.len() };
    }
    bytes.len()
}

/// How many of these bytes can be shown when more may follow: a character or a control sequence that is cut at the end is
/// left for the next part. At least one byte, so that reading goes on.
#[must_use]
pub fn complete(bytes: &[u8]) -> usize {
    let end = complete_character(bytes);
    let from = end.saturating_sub(MAX_SEQUENCE);
    let tail = bytes.get(from..end).unwrap_or_default();
    let escape = tail.iter().rposition(|byte| *byte == 0x1b).filter(|at| {
        match tail.get(at + 1..).unwrap_or_default().split_first() {
            None => true,
            Some((b'[', rest)) => rest.iter().all(|byte| (b' '..b'@').contains(byte)),
            Some(_) => false,
        }
    });
    escape.map_or(end, |at| from + at).max(bytes.len().min(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_what_a_terminal_shows() {
        for (raw, shown) in [
            ("\u{1b}[31mred\u{1b}[0m\ttab\u{7}", "red\ttab"),
            ("\u{1b}]0;title\u{7}x \u{1b}]8;;https://example.com\u{1b}\\link\u{1b}]8;;\u{1b}\\", "x link"),
            ("\u{1b}(B\u{1b}[mwarning\u{1b}(B: ]8;;", "warning: ]8;;"),
            ("\u{1b}cafter a reset, \u{1b}7saved", "after a reset, saved"),
            // Written over.
            ("10%\r50%\r100%\nend", "100%\nend"),
            ("10%\r50%\rERROR: no space left on device", "ERROR: no space left on device"),
            ("a line of Windows\r\nand another\r\r\n", "a line of Windows\nand another\n"),
            ("what stands\r", "what stands"),
            ("gone\r\u{1b}[Knew\nkept\u{1b}[K\nall\u{1b}[2K\n", "new\nkept\n\n"),
            ("|\u{8}/\u{8}-\u{8}done", "done"),
            // A console note of Jenkins, and one without an end.
            ("\u{1b}[8mha:////4AAAA+x==\u{1b}[0m[Pipeline] node\n", "[Pipeline] node\n"),
            ("a\u{1b}[8mha:////4\nb", "a\nb"),
            // No sequence takes the end of a line with it.
            ("\u{1b}[31\nnext\u{1b}]0;t\nlast\u{1b}", "\nnext\nlast"),
        ] {
            assert_eq!(plain(raw), shown, "{raw:?}");
        }
        assert_eq!(line(&"ü".repeat(900), 500).chars().count(), 500);
        assert_eq!(line("a\r\n", 9), "a");
        assert_eq!(lines("aaaa\r\nb\n", 3), "aa…\nb\n");
        assert_eq!(lines("a\n\nb", 3), "a\n\nb");
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_read_as_what_they_are_most_likely() {
        assert_eq!(decode_line(b"\xdcbersetzung l\xe4uft"), "Übersetzung läuft");
        assert_eq!(decode_line("Übersetzung".as_bytes()), "Übersetzung");
        assert_eq!(decode_line(b"cut \xe2\x82"), "cut ");
        assert_eq!(decode(b"\xff\xfeh\0i\0", None), "hi");
        assert_eq!(decode(b"\xef\xbb\xbfhi", None), "hi");
        assert_eq!(decode(b"\x82\xa0", Some("Shift_JIS")), "あ");
        assert_eq!(decode("ü\n".as_bytes(), Some("iso-8859-1")), "ü\n");
        assert_eq!(decode(b"\xc3\xbc\n\xfc\n", Some("no such thing")), "ü\nü\n");
        assert_eq!(readable(b"\xfcber\n", charset("text/plain;charset=Windows-1252")).unwrap(), "über\n");
        assert_eq!(readable(b"\xff\xfeh\0i\0", charset("text/plain")).unwrap(), "hi");
        for binary in [b"\x1f\x8b\x08\x00".as_slice(), b"\x89PNG\r\n\x1a\n", b"a\0b"] {
            assert_eq!(readable(binary, None), None, "{binary:?}");
        }
        assert_eq!(charset("text/html; x=y; Charset=\"utf-8\""), Some("utf-8"));
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
            assert_eq!(complete(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_make_up_the_whole(text in "([ -~äあ]|\u{1b}\\[[0-9]{1,3}m|\n){0,200}", size in 8usize..40) {
            let bytes = text.as_bytes();
            let (mut at, mut shown) = (0, String::new());
            while at < bytes.len() {
                let part = &bytes[at..bytes.len().min(at + size)];
                let taken = if at + part.len() == bytes.len() { part.len() } else { complete(part) };
                shown.push_str(&plain(&decode(&part[..taken], None)));
                at += taken;
            }
            // Concealed text that goes on in the next part can't be known there.
            prop_assume!(!text.contains("[8m"));
            prop_assert_eq!(shown, plain(&text));
        }

        #[test]
        fn nothing_that_steers_a_terminal_is_left(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let shown = plain(&decode(&bytes, None));
            prop_assert!(shown.chars().all(|c| !c.is_control() || c == '\t' || c == '\n'));
        }
    }
}
