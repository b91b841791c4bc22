-- Lists: a row an element, oldest first. Elements leave at the head only, so the ids of a list are
-- contiguous, and its length is known from the first and the last.
CREATE TABLE IF NOT EXISTS raw (id INTEGER PRIMARY KEY, item BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS normalized (id INTEGER PRIMARY KEY, item BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS dead (id INTEGER PRIMARY KEY, item BLOB NOT NULL);

-- `number` and `by` are the commit number and the token of the last commit, `tokens` counts the
-- tokens given out; `token` and `until` (Unix milliseconds) are the lease.
CREATE TABLE IF NOT EXISTS consumer (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL DEFAULT 0,
    by TEXT NOT NULL DEFAULT '',
    tokens INTEGER NOT NULL DEFAULT 0,
    token TEXT NOT NULL DEFAULT '',
    until INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS state (
    consumer TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (consumer, key)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS ledger (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
