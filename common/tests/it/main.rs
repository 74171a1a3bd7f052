//! Integration tests of `common`.

// A test tells on stdout what it skips, and its helpers may unwrap as it does itself.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod dependencies;
mod docs;
mod shared_data;
