//! Real lines: those of the notes on the field, of public reports, and of clusters without GPUs.

use super::*;
use crate::detect::{Role, Severity};
use common::testing::shared_data;

#[track_caller]
fn check(line: &str, expected: Option<(Status, Role)>) {
    let found = classify(line).map(|finding| (finding.status, finding.role));
    assert_eq!(found, expected, "{line}");
}

fn root(status: Status) -> Option<(Status, Role)> {
    Some((status, Role::Root))
}

fn cascade(status: Status) -> Option<(Status, Role)> {
    Some((status, Role::Cascade))
}

fn confirmation(status: Status) -> Option<(Status, Role)> {
    Some((status, Role::Confirmation))
}

#[test]
fn lines_of_nccl() {
    let closed = "gpu-7:8812:8850 [3] misc/socket.cc:49 NCCL WARN socketProgress: Connection closed by \
                  remote peer gpu-3<52618>";
    check(closed, cascade(Status::ConnectionReset));
    let older = "gpu-7:8812:8850 [3] include/socket.h:409 NCCL WARN Net : Connection closed by remote \
                 peer gpu-3<52618>";
    check(older, cascade(Status::ConnectionReset));
    let completion = "w-0:3468:3905 [4] transport/net_ib.cc:1615 NCCL WARN NET/IB : Got completion \
                      from peer 10.216.210.236<54862> with status=12 opcode=0 len=0 vendor err 129 (Recv)";
    check(completion, cascade(Status::OtherNetworkError));
    let port = "n-1:393849:395082 [0] transport/net_ib.cc:253 NCCL WARN NET/IB : mlx5_3:1 Got non-fatal \
                async event: port error(10)";
    check(port, root(Status::LinkFlapping));
    check(&port.replace("port error(10)", "port active(9)"), None);
    let fatal = "n-1:1:2 [0] transport/net_ib.cc:2 NCCL WARN NET/IB : mlx5_0:1 async fatal event: local \
                 catastrophic error";
    check(fatal, root(Status::OtherNetworkError));
    let version = "n-1:1:2 [0] bootstrap.cc:7 NCCL WARN Mismatched NCCL version detected : rank 1";
    check(version, root(Status::ConfigurationError));
    let cuda = "n-1:1:2 [0] enqueue.cc:9 NCCL WARN Cuda failure 'an illegal memory access was \
                encountered'";
    check(cuda, cascade(Status::CudaError));
    let remote = "ncclRemoteError: A call failed possibly due to a network error or a remote process \
                  exiting prematurely. remote process exited or there was a network error";
    check(remote, cascade(Status::OtherNetworkError));
    check("n-1:1:2 [0] NCCL INFO NET/IB: async event ignored, port error", None);
}

#[test]
fn lines_of_pytorch() {
    check(
        "[rank3]:[E816 01:45:40.183 ProcessGroupNCCL.cpp:607] [Rank 3] Watchdog caught collective \
         operation timeout: WorkNCCL(SeqNum=80078, OpType=ALLREDUCE, Timeout(ms)=600000) ran for \
         600013 milliseconds before timing out.",
        cascade(Status::NcclTimeout),
    );
    check(
        "[rank4]:[E602 11:18:52.531176265 ProcessGroupNCCL.cpp:684] [Rank 4] Some NCCL operations have \
         failed or timed out. Due to the asynchronous nature of CUDA kernels, subsequent GPU \
         operations might run on corrupted/incomplete data.",
        cascade(Status::NcclTimeout),
    );
    check(
        "[rank4]:[E602 ProcessGroupNCCL.cpp:698] [Rank 4] To avoid data inconsistency, we are taking \
         the entire process down.",
        cascade(Status::NcclTimeout),
    );
    check(
        "[rank0]: ProcessGroupNCCL's watchdog got stuck for 480 seconds without making progress",
        cascade(Status::TaskHang),
    );
    check(
        "Could not acquire GIL within 300 ms on exit, possible GIL induced hang",
        confirmation(Status::TaskHang),
    );
    check(
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. If reserved \
         memory is >> allocated memory try setting max_split_size_mb to avoid fragmentation.",
        root(Status::OutOfGpuMemory),
    );
    check(
        "[rank2]: RuntimeError: CUDA error: uncorrectable NVLink error detected during the execution",
        root(Status::NvlinkError),
    );
    check("RuntimeError: CUDA error: uncorrectable ECC error encountered", root(Status::EccError));
    check(
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        root(Status::IllegalMemoryAccess),
    );
    check("RuntimeError: CUDA error: device-side assert triggered", root(Status::CudaError));
    check(
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        root(Status::OutOfGpuMemory),
    );
    check(
        "torch.distributed.DistBackendError: NCCL error in: ../ProcessGroupNCCL.cpp:1691, unhandled \
         system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.19.3",
        cascade(Status::OtherNetworkError),
    );
    check(
        "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Bus error. It is possible that \
         dataloader's workers are out of shared memory.",
        root(Status::OutOfHostMemory),
    );
    check(
        "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed.",
        root(Status::OtherSoftwareError),
    );
    check(
        "AssertionError: Rank 13: found NaN in local grad norm in backward pass before data-parallel \
         communication collective. Device: 5, node: node-15-11",
        root(Status::NonFiniteLoss),
    );
}

