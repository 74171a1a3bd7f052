//! The shapes of the driver's lines in the kernel's log.

use super::catalogue::{self, Entry};
use serde::{Deserialize, Serialize};

/// One line (or record) of the driver about one GPU.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct XidEvent {
    /// The GPU's address on the bus, `domain:bus:device` in lower case, without its function.
    pub device: String,
    /// The Xid. A GPU that has fallen off the bus is 79, also where the line names no Xid.
    pub code: u16,
    /// The process that used the GPU, where the line says.
    pub pid: Option<u32>,
    /// The rest of the line.
    pub detail: String,
}

/// What a unit of NVLink 5 (Xids 144 to 150) says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NvlinkFault {
    /// The line says `Fatal`.
    pub is_fatal: bool,
    /// Bits 20 to 25 of the first status word, which tell the part of the unit.
    pub sub_code: Option<u8>,
}

/// What the driver asks for by Xid 154.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryAction {
    /// Nothing any more.
    Nothing,
    /// A reset of the GPU.
    GpuReset,
    /// A reboot of the node.
    NodeReboot,
    /// No more traffic between this GPU and its peers.
    DrainPeerToPeer,
    /// A reset once what runs has ended.
    DrainAndReset,
    /// A text that isn't known.
    Unknown,
}

/// Reads one record of the kernel's log; `None` for one that isn't about a GPU's failure. A record may
/// hold several lines. Any text is allowed.
#[must_use]
pub fn parse(record: &str) -> Option<XidEvent> {
    xid(record).or_else(|| off_the_bus(record))
}

impl XidEvent {
    /// What the code means, in a few words.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        self.entry().map_or("unknown", |entry| entry.meaning)
    }

    pub(super) fn entry(&self) -> Option<&'static Entry> {
        catalogue::entry(self.code)
    }

    /// The unit's own words, for Xids 144 to 150.
    #[must_use]
    pub fn nvlink_fault(&self) -> Option<NvlinkFault> {
        if !(144..=150).contains(&self.code) {
            return None;
        }
        let is_fatal = self.detail.split_whitespace().any(|word| word == "Fatal");
        let first_word = self.detail.split_once("(0x").map_or("", |(_, words)| words);
        let digits = first_word.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default();
        let sub_code = u32::from_str_radix(digits, 16).ok().map(|word| (word >> 20 & 0x3f) as u8);
        Some(NvlinkFault { is_fatal, sub_code })
    }

    /// What the driver asks for, for Xid 154:
    /// `GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)`.
    #[must_use]
    pub fn recovery_action(&self) -> Option<RecoveryAction> {
        if self.code != 154 {
            return None;
        }
        let (_, target) = self.detail.rsplit_once(" to ")?;
        let says = |words: &str| target.contains(words);
        Some(match () {
            () if says("Drain and Reset") => RecoveryAction::DrainAndReset,
            () if says("Drain P2P") => RecoveryAction::DrainPeerToPeer,
            () if says("Node Reboot") || says("OS Reboot") => RecoveryAction::NodeReboot,
            () if says("GPU Reset") => RecoveryAction::GpuReset,
            () if says("None") => RecoveryAction::Nothing,
            () => RecoveryAction::Unknown,
        })
    }
}

/// `NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.`,
/// older without `PCI:`, newer with the part of a divided GPU: `(PCI:0000:05:00 GPU-I:05)`.
fn xid(record: &str) -> Option<XidEvent> {
    let (_, rest) = record.split_once("NVRM: Xid (")?;
    let (address, rest) = rest.split_once(')')?;
    let device = device(address)?;
    let (code, detail) = code_and_detail(rest)?;
    Some(XidEvent { device, code, pid: pid(detail), detail: detail.trim().to_owned() })
}

/// `NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.`, and the record of three lines
/// `NVRM: The NVIDIA GPU 0000:18:00.0`, `NVRM: (PCI ID: …) installed in this system has`,
/// `NVRM: fallen off the bus and is not responding to commands.`
fn off_the_bus(record: &str) -> Option<XidEvent> {
    let (before, _) = record.split_once("fallen off the bus")?;
    let (_, after_gpu) =
        before.split_once("NVRM: The NVIDIA GPU ").or_else(|| before.split_once("NVRM: GPU "))?;
    let detail = "GPU has fallen off the bus".to_owned();
    Some(XidEvent { device: device(after_gpu)?, code: 79, pid: None, detail })
}

/// The address at the head of `text`, without a leading `PCI:`, its function and what follows.
pub(super) fn device(text: &str) -> Option<String> {
    let text = text.trim_start().strip_prefix("PCI:").unwrap_or(text.trim_start());
    let is_part = |c: char| c.is_ascii_hexdigit() || c == ':';
    let address = text.split(|c| !is_part(c)).next().unwrap_or_default().trim_end_matches(':');
    // Domain, bus and device: `0000:05:00`. A longer text isn't an address.
    let parts = address.split(':').count();
    let is_address = (2..=3).contains(&parts) && (5..=16).contains(&address.len());
    is_address.then(|| address.to_ascii_lowercase())
}

