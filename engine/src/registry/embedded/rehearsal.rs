//! Rehearsal: what a change would do, found while it cannot be stored (B-ID-6). It runs as it is, in a transaction that is
//! undone, over tables in memory that stand before those of the file and hold what the change looks at.

use rusqlite::{Params, Transaction, TransactionBehavior};

use super::sessions::{SessionAct, SessionEvent};
use super::transaction::Moment;
use super::unwritten::Refusal;
use super::{EmbeddedRegistry, StoreError};
use crate::radius::Act;

/// What a change may look at and write.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Groups and credentials; SIMs may leave groups.
    Sections,
    /// What these events are about.
    Sessions(&'a [SessionEvent]),
}

impl EmbeddedRegistry {
    /// What `act` would return, and nothing of what it would write.
    ///
    /// # Errors
    /// Those of `act`, and when the database cannot be read.
    pub fn rehearse<T, E: Refusal>(
        &self,
        scope: Scope<'_>,
        act: impl FnOnce(&Moment<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.connection.borrow_mut();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred);
        let moment = Moment {
            transaction: transaction.map_err(StoreError::from)?,
            key: &self.key,
        };
        let shadow = Shadow(&moment.transaction);
        shadow.cast(scope).map_err(StoreError::from)?;
        let done = act(&moment)?;
        moment.transaction.rollback().map_err(StoreError::from)?;
        Ok(done)
    }
}

/// Tables in memory before those of the same names.
struct Shadow<'a>(&'a Transaction<'a>);

type Done = rusqlite::Result<()>;

