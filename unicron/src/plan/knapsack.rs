//! The exact solver under a plan: one choice for every task, workers for all within what there is.
//!
//! The paper's dynamic program (section 5, `S(i, j)`) tries all sizes of all tasks for all numbers of
//! workers, `m n²` steps. This one finds the same optimum, but visits only what can be part of it:
//!
//! 1. A price `λ` on a worker splits the problem. At the best price each task, taken alone, prefers one of
//!    its choices, and `λ n + Σ max (v − λ w)` is a bound that no plan passes (Lagrange's; the same as that
//!    of the linear relaxation).
//! 2. Against that bound a plan *loses* what its choices fall short of the preferred ones, and `λ` for
//!    each worker left idle. The optimum is the plan that loses least, and with many tasks it loses next
//!    to nothing: there is a combination that fills the cluster.
//! 3. So a dynamic program over (workers, loss) keeps states up to a budget of loss, and choices that lose
//!    no more. The first budget under which a plan is found holds the optimum; it starts small, grows, and
//!    is never more than what a greedy plan loses.
//!
//! With `c` choices left in a task, at worst all, a budget takes `m n c` steps.

/// A choice: so many workers, and what they are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Workers that it takes.
    pub workers: usize,
    /// Its value, in any unit; finite.
    pub value: f64,
}

/// One choice for each task.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// Index into each task's choices.
    pub picks: Vec<usize>,
    /// Sum of the values, in the tasks' order.
    pub value: f64,
    /// Workers taken.
    pub workers: usize,
}

/// Values that differ by less than this part of the largest sum are equal. Sums of a thousand values in
/// different orders are.
const EQUAL: f64 = 1e-12;
/// How much a budget grows, and into how many parts the greedy plan's loss is cut for the first one.
const GROWTH: f64 = 8.0;
const FIRST_BUDGET: f64 = 4096.0;

/// The plan of largest value that takes at most `capacity` workers, or `None` if not even the smallest
/// choices fit, or a task has none.
///
/// Of plans of equal value it is one with fewest workers; where tasks could be exchanged, the earlier
/// task has more.
#[must_use]
pub fn solve(tasks: &[Vec<Choice>], capacity: usize) -> Option<Solution> {
    let smallest: Option<usize> = tasks.iter().map(|choices| least(choices)).sum();
    if smallest? > capacity {
        return None;
    }
    let classes: Vec<Class> = tasks.iter().map(|choices| Class::of(choices)).collect();
    let priced = Priced::of(&classes, capacity);
    // At no price, idle workers cost nothing and everybody has what is best alone.
    let positions = match priced.price > 0.0 {
        true => priced.least_loss(&classes),
        false => priced.preferred.clone(),
    };
    let picks: Vec<usize> = classes
        .iter()
        .zip(&positions)
        .map(|(class, &position)| class.items[position].index)
        .collect();
    let picked = || tasks.iter().zip(&picks).map(|(choices, &pick)| choices[pick]);
    Some(Solution {
        value: picked().map(|choice| choice.value).sum(),
        workers: picked().map(|choice| choice.workers).sum(),
        picks,
    })
}

fn least(choices: &[Choice]) -> Option<usize> {
    choices.iter().map(|choice| choice.workers).min()
}

