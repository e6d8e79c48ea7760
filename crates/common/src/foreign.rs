//! Words that somebody else wrote (a platform, a pod, the author of a manifest), as they may be shown: without what steers a
//! terminal, and without characters that nobody sees, in which instructions for a model hide and which break up secrets so
//! that nobody finds them. Whatever shows such words cleans them here first; what looks for secrets looks afterwards.
//!
//! What is not seen is told by Unicode's properties: `Default_Ignorable_Code_Point` (zero-width characters, variation
//! selectors, tags, marks of direction, fillers), noncharacters, private use, and the categories of controls, formats and
//! separators of lines.
//!
//! Two kinds of them stay where a reader would miss them and none can be hidden: joiners without which a word of an Indic or
//! Arabic script is another word (RFC 5892, appendix A), and what makes one emoji of several characters (joiners, the selector
//! of its look). Each stays once, between characters of its script or emoji, so that it carries no text and stands in no
//! ASCII word. All other variation selectors only choose among looks of a character, and go; so do the tags of the flags of
//! England, Scotland and Wales, which become black flags.

use std::{borrow::Cow, str::Chars};

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji, GeneralCategory, JoiningType, NoncharacterCodePoint,
        PrependedConcatenationMark,
    },
};

/// Bytes that are looked at in one go.
const STRIDE: usize = 64;
/// Marks on a letter through which its way of joining is looked for, at most.
const MAX_MARKS: usize = 8;

const JOINER: char = '\u{200d}';
const NON_JOINER: char = '\u{200c}';
const TEXT_LOOK: char = '\u{fe0e}';
const EMOJI_LOOK: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';
/// Braille without dots: a symbol that looks like a space.
const BLANK_BRAILLE: char = '\u{2800}';
/// A musical symbol that has no look.
const NULL_NOTEHEAD: char = '\u{1d159}';

/// The text without escape sequences and without characters that aren't seen. Ends of lines (`\n`) and tabs stay. Cleaned
/// again it is the same.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    let is_plain = |stride: &[u8]| stride.iter().fold(true, |plain, byte| plain & is_plain_byte(*byte));
    let Some(plain) = text.as_bytes().chunks(STRIDE).position(|stride| !is_plain(stride)) else {
        return Cow::Borrowed(text);
    };
    // What comes before is ASCII, so that a character begins here.
    let mut rest = text.get(plain * STRIDE..).unwrap_or_default().chars();
    let mut cleaned: Option<String> = None;
    loop {
        let at = text.len() - rest.as_str().len();
        let Some(c) = rest.next() else { break };
        let before = || cleaned.as_deref().unwrap_or_else(|| text.get(..at).unwrap_or_default());
        let kept = match c {
            '\u{1b}' => {
                rest = after_escape(rest);
                None
            }
            // The one-character form of the same introducer.
            '\u{9b}' => {
                skip_control_sequence(&mut rest);
                None
            }
            BLANK_BRAILLE => Some(' '),
            c if is_seen(c) || is_needed(c, before(), rest.clone().next()) => Some(c),
            _ => None,
        };
        if kept == Some(c) {
            if let Some(cleaned) = &mut cleaned {
                cleaned.push(c);
            }
            continue;
        }
        let cleaned = cleaned.get_or_insert_with(|| {
            let mut cleaned = String::with_capacity(text.len());
            cleaned.push_str(text.get(..at).unwrap_or_default());
            cleaned
        });
        cleaned.extend(kept);
    }
    cleaned.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The text as [`clean`] leaves it, on one line, of so many characters at most.
#[must_use]
pub fn line(text: &str, most: usize) -> String {
    on_one_line(&clean(text)).take(most).collect()
}

/// The text as [`clean`] leaves it, on one line.
#[must_use]
pub fn whole_line(text: &str) -> String {
    on_one_line(&clean(text)).collect()
}

fn on_one_line(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c })
}

/// Whether a reader sees the character, or the space that it takes.
#[must_use]
pub fn is_seen(c: char) -> bool {
    match c {
        '\n' | '\t' | ' '..='~' => return true,
        NULL_NOTEHEAD | BLANK_BRAILLE => return false,
        // Latin letters and signs, for speed.
        '\u{a0}'..='\u{24f}' if c != '\u{ad}' => return true,
        _ => {}
    }
    let is_seen_by_category = match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control
        | GeneralCategory::PrivateUse
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator => false,
        // Signs that are drawn around the digits that follow.
        GeneralCategory::Format => CodePointSetData::new::<PrependedConcatenationMark>().contains(c),
        _ => true,
    };
    is_seen_by_category
        && !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        && !CodePointSetData::new::<NoncharacterCodePoint>().contains(c)
}

fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\t' | b' '..=b'~')
}

