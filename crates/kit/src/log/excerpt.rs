//! Parts of a log that is already text: its end, and what tells of a failure.

use std::fmt::Write;

use super::scan::around;

/// Lines before and after one that speaks of an error.
const AROUND: usize = 2;
/// Lines of the end of a log that are always kept.
const END: usize = 30;
/// Characters of a line.
const MAX_LINE: usize = 1_000;

/// The end of a text, from the beginning of a line where that is possible.
#[must_use]
pub fn end_of(text: &str, bytes: usize) -> &str {
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

/// Where a line speaks first of a failure, if it does, in the words that compilers, test runners and shells use.
fn words_of_failure(line: &str) -> Option<usize> {
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
    words.iter().filter_map(|word| line.find(word)).min()
}

/// A log reduced to the lines that tell of a failure, with those around them, and to its end. What is left out is marked.
#[must_use]
pub fn condense(text: &str, bytes: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = vec![false; lines.len()];
    for (at, line) in lines.iter().enumerate() {
        if at + END >= lines.len() {
            kept.get_mut(at).into_iter().for_each(|keep| *keep = true);
        } else if words_of_failure(line).is_some() {
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
        let told = words_of_failure(line).unwrap_or_default();
        out.push_str(&around(line, told, MAX_LINE));
        out.push('\n');
        last = Some(line);
    }
    end_of(&out, bytes).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn what_a_long_line_says_of_a_failure_is_kept(before in 0_usize..20_000, after in 0_usize..5_000, filler in "[xü]") {
            let log = format!("{}E: no space, FATAL{}\nend\n", filler.repeat(before), filler.repeat(after));
            let short = condense(&log, 8_192);
            prop_assert!(short.contains("FATAL"), "{short}");
            prop_assert!(short.chars().count() <= MAX_LINE + 5);
            prop_assert_eq!(short.contains('…'), log.chars().count() - 5 > MAX_LINE);
        }
    }
}
