//! `unicron guard`, which agents start

use crate::agent::cgroup::join;
use crate::agent::guardian::guard;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Stay with a worker until nothing of it is left
#[derive(Debug, Args)]
pub struct Guard {
    /// Join this control group first
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
    /// The worker's program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Guard {
    /// Runs the command. The worker's exit code is reported on stdout.
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(folder) = &self.cgroup {
            // Without it, the guardian alone sees to the end of all.
            let _ = join(folder);
        }
        let (program, arguments) = self.command.split_first().expect("the argument is required");
        guard(program, arguments, std::io::stdin(), std::io::stdout())
            .map_err(|error| anyhow::anyhow!("{}: {error}", program.display()))?;
        Ok(())
    }
}
