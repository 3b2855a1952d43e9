//! Comparison runs: every subject is started, loaded and measured from outside, round by round, and what was
//! measured becomes a report.
//!
//! `ringbeam-bench` runs the programs as processes; nothing of the engine is linked into it. In the order in which a
//! run uses them: the command line ([`args`]) becomes a [`plan`]; [`compare`] goes through scenarios, rounds and
//! subjects; a [`round`] starts its [`cast`] of one [`subject`] and one [`load`], [`watch`] reads [`cpu`] and [`memory`] at the
//! entry of the load's phases, and [`metrics`] makes a row of it.

pub mod args;
pub mod plan;
pub mod list;
pub mod scenario;
pub mod compare;
pub mod round;
pub mod cast;
pub mod watch;
pub mod subject;
pub mod generator;
pub mod load;
pub mod strace;
pub mod process;
pub mod ports;
pub mod cpus;
pub mod cpu;
pub mod memory;
pub mod metrics;
pub mod host;
pub mod clock;
pub mod interrupt;
pub mod display;
pub mod table;
pub mod model;
pub mod report;
pub mod summary;