/// The number between `: ` and a comma or the end, and what follows.
fn code_and_detail(rest: &str) -> Option<(u16, &str)> {
    rest.match_indices(": ").find_map(|(at, separator)| {
        let text = &rest[at + separator.len()..];
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let detail = &text[end..];
        let is_whole = detail.is_empty() || detail.starts_with(',');
        let code = text[..end].parse().ok().filter(|_| is_whole)?;
        Some((code, detail.trim_start_matches(',')))
    })
}

/// `pid=1896` or `pid='1896'`.
fn pid(detail: &str) -> Option<u32> {
    let (_, text) = detail.split_once("pid=")?;
    let text = text.trim_start_matches('\'');
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, device: &str, code: u16, pid: Option<u32>) {
        let event = parse(line).unwrap_or_else(|| panic!("no event in {line:?}"));
        assert_eq!((event.device.as_str(), event.code, event.pid), (device, code, pid), "{line}");
    }

    /// The lines of the notes on the field, 4.4.
    #[test]
    fn the_shapes_that_are_seen() {
        let off_the_bus = "NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has \
                           fallen off the bus.";
        check(off_the_bus, "0000:05:00", 79, None);
        check("[ 88.1] NVRM: Xid (0000:03:00): 14, Channel 00000001", "0000:03:00", 14, None);
        let remapped = "NVRM: Xid (PCI:0000:10:1c): 63, pid=1896, Row Remapper: New row marked for \
                        remapping, reset gpu to activate.";
        check(remapped, "0000:10:1c", 63, Some(1896));
        check("NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.", "0000:18:00", 79, None);
        let three_lines = "[ 1843.308145] NVRM: The NVIDIA GPU 0000:B3:00.0\n               NVRM: (PCI \
                           ID: 10de:26b5) installed in this system has\n               NVRM: fallen \
                           off the bus and is not responding to commands.";
        check(three_lines, "0000:b3:00", 79, None);
        let divided = "NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid='7194', name=python, Contained";
        check(divided, "0000:01:00", 94, Some(7194));
    }

    #[test]
    fn what_is_no_event() {
        for line in [
            "",
            "NVRM: Xid",
            "NVRM: Xid (",
            "NVRM: Xid (): 79,",
            "NVRM: Xid (PCI:0000:05:00): seventy-nine,",
            "NVRM: Xid (PCI:0000:05:00): 99999999999,",
            "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.129.03",
            "a GPU has fallen off the bus, somebody said",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn units_of_nvlink_5_say_whether_they_are_fatal() {
        let line = "NVRM: Xid (PCI:0018:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 \
                    (0x004505c6 0x00000000 0x00000000)";
        let fault = parse(line).unwrap().nvlink_fault().unwrap();
        // 0x0045_05c6 has bits 22, 18, 16, …: of bits 20 to 25, only 22 is set.
        assert_eq!(fault, NvlinkFault { is_fatal: true, sub_code: Some(4) });
        let milder = parse(&line.replace("Fatal", "Nonfatal")).unwrap().nvlink_fault().unwrap();
        assert!(!milder.is_fatal);
        assert_eq!(parse("NVRM: Xid (0000:03:00): 79, Fatal").unwrap().nvlink_fault(), None);
    }

    #[test]
    fn the_driver_says_what_it_wants() {
        let action = |target: &str| {
            let line = format!(
                "NVRM: Xid (PCI:0000:97:00): 154, GPU recovery action changed from {target}"
            );
            parse(&line).unwrap().recovery_action()
        };
        for (target, expected) in [
            ("0x0 (None) to 0x1 (GPU Reset Required)", RecoveryAction::GpuReset),
            ("0x0 (None) to 0x2 (Node Reboot Required)", RecoveryAction::NodeReboot),
            ("None to Node Reboot Required", RecoveryAction::NodeReboot),
            ("0x0 (None) to 0x2 (OS Reboot)", RecoveryAction::NodeReboot),
            ("0x0 (None) to 0x3 (Drain P2P)", RecoveryAction::DrainPeerToPeer),
            ("0x0 (None) to 0x4 (Drain and Reset)", RecoveryAction::DrainAndReset),
            ("0x1 (GPU Reset Required) to 0x0 (None)", RecoveryAction::Nothing),
            ("0x0 (None) to 0x9 (Sing)", RecoveryAction::Unknown),
        ] {
            assert_eq!(action(target), Some(expected), "{target}");
        }
    }
}
