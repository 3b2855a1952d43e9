//! Number: how figures are written for people: four significant digits, and thousands apart.

/// Significant digits behind the first one.
const DIGITS: i32 = 3;

/// From here on, and below its reciprocal, numbers are written with an exponent.
const PLAIN_MAX: f64 = 1e9;

/// A figure: whole numbers without a fraction, others with four significant digits.
#[must_use]
pub(super) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.fract() == 0.0 && value.abs() < 10_000.0 {
        return grouped(&format!("{value:.0}"));
    }
    significant(value)
}

/// A ratio: four significant digits always, so that 1.000 says how far it was looked at.
#[must_use]
pub(super) fn ratio(value: f64) -> String {
    format!("×{}", significant(value))
}

/// The same without zeros at the end, for axes.
#[must_use]
pub(super) fn short(value: f64) -> String {
    let text = number(value);
    if !text.contains('.') || text.contains('e') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn significant(value: f64) -> String {
    let exact = format!("{value:.3e}");
    if value != 0.0 && !(PLAIN_MAX.recip()..PLAIN_MAX).contains(&value.abs()) {
        return exact;
    }
    // The exponent after rounding: 9.9996 is 10.00.
    let exponent: i32 = exact
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse().ok())
        .unwrap_or_default();
    let rounded = exact.parse().unwrap_or(value);
    let decimals = usize::try_from(DIGITS.saturating_sub(exponent)).unwrap_or(0);
    grouped(&format!("{rounded:.decimals$}"))
}

/// With commas between thousands.
fn grouped(plain: &str) -> String {
    let (whole, fraction) = plain
        .split_once('.')
        .map_or((plain, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = whole.trim_start_matches('-').len();
    let mut text = String::with_capacity(plain.len() + digits / 3);
    let first = whole.len() - digits;
    for (index, digit) in whole.chars().enumerate() {
        if index > first && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_significant_digits() {
        let check = |value: f64, expected: &str| assert_eq!(number(value), expected, "{value:?}");
        check(0.0, "0");
        check(-0.0, "0");
        check(3.0, "3");
        check(12.0, "12");
        check(4998.7, "4,999");
        check(4999.0, "4,999");
        check(12.345_6, "12.35");
        check(12.3, "12.30");
        check(9.999_96, "10.00");
        check(999.97, "1,000");
        check(0.061_234, "0.06123");
        check(81_234.0, "81,230");
        check(1_234_567.8, "1,235,000");
        check(-1_234.5, "-1,234");
        check(-123.45, "-123.5");
        check(4e12, "4.000e12");
        check(1e-12, "1.000e-12");
    }

    #[test]
    fn axes_have_no_zeros_at_the_end() {
        assert_eq!(short(0.920_000_000_000_1), "0.92");
        assert_eq!(short(1.000_000_000_000_1), "1");
        assert_eq!(short(1200.0), "1,200");
        assert_eq!(short(0.5), "0.5");
    }

    #[test]
    fn ratios_keep_their_zeros() {
        assert_eq!(ratio(1.0), "×1.000");
        assert_eq!(ratio(0.841_23), "×0.8412");
        assert_eq!(ratio(12.0), "×12.00");
        assert_eq!(ratio(0.0), "×0.000");
    }
}
