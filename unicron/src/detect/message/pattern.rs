//! The patterns, most telling first: the first that matches decides.
//!
//! Time-outs of collectives are cascades here, where NVRx calls the direct ones roots: the rank that
//! prints one has only waited (see [`crate::detect::CollectiveReports`]). What a missing mount on one
//! node causes as well (a file or module that isn't there) is not called the user's error: a false
//! stop costs more than a restart too many (notes on the field, 3.1).

use crate::detect::{Finding, FollowUp, Severity, Status as S};
use aho_corasick::AhoCorasick;
use std::sync::LazyLock;

/// Parts that a line contains in this order, and what it then means.
type Pattern = (&'static [&'static str], Finding);

/// The first part of every pattern. One pass tells that a line holds none of them, as next to all lines do;
/// a search for each takes twenty times as long.
static FIRST_PARTS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let first_parts = PATTERNS.iter().map(|(parts, _)| parts[0]);
    AhoCorasick::new(first_parts).expect("a hundred short texts make a small automaton")
});

/// The meaning of `text`, if a pattern knows it.
pub(super) fn find(text: &str) -> Option<Finding> {
    if !FIRST_PARTS.is_match(text) {
        return None;
    }
    PATTERNS.iter().find(|(parts, _)| contains_in_order(text, parts)).map(|(_, finding)| *finding)
}

fn contains_in_order(mut text: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| match text.find(part) {
        Some(at) => {
            text = &text[at + part.len()..];
            true
        }
        None => false,
    })
}

const fn root(status: S, parts: &'static [&'static str]) -> Pattern {
    (parts, Finding::root(status))
}

const fn cascade(status: S, parts: &'static [&'static str]) -> Pattern {
    (parts, Finding::cascade(status))
}

const fn confirmation(status: S, parts: &'static [&'static str]) -> Pattern {
    (parts, Finding::confirmation(status))
}

