//! The command `longnn`.

use std::process::ExitCode;

/// Keeps the matrices of an epoch for the next one instead of giving them back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    longnn::commands::main()
}
