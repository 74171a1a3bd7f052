//! How many connections a process may have: each is an open file, and systems allow few of them unless a
//! process asks for more.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Asks for as many open files as the system allows this process; how many that are.
pub fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        // What there was is still there.
        Err(_) => soft,
    }
}
