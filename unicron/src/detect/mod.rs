//! What an error means: its class, its severity, whose it is (section 4 of the paper).

mod finding;
mod method;
mod role;
mod severity;
mod status;

pub use finding::{Finding, FollowUp};
pub use method::Method;
pub use role::Role;
pub use severity::Severity;
pub use status::Status;
