//! SIMs: explicit ones by their ids, and ranges.

use rusqlite::{Row, ToSql, params_from_iter};
use serde_json::Value;

use super::StoreError;
use super::transaction::{Moment, sql};

/// A SIM's object with when it came and when it last changed.
#[derive(Clone, Debug)]
pub struct StoredSim {
    /// As in a fleet document.
    pub object: Value,
    /// In milliseconds since 1970; 0 where nobody knows.
    pub created_ms: i64,
    /// In milliseconds since 1970; 0 where nobody knows.
    pub modified_ms: i64,
}

/// What SIMs are listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimOrder {
    /// The order of SIM ids.
    SimId,
    /// The order of IMSIs.
    Imsi,
}

impl SimOrder {
    const fn column(self) -> &'static str {
        match self {
            Self::SimId => "sim_id",
            Self::Imsi => "imsi",
        }
    }
}

/// What a SIM must have to be listed: one of the texts, each in one of its columns.
#[derive(Clone, Debug)]
pub struct SimFilter {
    /// What is looked at.
    pub field: SimField,
    /// What it may be.
    pub texts: Vec<String>,
    /// How it is compared.
    pub matching: Matching,
}

/// Which SIMs are wanted.
#[derive(Clone, Debug, Default)]
pub struct SimQuery {
    /// What they must have: all of it.
    pub filters: Vec<SimFilter>,
    /// Whether one of it is enough.
    pub is_any: bool,
    /// Whether an address must lead to them, or none.
    pub is_online: Option<bool>,
}

/// Whether an address leads to a SIM: it is served, and has one of its own or a session.
const ONLINE: &str = "(coalesce(object ->> '$.status', 'active') = 'active' AND (object ->> '$.ip' IS NOT NULL \
                      OR coalesce(json_array_length(object, '$.ips'), 0) > 0 \
                      OR EXISTS (SELECT 1 FROM sessions WHERE sessions.imsi = sims.imsi)))";

/// What of a SIM is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimField {
    /// Its id.
    SimId,
    /// Its IMSI.
    Imsi,
    /// Its group's id.
    GroupId,
    /// Its status, `active` where none is written.
    Status,
    /// The tag `name`.
    Name,
    /// The tag of this name.
    Tag(String),
    /// Any tag's value.
    AnyTag,
}

impl SimField {
    /// Where it stands, if it is one value.
    const fn column(&self) -> Option<&'static str> {
        match self {
            Self::SimId => Some("sim_id"),
            Self::Imsi => Some("imsi"),
            Self::GroupId => Some("group_id"),
            Self::Status => Some("coalesce(object ->> '$.status', 'active')"),
            Self::Name => Some("(object ->> '$.tags.name')"),
            Self::Tag(_) | Self::AnyTag => None,
        }
    }
}

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// As a whole.
    Exact,
    /// From the beginning.
    Prefix,
    /// Anywhere.
    Part,
}

/// Texts that one question compares with one by one: each makes the database's condition deeper, which it bounds.
const TEXTS_MAX: usize = 100;

const COLUMNS: &str = "object, created_ms, modified_ms";

