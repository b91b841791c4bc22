-- How far the pipeline's source was read, by its partitions.
CREATE TABLE IF NOT EXISTS positions (partition TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
