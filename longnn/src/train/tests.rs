//! What training promises: the same bits, whatever runs it, and runs that go on from a checkpoint.

use super::run::Run;
use super::side_by_side::finished_runs;
use super::*;
use crate::data::csbm::Csbm;
use crate::data::npz;
use crate::model::{Architecture, Problem, Settings};
use burn::module::Module;
use common::testing::shared_data;

const EPOCHS: usize = 6;

fn protocol(max_epochs: usize) -> Protocol {
    Protocol { max_epochs, ..Protocol::default() }
}

fn problem() -> Problem {
    let csbm = Csbm { n_nodes: 300, n_features: 40, ..Csbm::default() };
    Problem::new(csbm.generate().unwrap()).unwrap()
}

fn settings() -> Settings {
    Settings { hidden: 16, degree: 4, propagation_dropout: 0.3, ..Settings::default() }
}

/// The bits of all parameters of each seed's run.
fn bits(
    problem: &Problem,
    architecture: Architecture,
    seeds: &[u64],
    n_threads: usize,
    checkpoints: Option<&Checkpoints>,
    epochs: usize,
) -> Vec<Vec<u8>> {
    let protocol = protocol(epochs);
    let jobs = Job::seeds(problem, &settings(), &protocol, seeds.iter().copied()).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    let runs = pool.install(|| {
        finished_runs(problem, architecture, jobs, &protocol, checkpoints, &mut Silent).unwrap()
    });
    runs.iter().map(parameter_bits).collect()
}

fn parameter_bits(run: &Run) -> Vec<u8> {
    struct Collector(Vec<u8>);
    impl burn::module::ModuleVisitor for Collector {
        fn visit_float<const D: usize>(
            &mut self,
            parameter: &burn::module::Param<burn::tensor::Tensor<D>>,
        ) {
            let values: Vec<f32> = parameter.val().into_data().try_to_vec().unwrap();
            self.0.extend(values.into_iter().flat_map(f32::to_le_bytes));
        }
    }
    let mut collector = Collector(Vec::new());
    run.parameters.visit(&mut collector);
    collector.0
}

/// A seed alone on one thread, on two and four threads, beside others, and again.
fn assert_same_bits(problem: &Problem, architecture: Architecture) {
    let alone = &bits(problem, architecture, &[3], 1, None, EPOCHS)[0];
    assert!(!alone.is_empty());
    for n_threads in [1, 2, 4] {
        let again = &bits(problem, architecture, &[3], n_threads, None, EPOCHS)[0];
        assert!(alone == again, "{architecture} on {n_threads} threads");
    }
    let ten: Vec<u64> = (0..10).collect();
    let beside = &bits(problem, architecture, &ten, 2, None, EPOCHS);
    assert!(*alone == beside[3], "{architecture} beside nine others");
    assert!(beside[2] != beside[3], "{architecture}: seeds differ");
}

#[test]
fn every_model_has_the_same_bits_on_any_threads_and_beside_others() {
    let problem = problem();
    for architecture in Architecture::ALL {
        assert_same_bits(&problem, architecture);
    }
}

#[test]
fn lon_has_the_same_bits_on_real_graphs() {
    for name in ["graphs/cora.npz", "graphs/amazon_photo.npz"] {
        let Some(path) = shared_data(name) else { return };
        let problem = Problem::new(npz::read(&path).unwrap()).unwrap();
        let alone = bits(&problem, Architecture::Lon, &[1], 1, None, 2);
        for n_threads in [2, 4] {
            assert!(alone == bits(&problem, Architecture::Lon, &[1], n_threads, None, 2), "{name}");
        }
        assert!(alone[0] == bits(&problem, Architecture::Lon, &[0, 1], 2, None, 2)[1], "{name}");
    }
}

#[test]
fn an_interrupted_run_goes_on_bit_for_bit() {
    let problem = problem();
    for architecture in [Architecture::Lon, Architecture::FavardGnn] {
        let folder = tempfile::tempdir().unwrap();
        let straight = bits(&problem, architecture, &[0, 1], 2, None, EPOCHS);
        let at = || Checkpoints::new(folder.path(), 2, &problem, architecture).unwrap();
        // The observer panics in the middle, as a power cut would end it.
        struct PowerCut;
        impl Observer for PowerCut {
            fn epoch(&mut self, status: &Status) {
                assert!(status.epochs < 5, "power cut");
            }
        }
        let protocol = protocol(EPOCHS);
        let jobs = Job::seeds(&problem, &settings(), &protocol, [0, 1]).unwrap();
        let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            finished_runs(&problem, architecture, jobs, &protocol, Some(&at()), &mut PowerCut)
        }));
        assert!(cut.is_err());
        let resumed = bits(&problem, architecture, &[0, 1], 2, Some(&at()), EPOCHS);
        assert!(straight == resumed, "{architecture}");
        // A finished run is not run again.
        let jobs = Job::seeds(&problem, &settings(), &protocol, [0, 1]).unwrap();
        let outcomes =
            train(&problem, architecture, jobs, &protocol, Some(&at()), &mut NeverCalled).unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.epochs == EPOCHS));
    }
}

