//! A cluster with concurrent tasks, driven by a trace of failures, under Unicron's core and under the
//! policies that it is compared with (section 7 of the paper).
//!
//! | what | file |
//! |---|---|
//! | what a policy for a single job is to the simulator | [`rival`] |
//! | the rivals, each by its published cost model | [`rivals`] |

pub mod rival;
pub mod rivals;
