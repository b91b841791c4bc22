-- store.db of version 0.1.
PRAGMA journal_mode = WAL;
PRAGMA application_id = 1380534092;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE newest (
    rig INTEGER NOT NULL,
    sensor INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    PRIMARY KEY (rig, sensor)
) WITHOUT ROWID;
INSERT INTO "newest" VALUES(1,1,498656);
INSERT INTO "newest" VALUES(1,2,498656);
INSERT INTO "newest" VALUES(1,3,498656);
INSERT INTO "newest" VALUES(1,4,498656);
INSERT INTO "newest" VALUES(1,5,498656);
INSERT INTO "newest" VALUES(1,6,498656);
INSERT INTO "newest" VALUES(2,1,498656);
INSERT INTO "newest" VALUES(2,2,498656);
INSERT INTO "newest" VALUES(2,3,498656);
INSERT INTO "newest" VALUES(2,5,498656);
INSERT INTO "newest" VALUES(2,6,498656);
CREATE TABLE probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL);
INSERT INTO "probe" VALUES(1,zeroblob(65536));
CREATE TABLE rig (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
INSERT INTO "rig" VALUES(1,'A');
INSERT INTO "rig" VALUES(2,'B');
CREATE TABLE row (
    rig INTEGER NOT NULL,
    tick INTEGER NOT NULL, v1, v2, v3, v4, v5, v6,
    PRIMARY KEY (rig, tick)
) WITHOUT ROWID;
INSERT INTO "row" VALUES(1,1795161601000000000,1.5,2.5,3.5,4.5,5.5,6.5);
INSERT INTO "row" VALUES(1,1795161602000000000,7.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "row" VALUES(2,1795161601000000000,11.25,12.25,13.25,NULL,15.25,16.25);
CREATE TABLE sensor (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
INSERT INTO "sensor" VALUES(1,'pressure');
INSERT INTO "sensor" VALUES(2,'flow_rate');
INSERT INTO "sensor" VALUES(3,'temperature');
INSERT INTO "sensor" VALUES(4,'vibration');
INSERT INTO "sensor" VALUES(5,'rpm');
INSERT INTO "sensor" VALUES(6,'torque');
CREATE VIEW rows AS SELECT
            rig.name AS rig_id,
            strftime('%Y-%m-%dT%H:%M:%S', tick / 1000000000 - (tick % 1000000000 < 0), 'unixepoch')
                || CASE tick % 1000000000 WHEN 0 THEN 'Z' ELSE
                    printf('.%09dZ', (tick % 1000000000 + 1000000000) % 1000000000) END AS time,
            tick, v1 AS "pressure", v2 AS "flow_rate", v3 AS "temperature", v4 AS "vibration", v5 AS "rpm", v6 AS "torque" FROM row JOIN rig ON rig.id = row.rig;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('rig',2);
COMMIT;
