//! The folder of a comparison: finished seeds, which are never trained twice.
//!
//! One file a group of graph, model and evaluation, a [`RunRecord`] that `plot` shows too:
//! `texas-lon-clean-1f0c….json`. Settings, protocol and the graph's own content make the end of its
//! name, so a seed counts as finished only for what it was trained with: whatever changes is trained
//! anew, in a file beside the old one, and nothing is overwritten. A file appears only when it is
//! whole; an interruption loses the seeds that were side by side at the time, no others.

use super::RunRecord;
use crate::graph::{Features, Graph};
use crate::model::{Architecture, Problem, Settings};
use crate::train::{Evaluation, Job, Observer, Protocol, train};
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Seeds that are trained at once. More would save no more of the graph's reading, and take more
/// memory and risk.
const SEEDS_SIDE_BY_SIDE: usize = 10;

/// A folder of finished seeds.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
}

/// What is trained: everything beside the seed.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// The graph.
    pub problem: &'a Problem,
    /// The model.
    pub model: Architecture,
    /// Its settings.
    pub settings: &'a Settings,
    /// When it stops and how it is evaluated.
    pub protocol: &'a Protocol,
}

/// A group whose seeds are all there.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its file, which may have more seeds than were asked for.
    pub path: PathBuf,
    /// The seeds asked for, in order.
    pub record: RunRecord,
    /// How many of them were trained now.
    pub trained: usize,
}

impl Ledger {
    /// The ledger of a folder, which is made if need be.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The file of a group.
    #[must_use]
    pub fn path(&self, group: &Group<'_>) -> PathBuf {
        let evaluation = match group.protocol.evaluation {
            Evaluation::Clean => "clean",
            Evaluation::Official => "official",
        };
        let (graph, model) = (file_name(group.problem.graph().name()), group.model);
        self.folder.join(format!("{graph}-{model}-{evaluation}-{:016x}.json", group.digest()))
    }

    /// The group with seeds 0 to `seeds - 1`: those in its file, and the others trained and added.
    ///
    /// # Errors
    /// If no seed is asked for, the group's file is damaged or not its own, training fails, or the
    /// file can't be written.
    pub fn complete(
        &self,
        group: &Group<'_>,
        seeds: u64,
        observer: &mut (impl Observer + Send),
    ) -> Result<Entry> {
        let path = self.path(group);
        let mut record = if path.exists() { Some(group.read(&path)?) } else { None };
        let is_there = |record: &Option<RunRecord>, seed: u64| {
            let mut outcomes = record.iter().flat_map(|record| &record.outcomes);
            outcomes.any(|outcome| outcome.seed == seed)
        };
        let missing: Vec<u64> = (0..seeds).filter(|&seed| !is_there(&record, seed)).collect();
        for part in missing.chunks(SEEDS_SIDE_BY_SIDE) {
            let (settings, protocol) = (group.settings, group.protocol);
            let jobs = Job::seeds(group.problem, settings, protocol, part.iter().copied())?;
            let trained = train(group.problem, group.model, jobs, protocol, None, observer)?;
            let kept = record.take().map_or_else(Vec::new, |record| record.outcomes);
            let mut outcomes = [kept, trained].concat();
            outcomes.sort_by_key(|outcome| outcome.seed);
            let (settings, model) = (settings.clone(), group.model);
            let whole = RunRecord::new(group.problem, model, settings, *protocol, outcomes)?
                .with_density_of(group.problem.graph());
            whole.write(&path)?;
            record = Some(whole);
        }
        let mut record = match record {
            Some(record) if seeds > 0 => record,
            _ => {
                let problem = "at least one is needed".to_owned();
                return Err(Error::Setting { setting: "seeds".into(), problem });
            }
        };
        record.outcomes.retain(|outcome| outcome.seed < seeds);
        Ok(Entry { path, record, trained: missing.len() })
    }
}

impl Group<'_> {
    /// A number that stands for settings, protocol and graph.
    fn digest(&self) -> u64 {
        let mut digest = Fnv::new();
        let plain = (self.settings, self.protocol);
        digest.add(&serde_json::to_vec(&plain).expect("settings are plain data"));
        digest.add_graph(self.problem.graph());
        digest.0
    }

    /// The record of the group's file, which has to be what the file's name says.
    fn read(&self, path: &Path) -> Result<RunRecord> {
        let record = RunRecord::read(path)?;
        let graph = self.problem.graph();
        let differs = if record.graph != graph.name() || record.model != self.model {
            format!("{} on {}", record.model, record.graph)
        } else if record.settings != *self.settings {
            "other settings".to_owned()
        } else if record.protocol != *self.protocol {
            "another protocol".to_owned()
        } else if record.outcomes.is_empty() {
            "no seeds".to_owned()
        } else if !record.outcomes.is_sorted_by(|left, right| left.seed < right.seed) {
            "a seed twice, or out of order".to_owned()
        } else {
            return Ok(record);
        };
        let problem = format!("has {differs}, which its name doesn't say; move it away");
        Err(Error::File { path: path.to_owned(), part: "run".into(), problem })
    }
}

/// A graph's name without what a file name can't have.
fn file_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.=,".contains(c);
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(100).collect()
}

