//! Event sourcing on a journal.
