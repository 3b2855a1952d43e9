//! Axis: where values stand and which of them are named. Everything is placed on a straight scale; a logarithmic
//! axis places the logarithm.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

use super::super::number::short;

/// About as many steps as a linear axis has.
const STEPS: f64 = 8.0;

/// One side of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    /// What stands beside it, unit included.
    pub(super) name: String,
    /// Places of both ends.
    pub(super) ends: (f64, f64),
    /// Places that are named.
    pub(super) ticks: Vec<(f64, String)>,
    is_logarithmic: bool,
}

impl Axis {
    /// Straight, from `low` to `high` or a little more.
    #[must_use]
    pub(super) fn linear(name: &str, low: f64, high: f64) -> Self {
        let width = if high > low { high - low } else { 1.0 };
        let rough = width / STEPS;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * decade)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (low / step).floor();
        let mut ticks = Vec::new();
        let mut index = first;
        while index * step <= low + width {
            ticks.push((index * step, short(index * step)));
            index += 1.0;
        }
        Self {
            name: name.to_owned(),
            ends: ((first * step).min(low), low + width),
            ticks,
            is_logarithmic: false,
        }
    }

    /// Logarithmic, over all of `low` to `high`, with 1, 2 and 5 of every decade named. Both are above zero.
    #[must_use]
    pub(super) fn logarithmic(name: &str, low: f64, high: f64) -> Self {
        let mut decade = 10_f64.powf(low.log10().floor());
        let mut values = Vec::new();
        while decade <= high {
            values.extend([1.0, 2.0, 5.0].map(|factor| factor * decade));
            decade *= 10.0;
        }
        values.push(decade);
        let start = values.iter().rposition(|value| *value <= low).unwrap_or(0);
        let end = values.iter().position(|value| *value >= high);
        let within = values.get(start..=end.unwrap_or(start)).unwrap_or(&values);
        Self {
            name: name.to_owned(),
            ends: (
                within.first().map_or(0.0, |value| value.log10()),
                within.last().map_or(1.0, |value| value.log10()),
            ),
            ticks: within
                .iter()
                .map(|value| (value.log10(), short(*value)))
                .collect(),
            is_logarithmic: true,
        }
    }

    /// Named places alone, with half of a step at both ends.
    #[must_use]
    pub(super) fn named(name: &str, ticks: Vec<(f64, String)>) -> Self {
        let places = || ticks.iter().map(|(place, _)| *place);
        let low = places().fold(f64::INFINITY, f64::min);
        let high = places().fold(f64::NEG_INFINITY, f64::max);
        let margin = ((high - low) / 16.0).max(0.1);
        Self {
            name: name.to_owned(),
            ends: (low - margin, high + margin),
            ticks,
            is_logarithmic: false,
        }
    }

    /// Where a value stands.
    #[must_use]
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.is_logarithmic {
            value.log10()
        } else {
            value
        }
    }
}

/// For the drawing library: places to pixels, and where the grid's lines are.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(place, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.ends.0..self.ends.1
    }
}

/// For the drawing library: the name of a place, nothing where it has none.
impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, place: &f64) -> String {
        let found = self.ticks.iter().find(|(tick, _)| tick == place);
        found.map_or_else(String::new, |(_, label)| label.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_has_round_steps() {
        let axis = Axis::linear("", 0.0, 61.0);
        assert_eq!(labels(&axis), ["0", "10", "20", "30", "40", "50", "60"]);
        assert_eq!(axis.ends, (0.0, 61.0));
        let axis = Axis::linear("", 0.93, 1.08);
        assert_eq!(
            labels(&axis),
            [
                "0.92", "0.94", "0.96", "0.98", "1", "1.02", "1.04", "1.06", "1.08"
            ]
        );
        assert_eq!(
            labels(&Axis::linear("", 0.0, 0.0)),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(labels(&Axis::linear("", 0.0, 12_500.0))[1], "2,000");
    }

    #[test]
    fn a_logarithmic_axis_covers_its_values() {
        let axis = Axis::logarithmic("", 130.0, 4_200.0);
        assert_eq!(
            labels(&axis),
            ["100", "200", "500", "1,000", "2,000", "5,000"]
        );
        assert_eq!(axis.ends, (2.0, 5_000_f64.log10()));
        assert_eq!(labels(&Axis::logarithmic("", 100.0, 100.0)), ["100"]);
        assert_eq!(
            labels(&Axis::logarithmic("", 0.3, 1.0)),
            ["0.2", "0.5", "1"]
        );
    }
}