static PATTERNS: &[Pattern] = &[
    // NCCL's view of what CUDA reported first, and captures that fail after an error.
    cascade(S::CudaError, &["NCCL WARN Cuda failure"]),
    cascade(S::CudaError, &["operation failed due to a previous error during capture"]),
    // GPUs, in the words of CUDA, NVML and the tools.
    root(S::EccError, &["uncorrectable ECC error"]),
    root(S::NvlinkError, &["uncorrectable NVLink error"]),
    root(S::GpuHardwareError, &["GPU is lost"]),
    root(S::GpuHardwareError, &["GPU has fallen off the bus"]),
    root(S::GpuHardwareError, &["Unable to determine the device handle for GPU"]),
    root(S::GpuDriverError, &["Driver/library version mismatch"]),
    root(S::GpuDriverError, &["CUDA driver version is insufficient"]),
    root(S::GpuDriverError, &["no CUDA-capable device is detected"]),
    // The fabric manager doesn't run.
    root(S::GpuDriverError, &["CUDA error: system not yet initialized"]),
    root(S::InvalidDmaMapping, &["DMAR:", "fault addr"]),
    root(S::InvalidDmaMapping, &["IO_PAGE_FAULT"]),
    root(S::InvalidDmaMapping, &["ibv_reg_mr", "Bad address"]),
    root(S::OutOfGpuMemory, &["CUDA out of memory"]),
    root(S::OutOfGpuMemory, &["CUDA error: out of memory"]),
    root(S::OutOfGpuMemory, &["CUBLAS_STATUS_ALLOC_FAILED"]),
    root(S::IllegalMemoryAccess, &["an illegal memory access was encountered"]),
    root(S::IllegalMemoryAccess, &["CUDA error: misaligned address"]),
    root(S::CudaError, &["device-side assert triggered"]),
    root(S::CudaError, &["unspecified launch failure"]),
    root(S::CudaError, &["CUBLAS_STATUS_EXECUTION_FAILED"]),
    root(S::CudaError, &["CUDNN_STATUS_EXECUTION_FAILED"]),
    root(S::CudaError, &["CUDNN_STATUS_INTERNAL_ERROR"]),
    root(S::CudaError, &["CUDA error: "]),
    // Results that are wrong. Megatron repeats a suspicious iteration, on another GPU at last.
    root(S::SilentCorruption, &["Possible persistent error!"]),
    root(S::NonFiniteLoss, &["found NaN in local grad norm"]),
    root(S::NonFiniteLoss, &["found Inf in local grad norm"]),
    root(S::NonFiniteLoss, &["found NaN in local forward loss"]),
    root(S::NonFiniteLoss, &["Unexpected result nan"]),
    root(S::NonFiniteLoss, &["Loss is nan, stopping training"]),
    // NCCL on what the user or the image did.
    root(S::ConfigurationError, &["Duplicate GPU detected"]),
    root(S::ConfigurationError, &["Mismatched NCCL version detected"]),
    // NCCL on the network. A port that comes back is told by a line of its own, "port active".
    root(S::OtherNetworkError, &["NET/IB", "async fatal event"]),
    root(S::LinkFlapping, &["async event", "port error"]),
    // Retries are exceeded: the peer is gone, or the link. Who it was, other facts tell.
    cascade(S::OtherNetworkError, &["NET/IB", "Got completion from peer"]),
    cascade(S::ConnectionReset, &["Connection closed by remote peer"]),
    // Collective operations that somebody didn't join.
    cascade(S::NcclTimeout, &["Watchdog caught collective operation timeout"]),
    cascade(S::NcclTimeout, &["detected by watchdog at work"]),
    cascade(S::NcclTimeout, &["Timeout at NCCL work"]),
    cascade(S::NcclTimeout, &["Received a dump signal due to a collective timeout"]),
    cascade(S::NcclTimeout, &["Observed flight recorder dump signal"]),
    cascade(S::NcclTimeout, &["Some NCCL operations have failed or timed out"]),
    cascade(S::NcclTimeout, &["we are taking the entire process down"]),
    cascade(S::TaskHang, &["watchdog got stuck for"]),
    cascade(S::TaskHang, &["watchdog hang"]),
    cascade(S::NcclTimeout, &["Terminating the process after attempting to dump debug info"]),
    confirmation(S::TaskHang, &["possible GIL induced hang"]),
    cascade(S::NcclTimeout, &["Timed out waiting ", " operation to complete"]),
    cascade(S::OtherNetworkError, &["remote process exited or there was a network error"]),
    cascade(S::OtherNetworkError, &["unhandled system error"]),
    cascade(S::CudaError, &["unhandled cuda error"]),
    cascade(S::OtherNetworkError, &["NCCL communicator was aborted"]),
    cascade(S::OtherNetworkError, &["DistBackendError"]),
    cascade(S::OtherNetworkError, &["DistStoreError"]),
    cascade(S::OtherNetworkError, &["DistNetworkError"]),
    cascade(S::OtherNetworkError, &["RendezvousConnectionError"]),
    cascade(S::OtherNetworkError, &["RendezvousTimeoutError"]),
    cascade(S::OtherNetworkError, &["The client socket has timed out after"]),
    // Files, before the generic words for broken connections.
    root(S::StorageError, &["No space left on device"]),
    root(S::StorageError, &["Disk quota exceeded"]),
    root(S::StorageError, &["[Errno 5] Input/output error"]),
    root(S::StorageError, &["Stale file handle"]),
    root(S::StorageError, &["Transport endpoint is not connected"]),
    root(S::StorageError, &["PytorchStreamReader failed"]),
    root(S::StorageError, &["PytorchStreamWriter failed"]),
    root(S::StorageError, &["enforce fail at inline_container.cc"]),
    root(S::StorageError, &["SafetensorError"]),
    root(S::StorageError, &["CheckpointException"]),
    root(S::StorageError, &["FileNotFoundError: "]),
    root(S::StorageError, &["PermissionError: "]),
    // What this very task can't but meet again.
    root(S::ConfigurationError, &["SyntaxError: "]),
    root(S::ConfigurationError, &["IndentationError: "]),
    root(S::ConfigurationError, &["error: unrecognized arguments: "]),
    root(S::ConfigurationError, &["error: the following arguments are required: "]),
    root(S::ConfigurationError, &["error: argument -"]),
    root(S::ConfigurationError, &["Error(s) in loading state_dict"]),
    root(S::ConfigurationError, &["size mismatch for ", "copying a param with shape"]),
    root(S::ConfigurationError, &["Missing key(s) in state_dict"]),
    root(S::ConfigurationError, &["Unexpected key(s) in state_dict"]),
    root(S::ConfigurationError, &["mat1 and mat2 shapes cannot be multiplied"]),
    // Memory of the node, in the words of the kernel, the scheduler and Kubernetes.
    confirmation(S::OutOfHostMemory, &["Out of memory: Killed process"]),
    confirmation(S::OutOfHostMemory, &["Memory cgroup out of memory"]),
    confirmation(S::OutOfHostMemory, &["invoked oom-killer"]),
    confirmation(S::OutOfHostMemory, &["oom-kill:"]),
    confirmation(S::OutOfHostMemory, &["oom_kill event"]),
    confirmation(S::OutOfHostMemory, &["oom-kill event"]),
    confirmation(S::OutOfHostMemory, &["OOMKilled"]),
    root(S::OutOfHostMemory, &["DataLoader worker", "out of shared memory"]),
    root(S::OutOfHostMemory, &["DefaultCPUAllocator: can't allocate memory"]),
    root(S::OutOfHostMemory, &["[Errno 12] Cannot allocate memory"]),
    root(S::OtherSoftwareError, &["DataLoader worker", "is killed by signal"]),
    root(S::OtherSoftwareError, &["DataLoader worker", "exited unexpectedly"]),
    // The node.
    root(S::HostHardwareError, &["Machine Check Exception"]),
    root(S::HostHardwareError, &["EDAC ", " UE "]),
    root(S::HostHardwareError, &["critical temperature reached"]),
    root(S::HostHardwareError, &["AER:", "Uncorrected (Fatal)"]),
    (
        &["AER:", "Uncorrected (Non-Fatal)"],
        Finding::confirmation(S::HostHardwareError).graded(Severity::Sev3).then(FollowUp::Watch),
    ),
    root(S::LinkFlapping, &["mlx5_core", "Link down"]),
    root(S::LinkFlapping, &["NIC Link is Down"]),
    // The scheduler and the launcher.
    root(S::LostConnection, &["DUE TO NODE FAILURE"]),
    root(S::LostConnection, &["NODE_FAIL"]),
    root(S::ScheduledStop, &["DUE TO TIME LIMIT"]),
    root(S::ScheduledStop, &["DUE TO PREEMPTION"]),
    root(S::ScheduledStop, &["CANCELLED AT"]),
    root(S::ScheduledStop, &["KeyboardInterrupt"]),
    cascade(S::ScheduledStop, &["closing signal SIGTERM"]),
    cascade(S::ScheduledStop, &["via signal SIGTERM"]),
    cascade(S::ScheduledStop, &["death signal, shutting down workers"]),
    cascade(S::ScheduledStop, &["SignalException: Process ", "got signal: "]),
    cascade(S::ExitedAbnormally, &["ChildFailedError"]),
    cascade(S::ExitedAbnormally, &["Signal ", " received by PID "]),
    cascade(S::ExitedAbnormally, &["CalledProcessError"]),
    root(S::OtherSoftwareError, &["Segmentation fault"]),
    root(S::OtherSoftwareError, &["Illegal instruction"]),
    // Connections, in the words of gloo, of Python and of the system. A peer that ends as it should
    // leaves the same words behind.
    cascade(S::ConnectionReset, &["Connection closed by peer"]),
    cascade(S::ConnectionReset, &["Connection reset by peer"]),
    cascade(S::ConnectionReset, &["ConnectionResetError"]),
    cascade(S::ConnectionReset, &["BrokenPipeError"]),
    cascade(S::ConnectionReset, &["Broken pipe"]),
    cascade(S::ConnectionRefused, &["ConnectionRefusedError"]),
    cascade(S::ConnectionRefused, &["Connection refused"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_can_be_the_first_to_match() {
        for (parts, finding) in PATTERNS {
            let line = parts.join(" … ");
            assert_eq!(find(&line), Some(*finding), "an earlier pattern hides {parts:?}");
        }
    }

    #[test]
    fn parts_count_in_their_order() {
        assert!(contains_in_order("a b c", &["a", "c"]));
        assert!(!contains_in_order("c b a", &["a", "c"]));
        assert!(!contains_in_order("aba", &["ab", "ba"]));
    }
}
