//! Document: a registry's tables as a fleet document, and back. Objects keep all their keys, and lists their order;
//! a million SIMs pass one by one.

use std::io::Write;

use rusqlite::{Connection, Statement, Transaction};
use serde_json::Value;

use super::StoreError;
use super::sealed::Sealed;
use super::secret::SecretKey;
use crate::fleet::{FleetReader, SecretValue, Sections, visit};
use crate::problem::Problem;

const SIMS: &str = "SELECT object FROM sims ORDER BY position";
const RANGES: &str = "SELECT object FROM sim_ranges ORDER BY position";

/// Puts the fleet of a valid document in the place of the one that is there, in one transaction.
pub(super) fn import(
    transaction: &Transaction<'_>,
    key: &SecretKey,
    document: &[u8],
    keep: &impl Keep,
    now_ms: i64,
) -> Result<(), StoreError> {
    transaction.execute_batch(
        "DELETE FROM groups; DELETE FROM credentials; DELETE FROM sims; DELETE FROM sim_ranges;",
    )?;
    let mut writer = Writer::new(transaction, key, now_ms)?;
    let mut keeping = Keeping {
        inner: &mut writer,
        keep,
    };
    visit(document, &mut keeping)?;
    writer.finish()
}

/// Puts what is there already into groups and credentials of a document.
pub(super) trait Keep {
    /// Into all of a table.
    fn keep(&self, table: Sealed, list: &mut SecretValue);

    /// What could not be kept.
    fn refusals(&self) -> Vec<Problem>;
}

/// Sections of a document with what is kept in them.
pub(super) struct Keeping<'a, S, K> {
    pub(super) inner: &'a mut S,
    pub(super) keep: &'a K,
}

impl<S: Sections, K: Keep> Sections for Keeping<'_, S, K> {
    fn groups(&mut self, mut groups: SecretValue) {
        self.keep.keep(Sealed::Groups, &mut groups);
        self.inner.groups(groups);
    }

    fn credentials(&mut self, mut credentials: SecretValue) {
        self.keep.keep(Sealed::Credentials, &mut credentials);
        self.inner.credentials(credentials);
    }

    fn sim(&mut self, index: usize, sim: &Value) {
        self.inner.sim(index, sim);
    }

    fn range(&mut self, index: usize, range: &Value) {
        self.inner.range(index, range);
    }

    fn unknown(&mut self, key: &str) {
        self.inner.unknown(key);
    }
}

/// Writes the sections of a document into their tables.
struct Writer<'a> {
    transaction: &'a Transaction<'a>,
    key: &'a SecretKey,
    sims: Statement<'a>,
    ranges: Statement<'a>,
    now_ms: i64,
    /// The first thing that went wrong.
    failure: Option<StoreError>,
}

impl<'a> Writer<'a> {
    fn new(
        transaction: &'a Transaction<'a>,
        key: &'a SecretKey,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            transaction,
            key,
            sims: transaction.prepare(
                "INSERT INTO sims (object, created_ms, modified_ms) VALUES (?1, ?2, ?2)",
            )?,
            ranges: transaction.prepare("INSERT INTO sim_ranges (object) VALUES (?1)")?,
            now_ms,
            failure: None,
        })
    }

    fn finish(self) -> Result<(), StoreError> {
        self.failure.map_or(Ok(()), Err)
    }

    /// Does one more step, unless one has failed.
    fn step(&mut self, step: impl FnOnce(&mut Self) -> Result<(), StoreError>) {
        if self.failure.is_none()
            && let Err(error) = step(self)
        {
            self.failure = Some(error);
        }
    }

    fn sealed(&self, table: Sealed, list: &SecretValue) -> Result<(), StoreError> {
        let (name, column) = (table.table(), table.column());
        let mut insert = self.transaction.prepare(&format!(
            "INSERT INTO {name} ({column}, object, created_ms, modified_ms) VALUES (?1, ?2, ?3, ?3)"
        ))?;
        for object in list.0.as_array().into_iter().flatten() {
            let (id, sealed) = table.seal(self.key, object)?;
            insert.execute((id, sealed, self.now_ms))?;
        }
        Ok(())
    }
}