/// A task's choices without those that take more workers for no more value, by workers.
struct Class {
    items: Vec<Item>,
    /// Positions in `items` of the upper hull of (workers, value), whose slopes fall.
    hull: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Item {
    workers: usize,
    value: f64,
    /// Where the choice was.
    index: usize,
}

impl Class {
    fn of(choices: &[Choice]) -> Self {
        let item = |(index, choice): (usize, &Choice)| Item {
            workers: choice.workers,
            value: choice.value,
            index,
        };
        let mut items: Vec<Item> = choices.iter().enumerate().map(item).collect();
        // Of equal ones the first stays.
        items.sort_by(|left, right| {
            left.workers.cmp(&right.workers).then(right.value.total_cmp(&left.value))
        });
        let mut best = f64::NEG_INFINITY;
        items.retain(|item| {
            let is_better = item.value > best;
            best = best.max(item.value);
            is_better
        });
        let mut hull: Vec<usize> = Vec::new();
        for position in 0..items.len() {
            let slope = |from: usize, to: usize| slope(items[from], items[to]);
            while let [.., before, last] = hull[..] {
                if slope(before, last) > slope(last, position) {
                    break;
                }
                hull.pop();
            }
            hull.push(position);
        }
        Self { items, hull }
    }
}

/// Value a worker between two choices.
fn slope(from: Item, to: Item) -> f64 {
    (to.value - from.value) / (to.workers - from.workers) as f64
}

/// The best price of a worker, and what tasks prefer at it.
struct Priced {
    price: f64,
    /// By class, the position of the choice from which others lose; all together fit.
    preferred: Vec<usize>,
    /// Workers that the preferred choices leave.
    idle: usize,
    /// What counts as equal.
    tolerance: f64,
}

impl Priced {
    /// Gives workers to whoever gains most by each, along the hulls. The price is the gain at which they
    /// run out.
    fn of(classes: &[Class], capacity: usize) -> Self {
        let mut preferred: Vec<usize> = classes.iter().map(|class| class.hull[0]).collect();
        let smallest: usize = classes.iter().map(|class| class.items[class.hull[0]].workers).sum();
        let mut idle = capacity - smallest;
        let mut gains: Vec<(f64, usize, usize)> = Vec::new();
        for (task, class) in classes.iter().enumerate() {
            let steps = class.hull.windows(2).enumerate();
            gains.extend(steps.map(|(step, ends)| {
                (slope(class.items[ends[0]], class.items[ends[1]]), task, step + 1)
            }));
        }
        gains.sort_by(|left, right| {
            right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)).then(left.2.cmp(&right.2))
        });
        let mut price = 0.0;
        for (gain, task, step) in gains {
            let class = &classes[task];
            let (from, to) = (class.items[class.hull[step - 1]], class.items[class.hull[step]]);
            if to.workers - from.workers > idle {
                price = gain;
                break;
            }
            idle -= to.workers - from.workers;
            preferred[task] = class.hull[step];
        }
        let largest =
            |class: &Class| class.items.iter().map(|item| item.value.abs()).fold(0.0, f64::max);
        let tolerance = EQUAL * classes.iter().map(largest).sum::<f64>();
        Self { price, preferred, idle, tolerance }
    }

    /// What a choice loses against the preferred one, at the price.
    fn loss(&self, class: &Class, preferred: usize, item: Item) -> f64 {
        let base = class.items[preferred];
        let workers = item.workers as f64 - base.workers as f64;
        // Nothing is better than what is preferred; below zero is rounding.
        (base.value - item.value + self.price * workers).max(0.0)
    }

    /// By class, the position of the choice in the plan that loses least.
    fn least_loss(&self, classes: &[Class]) -> Vec<usize> {
        // The preferred choices and one task that takes what is left, if that is better: a plan, so what
        // it loses is enough.
        let enough = self.price * self.idle as f64;
        let mut budget = enough / FIRST_BUDGET;
        loop {
            let budget_now = if budget < enough { budget } else { enough + self.tolerance };
            if let Some(found) = self.within(classes, budget_now) {
                return found;
            }
            budget *= GROWTH;
        }
    }

    /// The plan that loses least, if that is within the budget.
    fn within(&self, classes: &[Class], budget: f64) -> Option<Vec<usize>> {
        let mut positions = self.preferred.clone();
        // Tasks that have a choice within the budget, and what each choice changes.
        let open: Vec<(usize, Vec<Change>)> = classes
            .iter()
            .enumerate()
            .map(|(task, class)| (task, self.changes(class, self.preferred[task], budget)))
            .filter(|(_, changes)| changes.len() > 1)
            .collect();
        let reach = Reach::of(&open);
        let idle_allowed = budget / self.price;
        let mut stages: Vec<Stage> = vec![Stage::first()];
        let mut table = Table::default();
        for (stage, (_, changes)) in open.iter().enumerate() {
            let (up, down) = reach.after(stage);
            // What comes later can take at most `up` more workers, or give back `down`.
            let lowest = self.idle as i64 - idle_allowed.min(self.idle as f64).ceil() as i64 - up;
            let highest = self.idle as i64 + down;
            let last = stages.last().expect("there is a first");
            let next = table.extend(last, changes, (lowest, highest), budget, self);
            stages.push(next);
        }
        let last = stages.last().expect("there is a first");
        let total =
            |state: &State| state.loss + self.price * (self.idle as i64 - state.workers) as f64;
        let mut best: Option<(usize, f64)> = None;
        for (at, state) in last.states.iter().enumerate() {
            let loss = total(state);
            let is_within = state.workers <= self.idle as i64 && loss <= budget;
            if is_within && best.is_none_or(|(_, least)| loss < least - self.tolerance) {
                best = Some((at, loss));
            }
        }
        let (mut at, _) = best?;
        for (stage, (task, changes)) in stages[1..].iter().zip(&open).rev() {
            let origin = stage.origins[at];
            positions[*task] = changes[origin.change as usize].position;
            at = origin.state as usize;
        }
        Some(positions)
    }

    /// Choices of a task within the budget, by workers.
    fn changes(&self, class: &Class, preferred: usize, budget: f64) -> Vec<Change> {
        let base = class.items[preferred].workers as i64;
        let change = |(position, &item): (usize, &Item)| Change {
            position,
            workers: item.workers as i64 - base,
            loss: self.loss(class, preferred, item),
        };
        class.items.iter().enumerate().map(change).filter(|change| change.loss <= budget).collect()
    }
}

