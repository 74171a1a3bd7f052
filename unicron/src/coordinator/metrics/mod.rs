//! What Prometheus is told of a coordinator.
//!
//! | what | file |
//! |---|---|
//! | the figures, as of one moment | [`figures`] |
//! | their names and their text | [`text`] |
//! | the way to whoever asks for them | [`listener`] |

pub mod figures;
pub mod listener;
pub mod text;

pub use figures::Figures;