/// The 64-bit FNV-1a hash, which stays the same from one release of Rust to the next.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn add_graph(&mut self, graph: &Graph) {
        self.add(&(graph.n_nodes() as u64).to_le_bytes());
        self.add(bytemuck::cast_slice(graph.adjacency().offsets()));
        self.add(bytemuck::cast_slice(graph.adjacency().neighbours()));
        self.add(bytemuck::cast_slice(graph.labels().classes()));
        match graph.features() {
            Ok(Features::Dense(matrix)) => self.add(bytemuck::cast_slice(matrix.values())),
            Ok(Features::Sparse(matrix)) => {
                self.add(bytemuck::cast_slice(matrix.offsets()));
                self.add(bytemuck::cast_slice(matrix.columns()));
                self.add(bytemuck::cast_slice(matrix.values()));
            }
            Err(_) => {}
        }
        for split in graph.public_split().into_iter().chain(graph.fixed_splits()) {
            for nodes in [split.train(), split.validation(), split.test()] {
                self.add(bytemuck::cast_slice(nodes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::csbm::Csbm;
    use crate::train::{Silent, SplitScheme, Status};

    fn problem(seed: u64) -> Problem {
        let csbm = Csbm { n_nodes: 60, n_features: 8, seed, ..Csbm::default() };
        Problem::new(csbm.generate().unwrap()).unwrap()
    }

    fn short() -> Protocol {
        Protocol { max_epochs: 3, ..Protocol::default() }
    }

    /// Counts epochs.
    struct Epochs(usize);

    impl Observer for Epochs {
        fn epoch(&mut self, _: &Status) {
            self.0 += 1;
        }
    }

    #[test]
    fn a_finished_seed_is_not_trained_again() {
        let (folder, problem) = (tempfile::tempdir().unwrap(), problem(1));
        let (settings, protocol) = (Settings::default(), short());
        let model = Architecture::Lon;
        let group = Group { problem: &problem, model, settings: &settings, protocol: &protocol };
        let ledger = Ledger::new(folder.path()).unwrap();
        let complete = |seeds| ledger.complete(&group, seeds, &mut Silent).unwrap();
        let first = complete(2);
        assert_eq!((first.trained, first.record.outcomes.len()), (2, 2));
        let more = complete(12);
        assert_eq!(more.trained, 10);
        assert_eq!(more.record.outcomes[..2], first.record.outcomes, "not even their times differ");
        let mut epochs = Epochs(0);
        let fewer = ledger.complete(&group, 3, &mut epochs).unwrap();
        assert_eq!((fewer.trained, epochs.0), (0, 0));
        assert_eq!(fewer.record.outcomes, more.record.outcomes[..3]);
        assert_eq!(RunRecord::read(&first.path).unwrap().outcomes.len(), 12);
        assert!(ledger.complete(&group, 0, &mut Silent).unwrap_err().is_bad_input());
    }

    #[test]
    fn whatever_changes_is_another_file() {
        let (folder, problem, other) = (tempfile::tempdir().unwrap(), problem(1), problem(2));
        let ledger = Ledger::new(folder.path()).unwrap();
        let (settings, protocol) = (Settings::default(), short());
        let model = Architecture::Mlp;
        let group = Group { problem: &problem, model, settings: &settings, protocol: &protocol };
        let changed = Settings { alpha: 0.5, ..settings.clone() };
        let official = Protocol { evaluation: Evaluation::Official, ..protocol };
        let fixed = Protocol { splits: SplitScheme::Fixed, ..protocol };
        let paths = [
            ledger.path(&group),
            ledger.path(&Group { settings: &changed, ..group }),
            ledger.path(&Group { protocol: &official, ..group }),
            ledger.path(&Group { protocol: &fixed, ..group }),
            ledger.path(&Group { problem: &other, ..group }),
            ledger.path(&Group { model: Architecture::Gcn, ..group }),
        ];
        let distinct: std::collections::BTreeSet<_> = paths.iter().collect();
        assert_eq!(distinct.len(), paths.len(), "{paths:?}");
        assert!(paths.iter().all(|path| path.parent() == Some(folder.path())));
    }

    #[test]
    fn a_file_that_is_not_its_own_is_refused() {
        let (folder, problem) = (tempfile::tempdir().unwrap(), problem(1));
        let ledger = Ledger::new(folder.path()).unwrap();
        let (settings, protocol) = (Settings::default(), short());
        let model = Architecture::Mlp;
        let group = Group { problem: &problem, model, settings: &settings, protocol: &protocol };
        let entry = ledger.complete(&group, 1, &mut Silent).unwrap();
        let refusal = |record: &RunRecord| {
            record.write(&entry.path).unwrap();
            ledger.complete(&group, 1, &mut Silent).unwrap_err().to_string()
        };
        let Entry { record, .. } = &entry;
        let longer = Protocol { max_epochs: 4, ..protocol };
        let error = refusal(&RunRecord { protocol: longer, ..record.clone() });
        assert!(error.contains("another protocol"), "{error}");
        let error = refusal(&RunRecord { graph: "cora".into(), ..record.clone() });
        assert!(error.contains("mlp on cora"), "{error}");
        fs::write(&entry.path, "{").unwrap();
        assert!(ledger.complete(&group, 1, &mut Silent).is_err());
    }
}
