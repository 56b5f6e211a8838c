-- What is suspended: a role or a role of a peer (kind role), a peer by the fingerprint of its key (peer), this node (node, without a name).
CREATE TABLE suspensions (
    kind    TEXT NOT NULL,
    name    TEXT NOT NULL,
    shown   TEXT NOT NULL,                   -- what people call it
    since   TEXT NOT NULL,
    by_role TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT;

-- What a role may spend of every kind of units, each in its own window. NULL: as the kind. Kept by name, as charges are.
CREATE TABLE role_budgets (
    role    TEXT PRIMARY KEY NOT NULL,
    epsilon REAL,
    delta   REAL
) STRICT;
