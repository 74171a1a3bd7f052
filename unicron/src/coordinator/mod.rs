//! The coordinator: one of a cluster leads, and looks after all its tasks.
//!
//! | what | file |
//! |---|---|
//! | the file that describes a task | [`task_file`] |
//! | what it thinks, without IO | [`brain`] |

pub mod brain;
pub mod task_file;

pub use task_file::TaskFile;
