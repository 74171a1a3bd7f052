//! What a simulated system has to do later, and the loop that lets time pass.

use super::scenario::{Happening, Scenario};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Things to do, by time; those of one time in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    asked: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at_s: f64,
    order: u64,
    what: T,
}

impl<T> Timers<T> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), asked: 0 }
    }

    pub(super) fn at(&mut self, at_s: f64, what: T) {
        self.asked += 1;
        self.heap.push(Reverse(Entry { at_s, order: self.asked, what }));
    }

    fn next_s(&self) -> Option<f64> {
        self.heap.peek().map(|Reverse(entry)| entry.at_s)
    }

    fn pop(&mut self) -> Option<(f64, T)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at_s, entry.what))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_s.total_cmp(&other.at_s).then(self.order.cmp(&other.order))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

/// A system that is simulated.
pub(super) trait System {
    /// What it has to do later.
    type Timer;

    fn timers(&mut self) -> &mut Timers<Self::Timer>;

    /// The world does something to it.
    fn happens(&mut self, now_s: f64, happening: &Happening<'_>);

    /// It does what it wanted to do now; `false` if that has become pointless.
    fn wakes(&mut self, now_s: f64, timer: Self::Timer) -> bool;
}

/// Lets a scenario happen to a system; the number of events that it took.
pub(super) fn run(scenario: &Scenario<'_>, system: &mut impl System) -> u64 {
    let mut events = 0;
    let mut happenings = scenario.happenings().iter().peekable();
    loop {
        let timer_s = system.timers().next_s().unwrap_or(f64::INFINITY);
        let next_s = happenings.peek().map_or(f64::INFINITY, |happening| happening.at_s());
        if timer_s.min(next_s) > scenario.duration_s() {
            return events;
        }
        // What was noticed at an instant comes before what happens at it.
        if timer_s <= next_s {
            if let Some((now_s, timer)) = system.timers().pop() {
                events += u64::from(system.wakes(now_s, timer));
            }
        } else if let Some(happening) = happenings.next() {
            system.happens(next_s, happening);
            events += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_go_by_time_then_by_order() {
        let mut timers = Timers::new();
        for (at_s, what) in [(5.0, "c"), (1.0, "a"), (5.0, "d"), (2.0, "b")] {
            timers.at(at_s, what);
        }
        assert_eq!(timers.next_s(), Some(1.0));
        let order: Vec<_> = std::iter::from_fn(|| timers.pop()).map(|(_, what)| what).collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
    }
}
