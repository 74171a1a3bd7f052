//! A cluster that trains the example GPT, and what one reads of it.

use super::package;
use crate::UNICRON;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use unicron::local_cluster::{LocalCluster, Options};
use unicron::proto::v1;

/// Far longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A model that is computed in no time.
const MODEL: &str =
    "--width 32 --layers 1 --heads 2 --context 32 --sequences 2 --micro-batches 8 --seed 3";

/// The example.
fn script() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gpt.py");
    path.display().to_string()
}

/// Iterations of a run that is stopped in the end: how many there are depends on how busy the machine is.
const ENDLESS: &str = "1000000";

/// Iterations of the run without failures that it is held against.
const COMPARED: &str = "1000";

/// One process that never fails; it writes its losses into a file.
pub fn train_alone(python: &Path, losses: &Path) -> Child {
    Command::new(python)
        .arg(script())
        .args(MODEL.split(' '))
        .args(["--iterations", COMPARED, "--losses", losses.to_str().unwrap()])
        .env("PYTHONPATH", package().join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("OMP_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The losses in a file. Each iteration is there exactly once, in order.
pub fn losses(path: &Path) -> Vec<f64> {
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().enumerate().map(|(index, line)| {
        let (iteration, loss) = line.split_once(',').unwrap();
        assert_eq!(iteration, (index + 1).to_string(), "{text}");
        loss.parse().unwrap()
    });
    rows.collect()
}

/// The greatest difference, relative to what is expected, as far as both go.
pub fn greatest_difference(expected: &[f64], found: &[f64]) -> f64 {
    let differences = expected.iter().zip(found).map(|(one, other)| ((one - other) / one).abs());
    differences.fold(0.0, f64::max)
}

/// The cluster, its folder, and the folder in which failures are asked for.
pub struct Training {
    pub cluster: LocalCluster,
    pub folder: PathBuf,
    pub faults: PathBuf,
}

impl Training {
    /// Two nodes of two workers each that train until they are stopped.
    pub async fn start(python: &Path, folder: &Path, has_networks: bool) -> unicron::Result<Self> {
        let options = Options { has_networks, ..Options::new(UNICRON.0.into(), folder, 3.0) };
        let cluster = LocalCluster::start_with_agents(options, &["a", "b"], 2, PATIENCE).await?;
        let faults = folder.join("faults");
        fs::create_dir_all(&faults).unwrap();
        let training = Self { cluster, folder: folder.to_owned(), faults };
        training.cluster.submit(&training.task(python)).await?;
        Ok(training)
    }

    fn task(&self, python: &Path) -> String {
        let (script, losses) = (script(), self.losses_file().display().to_string());
        let mut command = vec![python.to_str().unwrap(), &script];
        command.extend(MODEL.split(' '));
        command.extend(["--losses", &losses, "--iterations", ENDLESS, "--pace-ms", "200"]);
        command.extend(["--checkpoint-every", "0"]);
        format!(
            "name = \"gpt\"\nworkers = 4\nmin_workers = 1\ncommand = {command:?}\n\
             recovery = \"keep-iteration\"\n[environment]\nPYTHONPATH = {:?}\n\
             PYTHONDONTWRITEBYTECODE = \"1\"\nOMP_NUM_THREADS = \"1\"\nUNICRON_FAULTS = {:?}\n",
            package().join("src").display().to_string(),
            self.faults.display().to_string(),
        )
    }

    pub fn losses_file(&self) -> PathBuf {
        self.folder.join("losses.csv")
    }

    /// Asks for a failure, such as `kill@reduced:3`: see `unicron/python/src/unicron/faults.py`.
    pub fn fail(&self, name: &str) {
        fs::write(self.faults.join(name), "").unwrap();
    }

    /// Failures that have happened.
    pub fn claimed(&self) -> BTreeSet<String> {
        let names = fs::read_dir(&self.faults).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".claimed-")).collect()
    }

    /// What was computed: worker, iteration, micro-batch.
    pub fn computed(&self) -> Vec<[u64; 3]> {
        let text = fs::read_to_string(self.faults.join("computed")).unwrap();
        let rows = text.lines().map(|line| {
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            numbers.try_into().unwrap()
        });
        rows.collect()
    }

    /// Waits until all four work, in a group that has committed an iteration.
    pub async fn until_all_work(&self) -> unicron::Result<v1::Task> {
        let works = |task: &v1::Task| {
            let is_at_work = |worker: &v1::TaskWorker| worker.state == "working";
            task.workers.len() == 4 && task.workers.iter().all(is_at_work)
        };
        let task = self.cluster.until("gpt", PATIENCE, works).await?;
        self.cluster.until("gpt", PATIENCE, |now| now.iteration > task.iteration).await
    }

    /// Stops the task, and waits until its processes have ended.
    pub async fn stop(&self) -> unicron::Result<v1::Task> {
        let _ = UNICRON.stdout(&["stop", "gpt", "--coordinator", &self.cluster.addresses()]);
        let task = self.cluster.until("gpt", PATIENCE, |task| task.state == "stopped").await?;
        // What is under way is finished.
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(task)
    }
}
