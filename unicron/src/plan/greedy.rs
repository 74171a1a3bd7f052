//! A solver by marginal gain: whoever gains most by a worker gets the next ones. What a simple scheduler
//! would do, for comparison with the exact one ([`super::knapsack`]), which it can't beat.

use super::knapsack::{Choice, Solution};

/// A plan that takes at most `capacity` workers, or `None` if not even the smallest choices fit, or a task
/// has none.
///
/// Every task starts with its smallest choice. Then, again and again, of all larger choices that fit the
/// one that gains most by each worker more is taken, the earlier task's of equal ones.
#[must_use]
pub fn solve(tasks: &[Vec<Choice>], capacity: usize) -> Option<Solution> {
    let by_size = |&left: &usize, &right: &usize, choices: &[Choice]| {
        let (left, right) = (choices[left], choices[right]);
        left.workers.cmp(&right.workers).then(right.value.total_cmp(&left.value))
    };
    let smallest = |choices: &Vec<Choice>| {
        (0..choices.len()).min_by(|left, right| by_size(left, right, choices))
    };
    let mut picks: Vec<usize> = tasks.iter().map(smallest).collect::<Option<_>>()?;
    let workers = |picks: &[usize]| -> usize {
        tasks.iter().zip(picks).map(|(choices, &pick)| choices[pick].workers).sum()
    };
    let mut left = capacity.checked_sub(workers(&picks))?;
    let mut best: Vec<Option<(f64, usize)>> =
        (0..tasks.len()).map(|task| best_step(&tasks[task], picks[task], left)).collect();
    loop {
        let mut most: Option<(f64, usize, usize)> = None;
        for task in 0..tasks.len() {
            // A step that doesn't fit any more is replaced by one that does.
            let fits = |&(_, pick): &(f64, usize)| {
                tasks[task][pick].workers - tasks[task][picks[task]].workers <= left
            };
            if best[task].is_some() && best[task].filter(fits).is_none() {
                best[task] = best_step(&tasks[task], picks[task], left);
            }
            if let Some((gain, pick)) = best[task]
                && most.is_none_or(|(most, ..)| gain > most)
            {
                most = Some((gain, task, pick));
            }
        }
        let Some((_, task, pick)) = most else { break };
        left -= tasks[task][pick].workers - tasks[task][picks[task]].workers;
        picks[task] = pick;
        best[task] = best_step(&tasks[task], pick, left);
    }
    Some(Solution {
        value: tasks.iter().zip(&picks).map(|(choices, &pick)| choices[pick].value).sum(),
        workers: workers(&picks),
        picks,
    })
}

/// The larger choice of most gain by each worker more, among those that gain and fit.
fn best_step(choices: &[Choice], now: usize, left: usize) -> Option<(f64, usize)> {
    let now = choices[now];
    let mut best: Option<(f64, usize)> = None;
    for (pick, choice) in choices.iter().enumerate() {
        let fits = choice.workers > now.workers && choice.workers - now.workers <= left;
        if !fits || choice.value <= now.value {
            continue;
        }
        let gain = (choice.value - now.value) / (choice.workers - now.workers) as f64;
        if best.is_none_or(|(most, _)| gain > most) {
            best = Some((gain, pick));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::knapsack;
    use super::*;
    use proptest::prelude::*;

    fn choices(choices: &[(usize, f64)]) -> Vec<Choice> {
        choices.iter().map(|&(workers, value)| Choice { workers, value }).collect()
    }

    #[test]
    fn whoever_gains_most_by_a_worker_is_first() {
        let tasks = [choices(&[(0, 0.0), (4, 4.0), (8, 7.0)]), choices(&[(0, 0.0), (8, 12.0)])];
        assert_eq!(solve(&tasks, 12).unwrap().picks, [1, 1]);
        // Greed takes the eight at first and leaves the rest idle; the optimum isn't better here.
        assert_eq!(solve(&tasks, 8).unwrap().picks, [0, 1]);
        assert_eq!(solve(&[choices(&[(4, 1.0)])], 3), None);
    }

    proptest! {
        #[test]
        fn it_never_beats_the_exact_solver(
            tasks in prop::collection::vec(
                prop::collection::vec((0_usize..9, -2.0..9.0_f64), 1..6), 1..5),
            capacity in 0_usize..30,
        ) {
            let tasks: Vec<_> = tasks.iter().map(|task| choices(task)).collect();
            let (greedy, exact) = (solve(&tasks, capacity), knapsack::solve(&tasks, capacity));
            prop_assert_eq!(greedy.is_some(), exact.is_some());
            if let (Some(greedy), Some(exact)) = (greedy, exact) {
                prop_assert!(greedy.workers <= capacity);
                prop_assert!(greedy.value <= exact.value + 1e-9);
            }
        }
    }
}
