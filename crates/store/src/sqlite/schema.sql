-- `id` is never given twice: what remembers one of a rig that has gone can't meet another rig.
CREATE TABLE rig (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);

-- The values of a sensor are in the column `v` with its id. Columns can't bear the sensors' names,
-- because SQLite doesn't tell `Temp` from `temp` there.
CREATE TABLE sensor (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- `tick` is in nanoseconds since 1970. The columns of sensors are added as they are first seen,
-- without a type: as REAL, -0.0 would come back as 0.0.
CREATE TABLE row (
    rig INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    PRIMARY KEY (rig, tick)
) WITHOUT ROWID;

-- Which sensors a rig has values of, and in which hour since 1970 the newest of each is.
CREATE TABLE newest (
    rig INTEGER NOT NULL,
    sensor INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    PRIMARY KEY (rig, sensor)
) WITHOUT ROWID;

-- Written over and over, to see whether there is room to write.
CREATE TABLE probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL);
