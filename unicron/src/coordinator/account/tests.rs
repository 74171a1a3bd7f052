//! Where the time of a task's workers goes, by the second.

use super::*;

const TRAINS: Occupancy =
    Occupancy { training: 4, in_transition: 0, flops: 40.0, counts_at_once: false };

/// A task of four workers that commits an iteration every second from its tenth on.
fn at_work(iterations: u64) -> Account {
    let mut account = Account::new(0.0);
    account.set(0.0, Occupancy { in_transition: 4, ..Occupancy::default() });
    account.set(10.0, TRAINS);
    account.regrouped();
    for iteration in 1..=iterations {
        // The first takes half a second more, because connections are made.
        commit(&mut account, 10.5 + iteration as f64, iteration, 1, 0.0);
    }
    account
}

fn commit(account: &mut Account, now_s: f64, iteration: u64, epoch: u64, redone: f64) {
    account.committed(now_s, Commit { iteration, count: 1, epoch, is_late: false, redone });
}

#[track_caller]
fn is(account: &Account, useful: f64, detecting: f64, in_transition: f64, redone: f64) {
    let Bins { useful: u, detecting: d, in_transition: t, redone: r, idle } = account.bins;
    let all = [(u, useful), (d, detecting), (t, in_transition), (r, redone), (idle, 0.0)];
    assert!(all.iter().all(|(is, expected)| (is - expected).abs() < 1e-9), "{:?}", account.bins);
}

#[test]
fn a_first_iteration_is_judged_by_the_second() {
    is(&at_work(1), 0.0, 0.0, 40.0, 0.0);
    assert_eq!(at_work(1).uncommitted_worker_s(), 6.0);
    let account = at_work(5);
    is(&account, 20.0, 0.0, 42.0, 0.0);
    assert_eq!((account.flops, account.useful_s), (200.0, 5.0));
    assert_eq!(account.iterations.usual_s(4), Some(1.0));
    assert_eq!(account.effective_time_ratio(20.0), 0.25);
}

#[test]
fn a_failure_is_noticed_cured_and_made_up_for() {
    let mut account = at_work(5);
    // At 15.5, with half an iteration done a worker dies; noticed 0.2 s later.
    account.failed(16.2, Status::ExitedAbnormally, 0.2);
    account.regrouped();
    account.set(16.2, Occupancy { training: 3, in_transition: 1, flops: 30.0, ..TRAINS });
    account.set(18.2, TRAINS);
    account.regrouped();
    // A quarter of the iteration was lost.
    commit(&mut account, 18.4, 6, 3, 0.25);
    // 0.5 x 4 before it, 2 x 3 and 0.2 x 4 after it; 4 of these are an iteration's.
    is(&account, 24.0, 0.8, 42.0 + 2.0 + (8.8 - 4.0 - 1.0), 1.0);
    assert_eq!(account.recovery.count(), 1);
    assert!((account.recovery.total_s() - 2.2).abs() < 1e-9);
    let sorts = account.failures.sorts();
    assert_eq!((sorts.len(), sorts[0].detection.count()), (1, 1));
    assert!((account.worker_s() - 4.0 * 18.4).abs() < 1e-9);
}

#[test]
fn two_failures_at_once_are_unnoticed_once() {
    let mut account = at_work(5);
    account.failed(16.5, Status::LostConnection, 1.0);
    account.failed(16.5, Status::LostConnection, 1.0);
    assert_eq!(account.bins.detecting, 4.0);
}

#[test]
fn the_last_word_of_the_group_before_is_no_recovery() {
    let mut account = at_work(5);
    account.failed(16.5, Status::ExitedAbnormally, 0.0);
    account.regrouped();
    let late = Commit { iteration: 6, count: 1, epoch: 1, is_late: true, redone: 0.0 };
    account.committed(16.5, late);
    is(&account, 24.0, 0.0, 42.0, 0.0);
    assert_eq!(account.recovery.count(), 0);
    // The next one takes two seconds, of which the forming of the group is one.
    commit(&mut account, 18.5, 7, 2, 0.0);
    is(&account, 28.0, 0.0, 46.0, 0.0);
    assert_eq!(account.recovery.count(), 1);
}

#[test]
fn what_was_rolled_back_is_done_again() {
    let mut account = at_work(5);
    account.regrouped();
    commit(&mut account, 16.5, 4, 2, 0.0);
    commit(&mut account, 17.5, 5, 2, 0.0);
    is(&account, 20.0, 0.0, 42.0, 8.0);
    commit(&mut account, 18.5, 6, 2, 0.0);
    is(&account, 24.0, 0.0, 42.0, 8.0);
}

#[test]
fn iterations_that_nobody_heard_of_count() {
    let mut account = at_work(5);
    account.committed(
        25.5,
        Commit { iteration: 15, count: 10, epoch: 1, is_late: false, redone: 0.0 },
    );
    is(&account, 60.0, 0.0, 42.0, 0.0);
    assert_eq!(account.iterations.usual_s(4), Some(1.0));
}

#[test]
fn an_iteration_without_an_end_came_to_nothing() {
    let mut account = at_work(5);
    account.end(16.0);
    is(&account, 20.0, 0.0, 44.0, 0.0);
    assert_eq!(account.effective_time_ratio(99.0), 5.0 / 16.0);
}

#[test]
fn a_program_that_does_not_speak_is_useful_while_it_runs() {
    let mut account = Account::new(0.0);
    let runs = Occupancy { counts_at_once: true, ..TRAINS };
    account.set(0.0, runs);
    account.failed(5.0, Status::ExitedAbnormally, 0.0);
    account.set(5.0, Occupancy { training: 3, in_transition: 1, ..runs });
    account.set(6.0, runs);
    account.end(8.0);
    is(&account, 31.0, 0.0, 1.0, 0.0);
    assert_eq!((account.recovery.count(), account.recovery.total_s()), (1, 1.0));
}