impl Sections for Writer<'_> {
    fn groups(&mut self, groups: SecretValue) {
        self.step(|writer| writer.sealed(Sealed::Groups, &groups));
    }

    fn credentials(&mut self, credentials: SecretValue) {
        self.step(|writer| writer.sealed(Sealed::Credentials, &credentials));
    }

    fn sim(&mut self, _: usize, sim: &Value) {
        self.step(|writer| {
            writer.sims.execute((sim.to_string(), writer.now_ms))?;
            Ok(())
        });
    }

    fn range(&mut self, _: usize, range: &Value) {
        self.step(|writer| {
            writer.ranges.execute([range.to_string()])?;
            Ok(())
        });
    }

    fn unknown(&mut self, _: &str) {
        // A valid document has none.
    }
}

/// Reads the fleet that is there, as of one moment.
pub(super) fn read(
    connection: &mut Connection,
    key: &SecretKey,
    reader: &mut FleetReader,
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    reader.groups(sealed(&transaction, key, Sealed::Groups)?);
    reader.credentials(sealed(&transaction, key, Sealed::Credentials)?);
    reader.expect(count(&transaction, "SELECT count(*) FROM sims")?);
    plain(&transaction, SIMS, |index, object| {
        reader.sim(index, &object);
        Ok(())
    })?;
    plain(&transaction, RANGES, |index, object| {
        reader.range(index, &object);
        Ok(())
    })
}

/// Writes the fleet that is there, as of one moment, one object a line.
pub(super) fn export(
    connection: &mut Connection,
    key: &SecretKey,
    output: &mut impl Write,
    show: impl Fn(Sealed, &mut Value),
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    let mut separator = "{";
    for table in [Sealed::Groups, Sealed::Credentials] {
        let mut list = sealed(&transaction, key, table)?;
        let objects = list.0.as_array_mut().into_iter().flatten();
        objects.for_each(|object| show(table, object));
        write!(output, "{separator}\n\"{}\": [", table.table())?;
        for (index, object) in list.0.as_array().into_iter().flatten().enumerate() {
            element(output, index, object)?;
        }
        separator = "],";
    }
    for (name, select) in [("sims", SIMS), ("simRanges", RANGES)] {
        write!(output, "{separator}\n\"{name}\": [")?;
        plain(&transaction, select, |index, object| {
            element(output, index, &object)
        })?;
    }
    output.write_all(b"]\n}\n")?;
    output.flush()?;
    Ok(())
}

fn element(output: &mut impl Write, index: usize, object: &Value) -> Result<(), StoreError> {
    output.write_all(if index == 0 { b"\n" } else { b",\n" })?;
    serde_json::to_writer(output, object)?;
    Ok(())
}

/// All groups and all credentials.
pub(super) fn sections(
    transaction: &Transaction<'_>,
    key: &SecretKey,
) -> Result<(SecretValue, SecretValue), StoreError> {
    let groups = sealed(transaction, key, Sealed::Groups)?;
    Ok((groups, sealed(transaction, key, Sealed::Credentials)?))
}

/// How many rows there are.
fn count(connection: &Connection, select: &str) -> Result<usize, StoreError> {
    let count: i64 = connection.query_row(select, [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// All objects of an encrypted table, as a list.
fn sealed(
    transaction: &Transaction<'_>,
    key: &SecretKey,
    table: Sealed,
) -> Result<SecretValue, StoreError> {
    let (name, column) = (table.table(), table.column());
    let mut select = transaction.prepare(&format!(
        "SELECT {column}, object FROM {name} ORDER BY position"
    ))?;
    let mut rows = select.query([])?;
    let mut list = SecretValue(Value::Array(Vec::new()));
    while let Some(row) = rows.next()? {
        let object = table.open(key, row)?;
        if let Value::Array(list) = &mut list.0 {
            list.push(object);
        }
    }
    Ok(list)
}

/// Every object of a table in clear.
fn plain(
    transaction: &Transaction<'_>,
    select: &str,
    mut take: impl FnMut(usize, Value) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut select = transaction.prepare(select)?;
    let mut rows = select.query([])?;
    let mut index: usize = 0;
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        take(index, serde_json::from_str(text)?)?;
        index = index.saturating_add(1);
    }
    Ok(())
}