#[test]
fn lines_of_gloo_and_of_sockets() {
    check(
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer \
         [10.0.0.7]:21212",
        cascade(Status::ConnectionReset),
    );
    check(
        "RuntimeError: [gloo/transport/tcp/pair.cc:598] Read error [10.0.0.7]:1: Connection reset by peer",
        cascade(Status::ConnectionReset),
    );
    check(
        "[gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation to \
         complete",
        cascade(Status::NcclTimeout),
    );
    check(
        "ConnectionRefusedError: [Errno 111] Connection refused",
        cascade(Status::ConnectionRefused),
    );
}

/// The summary of a public report: a rank that the kernel killed.
#[test]
fn the_summary_of_torchelastic() {
    let summary = [
        ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ", "cascade"),
        ("============================================================", ""),
        ("src/open_r1/grpo_gsm.py FAILED", ""),
        ("Failures:", ""),
        ("  <NO_OTHER_FAILURES>", ""),
        ("Root Cause (first observed failure):", ""),
        ("[0]:", ""),
        ("  time      : 2025-05-21_15:43:03", ""),
        ("  rank      : 0 (local_rank: 0)", ""),
        ("  exitcode  : -9 (pid: 14750)", "root"),
        ("  error_file: <N/A>", ""),
        ("  traceback : Signal 9 (SIGKILL) received by PID 14750", "cascade"),
    ];
    let mut log = LogReader::new();
    for (line, expected) in summary {
        let role = log.read(line).map(|finding| finding.role.to_string()).unwrap_or_default();
        assert_eq!(role, expected, "{line}");
    }
    check(
        "W0227 api.py:766] Closing process 293866 via signal SIGTERM",
        cascade(Status::ScheduledStop),
    );
    check(
        "WARNING:api:Sending process 899505 closing signal SIGTERM",
        cascade(Status::ScheduledStop),
    );
    check(
        "E0325 api.py:869] failed (exitcode: -11) local_rank: 5 (pid: 2630) of binary: python",
        root(Status::ExitedAbnormally),
    );
    check(
        "W0227 api.py:719] Received 15 death signal, shutting down workers",
        cascade(Status::ScheduledStop),
    );
}

#[test]
fn lines_of_the_kernel_and_of_schedulers() {
    let killed = "Out of memory: Killed process 4711 (python) total-vm:901284kB, anon-rss:8kB";
    check(killed, confirmation(Status::OutOfHostMemory));
    let group = "Memory cgroup out of memory: Killed process 4711 (python)";
    check(group, confirmation(Status::OutOfHostMemory));
    check(
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0",
        confirmation(Status::OutOfHostMemory),
    );
    check(
        "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2024-01-01T00:00:00 DUE TO TIME LIMIT ***",
        root(Status::ScheduledStop),
    );
    check(
        "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2024-01-01T00:00:00 DUE TO NODE FAILURE ***",
        root(Status::LostConnection),
    );
    check("mlx5_core 0000:c1:00.0 ens9: Link down", root(Status::LinkFlapping));
    check(
        "pcieport 0000:40:01.1: AER: Uncorrected (Fatal) error received",
        root(Status::HostHardwareError),
    );
    check("mce: CPU 3: Machine Check Exception: 5 Bank 7", root(Status::HostHardwareError));
    check("mce: [Hardware Error]: Machine check events logged", None);
    let xid =
        "kernel: NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', GPU has fallen off the bus.";
    assert_eq!(classify(xid).unwrap().severity, Some(Severity::Sev1));
}

