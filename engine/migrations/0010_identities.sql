-- Which role a subject of the institution's issuer of tokens is.
CREATE TABLE role_identities (
    issuer      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    role        TEXT NOT NULL REFERENCES roles (name) ON DELETE CASCADE,
    tokens_from INTEGER NOT NULL DEFAULT 0,  -- tokens issued up to this second, of Unix time, are no longer taken
    PRIMARY KEY (issuer, subject),
    UNIQUE (issuer, role)
) STRICT;
