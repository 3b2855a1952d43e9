//! Watch: from the load's beginning to its end, what there is to read at the entry of every phase.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::cast::Cast;
use crate::load::Phase;
use crate::metrics::{Sample, Samples};
use crate::round::{PATIENCE, Stage, estimate};
use crate::scenario::{Place, Scenario, Work};
use crate::strace::Strace;
use crate::{clock, cpu, memory};

/// How far from the ends of a hold its readings are taken, as a part of it: opening and closing are not idling.
const HOLD_MARGIN: u32 = 10;

/// Lets the load begin and reads what there is to read at the entry of every phase.
///
/// # Errors
/// When something of it ends early, or nothing comes to an end.
pub fn watch(
    stage: &Stage<'_>,
    cast: &mut Cast,
    scenario: &Scenario,
    is_traced: bool,
) -> anyhow::Result<Samples> {
    let mut samples = Samples {
        start: sample(stage, cast, scenario)?,
        before: memory::of(&cast.members)?,
        proxy_cpus: u32::try_from(stage.plan.proxy_cpus.numbers().len())?,
        ..Samples::default()
    };
    let deadline = clock::now() + estimate(stage.plan, scenario) + PATIENCE;
    let mut readings: Vec<Instant> = Vec::new();
    cast.load.begin()?;
    loop {
        let due = readings.last().copied().unwrap_or(deadline).min(deadline);
        let Some(progress) = cast.load.next(due, stage.interrupt)? else {
            ensure!(
                readings.pop().is_some(),
                "stuck: it should have been over long ago"
            );
            samples.hold.push(sample(stage, cast, scenario)?);
            samples.during = memory::of(&cast.members)?;
            continue;
        };
        if progress.tick || samples.phases.contains_key(&progress.phase) {
            continue;
        }
        let sample = Sample {
            sent: progress.sent,
            received: progress.received,
            ..sample(stage, cast, scenario)?
        };
        samples.phases.insert(progress.phase, sample);
        match (progress.phase, scenario.work) {
            (Phase::Hold, Work::Hold(ms)) => readings = hold_readings(ms),
            (Phase::Warmup, _) if is_traced => {
                cast.strace = Some(Strace::attach(&cast.members, stage.interrupt)?);
            }
            (Phase::Drain, _) => cast.strace.iter_mut().for_each(Strace::detach),
            (Phase::Closing, _) => readings.clear(),
            (Phase::Done, _) => return Ok(samples),
            _ => {}
        }
    }
}

fn sample(stage: &Stage<'_>, cast: &mut Cast, scenario: &Scenario) -> anyhow::Result<Sample> {
    let has_process = cast.subject.is_some();
    let has_own_core = has_process
        && scenario.place == Place::OwnCpus
        && !stage.plan.proxy_cpus.overlaps(&stage.plan.load_cpus);
    let time = cpu::of(&cast.members);
    // A process that has ended says so better than its clock does.
    if time.is_err() {
        cast.check()?;
    }
    Ok(Sample {
        at: Some(clock::now()),
        worked: has_process.then_some(time?),
        busy: if has_own_core {
            Some(cpu::busy(&stage.plan.proxy_cpus)?)
        } else {
            None
        },
        sent: 0,
        received: 0,
    })
}

/// When to read during a hold, the last one first.
fn hold_readings(ms: u64) -> Vec<Instant> {
    let (start, hold) = (clock::now(), Duration::from_millis(ms));
    let margin = hold / HOLD_MARGIN;
    vec![start + hold - margin, start + margin]
}
