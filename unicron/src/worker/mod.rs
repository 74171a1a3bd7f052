//! What a training process needs to be looked after by an agent.
//!
//! | what | file |
//! |---|---|
//! | what is said, and how | [`protocol`] |

pub mod protocol;
