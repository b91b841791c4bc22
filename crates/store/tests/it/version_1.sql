-- A store as Rigline 0.1.0 leaves it, read out of a file that it made. The rig `old` has been deleted for
-- its age; the sensor `gone` was its only one.
PRAGMA application_id = 0x5249474C;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
BEGIN;

CREATE TABLE rig (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
INSERT INTO rig VALUES (1, 'old'), (2, 'RIG-1'), (3, 'rig-1');
DELETE FROM rig WHERE id = 1;

CREATE TABLE sensor (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
INSERT INTO sensor VALUES (1, 'gone'), (2, 'temp'), (3, 'Temp'), (4, 'flow.rate'), (5, 'tick');

CREATE TABLE row (
    rig INTEGER NOT NULL,
    tick INTEGER NOT NULL, v1, v2, v3, v4, v5,
    PRIMARY KEY (rig, tick)
) WITHOUT ROWID;
INSERT INTO row VALUES
    (2, -1, NULL, 1.5, -0.0, 5e-324, NULL),
    (2, 1762093293000000000, NULL, 0.30000000000000004, NULL, NULL, NULL),
    (2, 1762093294000000000, NULL, NULL, NULL, 14.0, NULL),
    (3, 1762093293000000001, NULL, 78.0, NULL, NULL, 1.7976931348623157e+308);

CREATE TABLE newest (
    rig INTEGER NOT NULL,
    sensor INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    PRIMARY KEY (rig, sensor)
) WITHOUT ROWID;
INSERT INTO newest VALUES (2, 2, 489470), (2, 3, -1), (2, 4, 489470), (3, 2, 489470), (3, 5, 489470);

CREATE TABLE probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL);
INSERT INTO probe VALUES (1, randomblob(65536));

CREATE VIEW rows AS SELECT
            rig.name AS rig_id,
            strftime('%Y-%m-%dT%H:%M:%S', tick / 1000000000 - (tick % 1000000000 < 0), 'unixepoch')
                || CASE tick % 1000000000 WHEN 0 THEN 'Z' ELSE
                    printf('.%09dZ', (tick % 1000000000 + 1000000000) % 1000000000) END AS time,
            tick, v1 AS "gone", v2 AS "temp", v3 AS "Temp (3)", v4 AS "flow.rate", v5 AS "tick (5)" FROM row JOIN rig ON rig.id = row.rig;
COMMIT;
