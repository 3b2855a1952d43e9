//! `ringbeam-bench`: the command line.
fn main() {}
