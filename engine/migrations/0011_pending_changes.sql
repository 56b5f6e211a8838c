-- When a role's password was set, in milliseconds of Unix time: later with every one. 0: never, or before this was kept.
ALTER TABLE roles ADD COLUMN password_set_at INTEGER NOT NULL DEFAULT 0;
-- And by whom. NULL: by whoever made the role.
ALTER TABLE roles ADD COLUMN password_set_by TEXT;

-- Changes that wait for another steward.
CREATE TABLE pending_changes (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    statement   TEXT NOT NULL,               -- as it will be run
    difference  TEXT NOT NULL,               -- what it would change when it was proposed
    grounds     TEXT NOT NULL,               -- of what: of another of the same name it is another change
    proposed_by TEXT NOT NULL,
    proposed_at INTEGER NOT NULL             -- seconds of Unix time
) STRICT;