impl Moment<'_> {
    /// The SIM of an id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sim(&self, sim_id: &str) -> Result<Option<StoredSim>, StoreError> {
        self.one_sim("sim_id", sim_id)
    }

    /// The SIM of an IMSI.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sim_of_imsi(&self, imsi: &str) -> Result<Option<StoredSim>, StoreError> {
        self.one_sim("imsi", imsi)
    }

    fn one_sim(&self, column: &str, value: &str) -> Result<Option<StoredSim>, StoreError> {
        let text = format!("SELECT {COLUMNS} FROM sims WHERE {column} = ?1");
        let mut select = self.transaction.prepare_cached(&text)?;
        let mut rows = select.query([value])?;
        rows.next()?.map(stored).transpose()
    }

    /// SIMs behind `after` in an order.
    ///
    /// # Errors
    /// When there are too many texts to compare with, or the database refuses.
    pub fn sims(
        &self,
        order: SimOrder,
        after: &str,
        wanted: &SimQuery,
        limit: usize,
    ) -> Result<Vec<StoredSim>, StoreError> {
        let SimQuery {
            filters,
            is_any,
            is_online,
        } = wanted;
        let column = order.column();
        let mut values: Vec<Box<dyn ToSql>> =
            vec![Box::new(after.to_owned()), Box::new(sql(limit))];
        let mut conditions = Vec::new();
        let mut compared: usize = 0;
        for filter in filters {
            let mut alternatives = Vec::new();
            if let Some(column) = filter.field.column()
                && filter.matching == Matching::Exact
            {
                values.push(Box::new(Value::from(filter.texts.clone()).to_string()));
                let parameter = values.len();
                conditions.push(format!(
                    "{column} IN (SELECT value FROM json_each(?{parameter}))"
                ));
                continue;
            }
            compared = compared.saturating_add(filter.texts.len());
            if compared > TEXTS_MAX {
                return Err(StoreError::TooManyTexts);
            }
            for text in &filter.texts {
                values.push(Box::new(pattern(text, filter.matching)));
                let parameter = values.len();
                if let SimField::Tag(name) = &filter.field {
                    values.push(Box::new(name.clone()));
                }
                alternatives.push(condition(filter, parameter));
            }
            conditions.push(format!("({})", alternatives.join(" OR ")));
        }
        let joined = match (conditions.is_empty(), *is_any) {
            (true, _) => "1".to_owned(),
            (false, true) => conditions.join(" OR "),
            (false, false) => conditions.join(" AND "),
        };
        let online = match is_online {
            None => "1".to_owned(),
            Some(true) => ONLINE.to_owned(),
            Some(false) => format!("NOT {ONLINE}"),
        };
        let text = format!(
            "SELECT {COLUMNS} FROM sims WHERE {column} > ?1 AND ({joined}) AND {online} ORDER BY {column} LIMIT ?2"
        );
        let mut select = self.transaction.prepare_cached(&text)?;
        let mut rows = select.query(params_from_iter(values))?;
        let mut list = Vec::new();
        while let Some(row) = rows.next()? {
            list.push(stored(row)?);
        }
        Ok(list)
    }

    /// Puts a SIM in the place of the one with its id, if there is one. True when it is new.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_sim(&self, sim_id: &str, object: &Value, now_ms: i64) -> Result<bool, StoreError> {
        let text = object.to_string();
        let update = "UPDATE sims SET object = ?2, modified_ms = ?3 WHERE sim_id = ?1";
        let mut update = self.transaction.prepare_cached(update)?;
        if update.execute((sim_id, &text, now_ms))? > 0 {
            return Ok(false);
        }
        let insert = "INSERT INTO sims (object, created_ms, modified_ms) VALUES (?1, ?2, ?2)";
        let mut insert = self.transaction.prepare_cached(insert)?;
        insert.execute((&text, now_ms))?;
        Ok(true)
    }

    /// Removes a SIM; false where there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn delete_sim(&self, sim_id: &str) -> Result<bool, StoreError> {
        let delete = "DELETE FROM sims WHERE sim_id = ?1";
        Ok(self.transaction.execute(delete, [sim_id])? > 0)
    }

    /// Takes all SIMs and ranges out of a group.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn leave_group(&self, group_id: &str, now_ms: i64) -> Result<usize, StoreError> {
        let sims = "UPDATE sims SET object = json_remove(object, '$.groupId'), modified_ms = ?2 WHERE group_id = ?1";
        let ranges = "UPDATE sim_ranges SET object = json_remove(object, '$.groupId')
                      WHERE object ->> '$.groupId' = ?1";
        let left = self.transaction.execute(sims, (group_id, now_ms))?;
        Ok(left.saturating_add(self.transaction.execute(ranges, [group_id])?))
    }

    /// All ranges.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ranges(&self) -> Result<Vec<Value>, StoreError> {
        let select = "SELECT object FROM sim_ranges ORDER BY position";
        let mut select = self.transaction.prepare_cached(select)?;
        let mut rows = select.query([])?;
        let mut list = Vec::new();
        while let Some(row) = rows.next()? {
            let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            list.push(serde_json::from_str(text)?);
        }
        Ok(list)
    }
}

fn stored(row: &Row<'_>) -> Result<StoredSim, StoreError> {
    let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(StoredSim {
        object: serde_json::from_str(text)?,
        created_ms: row.get(1)?,
        modified_ms: row.get(2)?,
    })
}

/// A condition on the parameter of this number.
fn condition(filter: &SimFilter, parameter: usize) -> String {
    let compare = |value: &str| match filter.matching {
        Matching::Exact => format!("{value} = ?{parameter}"),
        Matching::Prefix | Matching::Part => format!("{value} LIKE ?{parameter} ESCAPE '\\'"),
    };
    if let Some(column) = filter.field.column() {
        return compare(column);
    }
    let of_name = if let SimField::Tag(_) = filter.field {
        format!("key = ?{} AND ", parameter.saturating_add(1))
    } else {
        String::new()
    };
    let value = compare("value");
    format!("EXISTS (SELECT 1 FROM json_each(object, '$.tags') WHERE {of_name}{value})")
}

fn pattern(text: &str, matching: Matching) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    match matching {
        Matching::Exact => text.to_owned(),
        Matching::Prefix => format!("{escaped}%"),
        Matching::Part => format!("%{escaped}%"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::empty;
    use super::*;

    #[test]
    fn many_texts_are_looked_for_or_refused() {
        let (_folder, registry) = empty();
        let sim =
            json!({"simId": "8981100000000000001", "imsi": "440100000000001", "groupId": "g 4999"});
        let find = |field: SimField, matching, count: usize| {
            let texts = (0..count).map(|number| format!("g {number}")).collect();
            let filter = SimFilter {
                field,
                texts,
                matching,
            };
            registry.change(|moment| {
                moment.put_sim("8981100000000000001", &sim, 1)?;
                let wanted = SimQuery {
                    filters: vec![filter],
                    ..SimQuery::default()
                };
                moment.sims(SimOrder::SimId, "", &wanted, 10)
            })
        };
        let group = find(SimField::GroupId, Matching::Exact, 5000).unwrap();
        assert_eq!(group.len(), 1);
        let name = |count| find(SimField::Name, Matching::Part, count);
        assert!(name(TEXTS_MAX).unwrap().is_empty());
        assert!(matches!(name(TEXTS_MAX + 1), Err(StoreError::TooManyTexts)));
    }
}
