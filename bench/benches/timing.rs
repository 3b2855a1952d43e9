//! Timing: how long the pieces of the engine take, with criterion. The cases are in `common`.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod common;

use std::time::Duration;

use criterion::{Criterion, Throughput};

/// What the engine allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIMS: u32 = 1_000_000;

fn main() {
    // Short, because there are many cases.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20)
        .configure_from_args();
    for (piece, cases) in common::pieces(SIMS) {
        let mut group = criterion.benchmark_group(piece);
        for case in cases {
            let (elements, bytes) = (case.messages, case.bytes);
            group.throughput(if bytes == 0 {
                Throughput::Elements(elements)
            } else {
                Throughput::ElementsAndBytes { elements, bytes }
            });
            // Prepared when it is its turn, and not at all when it is filtered out.
            let mut run = None;
            group.bench_function(case.name, |bencher| {
                bencher.iter(run.get_or_insert_with(&case.prepare));
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
