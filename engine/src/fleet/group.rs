//! Group: the SIMs that share one configuration.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::credential::Credentials;
use super::entry_point::EntryPoint;
use super::json::{JsonPath, Object};
use crate::problem::{Problems, quoted};

/// The namespace of a group's configuration that entry points stand in.
pub const NAMESPACE: &str = "SoracomBeam";

/// The key of the one entry point that is served here.
pub const ENTRY_POINT_KEY: &str = "mqtt://beam.soracom.io:1883";

/// A group's place in its fleet. It holds for that fleet alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupIndex(pub(super) u32);

/// A group.
pub struct Group {
    /// Its id.
    pub id: Arc<str>,
    /// Free labels; `name` is what people call it.
    pub tags: Map<String, Value>,
    /// Its entry point, if it has one.
    pub entry_point: Option<Arc<EntryPoint>>,
}

impl Group {
    /// What people call it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.tags.get("name").and_then(Value::as_str)
    }

    /// Reads a group; `None` where it has no id.
    pub(super) fn read(
        value: &Value,
        path: &JsonPath<'_>,
        credentials: &Credentials,
        problems: &mut Problems,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let object = Object::new(value, path, problems)?;
        let id = object.required_text("groupId", "the id of the group", problems);
        let tags = object.object("tags", problems).cloned().unwrap_or_default();
        let configuration_path = path.key("configuration");
        let namespace = object
            .object("configuration", problems)
            .map(|fields| Object {
                fields,
                path: &configuration_path,
            })
            .and_then(|configuration| configuration.object(NAMESPACE, problems));
        let namespace_path = configuration_path.key(NAMESPACE);
        let entry_point = namespace
            .and_then(|fields| fields.get(ENTRY_POINT_KEY))
            .and_then(|value| {
                let path = namespace_path.key(ENTRY_POINT_KEY);
                EntryPoint::read(value, &path, credentials, problems)
            });
        let id = id?;
        for key in namespace
            .into_iter()
            .flat_map(Map::keys)
            .filter(|key| *key != ENTRY_POINT_KEY)
        {
            warnings.push(format!(
                "group {id}: {NAMESPACE} holds {}, which is not served here; {} is",
                quoted(key),
                quoted(ENTRY_POINT_KEY)
            ));
        }
        for warning in entry_point
            .iter()
            .flat_map(|entry_point| &entry_point.warnings)
        {
            warnings.push(format!("group {id}: {warning}"));
        }
        Some(Self {
            id: Arc::from(id),
            tags,
            entry_point: entry_point.map(Arc::new),
        })
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Group")
            .field("id", &self.id)
            .field("entry_point", &self.entry_point)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> (Option<Group>, Vec<String>, Vec<String>) {
        let (mut problems, mut warnings) = (Problems::default(), Vec::new());
        let root = JsonPath::ROOT;
        let groups = root.key("groups");
        let path = groups.index(0);
        let credentials = Credentials::default();
        let group = Group::read(value, &path, &credentials, &mut problems, &mut warnings);
        let problems = problems.into_result(None::<()>).unwrap_err();
        (
            group,
            problems.iter().map(ToString::to_string).collect(),
            warnings,
        )
    }

    #[test]
    fn b_id_2_a_group_may_have_no_entry_point() {
        for configuration in [
            json!(null),
            json!({}),
            json!({"SoracomAir": {}}),
            json!({NAMESPACE: {}}),
        ] {
            let value = json!({"groupId": "g", "configuration": configuration});
            let (group, problems, warnings) = read(&value);
            assert!(group.unwrap().entry_point.is_none());
            assert!(
                problems.is_empty() && warnings.is_empty(),
                "{problems:?} {warnings:?}"
            );
        }
    }

    #[test]
    fn b_cfg_4_refusals_carry_the_whole_path() {
        let (_, problems, _) = read(&json!({
            "configuration": {NAMESPACE: {ENTRY_POINT_KEY: {"destination": "mqtt://h", "version": "1"}}}
        }));
        assert_eq!(
            problems,
            [
                "groups[0].groupId: found nothing; accepted: the id of the group",
                "groups[0].configuration.SoracomBeam[\"mqtt://beam.soracom.io:1883\"].version: \
                 found \"1\"; accepted: \"201912\" or \"201509\"",
            ]
        );
    }

    #[test]
    fn warnings_name_the_group_and_keys_that_are_not_served() {
        let (group, problems, warnings) = read(&json!({
            "groupId": "g", "tags": {"name": "Gruppe"},
            "configuration": {NAMESPACE: {
                ENTRY_POINT_KEY: {"destination": "mqtt://h/p"},
                "http://beam.soracom.io:8888/": {},
            }}
        }));
        assert!(problems.is_empty(), "{problems:?}");
        let group = group.unwrap();
        assert_eq!(group.name(), Some("Gruppe"));
        assert!(format!("{group:?}").contains("\"g\""));
        assert_eq!(
            warnings,
            [
                "group g: SoracomBeam holds \"http://beam.soracom.io:8888/\", which is not served \
                 here; \"mqtt://beam.soracom.io:1883\" is",
                "group g: destination: what follows host and port is ignored",
            ]
        );
    }
}
