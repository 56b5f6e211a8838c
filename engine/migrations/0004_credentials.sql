-- Tokens issued up to this second, of Unix time, are no longer taken.
ALTER TABLE roles ADD COLUMN tokens_from INTEGER NOT NULL DEFAULT 0;

-- Keys for services. The key itself is nowhere.
CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY NOT NULL,  -- the part that is shown
    hash         BLOB NOT NULL,              -- SHA-256 of the whole key
    role         TEXT NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    scopes       TEXT NOT NULL,              -- pg,flight,http
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,           -- seconds of Unix time
    expires_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL DEFAULT 0, -- 0: never
    UNIQUE (role, name)
) STRICT;
