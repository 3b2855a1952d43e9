//! Tests of what passes under limits, in virtual time.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::limits::TICK_MS;

const DAY_MS: u64 = 86_400_000;

/// What was read at one moment: when, messages, bytes.
type Read = (u64, u32, usize);

fn limits(messages_per_second: u32, bytes_per_second: u32) -> Limits {
    Limits {
        messages_per_second,
        bytes_per_second,
    }
}

/// A SIM with more to send than it may, one message at a time, whose reader looks again so much later than
/// it could: how many have passed by the end.
fn passed(per_second: u32, late_ms: u64, end_ms: u64) -> u64 {
    let mut allowance = Allowance::new(limits(per_second, 0), 0);
    let (mut now_ms, mut count) = (0, 0);
    while now_ms < end_ms {
        match allowance.ready_ms(now_ms) {
            Some(ready_ms) => now_ms = ready_ms + late_ms,
            None => {
                allowance.spend(1, 100, now_ms);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn a_day_is_worth_its_rate_and_one_burst() {
    let check = |per_second: u32, late_ms: u64| {
        let count = passed(per_second, late_ms, DAY_MS);
        let rate = u64::from(per_second);
        let worth = rate * 86_400;
        let expected = worth..=worth + rate + 1;
        assert!(expected.contains(&count), "{per_second}: {count}");
    };
    for per_second in [1, 2, 3, 7] {
        check(per_second, 0);
        // Whoever looks at every tick alone loses nothing.
        check(per_second, TICK_MS);
        check(per_second, 999);
    }
}

#[test]
fn a_second_comes_at_once_and_the_rest_in_time() {
    // Spent, then at which time: when more may be read.
    let check = |limits: Limits, spends: &[Read], expected: &[Option<u64>]| {
        let mut allowance = Allowance::new(limits, 0);
        let ready: Vec<_> = spends
            .iter()
            .map(|(now_ms, messages, bytes)| {
                allowance.spend(*messages, *bytes, *now_ms);
                allowance.ready_ms(*now_ms)
            })
            .collect();
        assert_eq!(ready, expected, "{limits:?} {spends:?}");
    };
    let one = (0, 1, 10);
    check(limits(0, 0), &[(0, u32::MAX, usize::MAX)], &[None]);
    check(
        limits(1, 0),
        &[one, one, one],
        &[None, Some(1_000), Some(2_000)],
    );
    // Rounded up, but for good once only: 3 owed at 3 a second.
    check(
        limits(3, 0),
        &[(0, 4, 0), (0, 1, 0), (667, 1, 0)],
        &[Some(334), Some(667), Some(1_000)],
    );
    // The slower of both counts.
    check(limits(1, 1_000), &[(0, 1, 3_000)], &[Some(2_000)]);
    check(limits(1, 1_000), &[(0, 5, 3_000)], &[Some(4_000)]);
    // Silence is worth one second at most.
    check(
        limits(2, 0),
        &[(0, 2, 0), (DAY_MS, 2, 0), (DAY_MS, 1, 0)],
        &[None, None, Some(DAY_MS + 500)],
    );
    // A clock that steps back gives nothing, and takes nothing.
    check(
        limits(1, 0),
        &[
            (5_000, 1, 0),
            (1_000, 0, 0),
            (5_000, 1, 0),
            (1_000, 0, 0),
            (6_000, 0, 0),
        ],
        &[None, None, Some(6_000), Some(6_000), None],
    );
}

#[test]
fn b_cfg_5_other_limits_hold_from_when_they_are_set() {
    let check = |from: Limits, to: Limits, messages: u32, expected: Option<u64>| {
        let mut allowance = Allowance::new(from, 0);
        allowance.spend(messages, 0, 0);
        allowance.set_limits(to, 0);
        assert_eq!(allowance.ready_ms(0), expected, "{from:?} {to:?}");
    };
    check(limits(1, 0), limits(2, 0), 5, Some(2_000));
    check(limits(1, 0), limits(0, 0), 5, None);
    check(limits(0, 0), limits(1, 0), 5, None);
    check(limits(1, 0), limits(1, 5), 3, Some(2_000));
    // What was saved under a higher rate does not stay.
    let mut allowance = Allowance::new(limits(1_000, 0), 0);
    allowance.set_limits(limits(1, 0), 0);
    allowance.spend(2, 0, 0);
    assert_eq!(allowance.ready_ms(0), Some(1_000));
}

#[test]
fn no_number_is_too_large() {
    for limits in [
        limits(u32::MAX, u32::MAX),
        limits(1, 1),
        limits(1, u32::MAX),
    ] {
        let mut allowance = Allowance::new(limits, 0);
        for now_ms in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX, 0] {
            for _ in 0..3 {
                allowance.spend(u32::MAX, usize::MAX, now_ms);
                assert!(allowance.ready_ms(0) > Some(now_ms.saturating_sub(1)));
            }
            allowance.set_limits(limits, now_ms);
        }
        assert_eq!(allowance.ready_ms(u64::MAX), None);
    }
    // The deepest debt is paid when it is.
    let mut allowance = Allowance::new(limits(0, u32::MAX), 0);
    allowance.spend(0, usize::MAX, 0);
    let ready_ms = allowance.ready_ms(0).unwrap();
    allowance.spend(0, 0, ready_ms - 1);
    assert_eq!(allowance.ready_ms(ready_ms - 1), Some(ready_ms));
    allowance.spend(0, 0, ready_ms);
    assert_eq!(allowance.ready_ms(ready_ms), None);
}

fn rate() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 1..20_u32, 1..100_000_u32, Just(u32::MAX)]
}

/// Parts of what passed within a time at a rate, one burst, and one more read.
fn bound(per_second: u32, time_ms: u64, largest: u64) -> u64 {
    u64::from(per_second) * (time_ms + 1_000) + largest * u64::from(PARTS)
}

proptest! {
    #[test]
    fn no_window_sees_more_than_rate_burst_and_one_read(
        messages_per_second in rate(),
        bytes_per_second in rate(),
        wanted in vec((0..3_000_u64, 0..50_u32, 0..20_000_usize), 1..40),
    ) {
        let mut allowance = Allowance::new(limits(messages_per_second, bytes_per_second), 0);
        let mut now_ms = 0;
        let mut reads: Vec<Read> = Vec::new();
        for (pause_ms, messages, bytes) in wanted {
            now_ms += pause_ms;
            if let Some(ready_ms) = allowance.ready_ms(now_ms) {
                prop_assert!(ready_ms > now_ms);
                now_ms = ready_ms;
                prop_assert_eq!(allowance.ready_ms(now_ms), None);
            }
            allowance.spend(messages, bytes, now_ms);
            reads.push((now_ms, messages, bytes));
        }
        for first in 0..reads.len() {
            for last in first..reads.len() {
                let window = &reads[first..=last];
                let time_ms = reads[last].0 - reads[first].0;
                let kinds: [(u32, Vec<u64>); 2] = [
                    (messages_per_second, window.iter().map(|read| u64::from(read.1)).collect()),
                    (bytes_per_second, window.iter().map(|read| read.2 as u64).collect()),
                ];
                for (per_second, counts) in kinds.iter().filter(|(rate, _)| *rate > 0) {
                    let largest = counts.iter().max().copied().unwrap_or_default();
                    let sum: u64 = counts.iter().sum();
                    prop_assert!(sum * u64::from(PARTS) <= bound(*per_second, time_ms, largest));
                }
            }
        }
    }

    #[test]
    fn whoever_always_has_more_gets_the_whole_rate(
        per_second in 1..100_000_u32,
        of_bytes in any::<bool>(),
        reads in vec((1..5_000_u32, 0..1_000_u64), 1..200),
    ) {
        let limits = if of_bytes { limits(0, per_second) } else { limits(per_second, 0) };
        let mut allowance = Allowance::new(limits, 0);
        let (mut now_ms, mut sum) = (0, 0);
        for (count, late_ms) in reads {
            if let Some(ready_ms) = allowance.ready_ms(now_ms) {
                now_ms = ready_ms + late_ms;
            }
            let (messages, bytes) = if of_bytes { (0, count as usize) } else { (count, 0) };
            allowance.spend(messages, bytes, now_ms);
            sum += u64::from(count);
            let worth = u64::from(per_second) * now_ms;
            let burst = u64::from(per_second) * u64::from(PARTS);
            // Less than a burst is left, and nothing was lost.
            let left = worth + burst - (sum * u64::from(PARTS)).min(worth + burst);
            prop_assert!(left <= burst, "{left} parts left of {worth}");
        }
    }
}
