-- Kinds of units and what may be spent on each. What was spent is kept in charges by the kind's name: to drop a kind and create it
-- again gives nothing back.
CREATE TABLE privacy_units (
    kind       TEXT PRIMARY KEY NOT NULL,
    epsilon    REAL NOT NULL,
    delta      REAL NOT NULL,
    window_ms  INTEGER,                      -- NULL: the budget is for life
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- What a principal may spend of a kind, if less than everybody together. NULL: as the kind.
CREATE TABLE principal_budgets (
    kind      TEXT NOT NULL REFERENCES privacy_units (kind) ON DELETE CASCADE,
    principal TEXT NOT NULL,                 -- alice, or alice@cleveland through a peer
    epsilon   REAL,
    delta     REAL,
    PRIMARY KEY (kind, principal)
) STRICT;

-- Every charge there ever was; rows are neither changed nor deleted. Whole numbers, so that sums are the same in any order.
CREATE TABLE charges (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms           INTEGER NOT NULL,        -- milliseconds since 1970 by the ledger's clock: never less than the row before
    kind            TEXT NOT NULL,
    principal       TEXT NOT NULL,
    fingerprint     BLOB NOT NULL,           -- of the release, 32 bytes
    epsilon_nano    INTEGER NOT NULL,        -- ε · 10^9
    delta_atto      INTEGER NOT NULL,        -- δ · 10^18, of noise and selection
    rho_pico        INTEGER NOT NULL,        -- ρ · 10^12
    zcdp_delta_atto INTEGER NOT NULL         -- δ · 10^18 that comes on top of ρ: of selection
) STRICT;
CREATE INDEX charges_by_kind ON charges (kind, at_ms);
CREATE INDEX charges_by_principal ON charges (kind, principal, at_ms);

-- What was answered: the same release gets the same answer again, and is not charged.
CREATE TABLE answers (
    fingerprint BLOB PRIMARY KEY NOT NULL,
    charge      INTEGER NOT NULL REFERENCES charges (id),
    at_ms       INTEGER NOT NULL,
    answer      BLOB NOT NULL
) STRICT;

-- The latest moment that a charge was made or refused at: a clock that is set back does not go behind it.
CREATE TABLE ledger_clock (at_ms INTEGER NOT NULL) STRICT;
INSERT INTO ledger_clock VALUES (0);
