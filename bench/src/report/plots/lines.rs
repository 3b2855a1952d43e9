//! Lines: a chart with a line per subject through its medians, and whiskers from the least to the greatest.

use anyhow::Result;
use plotters::element::{Circle, PathElement};
use plotters::series::LineSeries;
use plotters::style::Color as _;

use super::axis::Axis;
use super::canvas::{self, Area};
use super::colour;
use crate::summary::Spread;

/// The pixels of every such chart.
pub(super) const HEIGHT: i32 = 430;

/// Room for the numbers of the vertical axis and its name.
const LEFT: i32 = 72;

/// A subject's points, by horizontal place.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) subject: &'a str,
    pub(super) points: Vec<(f64, &'a Spread)>,
}

/// Least and greatest of all points.
#[must_use]
pub(super) fn range(lines: &[Line<'_>]) -> (f64, f64) {
    let spreads = || {
        let points = lines.iter().flat_map(|line| &line.points);
        points.map(|(_, spread)| *spread)
    };
    (
        spreads()
            .map(|spread| spread.min)
            .fold(f64::INFINITY, f64::min),
        spreads()
            .map(|spread| spread.max)
            .fold(f64::NEG_INFINITY, f64::max),
    )
}

/// Draws the lines; the first ones lie on top.
///
/// # Errors
/// When the drawing library refuses.
pub(super) fn draw(area: &Area<'_>, x: &Axis, y: &Axis, lines: &[Line<'_>]) -> Result<()> {
    let mut chart = canvas::axes(area, (x, y), LEFT, |_| Ok(()))?;
    for line in lines.iter().rev() {
        let colour = colour::of(line.subject);
        let points = || {
            let points = line.points.iter();
            points.map(|(place, spread)| (*place, y.place(spread.median)))
        };
        chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
        chart.draw_series(line.points.iter().map(|(place, spread)| {
            let ends = vec![(*place, y.place(spread.min)), (*place, y.place(spread.max))];
            PathElement::new(ends, colour)
        }))?;
        chart.draw_series(points().map(|point| Circle::new(point, 4, colour.filled())))?;
    }
    Ok(())
}
