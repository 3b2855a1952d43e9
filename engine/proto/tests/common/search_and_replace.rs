//! Topic rewriting as plainly as it can be said, to compare with.

use ringbeam_proto::rules::TopicRules;

/// A topic or filter as the rules make it, for the SIM of these tests.
pub(crate) fn search_and_replace(rules: &TopicRules, topic: &str, is_published: bool) -> String {
    let (untouched, topic) = match topic.strip_prefix("$share/") {
        Some(rest) if !is_published => {
            let share = rest.split('/').next().unwrap_or_default();
            topic.split_at(("$share/".len() + share.len() + 1).min(topic.len()))
        }
        _ => ("", topic),
    };
    let mut text = topic.to_owned();
    if rules.replace_placeholders {
        text = text
            .replace("{{imsi}}", "440100000000001")
            .replace("{{simId}}", "8981100000000000000001")
            .replace("{{imei}}", "unknown-imei");
    }
    if rules.append_imsi && is_published {
        text.push_str("/440100000000001");
    }
    [untouched, &text].concat()
}
