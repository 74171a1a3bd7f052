//! Memory that a process holds.

/// Bytes of memory that this process holds now; nothing where the system doesn't say.
pub fn resident_bytes() -> Option<u64> {
    of_process("self", "VmRSS:")
}

/// The most that another process has held so far.
pub(super) fn peak_resident_bytes(process: u32) -> Option<u64> {
    of_process(&process.to_string(), "VmHWM:")
}

fn of_process(process: &str, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_held_once_it_is_written() {
        const BYTES: usize = 64 << 20;
        let before = resident_bytes().unwrap();
        let memory = std::hint::black_box(vec![1u8; BYTES]);
        let after = resident_bytes().unwrap();
        assert!(after > before + BYTES as u64 / 2, "{before} {after}");
        assert!(peak_resident_bytes(std::process::id()).unwrap() >= after - after / 8);
        drop(memory);
        assert_eq!(of_process("self", "no such field"), None);
    }
}
