//! The command `kvquant`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kvquant::commands::main()
}
