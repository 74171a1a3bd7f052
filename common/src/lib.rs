//! What the three systems share. In reading order:

pub mod assets;
pub mod device;
pub mod progress;
pub mod report;
pub mod tensor;
