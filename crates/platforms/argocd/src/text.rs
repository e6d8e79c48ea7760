//! [`kit::text`], for texts that quote commands: Argo CD quotes what failed (`helm template` with all its arguments)
//! before it says why, so that of a long text a cut end would be the cause (argoproj/argo-cd#6082).

use std::borrow::Cow;

pub(super) use kit::text::repository;

/// Characters of a text from which on its commands are cut: [`kit::text::clean`] keeps so many.
const LONG: usize = 500;
/// Characters that are kept of a command.
const COMMAND: usize = 80;

/// [`kit::text::clean`], without the greater part of long commands.
pub(super) fn clean(text: &str) -> String {
    kit::text::clean(&shortened(text))
}

/// [`clean`] for what may be missing or empty.
pub(super) fn optional(text: &str) -> Option<String> {
    Some(clean(text)).filter(|text| !text.is_empty())
}

/// A long text with the beginnings of its commands, which stand between backquotes before ` failed` (`CmdError` in
/// `util/exec/exec.go`). They are cut between words, so that no part of a URL or of an argument is left in which nobody
/// would know a secret.
fn shortened(text: &str) -> Cow<'_, str> {
    if text.chars().count() <= LONG {
        return Cow::Borrowed(text);
    }
    let parts: Vec<&str> = text.split('`').collect();
    let cut = |(number, part): (usize, &&str)| {
        let is_command = number > 0 && parts.get(number + 1).is_some_and(|next| next.starts_with(" failed"));
        let start = part.char_indices().nth(COMMAND).and_then(|(most, _)| part.get(..most)).filter(|_| is_command);
        let words = start.and_then(|start| start.get(..start.rfind(char::is_whitespace)?));
        words.map_or_else(|| (*part).to_owned(), |words| format!("{words} …"))
    };
    Cow::Owned(parts.iter().enumerate().map(cut).collect::<Vec<_>>().join("`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_cause_after_a_long_command_is_kept() {
        let sets = "--set image.registry=https://bot:planted@registry.example.com ".repeat(20);
        let text =
            format!("rpc error: `helm template . {sets}--include-crds` failed exit status 1: Error: tag is required");
        let cut = clean(&text);
        let command = "helm template . --set image.registry=https://registry.example.com …";
        assert_eq!(cut, format!("rpc error: `{command}` failed exit status 1: Error: tag is required"));
        let odd = clean(&format!("field `a is wrong; {}", text.trim_start_matches("rpc error: ")));
        assert_eq!(odd, format!("field `a is wrong; `{command}` failed exit status 1: Error: tag is required"));
        for same in ["short `helm template .` failed", "no command at all"] {
            assert_eq!(clean(same), same);
        }
        let plain = "x".repeat(900);
        assert_eq!(clean(&plain), kit::text::clean(&plain));
    }

    proptest! {
        #[test]
        fn what_stands_outside_of_commands_stays(
            before in "[a-z ]{0,40}", command in "[a-z ]{0,900}", after in "[a-z ]{0,40}",
        ) {
            let text = format!("{before}`{command}` failed{after}");
            let cut = shortened(&text);
            let (start, end) = (format!("{before}`"), format!("` failed{after}"));
            prop_assert!(cut.starts_with(&start) && cut.ends_with(&end), "{}", cut);
            prop_assert!(cut.chars().count() <= text.chars().count().max(LONG));
        }
    }
}
