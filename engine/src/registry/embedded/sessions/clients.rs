//! Clients: sessions belong to the RADIUS client that told of them. What becomes of that when clients come, go and change
//! their rights.

use rusqlite::Connection;
use serde_json::json;

/// Has sessions be no client's own whose client is none of `names` any more, and those of access servers that are
/// `listed` now: whoever may speak of the access server may end them.
///
/// # Errors
/// When the database refuses.
pub fn settle_clients(
    connection: &Connection,
    names: &[&str],
    listed: &[&str],
) -> Result<(), rusqlite::Error> {
    let (names, listed) = (json!(names).to_string(), json!(listed).to_string());
    for table in ["sessions", "accounting"] {
        connection.execute(
            &format!(
                "UPDATE OR REPLACE {table} SET client = '' WHERE client <> '' \
                 AND (client NOT IN (SELECT value FROM json_each(?1)) OR nas IN (SELECT value FROM json_each(?2)))"
            ),
            (&names, &listed),
        )?;
    }
    Ok(())
}
