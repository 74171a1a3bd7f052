//! Unicron: self-healing LLM training for a whole cluster. **Nothing stands here yet**; this is the map
//! of what will (He et al., "Unicron: Economizing Self-Healing LLM Training at Scale", 2023).
//!
//! - `core`: state, events, commands and the step between them; pure: no IO, no clock, no randomness
//! - `plan`: throughput and cost models, one plan over all tasks by weighted achieved FLOP/s
//! - `transition`: from one plan to the next, keeping the finished part of an iteration
//! - `simulate`: the core driven by failure traces, against the policies that the paper compares with
//! - `detect`: the four ways in which a failure is noticed in band
//! - `coordinator`, `agent`, `worker`, `store`: the live system
