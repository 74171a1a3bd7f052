//! Rows shared out over threads in a partition that is fixed beforehand.
//!
//! Every output row is computed by one task in one order, so the number of threads can't change a
//! bit; the partition by cost keeps a few hubs from making one thread work for all.

use std::ops::Range;

/// Tasks at most: enough to balance 16 threads, few enough that splitting costs nothing.
const MAX_TASKS: u64 = 64;

/// Where tasks start, and the number of rows as the last entry: `[0, n_rows]` is one task.
pub(super) type Bounds = Vec<usize>;

/// Splits rows into tasks of about equal cost, none much below `min_cost`. `cost_before(i)` is the
/// cost of all rows before row `i`.
pub(super) fn split_by_cost(
    n_rows: usize,
    min_cost: u64,
    cost_before: impl Fn(usize) -> u64,
) -> Bounds {
    let total = cost_before(n_rows);
    let n_tasks = (total / min_cost.max(1)).clamp(1, MAX_TASKS);
    let mut bounds = vec![0];
    for row_idx in 1..n_rows {
        let share = total * bounds.len() as u64;
        if (bounds.len() as u64) < n_tasks && cost_before(row_idx) * n_tasks >= share {
            bounds.push(row_idx);
        }
    }
    bounds.push(n_rows);
    bounds
}

/// Splits rows of equal cost into tasks of `rows_per_task`, the last one shorter.
pub(super) fn split_evenly(n_rows: usize, rows_per_task: usize) -> Bounds {
    let mut bounds: Bounds = (0..n_rows.max(1)).step_by(rows_per_task.max(1)).collect();
    bounds.push(n_rows);
    bounds
}

/// Calls `task` with the rows of every task and their part of `out`, which has `row_len` values a
/// row; on the calling thread alone where it isn't worth `parallel`.
pub(super) fn for_each_task<T: Send>(
    parallel: bool,
    bounds: &[usize],
    row_len: usize,
    out: &mut [T],
    task: &(impl Fn(Range<usize>, &mut [T]) + Sync),
) {
    if let [start, end] = *bounds {
        return task(start..end, out);
    }
    let middle = bounds.len() / 2;
    let (head, tail) = out.split_at_mut((bounds[middle] - bounds[0]) * row_len);
    let (before, after) = (&bounds[..=middle], &bounds[middle..]);
    if parallel {
        rayon::join(
            || for_each_task(parallel, before, row_len, head, task),
            || for_each_task(parallel, after, row_len, tail, task),
        );
    } else {
        for_each_task(parallel, before, row_len, head, task);
        for_each_task(parallel, after, row_len, tail, task);
    }
}

/// Runs `work` inside the thread pool when it is worth `parallel`: entering it once is cheaper than
/// once a step.
pub(super) fn in_pool<R: Send>(parallel: bool, work: impl FnOnce() -> R + Send) -> R {
    if parallel && rayon::current_thread_index().is_none() {
        rayon::join(work, || ()).0
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hub_gets_a_task_of_its_own() {
        let costs = [1, 1, 1000, 1, 1, 1];
        let before = |row_idx: usize| costs[..row_idx].iter().sum();
        let bounds = split_by_cost(6, 100, before);
        assert_eq!((bounds.first(), bounds.get(1), bounds.last()), (Some(&0), Some(&3), Some(&6)));
    }

    proptest! {
        #[test]
        fn every_row_has_one_task(
            costs in prop::collection::vec(0u64..50, 0..200),
            min_cost in 0u64..100,
            row_len in 1usize..4,
        ) {
            let n_rows = costs.len();
            let before = |row_idx: usize| costs[..row_idx].iter().sum();
            for bounds in [split_by_cost(n_rows, min_cost, before), split_evenly(n_rows, 7)] {
                let mut visits = vec![0usize; n_rows * row_len];
                for_each_task(row_len > 1, &bounds, row_len, &mut visits, &|rows, out: &mut [usize]| {
                    assert_eq!(out.len(), rows.len() * row_len);
                    for (row, row_idx) in out.chunks_exact_mut(row_len).zip(rows) {
                        row.fill(row_idx + 1);
                    }
                });
                let expected: Vec<usize> = (0..n_rows * row_len).map(|i| i / row_len + 1).collect();
                prop_assert_eq!(visits, expected);
            }
        }
    }
}
