//! The allocator of each system's own program: mimalloc is `longnn`'s, the system's that of the others.
//!
//! What a process holds depends on it, and so what is said of `kvquant` must come of a process that allocates as that
//! program does: the suite starts itself again with [`VARIABLE`] set.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicU8, Ordering};

/// Set, it makes a process take the system's allocator.
pub const VARIABLE: &CStr = c"BENCHES_SYSTEM_ALLOCATOR";

const UNKNOWN: u8 = 0;
const SYSTEM: u8 = 1;
const MIMALLOC: u8 = 2;

/// One of the two, for as long as the process lives.
pub struct Allocator {
    choice: AtomicU8,
}

unsafe extern "C" {
    /// The C library's; the standard library's allocates.
    fn getenv(name: *const c_char) -> *const c_char;
}

impl Allocator {
    /// Looks at the environment when first asked for memory.
    pub const fn new() -> Allocator {
        Allocator { choice: AtomicU8::new(UNKNOWN) }
    }

    fn is_system(&self) -> bool {
        match self.choice.load(Ordering::Relaxed) {
            UNKNOWN => {
                // SAFETY: a string that ends. The first memory is asked for before there is a second thread, and
                // nothing has changed the environment then.
                let is_system = unsafe { !getenv(VARIABLE.as_ptr()).is_null() };
                self.choice.store(if is_system { SYSTEM } else { MIMALLOC }, Ordering::Relaxed);
                is_system
            }
            choice => choice == SYSTEM,
        }
    }
}

// SAFETY: each call goes to the same allocator, which keeps to the rules.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says, here and below.
        unsafe { if self.is_system() { System.alloc(layout) } else { MiMalloc.alloc(layout) } }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: it comes from the same allocator.
        unsafe {
            match self.is_system() {
                true => System.dealloc(memory, layout),
                false => MiMalloc.dealloc(memory, layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        unsafe {
            match self.is_system() {
                true => System.alloc_zeroed(layout),
                false => MiMalloc.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: it comes from the same allocator.
        unsafe {
            match self.is_system() {
                true => System.realloc(memory, layout, new_size),
                false => MiMalloc.realloc(memory, layout, new_size),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_give_memory_back() {
        for choice in [SYSTEM, MIMALLOC] {
            let allocator = Allocator { choice: AtomicU8::new(choice) };
            let layout = Layout::from_size_align(100, 64).unwrap();
            // SAFETY: the layout isn't empty, and the memory is used within it and given back once.
            unsafe {
                let memory = allocator.alloc_zeroed(layout);
                assert_eq!((memory.addr() % 64, *memory.add(99)), (0, 0));
                memory.write(7);
                let memory = allocator.realloc(memory, layout, 5000);
                assert_eq!(*memory, 7);
                allocator.dealloc(memory, Layout::from_size_align(5000, 64).unwrap());
            }
        }
    }
}
