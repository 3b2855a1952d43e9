//! Canvas: a page of SVG with a title, a legend and room for a chart. The background is set, so that it is legible
//! on a dark page; text stays text, in whatever sans-serif font the reader has.

use anyhow::Result;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, IntoDrawingArea as _};
use plotters::element::{Rectangle, Text};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, IntoFont as _, RGBColor, TextStyle, WHITE};

use super::axis::Axis;
use super::colour;

/// Width of every page, in pixels.
pub(super) const WIDTH: i32 = 900;

/// Room for the numbers and the name of the axis below a chart.
pub(super) const AXIS_HEIGHT: i32 = 48;

const MARGIN: i32 = 16;
const LEGEND_HEIGHT: i32 = 20;
const SWATCH: i32 = 12;

/// Somewhere to draw, in pixels.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A chart with two axes.
pub(super) type Chart<'a, 'svg> = ChartContext<'a, SVGBackend<'svg>, Cartesian2d<Axis, Axis>>;

/// What stands above a chart.
#[derive(Debug)]
pub(super) struct Heading<'a> {
    /// What the chart shows.
    pub(super) title: &'a str,
    /// How to read it.
    pub(super) about: &'a str,
    /// Subjects, in order.
    pub(super) legend: Vec<&'a str>,
}

/// A page with `height` pixels below its heading.
///
/// # Errors
/// When the drawing library refuses.
pub(super) fn page(
    heading: &Heading<'_>,
    height: i32,
    draw: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
    let entries = legend(&heading.legend);
    let legend_bottom = entries
        .last()
        .map_or(58, |entry| entry.y + LEGEND_HEIGHT + 6);
    let size = (
        u32::try_from(WIDTH)?,
        u32::try_from(legend_bottom.saturating_add(height))?,
    );
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new(
            heading.title,
            (MARGIN, 12),
            style(17, colour::INK, HPos::Left, VPos::Top),
        ))?;
        root.draw(&Text::new(
            heading.about,
            (MARGIN, 36),
            style(12, colour::FAINT, HPos::Left, VPos::Top),
        ))?;
        for entry in &entries {
            let corner = (entry.x + SWATCH, entry.y + SWATCH);
            root.draw(&Rectangle::new(
                [(entry.x, entry.y), corner],
                colour::of(entry.subject).filled(),
            ))?;
            let beside = (corner.0 + 6, entry.y + SWATCH / 2);
            root.draw(&Text::new(
                entry.subject,
                beside,
                style(12, colour::INK, HPos::Left, VPos::Center),
            ))?;
        }
        let (_, below) = root.split_vertically(legend_bottom);
        draw(&below)?;
        root.present()?;
    }
    Ok(svg)
}

struct Entry<'a> {
    subject: &'a str,
    x: i32,
    y: i32,
}

/// Places of the legend's entries, on as many lines as they need.
fn legend<'a>(subjects: &[&'a str]) -> Vec<Entry<'a>> {
    let (mut x, mut y) = (MARGIN, 62);
    let mut entries = Vec::new();
    for subject in subjects {
        let width = SWATCH + 24 + text_width(subject);
        if x + width > WIDTH && x > MARGIN {
            (x, y) = (MARGIN, y + LEGEND_HEIGHT);
        }
        entries.push(Entry { subject, x, y });
        x += width;
    }
    entries
}

/// Axes and grid, with `left` pixels for the names of the vertical axis. `under` is drawn below the grid.
///
/// # Errors
/// When the drawing library refuses.
pub(super) fn axes<'a, 'svg>(
    area: &'a Area<'svg>,
    (x, y): (&Axis, &Axis),
    left: i32,
    under: impl FnOnce(&mut Chart<'a, 'svg>) -> Result<()>,
) -> Result<Chart<'a, 'svg>> {
    let mut chart = ChartBuilder::on(area)
        .margin_right(MARGIN * 2)
        .margin_left(MARGIN / 2)
        .margin_top(4)
        .x_label_area_size(AXIS_HEIGHT)
        .y_label_area_size(left)
        .build_cartesian_2d(x.clone(), y.clone())?;
    under(&mut chart)?;
    let mut mesh = chart.configure_mesh();
    if y.name.is_empty() {
        // Groups, not values: lines would cross their marks.
        mesh.disable_y_mesh();
    }
    mesh.bold_line_style(colour::GRID)
        .light_line_style(colour::GRID)
        .axis_style(colour::FAINT)
        .x_label_style(style(12, colour::INK, HPos::Center, VPos::Top))
        .y_label_style(style(12, colour::INK, HPos::Right, VPos::Center))
        .axis_desc_style(style(12, colour::FAINT, HPos::Center, VPos::Center))
        .x_desc(x.name.as_str())
        .y_desc(y.name.as_str())
        .draw()?;
    Ok(chart)
}

/// Text of this many pixels.
#[must_use]
pub(super) fn style(
    pixels: u32,
    colour: RGBColor,
    across: HPos,
    along: VPos,
) -> TextStyle<'static> {
    // The library takes the height of a line and writes the em square into the file: 1.24 times smaller.
    let font = ("sans-serif", f64::from(pixels) * 1.24).into_font();
    let mut style = TextStyle::from(font);
    style.color = colour.to_backend_color();
    style.pos = Pos::new(across, along);
    style
}

/// About how wide a text of 12 pixels is; readers' fonts differ.
#[must_use]
pub(super) fn text_width(text: &str) -> i32 {
    i32::try_from(text.chars().count()).map_or(WIDTH, |count| count.saturating_mul(7))
}
