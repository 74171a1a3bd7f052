//! What this machine has: the processor with its vector extensions, and the NVIDIA GPUs.
//!
//! Kernels choose their variant by it at run time, records say by it where a number was measured.

mod cpu;
mod gpu;

use serde::Serialize;

pub use cpu::{Cpu, CpuFeatures};
pub use gpu::{Gpu, GpuProbe};

/// The processor and the GPUs of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Devices {
    /// The processor.
    pub cpu: Cpu,
    /// The NVIDIA GPUs, or why there are none.
    pub gpus: GpuProbe,
}

/// Asks the operating system and, where one is installed, the NVIDIA driver. It creates no GPU
/// context, so it takes no GPU memory.
#[must_use]
pub fn discover() -> Devices {
    Devices { cpu: Cpu::probe(), gpus: GpuProbe::probe() }
}
