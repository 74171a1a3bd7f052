//! Products by NVIDIA's cuBLAS, of half-precision matrices into single precision.

use super::cache::address;
use super::gpu::Gpu;
use super::linear::FEW_ROWS;
use crate::{Error, Result};
use cudarc::cublas::{CudaBlas, result, sys};
use cudarc::driver::CudaSlice;
use std::sync::Arc;

/// What cuBLAS may use for itself; NVIDIA's advice for Hopper. It is given memory, as it must not ask for any while a
/// step is captured.
const BLAS_BYTES: usize = 32 << 20;

/// The library, ready for a GPU's stream.
#[derive(Debug)]
pub(super) struct Blas {
    blas: CudaBlas,
    /// Given to cuBLAS.
    _workspace: CudaSlice<u8>,
}

impl Blas {
    /// # Errors
    /// What is wrong, in words: it is said again at every product.
    pub(super) fn new(gpu: &Arc<Gpu>) -> Result<Blas, String> {
        // SAFETY: NVIDIA's library has initialisers that any program may run; that another one lies under its
        // name no caller can rule out.
        if !unsafe { sys::is_culib_present() } {
            return Err(format!(
                "products of more than {FEW_ROWS} rows need cuBLAS, which was not found as libcublas.so or \
                 libcublas.so.12: install it with CUDA's libraries, or let LD_LIBRARY_PATH name its folder"
            ));
        }
        let failed = |error: result::CublasError| format!("cuBLAS: {:?}", error.0);
        let stream = gpu.stream();
        let blas = CudaBlas::new(Arc::clone(stream)).map_err(failed)?;
        let workspace = stream
            .alloc_zeros::<u8>(BLAS_BYTES)
            .map_err(|error| format!("memory for cuBLAS: {:?}", error.0))?;
        // SAFETY: the memory lives as long as the handle that is given it.
        let given = unsafe {
            let memory = address(stream, &workspace) as *mut _;
            sys::cublasSetWorkspace_v2(*blas.handle(), memory, BLAS_BYTES).result()
        };
        given.map_err(failed)?;
        Ok(Blas { blas, _workspace: workspace })
    }
}

/// A product for cuBLAS.
pub(super) struct Product {
    /// `[n_products][n_inputs]`, half precision.
    pub(super) weights: u64,
    /// `[n_rows][n_inputs]`, half precision.
    pub(super) inputs: u64,
    /// `[n_rows][n_outputs]`, of which the first `n_products` of each row are written.
    pub(super) outputs: u64,
    pub(super) n_rows: usize,
    pub(super) n_inputs: usize,
    pub(super) n_products: usize,
    pub(super) n_outputs: usize,
    pub(super) is_added: bool,
}

impl Product {
    /// Puts the product on the GPU's stream.
    ///
    /// # Safety
    /// The addresses are those of buffers of these shapes, which live until the stream is done with them.
    ///
    /// # Errors
    /// If a size is too large, or cuBLAS fails.
    pub(super) unsafe fn run(&self, Blas { blas, .. }: &Blas) -> Result<()> {
        let size = |n: usize| {
            i32::try_from(n).map_err(|_| Error::Gpu(format!("{n} is too large a size for cuBLAS")))
        };
        let (alpha, beta) = (1.0f32, if self.is_added { 1.0f32 } else { 0.0 });
        let (half, single) = (sys::cudaDataType_t::CUDA_R_16F, sys::cudaDataType_t::CUDA_R_32F);
        // cuBLAS counts down columns: its matrices are the transposes of ours.
        // SAFETY: the buffers are as long as the sizes say, as the caller promises.
        unsafe {
            result::gemm_ex(
                *blas.handle(),
                sys::cublasOperation_t::CUBLAS_OP_T,
                sys::cublasOperation_t::CUBLAS_OP_N,
                size(self.n_products)?,
                size(self.n_rows)?,
                size(self.n_inputs)?,
                (&raw const alpha).cast(),
                self.weights as *const _,
                half,
                size(self.n_inputs)?,
                self.inputs as *const _,
                half,
                size(self.n_inputs)?,
                (&raw const beta).cast(),
                self.outputs as *mut _,
                single,
                size(self.n_outputs)?,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(|error| Error::Gpu(format!("cuBLAS: {:?}", error.0)))
    }
}
