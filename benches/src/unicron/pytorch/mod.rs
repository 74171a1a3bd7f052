//! PyTorch jobs: what a failure costs them, and what they pay without one.

mod overhead;
mod recovery;

pub use overhead::{PyTorchOverhead, PyTorchOverheadMetrics};
pub use recovery::{PyTorchRecovery, PyTorchRecoveryMetrics};

use super::program;
use common::command::workspace_root;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use unicron::local_cluster::{LocalCluster, Options};

const PATIENCE: Duration = Duration::from_secs(120);

/// The Python that Debian's PyTorch belongs to, and where our scripts are.
struct Scripts {
    python: PathBuf,
    root: PathBuf,
}

impl Scripts {
    /// Finds them; else says what is missing.
    fn find() -> Result<Self, String> {
        let root = workspace_root().ok_or("not within the workspace")?;
        let python = PathBuf::from("/usr/bin/python3");
        let imports = Command::new(&python).args(["-c", "import torch.distributed"]).output();
        match imports.is_ok_and(|output| output.status.success()) {
            true => Ok(Self { python, root }),
            false => {
                Err("PyTorch isn't installed (on Debian: apt-get install python3-torch)".to_owned())
            }
        }
    }

    /// The example at level 2.
    fn example(&self) -> PathBuf {
        self.root.join("unicron/examples/gpt.py")
    }

    /// For `PYTHONPATH`.
    fn package(&self) -> PathBuf {
        self.root.join("unicron/python/src")
    }
}

/// A coordinator and agents of these nodes.
async fn cluster(folder: &Path, nodes: &[&str], slots: usize) -> anyhow::Result<LocalCluster> {
    let options = Options::new(program::copied_into(folder)?, folder, 4.0);
    Ok(LocalCluster::start_with_agents(options, nodes, slots, PATIENCE).await?)
}

/// A path in a task's file.
fn text(path: &Path) -> String {
    path.display().to_string()
}
