//! One GPU: its stream, and kernels compiled for it when they are first launched.

use super::nvrtc::Nvrtc;
use crate::{Error, Result};
use common::device::GpuProbe;
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaStream, DriverError, LaunchConfig, sys,
};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A GPU in use.
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    name: String,
    architecture: String,
    multiprocessors: usize,
    l2_bytes: usize,
    shared_bytes: i32,
    /// Where compiled kernels are kept between runs.
    cache: Option<PathBuf>,
    compiler: OnceLock<std::result::Result<Nvrtc, String>>,
    modules: Mutex<HashMap<Kernels, Arc<CudaModule>>>,
}

/// A source of kernels with the constants that it is compiled for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kernels {
    pub(super) source: Source,
    /// `NAME=value`
    pub(super) defines: Vec<String>,
}

impl Kernels {
    /// The text and the options that it is compiled with.
    pub(super) fn for_compiler(&self) -> (String, Vec<String>) {
        let defines = self.defines.iter().map(|define| format!("-D{define}"));
        let options = self.source.options().iter().map(|&option| option.to_owned());
        (self.source.text(), defines.chain(options).collect())
    }
}

/// The sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Attend,
    Append,
    Measure,
    Model,
}

impl Source {
    /// Every file of it, in order.
    fn text(self) -> String {
        const NUMBERS: &str = include_str!("kernels/numbers.cuh");
        const LAYOUT: &str = include_str!("kernels/layout.cuh");
        const COPIES: &str = include_str!("kernels/copies.cuh");
        let files: &[&str] = match self {
            Source::Attend => &[NUMBERS, LAYOUT, COPIES, include_str!("kernels/attend.cu")],
            Source::Append => &[NUMBERS, LAYOUT, include_str!("kernels/append.cu")],
            Source::Model => &[NUMBERS, include_str!("kernels/model.cu")],
            Source::Measure => &[NUMBERS, include_str!("kernels/measure.cu")],
        };
        files.concat()
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            // Products and sums as the CPU has them.
            Source::Append => &["--fmad=false"],
            _ => &[],
        }
    }
}

impl Gpu {
    /// Opens a GPU by its ordinal. Compiled kernels are kept in `cache`, if there is one.
    ///
    /// # Errors
    /// If there is no such GPU, or its driver fails.
    pub fn open(ordinal: usize, cache: Option<PathBuf>) -> Result<Arc<Gpu>> {
        let probe = GpuProbe::probe();
        let gpus = match &probe {
            GpuProbe::Found(gpus) => gpus,
            GpuProbe::Absent(why) => return Err(Error::Gpu(why.clone())),
        };
        let Some(found) = gpus.get(ordinal) else {
            return Err(Error::Gpu(format!(
                "there is no GPU {ordinal}; the last is {}",
                gpus.len() - 1
            )));
        };
        let context = CudaContext::new(ordinal)?;
        // SAFETY: everything here runs on one stream, in its order; no slice needs events of its own.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream()?;
        use sys::CUdevice_attribute as Attribute;
        let l2 = context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?;
        let shared =
            context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        Ok(Arc::new(Gpu {
            stream,
            name: found.name.clone(),
            architecture: format!("sm_{}{}", found.compute_major, found.compute_minor),
            multiprocessors: found.multiprocessors as usize,
            l2_bytes: usize::try_from(l2).unwrap_or(0),
            shared_bytes: shared,
            cache,
            compiler: OnceLock::new(),
            modules: Mutex::new(HashMap::new()),
            context,
        }))
    }

    /// The name that NVIDIA gives it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Streaming multiprocessors.
    pub fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    /// Bytes of the second-level cache.
    pub fn l2_bytes(&self) -> usize {
        self.l2_bytes
    }

    /// Bytes of shared memory that a block of threads may ask for.
    pub(super) fn shared_bytes(&self) -> i32 {
        self.shared_bytes
    }

    /// The stream that everything runs on.
    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Waits until everything is done.
    ///
    /// # Errors
    /// If a kernel failed.
    pub fn synchronize(&self) -> Result<()> {
        Ok(self.stream.synchronize()?)
    }

    /// Times, in milliseconds, what `launch` puts on the stream.
    ///
    /// # Errors
    /// Of `launch` and of the driver.
    pub fn time(&self, launch: impl FnOnce() -> Result<()>) -> Result<f32> {
        let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let start = self.stream.record_event(timed)?;
        launch()?;
        let end = self.stream.record_event(timed)?;
        end.synchronize()?;
        Ok(start.elapsed_ms(&end)?)
    }

    /// A kernel, compiled when it is first asked for.
    pub(super) fn function(&self, kernels: &Kernels, name: &str) -> Result<CudaFunction> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.get(kernels) {
            Some(module) => Arc::clone(module),
            None => {
                let code = self.compiled(kernels)?;
                let module = self.context.load_module(Ptx::from_binary(code))?;
                modules.insert(kernels.clone(), Arc::clone(&module));
                module
            }
        };
        Ok(module.load_function(name)?)
    }

    /// Machine code, from the cache folder or the compiler.
    fn compiled(&self, kernels: &Kernels) -> Result<Vec<u8>> {
        let compiler = self.compiler.get_or_init(Nvrtc::load);
        let compiler = compiler.as_ref().map_err(|problem| {
            Error::Gpu(format!(
                "{problem}: install CUDA's libraries, or let LD_LIBRARY_PATH name their folder"
            ))
        })?;
        let (text, options) = kernels.for_compiler();
        let version = compiler.version().map_err(Error::Gpu)?;
        let mut hasher = DefaultHasher::new();
        (&text, &options, &self.architecture, version).hash(&mut hasher);
        let kept = self.cache.as_ref().map(|folder| {
            folder.join(format!("{}-{:016x}.cubin", self.architecture, hasher.finish()))
        });
        if let Some(code) = kept.as_ref().and_then(|path| std::fs::read(path).ok()) {
            return Ok(code);
        }
        let code = compiler
            .compile(&text, &self.architecture, &options)
            .map_err(|problem| Error::Gpu(format!("a kernel does not compile: {problem}")))?;
        if let Some(path) = kept {
            // A cache that can't be written only costs time.
            let _ = common::files::replace(&path, |file| file.write_all(&code));
        }
        Ok(code)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({}, {})", self.name, self.architecture)
    }
}

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Error {
        Error::Gpu(format!("the NVIDIA driver: {:?}", error.0))
    }
}

/// A launch of `grid` blocks of `threads` threads.
pub(super) fn launch_config(grid: [usize; 3], threads: usize, shared_bytes: usize) -> LaunchConfig {
    let [x, y, z] = grid.map(|blocks| u32::try_from(blocks).unwrap_or(u32::MAX));
    LaunchConfig {
        grid_dim: (x, y, z),
        block_dim: (threads as u32, 1, 1),
        shared_mem_bytes: shared_bytes as u32,
    }
}
