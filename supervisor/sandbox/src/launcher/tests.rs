//! The launcher is tested whole, in `tests/launcher.rs`; here what has no process in it.
