//! One choice for each item under a budget: the multiple-choice knapsack.

/// What an item may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// What it takes of the budget.
    pub cost: u64,
    /// What it costs in quality.
    pub loss: f64,
}

/// The budget is divided into so many units at most; costs are rounded up to units.
const UNITS: u64 = 50_000;

/// The index of each item's choice with the least total loss whose total cost is within `budget`, by
/// dynamic programming: exact for costs that are whole units of the budget's 50,000th part; otherwise at
/// most one unit for each item is left unused. Nothing if no choices fit.
///
/// Of equal losses, the cheaper choice is taken.
pub fn solve(items: &[Vec<Choice>], budget: u64) -> Option<Vec<usize>> {
    let unit = unit(items, budget);
    let units = (budget / unit) as usize;
    // The least loss of the items so far at each total cost, and the last item's choice there.
    let mut losses = vec![f64::INFINITY; units + 1];
    losses[0] = 0.0;
    let mut chosen: Vec<Vec<u32>> = Vec::with_capacity(items.len());
    for choices in items {
        let mut next = vec![f64::INFINITY; units + 1];
        let mut last = vec![u32::MAX; units + 1];
        for (index, choice) in choices.iter().enumerate() {
            let cost = choice.cost.div_ceil(unit) as usize;
            for total in cost..=units {
                let loss = losses[total - cost] + choice.loss;
                if loss < next[total] {
                    (next[total], last[total]) = (loss, index as u32);
                }
            }
        }
        losses = next;
        chosen.push(last);
    }
    let best = (0..=units).min_by(|&left, &right| losses[left].total_cmp(&losses[right]))?;
    if losses[best].is_infinite() {
        return None;
    }
    let mut total = best;
    let mut solution = vec![0; items.len()];
    for (item, last) in chosen.iter().enumerate().rev() {
        solution[item] = last[total] as usize;
        total -= items[item][solution[item]].cost.div_ceil(unit) as usize;
    }
    Some(solution)
}

/// The largest unit in which all costs are whole, or the budget over [`UNITS`] if that is larger.
fn unit(items: &[Vec<Choice>], budget: u64) -> u64 {
    let costs = items.iter().flatten().map(|choice| choice.cost);
    let common = costs.fold(0, greatest_common_divisor).max(1);
    common.max(budget.div_ceil(UNITS)).max(1)
}

fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right > 0 {
        (left, right) = (right, left % right);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All combinations.
    fn best(items: &[Vec<Choice>], budget: u64) -> Option<f64> {
        let Some((first, rest)) = items.split_first() else { return Some(0.0) };
        let with = |choice: &Choice| {
            let left = budget.checked_sub(choice.cost)?;
            Some(choice.loss + best(rest, left)?)
        };
        first.iter().filter_map(with).min_by(f64::total_cmp)
    }

    proptest! {
        #[test]
        fn no_combination_is_better(
            items in proptest::collection::vec(
                proptest::collection::vec((0u64..50, 0u32..100), 1..4), 1..6,
            ),
            budget in 0u64..150,
        ) {
            let choice = |(cost, loss)| Choice { cost, loss: f64::from(loss) };
            let items: Vec<Vec<Choice>> =
                items.into_iter().map(|item| item.into_iter().map(choice).collect()).collect();
            let found = solve(&items, budget);
            let of = |solution: Vec<usize>| -> Vec<Choice> {
                solution.into_iter().zip(&items).map(|(index, choices)| choices[index]).collect()
            };
            if let Some(chosen) = found.clone().map(of) {
                prop_assert!(chosen.iter().map(|choice| choice.cost).sum::<u64>() <= budget);
                let loss: f64 = chosen.iter().map(|choice| choice.loss).sum();
                prop_assert_eq!(Some(loss), best(&items, budget));
            } else {
                prop_assert_eq!(None, best(&items, budget));
            }
        }
    }

    #[test]
    fn costs_that_are_no_whole_units_stay_within_the_budget() {
        let item = |cost| vec![Choice { cost: 1, loss: 1.0 }, Choice { cost, loss: 0.0 }];
        let items = vec![item(1_000_003), item(999_999), item(7)];
        // All would fit by 21, which is less than a unit: one of the large ones is left out.
        let solution = solve(&items, 2_000_030).unwrap();
        assert_eq!(solution.iter().sum::<usize>(), 2);
        assert_eq!(solution[2], 1);
        assert_eq!(solve(&items, 2), None);
    }
}
