//! Whether the kernel's clock is synchronised.
#![expect(unsafe_code, reason = "the call has no safe wrapper; see the SAFETY comment")]

/// Whether something (NTP, PTP, GPS) keeps the clock and has said so to the kernel. Needs no privilege and no daemon
/// that answers.
#[must_use]
pub(super) fn is_synchronised() -> bool {
    // SAFETY: `timex` is plain integers, for which zero is a value; the kernel fills it in and keeps no pointer to
    // it. With `modes` zero nothing is set.
    let status = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        let state = libc::adjtimex(&mut timex);
        if state < 0 || state == libc::TIME_ERROR {
            return false;
        }
        timex.status
    };
    status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers() {
        // Either answer is right: what counts is that asking twice does no harm and agrees.
        assert_eq!(super::is_synchronised(), super::is_synchronised());
    }
}