/// Whether a character that isn't seen makes something else of what is seen before and behind it.
fn is_needed(c: char, before: &str, next: Option<char>) -> bool {
    let Some(last) = before.chars().next_back() else { return false };
    match c {
        TEXT_LOOK | EMOJI_LOOK if last.is_ascii() => is_emoji_base(last) && next == Some(KEYCAP),
        TEXT_LOOK | EMOJI_LOOK => is_emoji_base(last),
        JOINER => is_virama(last) || ((last == EMOJI_LOOK || is_emoji(last)) && next.is_some_and(is_emoji)),
        NON_JOINER => is_virama(last) || (joins_onward(before) && next.is_some_and(joins_back)),
        _ => false,
    }
}

fn is_emoji_base(c: char) -> bool {
    CodePointSetData::new::<Emoji>().contains(c)
}

/// Whether it is an emoji, and no digit or sign, which begin emoji, too.
fn is_emoji(c: char) -> bool {
    !c.is_ascii() && is_emoji_base(c)
}

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn joining(c: char) -> JoiningType {
    CodePointMapData::<JoiningType>::new().get(c)
}

/// Whether the last letter joins with what follows, whatever marks it has.
fn joins_onward(before: &str) -> bool {
    let mut types = before.chars().rev().map(joining).take(MAX_MARKS);
    let letter = types.find(|one| *one != JoiningType::Transparent);
    matches!(letter, Some(JoiningType::DualJoining | JoiningType::LeftJoining))
}

fn joins_back(c: char) -> bool {
    matches!(joining(c), JoiningType::DualJoining | JoiningType::RightJoining)
}

/// What follows an escape sequence whose first character was read. No sequence takes the end of a line with it.
fn after_escape(mut rest: Chars<'_>) -> Chars<'_> {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            skip_control_sequence(&mut ahead);
            ahead
        }
        // Titles, hyperlinks and the like, which end with BEL or ESC \. Without an end, only the introducer goes.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let after_introducer = ahead.clone();
            while let Some(c) = ahead.next() {
                match c {
                    '\u{7}' | '\u{9c}' => return ahead,
                    '\u{1b}' => {
                        let after_end = ahead.clone();
                        return if ahead.next() == Some('\n') { after_end } else { ahead };
                    }
                    '\n' => break,
                    _ => {}
                }
            }
            after_introducer
        }
        Some(' '..='/') => {
            let after_intermediate = ahead.clone();
            if ahead.next() == Some('\n') { after_intermediate } else { ahead }
        }
        Some('0'..='~') => {
            let _final = rest.next();
            rest
        }
        _ => rest,
    }
}

