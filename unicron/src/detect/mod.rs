//! What an error means: its class, its severity, whose it is (section 4 of the paper).

mod severity;
mod status;

pub use severity::Severity;
pub use status::Status;
