-- Signed checkpoints of this node's own log that do not fit it: its store is an older copy of itself, or was changed. While one is not written off,
-- protected tables of this node answer nothing.
CREATE TABLE lost_checkpoints (
    size           INTEGER NOT NULL,
    root           BLOB NOT NULL,
    why            TEXT NOT NULL,
    found_at       TEXT NOT NULL,
    written_off_at TEXT,
    PRIMARY KEY (size, root)
) STRICT;
