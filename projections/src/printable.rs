//! [`printable`]: any text on one line of a terminal, unable to move its cursor or to turn the text next to it.

/// At most `chars_max` characters of a text, with a `…` where there are more. Control characters, ends of lines and
/// what changes the direction of writing are shown as escapes.
#[must_use]
pub fn printable(text: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(chars_max.saturating_mul(4)));
    let mut rest = text.chars();
    for character in rest.by_ref().take(chars_max) {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else if is_treacherous(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Ends a line for some, turns the direction of writing, or is invisible.
const fn is_treacherous(character: char) -> bool {
    matches!(
        character,
        '\u{61C}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2066}'..='\u{2069}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_is_escaped() {
        for (text, expected) in [
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\u{1b}[2J", r"\u{1b}[2J"),
            ("\u{9b}1m\u{7f}\u{0}", r"\u{9b}1m\u{7f}\u{0}"),
            ("x\u{202e}gpj", r"x\u{202e}gpj"),
            ("\u{2028}\u{2069}\u{feff}", r"\u{2028}\u{2069}\u{feff}"),
            ("Türöffner 日本 👩‍👧", "Türöffner 日本 👩‍👧"),
        ] {
            assert_eq!(printable(text, 100), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(printable("abcdef", 6), "abcdef");
        assert_eq!(printable("abcdefg", 6), "abcdef…");
        assert_eq!(printable("ä\n€", 2), r"ä\n…");
    }
}
