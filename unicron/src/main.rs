//! The command `unicron`.

use std::process::ExitCode;

fn main() -> ExitCode {
    unicron::commands::main()
}
