//! Topic: which names may be published to and which filters subscribed to (MQTT 3.1.1 and 5,
//! section 4.7). UTF-8 and NUL are checked where strings are read.

/// Whether `name` may be published to: not empty, no wildcard.
#[must_use]
pub fn is_legal_name(name: &str) -> bool {
    !name.is_empty() && memchr::memchr2(b'+', b'#', name.as_bytes()).is_none()
}

/// Whether `filter` may be subscribed to: not empty, wildcards only as whole levels, `#` only last;
/// after `$share/` a share name without wildcards and a filter of its own.
#[must_use]
pub fn is_legal_filter(filter: &str) -> bool {
    let (share, inner) = split_share(filter);
    if let Some(share) = share
        && (share.is_empty() || share.contains(['+', '#']))
    {
        return false;
    }
    has_legal_wildcards(inner)
}

/// Whether `filter` is not empty and has wildcards only as whole levels, `#` only last.
#[must_use]
pub fn has_legal_wildcards(filter: &str) -> bool {
    if filter.is_empty() {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        let legal = match level {
            "#" => last,
            "+" => true,
            _ => !level.contains(['+', '#']),
        };
        if !legal {
            return false;
        }
    }
    true
}

/// Splits `$share/{name}/{filter}` into its share name and the filter that follows it. Any other
/// filter has no share name. A `$share/` without a filter gives an empty one.
#[must_use]
pub fn split_share(filter: &str) -> (Option<&str>, &str) {
    match filter.strip_prefix("$share/") {
        Some(rest) => {
            let (share, inner) = rest.split_once('/').unwrap_or((rest, ""));
            (Some(share), inner)
        }
        None => (None, filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_top_5_names_have_no_wildcards() {
        for (name, legal) in [
            ("a", true),
            ("/", true),
            ("a//b", true),
            ("$SYS/x", true),
            ("", false),
            ("a/+", false),
            ("a/#", false),
            ("a+b", false),
            ("日本/温度", true),
        ] {
            assert_eq!(is_legal_name(name), legal, "{name:?}");
        }
    }

    #[test]
    fn filters_have_wildcards_in_their_places() {
        for (filter, legal) in [
            ("#", true),
            ("+", true),
            ("/", true),
            ("a/#", true),
            ("a/+/b", true),
            ("+/+/#", true),
            ("", false),
            ("a#", false),
            ("#/a", false),
            ("a/#/b", false),
            ("a+/b", false),
            ("$share/g/a", true),
            ("$share/g/#", true),
            ("$share/g//", true),
            ("$share/g/", false),
            ("$share/g", false),
            ("$share//a", false),
            ("$share/+/a", false),
            ("$shared/+/a", true),
        ] {
            assert_eq!(is_legal_filter(filter), legal, "{filter:?}");
        }
    }
}
