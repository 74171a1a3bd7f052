//! False alarms and delays, on made-up series; the paper's plain rule beside ours.

use super::*;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const USUAL_S: f64 = 10.0;

/// A standard normal number (Box and Muller).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A healthy run: log-normal sequence lengths of the given spread, 2 % of noise beside; slow first
/// steps, a checkpoint every 100 steps, an evaluation every 500. Kind, seconds, relative cost.
fn healthy(n_steps: usize, spread: f64, seed: u64) -> Vec<(StepKind, f64, f64)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let step = |i: usize| {
        let noise = (0.02 * normal(&mut random)).exp();
        let cost = (spread * normal(&mut random)).exp();
        match i {
            0 => (StepKind::WarmUp, 20.0 * USUAL_S * noise, 1.0),
            1..5 => (StepKind::WarmUp, 3.0 * USUAL_S * noise, 1.0),
            _ if i.is_multiple_of(500) => (StepKind::Evaluation, 8.0 * USUAL_S * noise, 1.0),
            _ if i.is_multiple_of(100) => (StepKind::Checkpoint, 4.0 * USUAL_S * noise, 1.0),
            _ => (StepKind::Train, USUAL_S * cost * noise, cost),
        }
    };
    (0..n_steps).map(step).collect()
}

fn new() -> Monitor {
    Monitor::new(MonitorSettings::default()).unwrap()
}

fn usual_steps(monitor: &mut Monitor, n_steps: usize) {
    for _ in 0..n_steps {
        assert_ne!(monitor.record(StepKind::Train, USUAL_S, 1.0), Judgement::Ignored);
    }
}

/// Number of steps called degraded and stalled.
fn count(judgements: impl Iterator<Item = Judgement>) -> (usize, usize) {
    judgements.fold((0, 0), |(degraded, stalled), judgement| match judgement {
        Judgement::Degraded { .. } => (degraded + 1, stalled),
        Judgement::Stalled { .. } => (degraded, stalled + 1),
        _ => (degraded, stalled),
    })
}

/// Alarms over 20,000 healthy steps: ours with costs known, ours without, the paper's.
fn alarms(spread: f64) -> [(usize, usize); 3] {
    let steps = healthy(20_000, spread, 7);
    let (mut with_costs, mut without, mut paper) = (new(), new(), PaperRule::new());
    [
        count(steps.iter().map(|&(kind, seconds, cost)| with_costs.record(kind, seconds, cost))),
        count(steps.iter().map(|&(kind, seconds, _)| without.record(kind, seconds, 1.0))),
        count(steps.iter().map(|&(_, seconds, _)| paper.record(seconds))),
    ]
}

/// Over 20 seeds, the paper's rule calls 1.0 % of healthy steps failures where lengths are even (every
/// checkpoint and evaluation), 1.1 % at a spread of 0.4, and 3.7 % at 0.8; slow, 0, 29 and 26 %. Ours
/// calls none either.
#[test]
fn healthy_runs_raise_no_alarm_where_the_plain_rule_does() {
    for (spread, least_stalled, least_degraded) in
        [(0.0, 190, 0), (0.2, 190, 4000), (0.4, 200, 5000)]
    {
        let [with_costs, without, (degraded, stalled)] = alarms(spread);
        assert_eq!((with_costs, without), ((0, 0), (0, 0)), "spread {spread}");
        assert!(stalled >= least_stalled, "spread {spread}: {stalled}");
        assert!(degraded >= least_degraded, "spread {spread}: {degraded}");
    }
}

/// Where lengths vary by more and nobody says how, the bound on the delay has its price: a step in
/// five hundred takes ten times the usual. Costs that are known take it away.
#[test]
fn the_bound_on_the_delay_costs_alarms_where_lengths_are_wild_and_unknown() {
    let [with_costs, without, paper] = alarms(0.8);
    assert_eq!(with_costs, (0, 0));
    assert!((20..80).contains(&without.1), "{without:?}");
    assert!(paper.1 > 10 * without.1, "{paper:?}");
}

#[test]
fn both_rules_catch_a_stall_of_three_times() {
    let (mut ours, mut paper) = (new(), PaperRule::new());
    for &(_, seconds, _) in healthy(200, 0.0, 1).iter().filter(|step| step.0 == StepKind::Train) {
        assert_ne!(count([ours.record(StepKind::Train, seconds, 1.0)].into_iter()).1, 1);
        assert_ne!(count([paper.record(seconds)].into_iter()).1, 1);
    }
    let stall_s = 3.2 * USUAL_S;
    assert!(matches!(ours.record(StepKind::Train, stall_s, 1.0), Judgement::Stalled { .. }));
    assert!(matches!(paper.record(stall_s), Judgement::Stalled { .. }));
}

/// A hang is told at the deadline: 3 times the usual time where steps are even, never more than 10.
#[test]
fn a_hang_is_told_before_the_step_ends() {
    let delay = |spread: f64, is_known: bool, cost: f64| {
        let mut monitor = new();
        let mut now_s = 0.0;
        for (kind, seconds, cost) in healthy(400, spread, 3) {
            monitor.begin(now_s, kind, if is_known { cost } else { 1.0 });
            now_s += seconds;
            monitor.end(now_s);
        }
        monitor.begin(now_s, StepKind::Train, cost);
        let deadline_s = monitor.deadline_s().unwrap();
        assert_eq!(monitor.hang(deadline_s), None);
        assert_eq!(monitor.hang(deadline_s + 1e-3), Some(Finding::root(Status::TaskHang)));
        (deadline_s - now_s) / (USUAL_S * cost)
    };
    // Even, and uneven with costs known: the paper's 3 times, also for a step twice as long.
    for (spread, is_known, cost) in [(0.0, false, 1.0), (0.4, true, 1.0), (0.4, true, 2.0)] {
        let ratio = delay(spread, is_known, cost);
        assert!((2.9..3.1).contains(&ratio), "{spread} {is_known} {cost}: {ratio}");
    }
    // Uneven with costs unknown: as far as five deviations, but bounded.
    let unknown = delay(0.4, false, 1.0);
    assert!((4.0..10.5).contains(&unknown), "{unknown}");
    assert!((9.0..11.0).contains(&delay(1.5, false, 1.0)));
}

