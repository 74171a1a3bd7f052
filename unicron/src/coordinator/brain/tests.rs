//! The brain as a whole: agents and people made up, no process anywhere.