/// A choice, seen from the preferred one.
struct Change {
    position: usize,
    workers: i64,
    loss: f64,
}

/// How many workers the tasks after a stage can take more, or fewer.
struct Reach {
    after: Vec<(i64, i64)>,
}

impl Reach {
    fn of(open: &[(usize, Vec<Change>)]) -> Self {
        let mut after = vec![(0, 0); open.len() + 1];
        for (stage, (_, changes)) in open.iter().enumerate().rev() {
            let (up, down) = after[stage + 1];
            let most = changes.iter().map(|change| change.workers).max().unwrap_or(0);
            let fewest = changes.iter().map(|change| change.workers).min().unwrap_or(0);
            after[stage] = (up + most.max(0), down - fewest.min(0));
        }
        Self { after }
    }

    fn after(&self, stage: usize) -> (i64, i64) {
        self.after[stage + 1]
    }
}

/// States after a task, by workers; each that has more is worth more, idle workers at the price.
struct Stage {
    states: Vec<State>,
    origins: Vec<Origin>,
}

#[derive(Clone, Copy)]
struct State {
    /// Beyond those of the preferred choices.
    workers: i64,
    loss: f64,
}

#[derive(Clone, Copy, Default)]
struct Origin {
    state: u32,
    change: u32,
}

impl Stage {
    fn first() -> Self {
        let state = State { workers: 0, loss: 0.0 };
        Self { states: vec![state], origins: vec![Origin::default()] }
    }
}

/// One slot for each number of workers; its memory serves all stages.
#[derive(Default)]
struct Table {
    slots: Vec<(f64, Origin)>,
}