#[test]
fn a_task_that_is_slower_is_degraded_within_nine_steps() {
    let mut monitor = new();
    for (kind, seconds, cost) in healthy(1000, 0.4, 5) {
        monitor.record(kind, seconds, cost);
    }
    let slower = healthy(60, 0.4, 6).into_iter().filter(|step| step.0 == StepKind::Train);
    let judgements: Vec<_> = slower.map(|(k, s, cost)| monitor.record(k, 1.3 * s, cost)).collect();
    let first = judgements.iter().position(|j| matches!(j, Judgement::Degraded { .. }));
    assert!(first.is_some_and(|first| first < 9), "{first:?}");
    let Judgement::Degraded { ratio } = judgements[20] else { panic!("{:?}", judgements[20]) };
    assert!((1.25..1.35).contains(&ratio), "{ratio}");
}

#[test]
fn deadlines_before_anything_is_learned() {
    let mut monitor = new();
    assert_eq!(monitor.deadline_s(), None);
    monitor.begin(100.0, StepKind::WarmUp, 1.0);
    assert_eq!(monitor.deadline_s(), Some(1900.0));
    assert_eq!(monitor.end(300.0), Judgement::Learning);
    // The pause is watched like a step of training, of which nothing is known.
    assert_eq!(monitor.deadline_s(), Some(2100.0));
    monitor.begin(300.0, StepKind::WarmUp, 1.0);
    let deadline_s = monitor.deadline_s().unwrap();
    assert!((deadline_s - 2300.0).abs() < 1e-6, "ten times the first step: {deadline_s}");
    monitor.pause();
    assert_eq!((monitor.deadline_s(), monitor.hang(1e9)), (None, None));
}

#[test]
fn short_steps_are_given_time() {
    let mut monitor = new();
    (0..50)
        .for_each(|_| assert_ne!(monitor.record(StepKind::Train, 0.05, 1.0), Judgement::Ignored));
    monitor.begin(0.0, StepKind::Train, 1.0);
    assert_eq!(monitor.deadline_s(), Some(5.6));
    assert!(!matches!(monitor.record(StepKind::Train, 1.0, 1.0), Judgement::Stalled { .. }));
}

#[test]
fn another_pace_becomes_usual_after_a_while() {
    let mut monitor = new();
    usual_steps(&mut monitor, 100);
    let stalled = (0..100).filter(|_| {
        matches!(monitor.record(StepKind::Train, 50.0, 1.0), Judgement::Stalled { .. })
    });
    assert_eq!(stalled.count(), 8);
    assert_eq!(monitor.record(StepKind::Train, 50.0, 1.0), Judgement::Normal);
    monitor.relearn();
    monitor.begin(0.0, StepKind::Train, 1.0);
    assert!((monitor.deadline_s().unwrap() - 500.0).abs() < 1e-6, "ten times what was usual");
    assert_eq!(monitor.record(StepKind::Train, 1.0, 1.0), Judgement::Learning);
}

#[test]
fn settings_are_checked() {
    let usual = MonitorSettings::default();
    for settings in [
        MonitorSettings { degraded_ratio: 1.0, ..usual },
        MonitorSettings { hang_ratio: 1.05, ..usual },
        MonitorSettings { most_hang_ratio: 2.0, ..usual },
        MonitorSettings { most_hang_ratio: f64::INFINITY, ..usual },
        MonitorSettings { usual_deviations: f64::NAN, ..usual },
        MonitorSettings { window: 20, ..usual },
        MonitorSettings { n_recent: 0, ..usual },
        MonitorSettings { floor_s: 0.0, ..usual },
    ] {
        assert!(Monitor::new(settings).is_err(), "{settings:?}");
    }
}

proptest! {
    #[test]
    fn times_that_are_none_change_nothing(
        times in proptest::collection::vec(
            prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(0.0), -1e300..0.0f64],
            0..40,
        )
    ) {
        let mut monitor = new();
        usual_steps(&mut monitor, 40);
        for seconds in times {
            prop_assert_eq!(monitor.record(StepKind::Train, seconds, 1.0), Judgement::Ignored);
            prop_assert_eq!(monitor.record(StepKind::Train, 10.0, seconds), Judgement::Ignored);
        }
        monitor.begin(0.0, StepKind::Train, 1.0);
        prop_assert!((monitor.deadline_s().unwrap() - 30.0).abs() < 1e-9);
    }

    #[test]
    fn any_clock_is_borne(times in proptest::collection::vec(any::<f64>(), 0..80)) {
        let mut monitor = new();
        for pair in times.chunks(2) {
            monitor.begin(pair[0], StepKind::Train, pair[0]);
            monitor.end(pair[pair.len() - 1]);
            let _ = monitor.hang(pair[0]);
        }
    }
}
