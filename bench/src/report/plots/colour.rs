//! Colour: one per subject, the same in every plot. Ringbeam's two are warm and strong, peers are cool or grey.
//! Any two that meet are at least 15 apart in CIELAB for each kind of colour blindness (model of Machado, 2009).

use plotters::style::RGBColor;

use crate::summary::{V201509, V201912, base_of, shards_of};

/// Axes, whiskers and text.
pub(super) const INK: RGBColor = RGBColor(51, 51, 51);
/// What should be read last.
pub(super) const FAINT: RGBColor = RGBColor(110, 110, 110);
/// Lines of the grid.
pub(super) const GRID: RGBColor = RGBColor(221, 221, 221);
/// Behind every second group.
pub(super) const BAND: RGBColor = RGBColor(246, 246, 246);

const SUBJECTS: &[(&str, RGBColor)] = &[
    (V201912, RGBColor(194, 65, 12)),
    (V201509, RGBColor(251, 146, 60)),
    ("haproxy", RGBColor(51, 78, 112)),
    ("haproxy-splice", RGBColor(104, 140, 192)),
    ("haproxy-tls", RGBColor(20, 30, 48)),
    ("nginx", RGBColor(30, 120, 105)),
    ("mosquitto-bridge", RGBColor(203, 184, 226)),
    ("direct", RGBColor(150, 150, 150)),
];

/// For subjects that are not known here.
const OTHERS: &[RGBColor] = &[
    RGBColor(96, 96, 110),
    RGBColor(140, 160, 120),
    RGBColor(184, 172, 150),
];

/// The subject's colour, lighter with more shards.
#[must_use]
pub(super) fn of(subject: &str) -> RGBColor {
    let base = base_of(subject);
    let known = SUBJECTS.iter().find(|(name, _)| *name == base);
    let RGBColor(red, green, blue) = known.map_or_else(|| other(base), |(_, colour)| *colour);
    let shards: u8 = shards_of(subject)
        .trim_start_matches('@')
        .parse()
        .unwrap_or(1);
    let steps = u8::try_from(shards.max(1).ilog2())
        .unwrap_or(u8::MAX)
        .min(3);
    let lighter = |part: u8| part + (u8::MAX - part) / 5 * steps;
    RGBColor(lighter(red), lighter(green), lighter(blue))
}

/// By the name alone, so that it does not depend on who else is there.
fn other(name: &str) -> RGBColor {
    let sum = name.bytes().map(usize::from).sum::<usize>();
    let found = OTHERS.get(sum % OTHERS.len());
    found.copied().unwrap_or(FAINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_shades_of_one_colour() {
        assert_eq!(of("haproxy"), of("haproxy@1"));
        let RGBColor(one, ..) = of("ringbeam-201912@2");
        let RGBColor(two, ..) = of("ringbeam-201912@4");
        assert!(194 < one && one < two);
        assert_ne!(of("haproxy@64"), RGBColor(255, 255, 255));
    }
}
