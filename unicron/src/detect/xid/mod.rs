//! Xids: what NVIDIA's driver writes to the kernel's log when something is wrong with a GPU.
//!
//! Lines are read and de-duplicated by [`KernelLog`], and graded by [`grade_xids`] once an incident's lines
//! are in, since some codes only mean something beside others. An Xid isn't all there is: in Meta's
//! fleet, 57 % of PCIe failures came without one (notes on the field, 4.4).

mod catalogue;
mod grade;
mod line;
mod log;

pub use grade::grade as grade_xids;
pub use line::{NvlinkFault, RecoveryAction, XidEvent, parse as parse_xid};
pub use log::KernelLog;
