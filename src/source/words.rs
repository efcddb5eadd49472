//! Splits a command line into words, without a shell, and joins them.

/// The words of `text`: separated by blanks; between quotes blanks count; a backslash takes the next character as it
/// is, but not between single quotes. `None` where a quote is not closed or nothing follows a backslash.
pub(super) fn split_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().push(characters.next()?),
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == character => quote = None,
            (_, None) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// A command line of these words, which splits into them again.
pub(super) fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(quoted).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_special = |character: char| character.is_whitespace() || "'\"\\".contains(character);
    if !word.is_empty() && !word.contains(is_special) {
        return word.to_owned();
    }
    // Between single quotes everything is what it is, but for themselves.
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_people_expect() {
        for (text, expected) in [
            ("", &[][..]),
            ("  ffmpeg  -i\tx ", &["ffmpeg", "-i", "x"]),
            ("sh -c 'cat a | b'", &["sh", "-c", "cat a | b"]),
            (r#"a "b \" c"  d\ e '\'"#, &["a", "b \" c", "d e", r"\"]),
            ("a'b'\"c\" ''", &["abc", ""]),
            ("$HOME *", &["$HOME", "*"]),
        ] {
            let words = split_words(text).unwrap();
            assert_eq!(words, expected, "{text}");
            let again = split_words(&joined(words.iter().map(String::as_str)));
            assert_eq!(again.unwrap(), expected, "{text}");
        }
        for text in ["'a", "\"a", "a\\", "a 'b\" c"] {
            assert_eq!(split_words(text), None, "{text}");
        }
    }
}
