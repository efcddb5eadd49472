//! Takes passwords out of what is logged.

/// A source or URL without what stands between `://` and `@`.
#[must_use]
pub fn redacted(source: &str) -> String {
    let Some((scheme, rest)) = source.split_once("://") else { return source.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..authority_end).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}://***{}", rest.get(at..).unwrap_or_default()),
        None => source.to_owned(),
    }
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
        ] {
            assert_eq!(redacted(source), expected);
        }
    }
}
