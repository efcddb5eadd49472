//! Takes passwords out of what is logged.

use std::ops::Range;

/// Parts of the names of parameters and options whose values are secret.
const SECRET_NAMES: [&str; 7] = ["pass", "pwd", "token", "secret", "apikey", "api_key", "auth"];
/// Options of common programs whose values are `NAME:PASSWORD`.
const USER_OPTIONS: [&str; 2] = ["-u", "--user"];

/// A text with `***` for what is secret in it: what stands between `://` and `@` in an address, the values of parameters
/// such as `password=`, of options such as `--user`, and of a header `Authorization:`.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut redacted = String::new();
    let mut from = 0;
    for range in secret_ranges(text) {
        redacted.push_str(text.get(from..range.start).unwrap_or_default());
        redacted.push_str("***");
        from = range.end;
    }
    redacted.push_str(text.get(from..).unwrap_or_default());
    redacted
}

/// What is secret in a text, and the passwords of pairs such as `NAME:PASSWORD` alone. A name is no secret.
pub fn secrets(text: &str) -> impl Iterator<Item = &str> {
    let found = secret_ranges(text).into_iter().filter_map(|range| {
        let is_user_info = text.get(..range.start)?.ends_with("://");
        Some((text.get(range)?, is_user_info))
    });
    let pairs = found.flat_map(|(secret, is_user_info)| {
        let password = secret.split_once(':').map(|(_, password)| password);
        let whole = (password.is_some() || !is_user_info).then_some(secret);
        [whole, password]
    });
    pairs.flatten().filter(|secret| !secret.is_empty())
}

/// A text with `***` for each of `secrets`, in their order.
#[must_use]
pub fn hidden(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    text
}

/// Where the secrets stand, from the left, none within another.
fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = user_infos(text)
        .chain(parameters(text))
        .chain(options(text))
        .chain(headers(text))
        .collect();
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

/// What stands between `://` and the last `@` of each address. Who writes a `/` into a password as it is (it has to be
/// `%2F`) leaves an address whose port is no number: then the last `@` of the word ends it.
fn user_infos(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(|(at, mark)| {
        let start = at + mark.len();
        let word = word(text.get(start..)?);
        let authority = word.split(['/', '?', '#']).next()?;
        let end = authority.rfind('@').or_else(|| {
            let port = authority.rsplit_once(':')?.1;
            let is_port = port.bytes().all(|byte| byte.is_ascii_digit() || byte == b']');
            if is_port || authority.starts_with('[') { None } else { word.rfind('@') }
        })?;
        Some(start..start + end)
    })
}

/// The values of `NAME=VALUE` with a secret name: in an address, or as an option.
fn parameters(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices('=').filter_map(|(at, _)| {
        let name = text.get(..at)?.rsplit(|c: char| "?&; '\"".contains(c) || c.is_whitespace());
        let value = value(text, at + 1)?;
        name.take(1).any(is_secret_name).then_some(value)
    })
}

/// What follows an option with a secret name.
fn options(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices('-').filter_map(|(at, _)| {
        let before = text.get(..at)?.chars().next_back();
        if before.is_some_and(|c| !c.is_whitespace() && !"'\":".contains(c)) {
            return None;
        }
        let name = word(text.get(at..)?);
        let start = at + name.len() + 1;
        let is_long = name.starts_with("--") && !name.contains('=');
        let is_secret = USER_OPTIONS.contains(&name) || (is_long && is_secret_name(name));
        if is_secret { value(text, start) } else { None }
    })
}

/// What follows `Authorization:`, as far as the quotes or the line go.
fn headers(text: &str) -> impl Iterator<Item = Range<usize>> {
    const NAME: &str = "authorization:";
    let lower = text.to_ascii_lowercase();
    let found: Vec<usize> = lower.match_indices(NAME).map(|(at, _)| at + NAME.len()).collect();
    found.into_iter().filter_map(|start| {
        let rest = text.get(start..)?;
        let blanks = rest.len() - rest.trim_start().len();
        let end = rest.find(['\'', '"', '\n']).unwrap_or(rest.len());
        Some(start + blanks.min(end)..start + end)
    })
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// A value from `start` on: what is quoted, else as far as a blank, a quote or the next parameter.
fn value(text: &str, start: usize) -> Option<Range<usize>> {
    let rest = text.get(start..)?;
    if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let end = rest.get(1..)?.find(quote).unwrap_or(rest.len() - 1);
        return Some(start + 1..start + 1 + end);
    }
    let end = rest.find(|c: char| "&#;'\"".contains(c) || c.is_whitespace()).unwrap_or(rest.len());
    Some(start..start + end)
}

/// A text as far as a blank or a quote.
fn word(text: &str) -> &str {
    text.split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"')).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_taken_out_and_nothing_else() {
        for (source, expected) in [
            ("rtsp://admin:s3cret@10.0.0.7/stream", "rtsp://***@10.0.0.7/stream"),
            ("http://user@host", "http://***@host"),
            ("http://a:b@c@host/x@y", "http://***@host/x@y"),
            ("http://host/a@b", "http://host/a@b"),
            ("file:/tmp/a@b", "file:/tmp/a@b"),
            ("test:", "test:"),
            ("curl http://a:b@c/ rtsp://d:e@f", "curl http://***@c/ rtsp://***@f"),
            ("file 'rtsp://a:b@c' x@y", "file 'rtsp://***@c' x@y"),
            ("rtsp://a:b/c#d@host/1", "rtsp://***@host/1"),
            ("http://host:80/a@b", "http://host:80/a@b"),
            ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
            ("http://c/?user=joe&pwd=x&a=1", "http://c/?user=joe&pwd=***&a=1"),
            ("http://c/?Password=x y", "http://c/?Password=*** y"),
            ("exec:curl -u joe:x http://c", "exec:curl -u *** http://c"),
            ("sh -c 'curl --user \"j:x y\" c'", "sh -c 'curl --user \"***\" c'"),
            ("cam --password x --pass=y z", "cam --password *** --pass=*** z"),
            ("curl -H 'Authorization: Bearer x' c", "curl -H 'Authorization: ***' c"),
            ("a-u b c-user d", "a-u b c-user d"),
            ("äöü://ä:ö@ü?pwd=ß", "äöü://***@ü?pwd=***"),
            ("ends with -u", "ends with -u"),
        ] {
            assert_eq!(redacted(source), expected);
        }
    }

    #[test]
    fn a_password_is_secret_and_a_name_is_not() {
        let found: Vec<_> = secrets("a http://joe:hunter2@c/ http://ann@d http://e").collect();
        assert_eq!(found, ["joe:hunter2", "hunter2"]);
        let words: Vec<_> = secrets("curl -u ann:x?y http://c?token=t").collect();
        assert_eq!(words, ["ann:x?y", "x?y", "t"]);
        assert_eq!(hidden("hunter2 of joe:hunter2", &found), "*** of ***");
    }
}