impl Shadow<'_> {
    fn cast(&self, scope: Scope<'_>) -> Done {
        // Of every table, so that nothing is written to the file, whatever is.
        self.tables()?;
        match scope {
            Scope::Sections => {
                self.copy("groups", "1", ())?;
                self.copy("credentials", "1", ())
            }
            Scope::Sessions(events) => events.iter().try_for_each(|event| self.event(&event.act)),
        }
    }

    /// The same tables, empty, with their keys.
    fn tables(&self) -> Done {
        let select =
            "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut select = self.0.prepare(select)?;
        let texts = select.query_map((), |row| row.get::<_, String>(0))?;
        let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
        texts.iter().try_for_each(|text| {
            let text = text.replacen("CREATE TABLE", "CREATE TEMP TABLE", 1);
            self.0.execute_batch(&text)
        })
    }

    fn copy(&self, table: &str, condition: &str, parameters: impl Params) -> Done {
        let insert = format!(
            "INSERT OR IGNORE INTO temp.{table} SELECT * FROM main.{table} WHERE {condition}"
        );
        self.0
            .prepare_cached(&insert)?
            .execute(parameters)
            .map(drop)
    }

    /// Everything that an event can concern.
    fn event(&self, act: &SessionAct) -> Done {
        match act {
            SessionAct::Accounting(told) => {
                if let Some(request) = &told.request {
                    // Whether it is one that was sent again.
                    let condition = "nas = ?1 AND authenticator = ?2";
                    self.copy("accounting_requests", condition, (&*told.nas, request))?;
                }
                self.accounting(&told.nas, &told.act)
            }
            SessionAct::Bind {
                network,
                block,
                imsi,
                ..
            } => {
                self.of_block(network, block)?;
                self.of_sim(imsi.as_str())
            }
            SessionAct::Unbind { network, block } => self.of_block(network, block),
            SessionAct::UnbindSim { imsi } => self.of_sim(imsi.as_str()),
            SessionAct::Replace {
                network,
                url,
                sessions,
                ..
            } => {
                self.copy(
                    "sessions",
                    "network = ?1 AND nas = ?2",
                    (&**network, &**url),
                )?;
                let mut sessions = sessions.iter();
                sessions.try_for_each(|session| self.of_block(network, &session.block))
            }
        }
    }

    fn accounting(&self, nas: &str, act: &Act) -> Done {
        let heard = "nas = ?1 AND session_id IN (?2, '')";
        match act {
            Act::Bind {
                session_id,
                network,
                imsi,
                blocks,
                ..
            } => {
                self.copy("accounting", heard, (nas, &**session_id))?;
                self.copy(
                    "sessions",
                    "nas = ?1 AND session_id = ?2",
                    (nas, &**session_id),
                )?;
                self.of_sim(imsi.as_str())?;
                blocks
                    .iter()
                    .try_for_each(|block| self.of_block(network, block))
            }
            Act::Stop { session_id, .. } => {
                self.copy("accounting", heard, (nas, &**session_id))?;
                self.copy(
                    "sessions",
                    "nas = ?1 AND session_id = ?2",
                    (nas, &**session_id),
                )
            }
            Act::On | Act::Off => {
                self.copy("accounting", "nas = ?1", [nas])?;
                self.copy("sessions", "nas = ?1", [nas])
            }
        }
    }

    fn of_block(&self, network: &str, block: &ipnet::IpNet) -> Done {
        let block = block.trunc();
        let key = (network, block.addr().to_string(), block.prefix_len());
        self.copy(
            "sessions",
            "network = ?1 AND address = ?2 AND prefix = ?3",
            key,
        )
    }

    fn of_sim(&self, imsi: &str) -> Done {
        self.copy("sessions", "imsi = ?1", [imsi])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rusqlite::Connection;
    use serde_json::json;

    use super::super::sealed::Sealed;
    use super::super::tests::empty;
    use super::super::unwritten::Unwritten;
    use super::*;
    use crate::fleet::SecretValue;
    use crate::open5gs;
    use crate::radius::AccountingEvent;
    use crate::registry::sessions::SessionChange;

    fn bind(time_ms: i64, imsi: &str) -> SessionEvent {
        let act = SessionAct::Bind {
            network: "default".into(),
            block: "10.0.0.1/32".parse().unwrap(),
            imsi: imsi.parse().unwrap(),
            imei: None,
        };
        SessionEvent { time_ms, act }
    }

    fn begin(id: &str, imsi: &str, block: &str) -> Act {
        Act::Bind {
            is_start: true,
            session_id: id.into(),
            multi_session_id: "".into(),
            network: "default".into(),
            apn: "apn".into(),
            imsi: imsi.parse().unwrap(),
            imei: None,
            blocks: vec![block.parse().unwrap()],
        }
    }

    fn list(imsi: &str, block: &str) -> SessionEvent {
        let session = open5gs::Session {
            imsi: imsi.parse().unwrap(),
            imei: None,
            block: block.parse().unwrap(),
            dnn: String::new(),
        };
        let act = SessionAct::Replace {
            network: "default".into(),
            url: "u".into(),
            sessions: vec![session],
            unread: Vec::new(),
        };
        SessionEvent { time_ms: 1, act }
    }

    /// Every kind of event runs while another program writes, and finds what it takes.
    #[test]
    fn b_id_6_whatever_happens_can_be_rehearsed() {
        let (folder, registry) = empty();
        let nas: Arc<str> = "10.0.0.9".into();
        let told = |time_ms, act| {
            SessionEvent::from(AccountingEvent {
                nas: Arc::clone(&nas),
                client: "".into(),
                networks: ["default".into()].into(),
                request: Some([u8::try_from(time_ms).unwrap(); 16]),
                own_ms: None,
                time_ms,
                act,
            })
        };
        let (one, two) = ("440100000000001", "440100000000002");
        let before = [
            bind(1, one),
            told(2, begin("a", one, "10.0.0.2/32")),
            list(two, "10.0.0.3/32"),
        ];
        registry
            .change(|moment| moment.apply_sessions(&before))
            .unwrap();
        let other = Connection::open(folder.path().join("db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let act = |act| SessionEvent { time_ms: 9, act };
        for (event, changed) in [
            (told(9, begin("b", two, "10.0.0.2/32")), 1),
            (told(9, begin("a", one, "10.0.0.4/32")), 2),
            // One that was sent before.
            (told(2, Act::Off), 0),
            (
                told(
                    9,
                    Act::Stop {
                        session_id: "a".into(),
                        imsi: None,
                    },
                ),
                1,
            ),
            (told(9, Act::On), 1),
            (told(9, Act::Off), 1),
            (list(one, "10.0.0.3/32"), 1),
            (list(two, "10.0.0.5/32"), 2),
            (bind(9, two), 1),
            (
                act(SessionAct::Unbind {
                    network: "default".into(),
                    block: "10.0.0.1/32".parse().unwrap(),
                }),
                1,
            ),
            (
                act(SessionAct::UnbindSim {
                    imsi: one.parse().unwrap(),
                }),
                2,
            ),
        ] {
            let events = [event];
            let scope = Scope::Sessions(&events);
            let changes: Result<_, StoreError> =
                registry.rehearse(scope, |moment| moment.apply_sessions(&events));
            assert_eq!(changes.unwrap().len(), changed, "{events:?}");
        }
    }

    #[test]
    fn b_id_6_a_rehearsal_says_what_a_change_would_do_and_leaves_nothing_behind() {
        let (folder, registry) = empty();
        let (one, two) = ("440100000000001", "440100000000002");
        let first = [bind(1, one)];
        let apply =
            |events: &[SessionEvent]| registry.change(|moment| moment.apply_sessions(events));
        apply(&first).unwrap();
        let group = SecretValue(json!({"groupId": "g", "x": 1}));
        registry
            .change(|moment| moment.put_sealed(Sealed::Groups, &group, 1))
            .unwrap();

        // Somebody else writes, and does not end.
        let other = Connection::open(folder.path().join("db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        registry.set_patience(Duration::ZERO).unwrap();
        let events = [bind(2, two)];
        let refused = apply(&events).unwrap_err();
        assert_eq!(refused.unwritten(), Some(Unwritten::Busy));
        assert_eq!(registry.unwritten(), Some(Unwritten::Busy));
        for _ in 0..2 {
            let scope = Scope::Sessions(&events);
            let changes = registry.rehearse(scope, |moment| moment.apply_sessions(&events));
            let [SessionChange::Bound { imsi, before, .. }] = &changes.unwrap()[..] else {
                panic!("one address goes from one to another");
            };
            assert_eq!((imsi.as_str(), before.unwrap().as_str()), (two, one));
            let left = registry.rehearse(Scope::Sections, |moment| {
                let is_there = moment.delete_sealed(Sealed::Groups, "g")?;
                let (groups, _) = moment.sections()?;
                Ok::<_, StoreError>((is_there, groups.0.clone()))
            });
            assert_eq!(left.unwrap(), (true, json!([])));
        }
        other.execute_batch("ROLLBACK").unwrap();
        let held = registry.read(|moment| moment.sessions_of(&one.parse().unwrap()));
        assert_eq!(held.unwrap().len(), 1);
        assert!(
            registry
                .read(|moment| moment.sealed(Sealed::Groups, "g"))
                .unwrap()
                .is_some()
        );
        apply(&events).unwrap();
        assert_eq!(registry.unwritten(), None);
        let held = registry.read(|moment| moment.sessions_of(&two.parse().unwrap()));
        assert_eq!(held.unwrap().len(), 1);
    }
}
