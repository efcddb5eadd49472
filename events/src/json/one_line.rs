//! [`OneLine`], a compact JSON format in which no text can end a line or steer a terminal.

use std::io;

use serde_json::ser::Formatter;

/// Escapes, beside what JSON demands, DEL, the C1 controls (among them NEL, U+0085) and the separators U+2028
/// and U+2029: all that some reader of lines takes for the end of one. The values stay the same.
pub(super) struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if !may_hold_escaped(fragment.as_bytes()) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut written = 0;
        for (at, letter) in fragment.char_indices().filter(|(_, letter)| is_escaped(*letter)) {
            writer.write_all(&fragment.as_bytes()[written..at])?;
            write!(writer, "\\u{:04x}", u32::from(letter))?;
            written = at + letter.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

fn is_escaped(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Whether a byte is there with which the UTF-8 of an escaped character begins. Without a branch inside, for
/// this runs over every byte of every text.
fn may_hold_escaped(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | matches!(byte, 0x7F | 0xC2 | 0xE2))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, OneLine);
        text.serialize(&mut serializer).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_end_a_line_is_escaped() {
        assert_eq!(written("a\nb\rc"), r#""a\nb\rc""#);
        assert_eq!(written("a\u{85}\u{2028}b\u{2029}"), r#""a\u0085\u2028b\u2029""#);
        assert_eq!(written("\u{0}\u{1b}\u{7f}\u{9f}"), r#""\u0000\u001b\u007f\u009f""#);
        assert_eq!(written("\u{b}\u{c}\u{1c}"), r#""\u000b\f\u001c""#);
    }

    #[test]
    fn other_text_is_written_as_it_is() {
        for text in ["", "person", "Türöffner", "…“”", "\u{a0}\u{bf}", "日本", "🐈"] {
            assert_eq!(written(text), format!("\"{text}\""));
        }
    }

    #[test]
    fn every_character_comes_back_and_none_is_a_control_character() {
        for letter in '\u{0}'..=char::MAX {
            let text = written(&format!("a{letter}b"));
            assert!(!text.chars().any(is_escaped), "{letter:?}");
            assert_eq!(serde_json::from_str::<String>(&text).unwrap(), format!("a{letter}b"));
        }
    }
}
