//! Reading a fleet document. SIMs are taken one by one as the parser meets them, so that a million
//! of them cost their records and not a tree of JSON; everything else is small and read at the end.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

use super::Fleet;
use super::credential::Credentials;
use super::directory::Directory;
use super::directory_builder::{DirectoryBuilder, compact};
use super::group::{Group, GroupIndex};
use super::hasher::Fixed;
use super::json::{JsonPath, SecretValue, kind};
use super::sim::{RangeEntry, SimEntry};
use crate::problem::{Position, Problem, Problems};

/// The sections of a fleet document.
const SECTIONS: [&str; 4] = ["groups", "credentials", "sims", "simRanges"];

/// The fleet that a document describes.
///
/// # Errors
/// Every refusal with its path; a document that is no JSON ends at the first, with line and column.
pub(super) fn read(document: &[u8]) -> Result<Fleet, Vec<Problem>> {
    let mut reader = FleetReader::of_document(document);
    if let Err(error) = visit(document, &mut reader) {
        reader.refuse_syntax(&error);
    }
    reader.finish()
}

/// Takes the sections of a fleet document, in the order in which they stand there, each once at most.
pub(crate) trait Sections {
    /// The groups, a list if all is well.
    fn groups(&mut self, groups: SecretValue);
    /// The credentials, a list if all is well.
    fn credentials(&mut self, credentials: SecretValue);
    /// The SIM at a place of its list.
    fn sim(&mut self, index: usize, sim: &Value);
    /// The range at a place of its list.
    fn range(&mut self, index: usize, range: &Value);
    /// A key that is none of a fleet document's.
    fn unknown(&mut self, key: &str);
}

/// Goes through a fleet document.
///
/// # Errors
/// When it is no JSON, or of another form.
pub(crate) fn visit(document: &[u8], sections: &mut impl Sections) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let seed = DocumentSeed {
        sections,
        seen: Vec::new(),
    };
    seed.deserialize(&mut deserializer)?;
    deserializer.end()
}

fn syntax_problem(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let found = text.strip_suffix(&place).unwrap_or(&text);
    let problem = Problem::new(
        "",
        found,
        "a JSON object with groups, credentials, sims, simRanges",
    );
    problem.at(Position {
        line: error.line(),
        column: error.column(),
    })
}

/// About what a SIM takes in a document. It is for making room: a wrong guess costs time or a little room.
const SIM_DOCUMENT_BYTES: usize = 128;

/// A fleet while it is read.
#[derive(Default)]
pub(crate) struct FleetReader {
    problems: Problems,
    groups: Option<SecretValue>,
    credentials: Option<SecretValue>,
    group_names: GroupNames,
    directory: DirectoryBuilder,
    /// It is no document, so that what is missing says nothing.
    is_broken: bool,
}

/// Group ids in the order in which they are first met: SIMs may stand before their group. A group keeps its place
/// for as long as its fleet's directory is in use.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupNames {
    indexes: HashMap<Arc<str>, GroupIndex, Fixed>,
    names: Vec<Arc<str>>,
}

impl GroupNames {
    /// The place of a group that has one.
    pub(super) fn find(&self, name: &str) -> Option<GroupIndex> {
        self.indexes.get(name).copied()
    }

    fn index(&mut self, name: &str) -> GroupIndex {
        if let Some(index) = self.indexes.get(name) {
            return *index;
        }
        let index = GroupIndex(compact(self.names.len()));
        let name: Arc<str> = Arc::from(name);
        self.names.push(Arc::clone(&name));
        self.indexes.insert(name, index);
        index
    }
}

impl Sections for FleetReader {
    fn groups(&mut self, groups: SecretValue) {
        self.groups = Some(groups);
    }

    fn credentials(&mut self, credentials: SecretValue) {
        self.credentials = Some(credentials);
    }

    fn sim(&mut self, index: usize, value: &Value) {
        let root = JsonPath::ROOT;
        let list = root.key("sims");
        let path = list.index(index);
        if let Some(entry) = SimEntry::read(value, &path, &mut self.problems) {
            let group = entry.group.map(|name| self.group_names.index(name));
            self.directory.add_sim(index, &entry, group);
        }
    }

    fn range(&mut self, index: usize, value: &Value) {
        let root = JsonPath::ROOT;
        let list = root.key("simRanges");
        let path = list.index(index);
        if let Some(entry) = RangeEntry::read(value, &path, &mut self.problems) {
            let group = entry.group.map(|name| self.group_names.index(name));
            self.directory.add_range(index, &entry, group);
        }
    }

    fn unknown(&mut self, key: &str) {
        let root = JsonPath::ROOT;
        let accepted = SECTIONS.join(", ");
        self.problems
            .refuse(root.key(key), "an unknown key", accepted);
    }
}

impl FleetReader {
    /// For a document, with room for about as many SIMs as it can have.
    pub(crate) fn of_document(document: &[u8]) -> Self {
        let mut reader = Self::default();
        reader.expect(document.len() / SIM_DOCUMENT_BYTES);
        reader
    }

    /// There will be about so many SIMs.
    pub(crate) fn expect(&mut self, sims: usize) {
        self.directory.expect(sims);
    }

    /// What was read is no document.
    pub(crate) fn refuse_syntax(&mut self, error: &serde_json::Error) {
        self.is_broken = true;
        self.problems.add(|| syntax_problem(error));
    }

