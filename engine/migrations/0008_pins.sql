-- Peers that were pinned while the node ran. Those of the configuration are not here.
CREATE TABLE pins (
    fingerprint BLOB PRIMARY KEY NOT NULL,   -- SHA-256 of the peer's public key
    node_id     TEXT NOT NULL UNIQUE,        -- as its invite told
    host        TEXT NOT NULL,
    port        INTEGER NOT NULL,
    pinned_at   TEXT NOT NULL,
    pinned_by   TEXT NOT NULL
) STRICT;

-- Invites that were made. What they show is nowhere.
CREATE TABLE invites (
    hash       BLOB PRIMARY KEY NOT NULL,    -- SHA-256 of the secret
    expires_at INTEGER NOT NULL,             -- seconds of Unix time
    made_by    TEXT NOT NULL,
    used_by    BLOB                          -- the fingerprint of the node that accepted it
) STRICT;

-- What a peer may ask for, by the fingerprint of its key, whoever pins it. NULL: as much as is granted.
CREATE TABLE peer_rules (
    fingerprint           TEXT PRIMARY KEY NOT NULL,
    may_query             INTEGER NOT NULL DEFAULT 1,
    tables                TEXT,              -- JSON: names of tables
    statements_per_second INTEGER,
    budget_epsilon        REAL
) STRICT;
