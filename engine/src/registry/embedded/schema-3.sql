-- Which client told of a session, and what else it takes to tell sessions with one id, and requests that come again, apart.

-- Empty where it is no client's own.
ALTER TABLE sessions ADD COLUMN client TEXT NOT NULL DEFAULT '';

CREATE TABLE accounting_of_clients (
    nas TEXT NOT NULL,
    session_id TEXT NOT NULL,
    client TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    is_over INTEGER NOT NULL,
    imsi TEXT,
    -- By the access server's own clock, whatever that shows: when the session began, or when it ended if it is over.
    own_ms INTEGER,
    PRIMARY KEY (nas, session_id, client)
) STRICT, WITHOUT ROWID;
INSERT INTO accounting_of_clients SELECT nas, session_id, '', updated_ms, is_over, NULL, NULL FROM accounting;
DROP TABLE accounting;
ALTER TABLE accounting_of_clients RENAME TO accounting;
CREATE INDEX accounting_by_time ON accounting (updated_ms);
CREATE INDEX accounting_over_by_time ON accounting (updated_ms) WHERE is_over = 1;

-- Requests that gave or ended something, by their authenticators, and when they came.
CREATE TABLE accounting_requests (
    nas TEXT NOT NULL,
    authenticator BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (nas, authenticator)
) STRICT, WITHOUT ROWID;
CREATE INDEX accounting_requests_by_time ON accounting_requests (time_ms);