    /// The fleet that was read.
    ///
    /// # Errors
    /// Every refusal, with its path.
    pub(crate) fn finish(mut self) -> Result<Fleet, Vec<Problem>> {
        if self.is_broken {
            return self.problems.into_result(None);
        }
        let mut sections = self.sections();
        let unknown = |index: GroupIndex| {
            let place = usize::try_from(index.0).ok()?;
            let is_known = sections.groups.get(place).is_some_and(Option::is_some);
            self.group_names
                .names
                .get(place)
                .map(|name| &**name)
                .filter(|_| !is_known)
        };
        self.directory.check_groups(unknown, &mut sections.problems);
        let directory = self.directory.finish(&mut sections.problems);
        sections.fleet(self.group_names, Arc::new(directory))
    }

    /// The groups and credentials that were read, with the SIMs of another fleet.
    ///
    /// # Errors
    /// Every refusal, with its path.
    pub(super) fn finish_with(mut self, fleet: &Fleet) -> Result<Fleet, Vec<Problem>> {
        self.group_names = fleet.group_names.clone();
        let sections = self.sections();
        sections.fleet(self.group_names, Arc::clone(&fleet.directory))
    }

    fn sections(&mut self) -> Read {
        let root = JsonPath::ROOT;
        let mut warnings = Vec::new();
        let mut problems = std::mem::take(&mut self.problems);
        let credentials = self
            .credentials
            .as_ref()
            .map_or_else(Credentials::default, |value| {
                Credentials::read(&value.0, &root.key("credentials"), &mut problems)
            });
        warnings.extend(credentials.warnings());
        let groups = self.read_groups(&credentials, &mut problems, &mut warnings);
        Read {
            groups,
            credentials,
            warnings,
            problems,
        }
    }

    /// The groups at the places of their names.
    fn read_groups(
        &mut self,
        credentials: &Credentials,
        problems: &mut Problems,
        warnings: &mut Vec<String>,
    ) -> Vec<Option<Group>> {
        let root = JsonPath::ROOT;
        let path = root.key("groups");
        let mut groups: Vec<Option<Group>> = Vec::new();
        let section = self.groups.take();
        let list: &[Value] = match section.as_ref().map(|section| &section.0) {
            Some(Value::Array(list)) => list,
            Some(other) => {
                problems.refuse(path, kind(other), "a list of groups");
                &[]
            }
            None => &[],
        };
        for (index, value) in list.iter().enumerate() {
            let path = path.index(index);
            let Some(group) = Group::read(value, &path, credentials, problems, warnings) else {
                continue;
            };
            let place = usize::try_from(self.group_names.index(&group.id).0).unwrap_or(usize::MAX);
            if groups.len() <= place {
                groups.resize_with(self.group_names.names.len(), || None);
            }
            match groups.get_mut(place) {
                Some(free @ None) => *free = Some(group),
                _ => problems.refuse(
                    path.key("groupId"),
                    format_args!("{:?}, which stands above already", group.id),
                    "an id of its own for each group",
                ),
            }
        }
        groups
    }
}

/// Groups and credentials that were read.
struct Read {
    /// At their places.
    groups: Vec<Option<Group>>,
    credentials: Credentials,
    warnings: Vec<String>,
    problems: Problems,
}

impl Read {
    fn fleet(
        self,
        group_names: GroupNames,
        directory: Arc<Directory>,
    ) -> Result<Fleet, Vec<Problem>> {
        self.problems.into_result(Some(Fleet {
            groups: self.groups,
            group_names,
            credentials: self.credentials,
            directory,
            doubts: Arc::default(),
            warnings: self.warnings,
        }))
    }
}

/// Reads the whole document.
struct DocumentSeed<'a, S> {
    sections: &'a mut S,
    seen: Vec<&'static str>,
}

impl<'de, S: Sections> DeserializeSeed<'de> for DocumentSeed<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: Sections> Visitor<'de> for DocumentSeed<'_, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a fleet")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { sections, mut seen } = self;
        while let Some(key) = map.next_key::<String>()? {
            let Some(section) = SECTIONS.into_iter().find(|section| *section == key) else {
                sections.unknown(&key);
                let _: IgnoredAny = map.next_value()?;
                continue;
            };
            if seen.contains(&section) {
                return Err(A::Error::custom(format_args!("a second {section}")));
            }
            seen.push(section);
            match section {
                "groups" => sections.groups(SecretValue(map.next_value()?)),
                "credentials" => sections.credentials(SecretValue(map.next_value()?)),
                "sims" => map.next_value_seed(ListSeed {
                    sections,
                    take: S::sim,
                })?,
                _ => map.next_value_seed(ListSeed {
                    sections,
                    take: S::range,
                })?,
            }
        }
        Ok(())
    }
}

/// Reads a list, element by element.
struct ListSeed<'a, S> {
    sections: &'a mut S,
    take: fn(&mut S, usize, &Value),
}

impl<'de, S> DeserializeSeed<'de> for ListSeed<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S> Visitor<'de> for ListSeed<'_, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of SIMs or ranges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index: usize = 0;
        while let Some(value) = list.next_element::<Value>()? {
            (self.take)(self.sections, index, &value);
            index = index.saturating_add(1);
        }
        Ok(())
    }
}
