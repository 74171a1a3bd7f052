//! Weighted FLOP/s over time, in bounded memory: when there are too many steps, two become one, and steps
//! take twice as long from then on. So the whole of a leadership is there, as fine as a graph can show.

/// Steps that are kept; a graph has about as many columns.
const MOST_STEPS: usize = 720;

/// The first steps' length, in seconds: a transition shows.
const FIRST_STEP_S: f64 = 2.0;

/// Something worth a graph, at one moment or as the mean of a step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Waf {
    /// What workers that train achieve, in weighted FLOP/s.
    pub now: f64,
    /// What the plan gives them once its transitions are over.
    pub planned: f64,
}

impl Waf {
    fn plus(self, other: Self, times: f64) -> Self {
        let Self { now, planned } = self;
        Self { now: now + times * other.now, planned: planned + times * other.planned }
    }
}

/// The past.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    step_s: f64,
    steps: Vec<Waf>,
    /// Sum of the step that isn't over, by seconds.
    sum: Waf,
    /// Seconds of it that have passed.
    passed_s: f64,
    /// When this was last told, in seconds.
    since_s: f64,
    /// What has been so since then.
    waf: Waf,
}

impl History {
    /// Begins.
    #[must_use]
    pub fn new(now_s: f64) -> Self {
        let (sum, waf) = (Waf::default(), Waf::default());
        Self { step_s: FIRST_STEP_S, steps: Vec::new(), sum, passed_s: 0.0, since_s: now_s, waf }
    }

    /// From now on it is so much.
    pub fn note(&mut self, now_s: f64, waf: Waf) {
        let mut left_s = (now_s - self.since_s).max(0.0);
        self.since_s = now_s;
        while self.passed_s + left_s >= self.step_s {
            let rest_s = self.step_s - self.passed_s;
            let sum = self.sum.plus(self.waf, rest_s);
            self.steps.push(Waf::default().plus(sum, 1.0 / self.step_s));
            (self.sum, self.passed_s) = (Waf::default(), 0.0);
            left_s -= rest_s;
            if self.steps.len() == MOST_STEPS {
                self.coarsen();
            }
        }
        self.sum = self.sum.plus(self.waf, left_s);
        self.passed_s += left_s;
        self.waf = waf;
    }

    fn coarsen(&mut self) {
        let mean = |pair: &[Waf]| Waf::default().plus(pair[0], 0.5).plus(pair[1], 0.5);
        self.steps = self.steps.chunks_exact(2).map(mean).collect();
        self.step_s *= 2.0;
    }

    /// Length of a step in seconds.
    #[must_use]
    pub fn step_s(&self) -> f64 {
        self.step_s
    }

    /// The means of the steps that are over, oldest first.
    #[must_use]
    pub fn steps(&self) -> &[Waf] {
        &self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waf(now: f64) -> Waf {
        Waf { now, planned: 10.0 }
    }

    #[test]
    fn a_step_is_the_mean_over_its_time() {
        let mut history = History::new(100.0);
        history.note(100.0, waf(8.0));
        history.note(101.5, waf(0.0));
        history.note(106.0, waf(4.0));
        let steps: Vec<f64> = history.steps().iter().map(|step| step.now).collect();
        assert_eq!(steps, [6.0, 0.0, 0.0]);
        assert!(history.steps().iter().all(|step| (step.planned - 10.0).abs() < 1e-12));
    }

    #[test]
    fn a_year_takes_as_much_memory_as_an_hour() {
        let mut history = History::new(0.0);
        history.note(0.0, waf(2.0));
        let day_s = 86_400.0;
        for day in 1..=365 {
            history.note(day_s * f64::from(day), waf(if day < 200 { 2.0 } else { 3.0 }));
        }
        let (steps, step_s) = (history.steps(), history.step_s());
        assert!((MOST_STEPS / 2..MOST_STEPS).contains(&steps.len()), "{}", steps.len());
        let all: f64 = steps.iter().map(|step| step.now * step_s).sum();
        let covered_s = step_s * steps.len() as f64;
        let expected = 2.0 * 200.0 * day_s + 3.0 * (covered_s - 200.0 * day_s);
        assert!((all / expected - 1.0).abs() < 1e-9, "{all} {expected}");
    }
}
