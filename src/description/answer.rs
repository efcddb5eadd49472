//! What is asked of a model and what its answer says. Pure: bytes in, words out.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest sentence that is kept, in characters; the rest of a longer one is left out.
pub const SENTENCE_CHARS_MAX: usize = 2000;
/// Most words (about) that a model may write.
const TOKENS_MAX: u32 = 300;

/// The request: a prompt and a picture, in the form that OpenAI's chat completions have.
pub(super) fn request(model: &str, prompt: &str, jpeg: &[u8]) -> Value {
    let picture = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg));
    json!({
        "model": model,
        "max_tokens": TOKENS_MAX,
        "stream": false,
        "messages": [{
            "role": "user",
            "content": [
                {"type": "text", "text": prompt},
                {"type": "image_url", "image_url": {"url": picture}},
            ],
        }],
    })
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

/// The sentence in an answer.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn sentence(answer: &[u8]) -> Result<String, String> {
    // Some servers write another encoding than they have to, or a mark in front: a sentence with an odd character in it is
    // better than none.
    let text = String::from_utf8_lossy(answer);
    let completion: Completion = serde_json::from_str(text.trim_start_matches('\u{FEFF}'))
        .map_err(|error| format!("its answer is not of the expected form: {error}"))?;
    let content = completion.choices.into_iter().next().and_then(|choice| choice.message.content);
    let sentence = plain(&content.unwrap_or_default());
    if sentence.is_empty() { Err("its answer is empty".to_owned()) } else { Ok(sentence) }
}

/// One line of text without anything that a terminal would act on, or that would turn what follows around.
fn plain(text: &str) -> String {
    let blank = |character: char| character.is_control() || character.is_whitespace();
    let words = text.split(blank).map(|word| word.replace(is_invisible, ""));
    let mut line = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if line.chars().count() > SENTENCE_CHARS_MAX {
        line = line.chars().take(SENTENCE_CHARS_MAX - 1).collect();
        line.push('…');
    }
    line
}

/// Characters that change the direction of text, or are not seen at all.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
    )
}

/// What an error answer says, shortened, for the log.
pub(super) fn complaint(answer: &[u8]) -> String {
    let value: Value = serde_json::from_slice(answer).unwrap_or_default();
    let message = value.pointer("/error/message").or_else(|| value.get("error"));
    let text = message.and_then(Value::as_str).map(str::to_owned);
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(answer).into_owned());
    plain(&text).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(content: &str) -> Vec<u8> {
        let message = json!({"role": "assistant", "content": content});
        json!({"id": "x", "choices": [{"index": 0, "message": message}], "usage": {}})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn the_sentence_is_one_plain_line() {
        for (content, expected) in [
            ("A person.", "A person."),
            (
                "  A\n\nperson\r\nwith\ta \u{1b}[31mred\u{1b}[0m bag.\n",
                "A person with a [31mred [0m bag.",
            ),
            ("a\u{202E}b\u{200B}c", "abc"),
            ("Ein Mann grüßt 🙂", "Ein Mann grüßt 🙂"),
        ] {
            assert_eq!(sentence(&answer(content)).unwrap(), expected);
        }
        let long = sentence(&answer(&"word ".repeat(10_000))).unwrap();
        assert_eq!(long.chars().count(), SENTENCE_CHARS_MAX);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_sentence_in_another_encoding_is_better_than_none() {
        let marked = [b"\xEF\xBB\xBF", &answer("A person.")[..]].concat();
        assert_eq!(sentence(&marked).unwrap(), "A person.");
        let latin: Vec<u8> =
            answer("A caf@.").into_iter().map(|b| if b == b'@' { 0xE9 } else { b }).collect();
        assert_eq!(sentence(&latin).unwrap(), "A caf\u{FFFD}.");
        let wide: Vec<u8> = answer("x").into_iter().flat_map(|byte| [byte, 0]).collect();
        assert!(sentence(&wide).unwrap_err().contains("expected form"));
    }

    #[test]
    fn answers_without_a_sentence_are_told_as_what_they_are() {
        for (answer, expected) in [
            (&b""[..], "expected form"),
            (b"<html>", "expected form"),
            (b"{\"choices\":{}}", "expected form"),
            (b"{\"choices\":[]}", "empty"),
            (b"{\"choices\":[{\"message\":{\"content\":null}}]}", "empty"),
            (b"{\"choices\":[{\"message\":{\"content\":\" \\n\\u0007 \"}}]}", "empty"),
        ] {
            let error = sentence(answer).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_complaint_is_short_and_plain() {
        assert_eq!(complaint(br#"{"error":{"message":"no\nsuch model"}}"#), "no such model");
        assert_eq!(complaint(br#"{"error":"gone"}"#), "gone");
        assert_eq!(complaint(&[b'x'; 10_000]).len(), 200);
    }

    #[test]
    fn the_request_holds_prompt_and_picture() {
        let request = request("llava", "What?", b"\xFF\xD8");
        assert_eq!(request["model"], "llava");
        let content = &request["messages"][0]["content"];
        assert_eq!(content[0]["text"], "What?");
        assert_eq!(content[1]["image_url"]["url"], "data:image/jpeg;base64,/9g=");
    }
}