struct NeverCalled;

impl Observer for NeverCalled {
    fn epoch(&mut self, status: &Status) {
        panic!("nothing was left to train: {status:?}");
    }
}

#[test]
fn checkpoints_of_something_else_are_refused() {
    let problem = problem();
    let folder = tempfile::tempdir().unwrap();
    let lon = Checkpoints::new(folder.path(), 1, &problem, Architecture::Lon).unwrap();
    bits(&problem, Architecture::Lon, &[0], 1, Some(&lon), 2);
    let refusal = |checkpoints: &Checkpoints, settings: Settings, protocol: Protocol| {
        let jobs = Job::seeds(&problem, &settings, &protocol, [0]).unwrap();
        let result =
            train(&problem, Architecture::Lon, jobs, &protocol, Some(checkpoints), &mut Silent);
        result.unwrap_err().to_string()
    };
    let other = Settings { alpha: 0.7, ..settings() };
    assert!(refusal(&lon, other, protocol(2)).contains("of other settings"));
    assert!(refusal(&lon, settings(), protocol(3)).contains("of another protocol"));
    let gcn = Checkpoints::new(folder.path(), 1, &problem, Architecture::Gcn).unwrap();
    assert!(refusal(&gcn, settings(), protocol(2)).contains("of lon on"));
    std::fs::write(folder.path().join("seed-0.checkpoint"), b"PK no").unwrap();
    assert!(refusal(&lon, settings(), protocol(2)).contains("seed-0.checkpoint"));
    lon.forget().unwrap();
    assert_eq!(bits(&problem, Architecture::Lon, &[0], 1, Some(&lon), 2).len(), 1);
}

/// On a graph whose communities features and edges both show, every model learns.
#[test]
fn every_model_learns() {
    let csbm = Csbm { n_nodes: 400, n_features: 60, phi: 0.5, ..Csbm::default() };
    let problem = Problem::new(csbm.generate().unwrap()).unwrap();
    let protocol = protocol(60);
    for architecture in Architecture::ALL {
        let jobs = Job::seeds(&problem, &settings(), &protocol, [0]).unwrap();
        let outcomes = train(&problem, architecture, jobs, &protocol, None, &mut Silent).unwrap();
        assert!(outcomes[0].test > 0.7, "{architecture}: {}", outcomes[0].test);
        assert!(!outcomes[0].diverged);
    }
}

/// A rate far too high ends in numbers that are none: the run says so, and keeps its best epoch.
#[test]
fn divergence_is_told() {
    let problem = problem();
    let mut settings = settings();
    settings.encoder.learning_rate = 1e30;
    let protocol = protocol(50);
    let jobs = Job::seeds(&problem, &settings, &protocol, [0]).unwrap();
    let outcomes = train(&problem, Architecture::Lon, jobs, &protocol, None, &mut Silent).unwrap();
    assert!(outcomes[0].diverged && outcomes[0].epochs < 50, "{:?}", outcomes[0]);
}
/// Free exponents are moved after each step; they must go on being learned.
#[test]
fn every_group_of_parameters_is_learned_in_every_epoch() {
    let problem = problem();
    let run_for = |epochs: usize| {
        let protocol = protocol(epochs);
        let jobs = Job::seeds(&problem, &settings(), &protocol, [0]).unwrap();
        let (lon, observer) = (Architecture::Lon, &mut Silent);
        finished_runs(&problem, lon, jobs, &protocol, None, observer).unwrap().remove(0)
    };
    let (before, after) = (run_for(3), run_for(4));
    let differ = |of: &dyn Fn(&Run) -> Vec<f32>| of(&before) != of(&after);
    let values = |parameter: &Option<burn::module::Param<burn::tensor::Tensor<2>>>| {
        parameter.as_ref().unwrap().val().into_data().try_to_vec::<f32>().unwrap()
    };
    assert!(differ(&|run| values(&run.parameters.coefficients)));
    assert!(differ(&|run| values(&run.parameters.mixing)));
    assert!(differ(&|run| values(&run.parameters.basis)));
}

/// A finished run beside one under way is not written again and again.
#[test]
fn checkpoints_are_written_when_due_only() {
    let problem = problem();
    let folder = tempfile::tempdir().unwrap();
    let at = Checkpoints::new(folder.path(), 2, &problem, Architecture::Lon).unwrap();
    let jobs = Job::seeds(&problem, &settings(), &protocol(3), [0]).unwrap();
    let mut run = Run::new(Architecture::Lon, &problem, jobs[0].clone()).unwrap();
    let mut due = Vec::new();
    for epoch in 0..3 {
        run.observe(1.0, 0.5, 0.5, &protocol(3));
        while at.is_due(&run) {
            at.save(&mut run, &protocol(3)).unwrap();
            due.push(epoch);
        }
    }
    assert_eq!(due, [1, 2]);
}
