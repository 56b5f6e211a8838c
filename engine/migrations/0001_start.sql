-- Roles of this node, and names of peers' roles (alice@cleveland) that are granted something here.
CREATE TABLE roles (
    name       TEXT PRIMARY KEY NOT NULL,
    verifier   TEXT,                         -- SCRAM-SHA-256$…; none: no password
    login      INTEGER NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

-- role is a built-in role or one of roles.
CREATE TABLE memberships (
    role   TEXT NOT NULL,
    member TEXT NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    PRIMARY KEY (role, member)
) STRICT;

-- Every table that ever had an oid and still exists, a peer's too. AUTOINCREMENT: an oid is never used again.
CREATE TABLE objects (
    oid         INTEGER PRIMARY KEY AUTOINCREMENT,
    schema_name TEXT NOT NULL,
    name        TEXT NOT NULL,
    UNIQUE (schema_name, name)
) STRICT;
INSERT INTO sqlite_sequence (name, seq) VALUES ('objects', 16383);

-- Tables registered here (schema public).
CREATE TABLE tables (
    oid           INTEGER PRIMARY KEY NOT NULL REFERENCES objects (oid) ON DELETE CASCADE,
    source        TEXT NOT NULL,             -- JSON: kind, location and how to read it
    arrow_schema  BLOB NOT NULL,             -- an Arrow IPC stream without batches
    description   TEXT,
    owner         TEXT NOT NULL,
    policy        TEXT NOT NULL,             -- JSON
    registered_at TEXT NOT NULL,
    updated_at    TEXT NOT NULL
) STRICT;

CREATE TABLE columns (
    oid         INTEGER NOT NULL REFERENCES tables (oid) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    settings    TEXT NOT NULL,               -- JSON: role, lower, upper, domain, other
    description TEXT,
    PRIMARY KEY (oid, name)
) STRICT;

-- SELECT on a table, by name: a peer's table keeps its grants while it is not offered.
CREATE TABLE grants (
    schema_name TEXT NOT NULL,
    table_name  TEXT NOT NULL,
    grantee     TEXT NOT NULL,
    PRIMARY KEY (schema_name, table_name, grantee)
) STRICT;

-- The last valid descriptor of each peer.
CREATE TABLE peers (
    node_id     TEXT PRIMARY KEY NOT NULL,
    fingerprint BLOB NOT NULL,
    sequence    INTEGER NOT NULL,
    descriptor  BLOB NOT NULL,
    seen_at     TEXT NOT NULL
) STRICT;

-- Nonces of tickets, until they are past expiry and skew (seconds since 1970).
CREATE TABLE nonces (
    issuer     TEXT NOT NULL,
    nonce      TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, nonce)
) STRICT;
CREATE INDEX nonces_by_expiry ON nonces (expires_at);

CREATE TABLE settings (
    key   TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;

-- Grows with every change of roles, tables, policies and grants, so that an older state never replaces a newer one in memory.
CREATE TABLE catalog_version (version INTEGER NOT NULL) STRICT;
INSERT INTO catalog_version VALUES (1);
