-- What the control plane keeps beside the fleet: when objects came and changed, who may use it, who changed what,
-- what SIMs used, and what happened to them. Times are milliseconds since 1970, starts of buckets are seconds.

ALTER TABLE groups ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE groups ADD COLUMN modified_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE credentials ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE credentials ADD COLUMN modified_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sims ADD COLUMN created_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sims ADD COLUMN modified_ms INTEGER NOT NULL DEFAULT 0;

CREATE TABLE users (
    email TEXT PRIMARY KEY NOT NULL,
    password_hash TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE auth_keys (
    auth_key_id TEXT PRIMARY KEY NOT NULL,
    email TEXT NOT NULL REFERENCES users (email),
    key_hash BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ms INTEGER NOT NULL,
    user TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL
) STRICT;

CREATE TABLE usage (
    imsi TEXT NOT NULL,
    period INTEGER NOT NULL,
    start INTEGER NOT NULL,
    platform TEXT NOT NULL,
    in_mqtt INTEGER NOT NULL,
    out_mqtt INTEGER NOT NULL,
    out_mqtts INTEGER NOT NULL,
    PRIMARY KEY (imsi, period, start, platform)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_start ON usage (period, start);

CREATE TABLE logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ms INTEGER NOT NULL,
    imsi TEXT NOT NULL,
    level TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX logs_by_imsi ON logs (imsi, id);
CREATE INDEX logs_by_time ON logs (time_ms);
