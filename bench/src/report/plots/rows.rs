//! Rows: a chart of groups with a few marks each, one below the other: bars from zero, or dots around a reference.

use anyhow::Result;
use plotters::element::{Circle, EmptyElement, PathElement, Rectangle, Text};
use plotters::style::Color as _;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::number::{number, ratio};
use super::axis::Axis;
use super::canvas::{self, AXIS_HEIGHT, Area, Chart};
use super::colour::{self, FAINT, INK};
use crate::summary::Spread;

/// Height of a mark, in pixels.
const MARK: i32 = 13;
/// Room above and below a group's marks.
const GAP: i32 = 6;

/// One value with its least and greatest.
#[derive(Debug)]
pub(super) struct Mark<'a> {
    pub(super) subject: &'a str,
    /// None where it failed.
    pub(super) spread: Option<&'a Spread>,
}

/// Marks of one name.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) name: String,
    pub(super) marks: Vec<Mark<'a>>,
}

/// What a mark looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// From zero to the median.
    Bar,
    /// At the median, around a reference that has a line of its own.
    Dot {
        /// Where the line is.
        reference: f64,
    },
}

impl Shape {
    /// Where bars begin, or what dots are around.
    fn start(self) -> f64 {
        match self {
            Self::Bar => 0.0,
            Self::Dot { reference } => reference,
        }
    }
}

/// The pixels that these groups need.
#[must_use]
pub(super) fn height(groups: &[Group<'_>]) -> i32 {
    groups.iter().map(Group::height).sum::<i32>() + AXIS_HEIGHT + 10
}

impl Group<'_> {
    fn height(&self) -> i32 {
        i32::try_from(self.marks.len()).map_or(i32::MAX, |count| count.saturating_mul(MARK))
            + 2 * GAP
    }
}

/// Draws the groups, with `name` below the horizontal axis.
///
/// # Errors
/// When the drawing library refuses.
pub(super) fn draw(area: &Area<'_>, name: &str, groups: &[Group<'_>], shape: Shape) -> Result<()> {
    let x = horizontal(name, groups, shape);
    let mut top = 0;
    let mut tops = Vec::new();
    for group in groups {
        tops.push(top);
        top += group.height();
    }
    let centre = |(group, top): (&Group<'_>, &i32)| {
        let middle = f64::from(*top) + f64::from(group.height()) / 2.0;
        (middle, group.name.clone())
    };
    let mut y = Axis::named("", groups.iter().zip(&tops).map(centre).collect());
    // Downwards, as one reads.
    y.ends = (f64::from(top), 0.0);
    let widest = groups.iter().map(|group| canvas::text_width(&group.name));
    let left = widest.max().unwrap_or(0) + 8;
    let mut chart = canvas::axes(area, (&x, &y), left, |chart| {
        for (group, top) in groups.iter().zip(&tops).skip(1).step_by(2) {
            let (top, bottom) = (f64::from(*top), f64::from(top + group.height()));
            let band = Rectangle::new([(x.ends.0, top), (x.ends.1, bottom)], colour::BAND.filled());
            chart.draw_series([band])?;
        }
        Ok(())
    })?;
    if let Shape::Dot { reference } = shape {
        let line = vec![(reference, 0.0), (reference, f64::from(top))];
        chart.draw_series([PathElement::new(line, INK)])?;
    }
    for (group, top) in groups.iter().zip(&tops) {
        let mut middle = f64::from(top + GAP) + f64::from(MARK) / 2.0;
        for mark in &group.marks {
            draw_mark(&mut chart, mark, middle, shape)?;
            middle += f64::from(MARK);
        }
    }
    Ok(())
}

fn draw_mark(chart: &mut Chart<'_, '_>, mark: &Mark<'_>, y: f64, shape: Shape) -> Result<()> {
    let beside = |x: f64, text: String| {
        let style = canvas::style(10, FAINT, HPos::Left, VPos::Center);
        EmptyElement::at((x, y)) + Text::new(text, (7, 0), style)
    };
    let Some(spread) = mark.spread else {
        let text = format!("{} failed", mark.subject);
        chart.draw_series([beside(shape.start(), text)])?;
        return Ok(());
    };
    let colour = colour::of(mark.subject);
    let whisker = PathElement::new(vec![(spread.min, y), (spread.max, y)], INK);
    match shape {
        Shape::Bar => {
            let half = f64::from(MARK) / 2.0 - 1.0;
            let corners = [(0.0, y - half), (spread.median, y + half)];
            chart.draw_series([Rectangle::new(corners, colour.filled())])?;
            chart.draw_series([whisker])?;
        }
        Shape::Dot { .. } => {
            chart.draw_series([whisker])?;
            chart.draw_series([Circle::new((spread.median, y), 5, colour.filled())])?;
        }
    }
    for end in [spread.min, spread.max] {
        let cap = EmptyElement::at((end, y)) + PathElement::new(vec![(0, -3), (0, 3)], INK);
        chart.draw_series([cap])?;
    }
    let text = match shape {
        Shape::Bar => number(spread.median),
        Shape::Dot { .. } => ratio(spread.median),
    };
    chart.draw_series([beside(spread.max.max(spread.median), text)])?;
    Ok(())
}

/// Over all values, with room for the number beside the greatest.
fn horizontal(name: &str, groups: &[Group<'_>], shape: Shape) -> Axis {
    let spreads = || {
        let marks = groups.iter().flat_map(|group| &group.marks);
        marks.filter_map(|mark| mark.spread)
    };
    let start = shape.start();
    let low = spreads().map(|spread| spread.min).fold(start, f64::min);
    let high = spreads().map(|spread| spread.max).fold(start, f64::max);
    let room = (high - low) * 0.1;
    // A reference stands within, with values on both sides or not.
    let is_at_edge = low >= start && shape == Shape::Bar;
    let left = if is_at_edge { 0.0 } else { room / 2.0 };
    Axis::linear(name, low - left, high + room)
}