#[test]
fn what_proves_nothing() {
    for line in [
        "",
        "Killed",
        "  Killed  ",
        "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace \
         below might be incorrect.",
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1",
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
        "A hang might be caused by an uncorrectable ECC error",
        "  File \"/opt/torch/cuda/__init__.py\", line 9, in check: CUDA error: unknown",
        "frame #2: c10d::ProcessGroupNCCL::watchdogHandler() + 0xc80",
        "    raise ChildFailedError(",
        " iteration 859/ 1000 | number of skipped iterations:   0 | number of nan iterations:   0 |",
        "n-1:534:1763 [3] NCCL INFO Connected NVLS tree",
        "Error: none",
        "no error at all: all 8 ranks are well",
    ] {
        check(line, None);
    }
}

#[test]
fn what_stands_before_advice_counts() {
    let line = "RuntimeError: CUDA error: unspecified launch failure. For debugging consider passing \
                CUDA_LAUNCH_BLOCKING=1";
    check(line, root(Status::CudaError));
}

#[test]
fn the_source_line_of_a_frame_is_not_read() {
    for prefix in ["", "[rank1]: "] {
        let mut log = LogReader::new();
        let read: Vec<_> = [
            "Traceback (most recent call last):",
            "  File \"train.py\", line 7, in main",
            "    fail(\"uncorrectable ECC error\")",
            "  File \"train.py\", line 9, in fail",
            "    raise ValueError(text)",
            "ValueError: CUDA out of memory",
        ]
        .iter()
        .filter_map(|line| log.read(&format!("{prefix}{line}")))
        .collect();
        assert_eq!(read, [Finding::root(Status::OutOfGpuMemory)], "{prefix}");
    }
}

#[test]
fn exceptions_without_a_pattern_are_softwares() {
    check("[rank0]: ValueError: bad batch", root(Status::OtherSoftwareError));
    check("12: my.package.StrangeException", root(Status::OtherSoftwareError));
    check("(Worker pid=7, ip=10.0.0.1) KeyError: 'loss'", root(Status::OtherSoftwareError));
    check("retrying after ValueError: bad batch", None);
}

#[test]
fn only_what_a_restart_can_never_cure_is_the_users() {
    check("SyntaxError: invalid syntax", root(Status::ConfigurationError));
    check("train.py: error: unrecognized arguments: --tp 3", root(Status::ConfigurationError));
    check(
        "FileNotFoundError: [Errno 2] No such file or directory: 'a.bin'",
        root(Status::StorageError),
    );
    check("ModuleNotFoundError: No module named 'apex'", root(Status::OtherSoftwareError));
}

/// Logs of Blue Gene/L and of a cluster at Los Alamos (loghub), which had no GPU. The longest tail of
/// each line that starts at a comma is read as well, so that the message's own column is among them.
#[test]
fn clusters_without_gpus_have_no_gpu_errors() {
    for name in ["BGL_2k", "HPC_2k"] {
        let Some(path) = shared_data(&format!("traces/loghub/{name}.log_structured.csv")) else {
            continue;
        };
        let text = std::fs::read_to_string(path).unwrap();
        let mut n_lines = 0;
        for line in text.lines().skip(1) {
            n_lines += 1;
            let tails = line.match_indices(',').map(|(at, _)| &line[at + 1..]);
            for tail in std::iter::once(line).chain(tails) {
                let Some(finding) = classify(tail) else { continue };
                assert!(finding.role != Role::Root, "{name}: {finding:?}: {tail}");
                let status = finding.status;
                // The same words mean the same there: a socket was reset.
                assert!(status.is_about_a_peer(), "{name}: {status}: {tail}");
            }
        }
        assert_eq!(n_lines, 2000, "{name}");
    }
}
