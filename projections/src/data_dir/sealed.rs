//! Text that ends in a line with its own CRC, so that a damaged checkpoint is not taken for a whole one.

use std::fmt::Write as _;

const SEAL: &str = "crc32 ";

/// The text and its seal.
pub(crate) fn seal(text: &str) -> String {
    debug_assert!(text.ends_with('\n'), "the seal is a line of its own");
    let mut sealed = text.to_owned();
    // Writing to a string cannot fail.
    let _ = writeln!(sealed, "{SEAL}{:08x}", crc32fast::hash(text.as_bytes()));
    sealed
}

/// The text without its seal; `None` where a byte of either is not what was written.
pub(crate) fn unseal(bytes: Vec<u8>) -> Option<String> {
    let mut text = String::from_utf8(bytes).ok()?;
    let start = text.rfind(SEAL)?;
    let crc = text.get(start + SEAL.len()..)?.strip_suffix('\n')?;
    let is_canonical = crc.len() == 8 && !crc.contains(['+', '-']);
    let crc = u32::from_str_radix(crc, 16).ok().filter(|_| is_canonical)?;
    text.truncate(start);
    (text.ends_with('\n') && crc32fast::hash(text.as_bytes()) == crc).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_comes_back() {
        for text in ["one line\n", "crc32 00000000\n", "ä\ncrc32 \n"] {
            assert_eq!(unseal(seal(text).into_bytes()).as_deref(), Some(text));
        }
    }

    #[test]
    fn any_changed_byte_or_length_breaks_the_seal() {
        let sealed = seal("lenslog checkpoint 1\nnext 42\n").into_bytes();
        for at in 0..sealed.len() {
            assert_eq!(unseal(sealed[..at].to_vec()), None, "cut at {at}");
            for flip in [1, 0x20, 0x80] {
                let mut damaged = sealed.clone();
                damaged[at] ^= flip;
                // A hexadecimal digit in upper case is the same number.
                let same = damaged.eq_ignore_ascii_case(&sealed) && at >= sealed.len() - 9;
                assert!(same || unseal(damaged).is_none(), "byte {at} ^ {flip}");
            }
        }
        assert_eq!(unseal([&sealed[..], b"\n"].concat()), None);
    }
}
