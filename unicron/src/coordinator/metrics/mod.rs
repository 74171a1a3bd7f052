//! What Prometheus is told of a coordinator.
//!
//! | what | file |
//! |---|---|
//! | the figures, as of one moment | [`figures`] |
//! | their names and their text | [`text`] |

pub mod figures;
pub mod text;

pub use figures::Figures;
