//! Text of others in a line of ours: whatever it holds, it stays in its line and is read from left to right.
//!
//! Ends of lines and tabs become one space. Every other control character, and what changes the direction of text or
//! cannot be seen, is shown as `\u{202e}`. A reader of the log sees that something odd was there.

/// Appends a text.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut is_space = false;
    for letter in text.trim().chars() {
        let was_space = std::mem::replace(&mut is_space, false);
        if ends_line(letter) {
            is_space = true;
            if !was_space {
                out.push(b' ');
            }
        } else if is_shown_as_code(letter) {
            letter.escape_unicode().for_each(|letter| push_letter(out, letter));
        } else {
            push_letter(out, letter);
        }
    }
}

/// Appends a text that begins with a capital.
pub(super) fn push_capitalised(out: &mut Vec<u8>, text: &str) {
    let text = text.trim();
    let mut rest = text.chars();
    match rest.next() {
        Some(first) if !ends_line(first) && !is_shown_as_code(first) => {
            first.to_uppercase().for_each(|letter| push_letter(out, letter));
            push_text(out, rest.as_str());
        }
        _ => push_text(out, text),
    }
}

fn push_letter(out: &mut Vec<u8>, letter: char) {
    out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Whether a text is written as it is: printable ASCII, without space around it.
fn is_plain(bytes: &[u8]) -> bool {
    let printable = bytes.iter().fold(true, |all, byte| all & matches!(byte, 0x20..=0x7E));
    printable && bytes.first() != Some(&b' ') && bytes.last() != Some(&b' ')
}

/// What some reader of lines takes for the end of one, and the tab.
fn ends_line(letter: char) -> bool {
    matches!(letter, '\t'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Controls, marks and overrides of direction, and the byte order mark.
fn is_shown_as_code(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(text: &str) -> String {
        let mut out = Vec::new();
        push_text(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_joined_and_odd_characters_are_shown() {
        assert_eq!(pushed("a\r\n\n b\tc\u{2028}d"), "a  b c d");
        assert_eq!(pushed("\u{1b}[2J\u{202e}x\u{0}"), "\\u{1b}[2J\\u{202e}x\\u{0}");
        assert_eq!(pushed("  Tür, 日本 🐈 \n"), "Tür, 日本 🐈");
    }

    #[test]
    fn no_character_ends_the_line_or_steers_a_terminal() {
        for letter in '\u{0}'..=char::MAX {
            let text = pushed(&format!("a{letter}b"));
            assert!(!text.chars().any(|found| ends_line(found) || is_shown_as_code(found)));
        }
    }

    #[test]
    fn a_capital_is_put_in_front_of_any_script() {
        for (text, capital) in
            [("person", "Person"), ("éléphant", "Éléphant"), ("", ""), ("猫", "猫")]
        {
            let mut out = Vec::new();
            push_capitalised(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), capital);
        }
    }
}
