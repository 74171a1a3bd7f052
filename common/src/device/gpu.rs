//! NVIDIA GPUs, through the driver library that is loaded at run time.
//!
//! The same binary runs where there is no driver: that is a note in the probe, never an error.
//! Only `cuInit` and `cuDevice*` are called, so no context is created on any GPU.

use std::panic::catch_unwind;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use serde::Serialize;

/// One NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// The ordinal by which the CUDA driver knows it.
    pub index: usize,
    /// Its product name, e.g. "NVIDIA H100 80GB HBM3".
    pub name: String,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// Compute capability, the part before the dot.
    pub compute_major: u32,
    /// Compute capability, the part after the dot.
    pub compute_minor: u32,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
}

/// The GPUs of this machine, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuProbe {
    /// At least one GPU, by ordinal.
    Found(Vec<Gpu>),
    /// No GPU can be used; the text says why, for people.
    Absent(String),
}

impl GpuProbe {
    /// Loads the driver and asks it.
    #[must_use]
    pub fn probe() -> Self {
        // SAFETY: the call opens the driver library and closes it again; what could go wrong is
        // a library of that name whose initialisers misbehave, which no caller can rule out.
        if !unsafe { sys::is_culib_present() } {
            return Self::Absent("no NVIDIA driver: libcuda was not found".to_owned());
        }
        // cudarc panics on a symbol that the library lacks (a stub, or a driver older than CUDA
        // 12). A missing GPU must never end a program that can run without one; that the panic's
        // message stands on stderr is fair for a broken driver.
        match catch_unwind(list) {
            Ok(Ok(gpus)) if gpus.is_empty() => {
                Self::Absent("the NVIDIA driver lists no GPU".to_owned())
            }
            Ok(Ok(gpus)) => Self::Found(gpus),
            Ok(Err(error)) => Self::Absent(format!("the NVIDIA driver failed: {:?}", error.0)),
            Err(_) => Self::Absent(
                "the libcuda that was found is a stub or older than CUDA 12: update the NVIDIA driver"
                    .to_owned(),
            ),
        }
    }

    /// The GPUs; empty where there are none.
    #[must_use]
    pub fn gpus(&self) -> &[Gpu] {
        match self {
            Self::Found(gpus) => gpus,
            Self::Absent(_) => &[],
        }
    }
}

fn list() -> Result<Vec<Gpu>, DriverError> {
    result::init()?;
    let count = result::device::get_count()?;
    (0..count).map(describe).collect()
}

fn describe(ordinal: i32) -> Result<Gpu, DriverError> {
    use sys::CUdevice_attribute as Attribute;

    let device = result::device::get(ordinal)?;
    let attribute = |attribute| {
        // SAFETY: `device` comes from `device::get` above.
        let value = unsafe { result::device::get_attribute(device, attribute) }?;
        Ok(u32::try_from(value).unwrap_or(0))
    };
    // SAFETY: `device` comes from `device::get` above.
    let memory_bytes = unsafe { result::device::total_mem(device) }?;
    Ok(Gpu {
        index: usize::try_from(ordinal).unwrap_or(0),
        name: result::device::get_name(device)?,
        memory_bytes: memory_bytes as u64,
        compute_major: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        compute_minor: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_returns_on_every_machine() {
        match GpuProbe::probe() {
            GpuProbe::Found(gpus) => {
                assert!(!gpus.is_empty());
                for (position, gpu) in gpus.iter().enumerate() {
                    assert_eq!(gpu.index, position);
                    assert!(
                        gpu.memory_bytes > 0 && gpu.multiprocessors > 0 && gpu.compute_major > 0
                    );
                }
            }
            GpuProbe::Absent(why) => assert!(!why.is_empty()),
        }
    }

    #[test]
    fn an_absent_gpu_serialises_with_its_reason() {
        let probe = GpuProbe::Absent("no driver".to_owned());
        assert_eq!(serde_json::to_string(&probe).unwrap(), r#"{"absent":"no driver"}"#);
        assert!(probe.gpus().is_empty());
    }
}
