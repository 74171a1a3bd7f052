//! NVIDIA's run-time compiler, from a library that is looked for when it is needed.
//!
//! cudarc binds it too, but panics where the library is absent and does not find those of CUDA 13.

use libloading::{Library, Symbol};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

/// Where the library may be, after the system's own search.
const FOLDERS: &[&str] = &["", "/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"];
const NAMES: &[&str] = &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

/// The loaded library.
#[derive(Debug)]
pub(super) struct Nvrtc {
    library: Library,
}

type Program = *mut c_void;

impl Nvrtc {
    /// Looks for the library.
    ///
    /// # Errors
    /// The names that were tried.
    pub(super) fn load() -> Result<Nvrtc, String> {
        for folder in FOLDERS {
            for name in NAMES {
                // SAFETY: NVIDIA's library has initialisers that any program may run; that another
                // one lies under its name no caller can rule out.
                if let Ok(library) = unsafe { Library::new(Path::new(folder).join(name)) } {
                    return Ok(Nvrtc { library });
                }
            }
        }
        Err(format!("NVIDIA's run-time compiler was not found ({})", NAMES.join(", ")))
    }

    /// The major and minor version.
    pub(super) fn version(&self) -> Result<(i32, i32), String> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the signature is that of nvrtc.h.
        unsafe {
            type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
            let version: Symbol<'_, Version> = self.symbol(b"nvrtcVersion\0")?;
            check("nvrtcVersion", version(&raw mut major, &raw mut minor))?;
        }
        Ok((major, minor))
    }

    /// Compiles `source` to machine code for `architecture`, e.g. `sm_90`.
    ///
    /// # Errors
    /// What the compiler says.
    pub(super) fn compile(
        &self,
        source: &str,
        architecture: &str,
        options: &[String],
    ) -> Result<Vec<u8>, String> {
        let source = CString::new(source).map_err(|error| error.to_string())?;
        let name = CString::new("kvquant.cu").expect("no zero in it");
        let architecture = format!("--gpu-architecture={architecture}");
        let options: Vec<CString> = ["--std=c++17".to_owned(), architecture]
            .iter()
            .chain(options)
            .map(|option| CString::new(option.as_str()).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()?;
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: the signatures are those of nvrtc.h; every pointer outlives the call that takes it, and
        // buffers have the sizes that the library asks for.
        unsafe {
            type Create = unsafe extern "C" fn(
                *mut Program,
                *const c_char,
                *const c_char,
                c_int,
                *const *const c_char,
                *const *const c_char,
            ) -> c_int;
            type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
            type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
            let create: Symbol<'_, Create> = self.symbol(b"nvrtcCreateProgram\0")?;
            let compile: Symbol<'_, Compile> = self.symbol(b"nvrtcCompileProgram\0")?;
            let destroy: Symbol<'_, Destroy> = self.symbol(b"nvrtcDestroyProgram\0")?;
            let none = std::ptr::null();
            let created =
                create(&raw mut program, source.as_ptr(), name.as_ptr(), 0, none, none.cast());
            check("nvrtcCreateProgram", created)?;
            let compiled = compile(program, options.len() as c_int, options.as_ptr());
            let result = match compiled {
                0 => self.bytes(program, b"nvrtcGetCUBINSize\0", b"nvrtcGetCUBIN\0"),
                _ => {
                    let log =
                        self.bytes(program, b"nvrtcGetProgramLogSize\0", b"nvrtcGetProgramLog\0");
                    Err(log.map_or_else(
                        |error| error,
                        |log| String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned(),
                    ))
                }
            };
            destroy(&raw mut program);
            result
        }
    }

    /// What a pair of functions, one for the size and one for the content, says of a program.
    ///
    /// # Safety
    /// The names are those of such a pair, `program` is one that was created.
    unsafe fn bytes(&self, program: Program, size: &[u8], get: &[u8]) -> Result<Vec<u8>, String> {
        type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
        type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
        let mut n_bytes = 0;
        // SAFETY: as the caller promises; the buffer has the size that was asked for.
        unsafe {
            let size: Symbol<'_, Size> = self.symbol(size)?;
            let get: Symbol<'_, Get> = self.symbol(get)?;
            check("the size of a program", size(program, &raw mut n_bytes))?;
            let mut bytes = vec![0u8; n_bytes];
            check("the content of a program", get(program, bytes.as_mut_ptr().cast()))?;
            Ok(bytes)
        }
    }

    /// # Safety
    /// `T` is the signature of the function of this name, which ends in a zero.
    unsafe fn symbol<T>(&self, name: &[u8]) -> Result<Symbol<'_, T>, String> {
        // SAFETY: as the caller promises.
        unsafe { self.library.get(name) }.map_err(|error| {
            let name = CStr::from_bytes_with_nul(name).unwrap_or_default();
            format!("NVRTC lacks {}: {error}", name.to_string_lossy())
        })
    }
}

fn check(what: &str, code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(format!("{what} failed with code {code}")) }
}
