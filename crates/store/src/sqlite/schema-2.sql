-- Series of any pipeline, and fields of four types. SQLite renames tables and columns in views, too. The
-- view `rows` is there meanwhile, since a view of a user's that reads it would end the migration otherwise.

-- `key` is a rig's name, or the tags of a series of another pipeline as a JSON object.
ALTER TABLE rig RENAME TO series;
ALTER TABLE series RENAME COLUMN name TO key;

-- The type of a field's values: 'float', 'integer', 'bool' (stored as 0 and 1) or 'string'.
ALTER TABLE sensor RENAME TO field;
ALTER TABLE field ADD COLUMN type TEXT NOT NULL DEFAULT 'float';

ALTER TABLE row RENAME COLUMN rig TO series;
ALTER TABLE newest RENAME COLUMN rig TO series;
ALTER TABLE newest RENAME COLUMN sensor TO field;
-- To see whether a field has values.
CREATE INDEX newest_of_field ON newest (field);

-- The names of the tags, for the columns of the view `rows`; none in a store of rigs.
CREATE TABLE tag (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
