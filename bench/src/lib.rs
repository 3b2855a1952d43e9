//! Comparison runs: every subject is started, loaded and measured from outside, round by round, and what was
//! measured becomes a report.
//!
//! `ringbeam-bench` runs the programs as processes; nothing of the engine is linked into it.

pub mod model;