/// Skips parameters and the final character of a control sequence; a character that can't be part of one stays.
fn skip_control_sequence(rest: &mut Chars<'_>) {
    loop {
        let before = rest.clone();
        match rest.next() {
            Some(' '..='?') => {}
            Some('@'..='~') | None => return,
            Some(_) => {
                *rest = before;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_seen_is_taken_out() {
        for (text, expected) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]8;;http://evil\u{7}link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]unfinished", "unfinished"),
            ("\u{1b}]0;a\nline that stays\n\u{1b}[0m", "0;a\nline that stays\n"),
            ("a\u{9b}2Jb", "ab"),
            ("\u{1b}(Bx", "x"),
            ("\u{1b}cx", "x"),
            ("end\u{1b}", "end"),
            ("one\r\ntwo", "one\ntwo"),
            ("a\u{202e}b\u{200b}c\u{feff}d", "abcd"),
            ("a\u{e0041}\u{e0042}b", "ab"),
            ("\u{1f600}\u{fe00}\u{fe01}\u{fe0a}", "\u{1f600}"),
            ("葛\u{e0100}城", "葛城"),
            ("dots\u{2800}dots", "dots dots"),
            ("ünïcödé 漢字 🙂", "ünïcödé 漢字 🙂"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn each_kind_of_what_is_not_seen_is_known() {
        for c in [
            '\u{7}',
            '\r',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{17b5}',
            '\u{180b}',
            '\u{180d}',
            '\u{180e}',
            '\u{180f}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{2029}',
            '\u{202e}',
            '\u{2060}',
            '\u{2065}',
            '\u{2066}',
            '\u{206f}',
            '\u{3164}',
            '\u{e000}',
            '\u{fdd0}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff0}',
            '\u{fff8}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{ffff}',
            '\u{13430}',
            '\u{1343f}',
            '\u{1bca0}',
            '\u{1d159}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{e01ef}',
            '\u{f0000}',
            '\u{10fffd}',
        ] {
            assert!(!is_seen(c), "{:x}", u32::from(c));
            assert_eq!(clean(&format!("a{c}b")), "ab", "{:x}", u32::from(c));
        }
        for c in [
            'a',
            '\u{a0}',
            'é',
            'ß',
            '\u{301}',
            'ع',
            '\u{600}',
            'क',
            '\u{94d}',
            '한',
            '漢',
            '\u{fffd}',
            '🙂',
            '\u{1f3fd}',
            '\u{20e3}',
        ] {
            assert!(is_seen(c), "{c:?}");
        }
    }

    #[test]
    fn emoji_and_words_that_need_joiners_stay_whole() {
        for text in [
            "\u{2714}\u{fe0f} deploy",
            "\u{1f3d7}\u{fe0f} Build",
            "1\u{fe0f}\u{20e3} first",
            "\u{1f469}\u{1f3fd}\u{200d}\u{1f4bb}",
            "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}",
            // Persian "they go", Sinhala "Sri", Hindi "ksha" with a half form.
            "می\u{200c}روند",
            "\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}",
            "क\u{94d}\u{200d}ष",
        ] {
            assert_eq!(clean(text), text);
        }
        for (text, expected) in [
            // Nothing joins these, and nothing is chosen twice.
            ("ghp\u{200d}_token", "ghp_token"),
            ("a1\u{fe0f}B2", "a1B2"),
            ("م\u{200c}\u{200c}ی", "م\u{200c}ی"),
            ("\u{2714}\u{fe0f}\u{fe0f}\u{fe0e}", "\u{2714}\u{fe0f}"),
            ("\u{1f600}\u{200d}\u{200d}\u{1f600}", "\u{1f600}\u{200d}\u{1f600}"),
            ("\u{1f600}\u{200d}text", "\u{1f600}text"),
            ("\u{1f600}\u{200d}\u{fe0f}", "\u{1f600}\u{fe0f}"),
            ("क\u{94d}\u{200d}\u{200c}\u{200d}ष", "क\u{94d}\u{200d}ष"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line("one\r\ntwo\tthree", 9), "one two t");
        assert_eq!(whole_line("a\n::error::b\u{1b}[2J"), "a ::error::b");
    }

    /// Texts of which much is not seen, or is seen only in a place.
    fn odd() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            any::<char>().prop_map(String::from),
            prop::sample::select(vec![
                "\u{200c}",
                "\u{200d}",
                "\u{fe0f}",
                "\u{fe0e}",
                "\u{94d}",
                "\u{64b}",
                "م",
                "ا",
                "क",
                "1",
                "\u{20e3}",
                "\u{1f600}",
                "\u{1f3fd}",
                "\u{2714}",
                "\u{e0041}",
                "\u{2800}",
                "\u{1b}",
                "[",
                "]",
                "\n",
                "\u{7}",
                "a",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_left_is_seen_or_needed_and_stays(text in odd()) {
            let once = clean(&text).into_owned();
            for (at, c) in once.char_indices() {
                let next = once[at + c.len_utf8()..].chars().next();
                prop_assert!(is_seen(c) || is_needed(c, &once[..at], next), "{once:?}: {c:?}");
            }
            prop_assert_eq!(clean(&once), once.as_str());
        }

        #[test]
        fn no_two_that_are_not_seen_follow_each_other(text in odd()) {
            let cleaned: Vec<char> = clean(&text).chars().collect();
            // A selector and the joiner of the next emoji do.
            let hides = |pair: &[char]| !is_seen(pair[0]) && !is_seen(pair[1]) && pair != [EMOJI_LOOK, JOINER];
            prop_assert!(!cleaned.windows(2).any(hides), "{cleaned:?}");
        }

        #[test]
        fn an_ascii_word_is_whole_whatever_was_put_into_it(
            word in "[!-~]{1,40}",
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..20),
        ) {
            let mut broken: Vec<char> = word.chars().collect();
            // Those that begin a sequence take what follows with them, as on a terminal.
            for (place, c) in places.into_iter().filter(|(_, c)| !is_seen(*c) && !"\u{1b}\u{9b}\u{2800}".contains(*c)) {
                broken.insert(place.index(broken.len() + 1), c);
            }
            let broken = String::from_iter(broken);
            prop_assert_eq!(clean(&broken), word);
        }

        #[test]
        fn escape_sequences_never_panic(text in "[\u{1b}\u{9b}\\[\\]0-9;mPX\u{7}\\\\ab \n]{0,60}") {
            let cleaned = clean(&text);
            prop_assert!(cleaned.chars().all(is_seen));
            prop_assert_eq!(cleaned.matches('\n').count(), text.matches('\n').count());
        }

        #[test]
        fn visible_text_is_kept(text in "[a-zA-Z0-9 äöü\n\t.,;漢عक🙂]{0,200}") {
            prop_assert_eq!(clean(&text), text.as_str());
        }
    }
}
