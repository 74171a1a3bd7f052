//! The kernel's log line by line: one event a minute of a kind.

use super::line::{XidEvent, device, parse};
use std::collections::HashMap;

/// How long the same Xid of the same GPU counts as one. A broken link writes hundreds of lines.
const BURST_S: f64 = 60.0;

/// How many lines after its head a record of several lines may end.
const MOST_LINES: usize = 3;

/// How many bursts are remembered: far more than GPUs and codes, so that only garbage comes so far.
const MOST_BURSTS: usize = 4096;

/// Reads the kernel's log in order, drops repetitions, joins records that span lines.
#[derive(Debug, Default)]
pub struct KernelLog {
    /// When the last burst of a device and code began.
    bursts: HashMap<(String, u16), f64>,
    /// The device that `NVRM: The NVIDIA GPU …` named, and how many lines may follow.
    open: Option<(String, usize)>,
}

impl KernelLog {
    /// A log of which nothing was read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a line that was written at `time_s`, in seconds of any clock. `None` for lines that are
    /// no event, and for events that repeat one of the last minute. A time that goes back or is not a
    /// number makes the event count as new: better twice than never.
    pub fn read(&mut self, time_s: f64, line: &str) -> Option<XidEvent> {
        let event = parse(line).or_else(|| self.end_of_record(line))?;
        let burst = (event.device.clone(), event.code);
        let age_s = self.bursts.get(&burst).map(|began_s| time_s - began_s);
        if age_s.is_some_and(|age_s| (0.0..BURST_S).contains(&age_s)) {
            return None;
        }
        if self.bursts.len() >= MOST_BURSTS {
            self.bursts.clear();
        }
        self.bursts.insert(burst, time_s);
        Some(event)
    }

    /// The event that `line` completes, where the device stood on a line before.
    fn end_of_record(&mut self, line: &str) -> Option<XidEvent> {
        if let Some((_, name)) = line.split_once("NVRM: The NVIDIA GPU ") {
            self.open = device(name).map(|device| (device, MOST_LINES));
            return None;
        }
        let (device, lines_left) = self.open.take()?;
        if line.contains("NVRM: fallen off the bus")
            || line.contains("NVRM: has fallen off the bus")
        {
            let detail = "GPU has fallen off the bus".to_owned();
            return Some(XidEvent { device, code: 79, pid: None, detail });
        }
        self.open = (lines_left > 1).then(|| (device, lines_left - 1));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "NVRM: Xid (PCI:0000:05:00): 74, pid=1, NVLink: fatal error detected on link 2";

    #[test]
    fn a_burst_is_one_event() {
        let mut log = KernelLog::new();
        let admitted =
            (0..600).filter(|&i| log.read(f64::from(i) * 0.5, LINE).is_some()).collect::<Vec<_>>();
        // Every half second over five minutes: one a minute.
        assert_eq!(admitted, [0, 120, 240, 360, 480]);
    }

    #[test]
    fn devices_and_codes_are_told_apart() {
        let mut log = KernelLog::new();
        assert!(log.read(0.0, LINE).is_some());
        assert!(log.read(0.0, &LINE.replace(":05:", ":06:")).is_some());
        assert!(log.read(0.0, &LINE.replace(" 74,", " 79,")).is_some());
        assert!(log.read(0.0, LINE).is_none());
        // The clock was set back.
        assert!(log.read(-5.0, LINE).is_some());
    }

    #[test]
    fn a_gpu_off_the_bus_is_one_event_in_all_its_shapes() {
        let mut log = KernelLog::new();
        let lines = [
            "[14387.209961] NVRM: The NVIDIA GPU 0000:5d:00.0",
            "               NVRM: (PCI ID: 10de:2330) installed in this system has",
            "               NVRM: fallen off the bus and is not responding to commands.",
            "NVRM: GPU 0000:5d:00.0: GPU has fallen off the bus.",
            "NVRM: Xid (PCI:0000:5d:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off",
        ];
        let events: Vec<_> = lines.iter().filter_map(|line| log.read(1.0, line)).collect();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].device.as_str(), events[0].code), ("0000:5d:00", 79));
    }

    #[test]
    fn a_record_that_does_not_end_is_dropped() {
        let mut log = KernelLog::new();
        assert_eq!(log.read(0.0, "NVRM: The NVIDIA GPU 0000:5d:00.0"), None);
        for _ in 0..MOST_LINES {
            assert_eq!(log.read(0.0, "something else"), None);
        }
        assert_eq!(log.read(0.0, "NVRM: fallen off the bus and is not responding"), None);
    }
}
