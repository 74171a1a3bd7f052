//! Moments of an iteration at which a test or a demonstration lets a worker fail.

use std::fmt;
use std::str::FromStr;

/// What has just happened, in the order in which it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The first forward of the iteration is done.
    Forward,
    /// The first backward is in the sums.
    Backward,
    /// All own passes are in the sums, and none of them is sent: before the all-reduce.
    Summed,
    /// A part of the segments is reduced: in the midst of the all-reduce.
    Reducing,
    /// The whole gradient is there, the vote isn't given: after the all-reduce.
    Reduced,
    /// All have voted: between reduction and optimiser step.
    Voted,
    /// The optimiser has taken its step, and nobody has a copy of the result.
    Stepped,
}

impl Moment {
    /// The names.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("forward", Self::Forward),
        ("backward", Self::Backward),
        ("summed", Self::Summed),
        ("reducing", Self::Reducing),
        ("reduced", Self::Reduced),
        ("voted", Self::Voted),
        ("stepped", Self::Stepped),
    ];
}

/// How a worker fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// By SIGKILL.
    Kill,
    /// It does nothing any more.
    Hang,
    /// It raises an exception.
    Throw,
}

/// A failure that is asked for: `[kill@|hang@|throw@]MOMENT:ITERATION[:WORKER]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailAt {
    /// How.
    pub failure: Failure,
    /// When.
    pub moment: Moment,
    /// In which iteration.
    pub iteration: u64,
    /// Which worker; nothing is any.
    pub worker: Option<u64>,
}

impl FailAt {
    /// Whether it is now.
    #[must_use]
    pub fn is_due(&self, moment: Moment, iteration: u64, worker: u64) -> bool {
        (self.moment, self.iteration) == (moment, iteration)
            && self.worker.is_none_or(|of| of == worker)
    }
}

impl fmt::Display for FailAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?} of iteration {}", self.failure, self.moment, self.iteration)
    }
}

impl FromStr for FailAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (failure, rest) = match text.split_once('@') {
            None | Some(("kill", _)) => (Failure::Kill, text.trim_start_matches("kill@")),
            Some(("hang", rest)) => (Failure::Hang, rest),
            Some(("throw", rest)) => (Failure::Throw, rest),
            Some((other, _)) => return Err(format!("{other:?} is none of kill, hang, throw")),
        };
        let mut parts = rest.split(':');
        let name = parts.next().unwrap_or_default();
        let moment = Moment::NAMES.iter().find(|(of, _)| *of == name);
        let (_, moment) = moment.ok_or_else(|| {
            let names: Vec<&str> = Moment::NAMES.iter().map(|(name, _)| *name).collect();
            format!("{name:?} is none of {}", names.join(", "))
        })?;
        let number = |part: &str| part.parse::<u64>().map_err(|error| format!("{part:?}: {error}"));
        let iteration = number(parts.next().ok_or("an iteration is missing, as in reduced:3")?)?;
        let worker = parts.next().map(number).transpose()?;
        match parts.next() {
            Some(more) => Err(format!("{more:?} is too much")),
            None => Ok(Self { failure, moment: *moment, iteration, worker }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_read() {
        let fail: FailAt = "reduced:3".parse().unwrap();
        assert!(fail.is_due(Moment::Reduced, 3, 9) && !fail.is_due(Moment::Reduced, 4, 9));
        let fail: FailAt = "throw@voted:2:7".parse().unwrap();
        assert_eq!((fail.failure, fail.worker), (Failure::Throw, Some(7)));
        assert!(!fail.is_due(Moment::Voted, 2, 6));
        for bad in ["", "reduced", "reduced:x", "reduced:1:2:3", "eat@reduced:1", "never:1"] {
            assert!(bad.parse::<FailAt>().is_err(), "{bad}");
        }
    }
}
