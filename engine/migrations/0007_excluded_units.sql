-- Units that opted out: no protected scan of this site reads their rows. A value is compared with the unit column in that column's type.
CREATE TABLE excluded_units (
    kind        TEXT NOT NULL,
    value       TEXT NOT NULL,
    excluded_at TEXT NOT NULL,
    excluded_by TEXT NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT;
