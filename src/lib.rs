//! Lenslog.
