//! A child process that does not outlive this one, not even a killed one. The only unsafe code about children.

#![expect(
    unsafe_code,
    reason = "what runs between fork and exec has to be promised to be safe there"
)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Has the kernel kill the child of `command` when the thread that starts it ends.
pub(super) fn end_with_parent(command: &mut Command) {
    // SAFETY: the closure makes one system call, which is async-signal-safe; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}
