//! What holds for any text: logs come from everywhere.

use super::{CollectiveReports, KernelLog, LogReader, XidEvent};
use super::{classify, grade_xids, parse_time_out, parse_xid};
use proptest::prelude::*;

/// Texts that reach deep into the parsers: pieces of real lines in any order, with anything between.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("NVRM: Xid (PCI:0000:05:00): 79,"),
        Just("NVRM: Xid ("),
        Just("): 149, NETIR Fatal (0x004505c6"),
        Just("): 154, GPU recovery action changed from 0x0 (None) to "),
        Just("NVRM: The NVIDIA GPU 0000:b3:00.0"),
        Just("fallen off the bus"),
        Just("pid='"),
        Just("[rank"),
        Just("[PG ID 1 PG GUID 3("),
        Just("Watchdog caught collective operation timeout: WorkNCCL(SeqNum="),
        Just("last enqueued NCCL work: -"),
        Just("OpType="),
        Just("exitcode  : -"),
        Just("  File \"x.py\", line 1"),
        Just("ValueError"),
        Just(": "),
        Just("9999999999999999999999"),
        Just(")]\n"),
    ];
    let any_text = prop_oneof![piece.prop_map(str::to_owned), any::<String>(), "[ -~]{0,12}"];
    proptest::collection::vec(any_text, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in text(), time_s in any::<f64>()) {
        let once = (classify(&text), parse_xid(&text), parse_time_out(&text));
        let again = (classify(&text), parse_xid(&text), parse_time_out(&text));
        prop_assert_eq!(once, again);
        let (mut log, mut kernel, mut reports) =
            (LogReader::new(), KernelLog::new(), CollectiveReports::new());
        for line in text.lines() {
            log.read(line);
            kernel.read(time_s, line);
            reports.read(None, line);
        }
        let _ = reports.laggard("3", &[0, 1, 2]);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in any::<Vec<u8>>()) {
        let text = String::from_utf8_lossy(&bytes);
        let read = (classify(&text), parse_xid(&text), parse_time_out(&text));
        prop_assert!(!text.is_empty() || read == (None, None, None));
    }

    #[test]
    fn every_code_has_a_grade(code in any::<u16>(), detail in any::<String>(), n in 0..3usize) {
        let device = "0000:05:00".to_owned();
        let event = XidEvent { device, code, pid: None, detail };
        prop_assert_eq!(grade_xids(&[event.clone(), event], |_| n).len(), 2);
    }
}
