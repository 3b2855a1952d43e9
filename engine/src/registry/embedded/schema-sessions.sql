-- Sessions of SIMs: which SIM has which addresses. Times are milliseconds since the Unix epoch, by the event's own clock.

CREATE TABLE sessions (
    network TEXT NOT NULL,
    -- The block's first address and its bits.
    address TEXT NOT NULL,
    prefix INTEGER NOT NULL,
    imsi TEXT NOT NULL,
    imei TEXT,
    source TEXT NOT NULL CHECK (source IN ('radius', 'api', 'open5gs')),
    -- The access server (radius) or URL (open5gs) that told of it.
    nas TEXT NOT NULL,
    session_id TEXT NOT NULL,
    multi_session_id TEXT NOT NULL,
    apn TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (network, address, prefix)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_imsi ON sessions (imsi);
CREATE INDEX sessions_by_nas ON sessions (nas, session_id);

-- What was last heard of each RADIUS session, so that what comes late or again changes nothing. The row without a
-- session's id is the access server itself: before its time no session of it can have been.
CREATE TABLE accounting (
    nas TEXT NOT NULL,
    session_id TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    is_over INTEGER NOT NULL,
    PRIMARY KEY (nas, session_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX accounting_by_time ON accounting (updated_ms);
CREATE INDEX accounting_over_by_time ON accounting (updated_ms) WHERE is_over = 1;

CREATE TABLE session_events (
    position INTEGER PRIMARY KEY,
    imsi TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('Created', 'Modified', 'Deleted')),
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    imei TEXT,
    apn TEXT NOT NULL,
    session_id TEXT NOT NULL
) STRICT;
CREATE INDEX session_events_by_imsi ON session_events (imsi, time_ms);
CREATE INDEX session_events_by_time ON session_events (time_ms);
