-- The audit log. Rows are only added, by one function, within the write transaction of what they are about.
CREATE TABLE audit_entries (
    seq       INTEGER PRIMARY KEY NOT NULL,  -- 1, 2, 3 …
    principal TEXT NOT NULL,                 -- as in the entry: to find one's own
    entry     BLOB NOT NULL,                 -- canonical encoding, the previous entry's hash first
    literals  BLOB,                          -- sealed; the entry holds their SHA-256
    hash      BLOB NOT NULL                  -- SHA-256 of entry
) STRICT;
CREATE INDEX audit_entries_by_principal ON audit_entries (principal, seq);

-- Where the log ends: how many entries, the last one's hash, and the perfect subtrees of its Merkle tree (32 bytes each, the largest first).
CREATE TABLE audit_head (
    size INTEGER NOT NULL,
    hash BLOB NOT NULL,
    tree BLOB NOT NULL
) STRICT;
INSERT INTO audit_head VALUES (0, zeroblob(32), x'');

-- Signed checkpoints: this node's own, and the newest of each peer.
CREATE TABLE audit_checkpoints (
    node_id TEXT NOT NULL,
    size    INTEGER NOT NULL,
    root    BLOB NOT NULL,
    note    TEXT NOT NULL,                   -- C2SP signed note
    at_ms   INTEGER NOT NULL,                -- when it was signed, or came here
    PRIMARY KEY (node_id, size, root)
) STRICT;
