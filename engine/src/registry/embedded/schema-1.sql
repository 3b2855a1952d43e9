-- Objects stand in the form of a fleet document; what they are looked up by is taken out of them by the database
-- itself. `position` is their place in the document. BLOBs are encrypted.

CREATE TABLE meta (
    name TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    position INTEGER PRIMARY KEY,
    group_id TEXT NOT NULL UNIQUE,
    object BLOB NOT NULL
) STRICT;

CREATE TABLE credentials (
    position INTEGER PRIMARY KEY,
    credentials_id TEXT NOT NULL UNIQUE,
    object BLOB NOT NULL
) STRICT;

CREATE TABLE sims (
    position INTEGER PRIMARY KEY,
    object TEXT NOT NULL,
    sim_id TEXT NOT NULL GENERATED ALWAYS AS (object ->> '$.simId') VIRTUAL,
    imsi TEXT NOT NULL GENERATED ALWAYS AS (object ->> '$.imsi') VIRTUAL,
    group_id TEXT GENERATED ALWAYS AS (object ->> '$.groupId') VIRTUAL
) STRICT;
CREATE UNIQUE INDEX sims_by_sim_id ON sims (sim_id);
CREATE UNIQUE INDEX sims_by_imsi ON sims (imsi);
CREATE INDEX sims_by_group_id ON sims (group_id);

CREATE TABLE sim_ranges (
    position INTEGER PRIMARY KEY,
    object TEXT NOT NULL
) STRICT;
