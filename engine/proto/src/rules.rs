//! Rules: what an entry point's configuration means for one session's packets.

use crate::platform::Platform;

/// Which topics are rewritten, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of the configuration"
)]
pub struct TopicRules {
    /// `addSubscriberHeader` (B-TOP-1): `/{IMSI}` is appended to published topics.
    pub append_imsi: bool,
    /// `replaceTopic` (B-TOP-2): `{{imsi}}`, `{{simId}}`, `{{imei}}` are replaced.
    pub replace_placeholders: bool,
    /// `rewriteWill` (B-TOP-4): the will's topic is treated as a published one.
    pub rewrite_will: bool,
}

/// Everything that a session needs to know of its entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rules {
    /// The platform version.
    pub platform: Platform,
    /// Topic rewriting.
    pub topics: TopicRules,
}
