//! Takes passwords out of what is logged.

/// A text in which every address is without what stands between `://` and `@`.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut redacted = text.to_owned();
    for user_info in user_infos(text) {
        redacted = redacted.replace(&format!("://{user_info}@"), "://***@");
    }
    redacted
}

/// What is secret in a text: user and password of every address in it that has both, and the passwords alone.
pub fn secrets(text: &str) -> impl Iterator<Item = &str> {
    let pairs = user_infos(text).filter_map(|info| Some((info, info.split_once(':')?.1)));
    pairs.flat_map(|(info, password)| [info, password]).filter(|secret| !secret.is_empty())
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

/// What stands between `://` and the last `@` of each address.
fn user_infos(text: &str) -> impl Iterator<Item = &str> {
    text.split("://").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| "/?#'\"".contains(c) || c.is_whitespace());
        let authority = rest.get(..end.unwrap_or(rest.len()))?;
        authority.rfind('@').and_then(|at| authority.get(..at))
    })
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
        ] {
            assert_eq!(redacted(source), expected);
        }
    }

    #[test]
    fn a_password_is_secret_and_a_name_is_not() {
        let found: Vec<_> = secrets("a http://joe:hunter2@c/ http://ann@d http://e").collect();
        assert_eq!(found, ["joe:hunter2", "hunter2"]);
        assert_eq!(hidden("hunter2 of joe:hunter2", &found), "*** of ***");
    }
}