impl Table {
    /// The states after one more task, between the bounds on workers.
    fn extend(
        &mut self,
        last: &Stage,
        changes: &[Change],
        (lowest, highest): (i64, i64),
        budget: f64,
        priced: &Priced,
    ) -> Stage {
        let workers = || {
            let ends = [last.states.first(), last.states.last()];
            ends.into_iter()
                .flatten()
                .flat_map(|state| changes.iter().map(|change| state.workers + change.workers))
        };
        let from = workers().min().unwrap_or(0).max(lowest);
        let to = workers().max().unwrap_or(-1).min(highest);
        let length = usize::try_from(to - from + 1).unwrap_or(0);
        self.slots.clear();
        self.slots.resize(length, (f64::INFINITY, Origin::default()));
        // Fewest workers first: of equal plans the first stays, in which earlier tasks have more.
        for (index, change) in changes.iter().enumerate() {
            for (at, state) in last.states.iter().enumerate() {
                let slot = state.workers + change.workers - from;
                let Some(slot) =
                    usize::try_from(slot).ok().and_then(|slot| self.slots.get_mut(slot))
                else {
                    continue;
                };
                let loss = state.loss + change.loss;
                if loss <= budget && loss < slot.0 - priced.tolerance {
                    *slot = (loss, Origin { state: at as u32, change: index as u32 });
                }
            }
        }
        // More workers for no more value lead nowhere.
        let (mut states, mut origins) = (Vec::new(), Vec::new());
        let mut best = f64::NEG_INFINITY;
        for (slot, &(loss, origin)) in self.slots.iter().enumerate() {
            let workers = from + slot as i64;
            let value = priced.price * workers as f64 - loss;
            if loss.is_finite() && value > best + priced.tolerance {
                best = value;
                states.push(State { workers, loss });
                origins.push(origin);
            }
        }
        Stage { states, origins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The paper's dynamic program, without anything clever.
    fn by_table(tasks: &[Vec<Choice>], capacity: usize) -> Option<f64> {
        let mut best = vec![Some(0.0); capacity + 1];
        for choices in tasks {
            let with = |workers: usize| {
                let fits = choices.iter().filter(|choice| choice.workers <= workers);
                let sums =
                    fits.filter_map(|choice| Some(best[workers - choice.workers]? + choice.value));
                sums.fold(None, |most: Option<f64>, sum| {
                    Some(most.map_or(sum, |most| most.max(sum)))
                })
            };
            best = (0..=capacity).map(with).collect();
        }
        best[capacity]
    }

    fn choices(pairs: &[(usize, f64)]) -> Vec<Choice> {
        pairs.iter().map(|&(workers, value)| Choice { workers, value }).collect()
    }

    /// Tasks as they come: steps of any height, near-linear ones among them, penalties that make values
    /// negative, floors.
    fn tasks() -> impl Strategy<Value = (Vec<Vec<Choice>>, usize)> {
        let step = (1_usize..9, -3.0..9.0_f64);
        let uneven = prop::collection::vec(step, 1..7).prop_map(|steps| {
            let mut workers = 0;
            let grown = steps.into_iter().map(|(more, value)| {
                workers += more;
                Choice { workers: workers - 1, value }
            });
            grown.collect()
        });
        let linear = (1_usize..5, 1_usize..9, 0.9..1.1_f64).prop_map(|(unit, n, slope)| {
            let value = |k: usize| slope * (k * unit) as f64 - 0.01 * (k * k) as f64;
            (0..n).map(|k| Choice { workers: k * unit, value: value(k) }).collect()
        });
        (prop::collection::vec(prop_oneof![uneven, linear], 1..9), 0_usize..70)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn it_is_the_optimum((tasks, capacity) in tasks()) {
            let found = solve(&tasks, capacity);
            let expected = by_table(&tasks, capacity);
            prop_assert_eq!(found.is_some(), expected.is_some());
            if let (Some(found), Some(expected)) = (found, expected) {
                prop_assert!(found.workers <= capacity);
                prop_assert!((found.value - expected).abs() <= 1e-9, "{} {expected}", found.value);
                let picked = || tasks.iter().zip(&found.picks).map(|(choices, &pick)| choices[pick]);
                prop_assert_eq!(picked().map(|choice| choice.workers).sum::<usize>(), found.workers);
            }
        }

        #[test]
        fn more_workers_never_lower_it((tasks, capacity) in tasks()) {
            let value = |capacity| solve(&tasks, capacity).map(|found| found.value);
            if let (Some(less), Some(more)) = (value(capacity), value(capacity + 1)) {
                prop_assert!(more >= less - 1e-9, "{less} {more}");
            }
        }
    }

    #[test]
    fn the_greedy_plan_is_not_enough() {
        // By gain a worker the first task's step of 3 comes first, and 1 worker is left over.
        let tasks = [choices(&[(0, 0.0), (3, 6.3)]), choices(&[(0, 0.0), (2, 4.0), (4, 8.0)])];
        let found = solve(&tasks, 4).unwrap();
        assert_eq!((found.picks, found.value), (vec![0, 2], 8.0));
    }

    #[test]
    fn of_equal_tasks_the_earlier_has_more() {
        let task = choices(&[(0, 0.0), (4, 1.0)]);
        assert_eq!(solve(&[task.clone(), task.clone(), task.clone()], 9).unwrap().picks, [1, 1, 0]);
        let steps = choices(&[(0, 0.0), (1, 1.0), (2, 1.0), (3, 3.0)]);
        assert_eq!(solve(&[steps.clone(), steps], 4).unwrap().picks, [3, 1]);
    }

    #[test]
    fn equal_values_take_fewest_workers() {
        let found = solve(&[choices(&[(0, 1.0), (5, 1.0), (7, 1.0)])], 9).unwrap();
        assert_eq!((found.picks, found.workers), (vec![0], 0));
    }

    #[test]
    fn floors_that_do_not_fit_have_no_plan() {
        assert_eq!(solve(&[choices(&[(3, 1.0)]), choices(&[(2, 1.0)])], 4), None);
        assert_eq!(solve(&[choices(&[(3, -1.0)]), choices(&[(2, 1.0)])], 5).unwrap().value, 0.0);
    }
}
