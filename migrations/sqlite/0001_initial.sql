-- The first layout. Documents are BSON, so that no field and no number's type is lost; the columns beside them are
-- what conditions and orders need. 64-bit counts are stored as their bit patterns.

CREATE TABLE fence (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    generation INTEGER NOT NULL
);
INSERT INTO fence (one, generation) VALUES (1, 0);

CREATE TABLE runs (
    id           BLOB PRIMARY KEY NOT NULL,
    av           INTEGER NOT NULL,
    g            INTEGER NOT NULL,
    sv           INTEGER NOT NULL,
    w            INTEGER NOT NULL,
    phase        TEXT NOT NULL,
    operation    TEXT,
    position     INTEGER NOT NULL,
    folded       TEXT NOT NULL,
    finished     INTEGER NOT NULL,
    deleted      INTEGER NOT NULL,
    is_green     INTEGER NOT NULL,
    is_yellow    INTEGER NOT NULL,
    username     TEXT,
    last_updated INTEGER,
    tc_base      REAL,
    doc          BLOB NOT NULL
);
CREATE INDEX unfinished_runs ON runs (last_updated DESC, id) WHERE finished = 0;
CREATE INDEX finished_runs ON runs (last_updated DESC, id) WHERE finished = 1 AND deleted = 0;
CREATE INDEX finished_green_runs ON runs (last_updated DESC, id)
    WHERE finished = 1 AND deleted = 0 AND is_green = 1;
CREATE INDEX finished_yellow_runs ON runs (last_updated DESC, id)
    WHERE finished = 1 AND deleted = 0 AND is_yellow = 1;
CREATE INDEX finished_ltc_runs ON runs (last_updated DESC, id)
    WHERE finished = 1 AND deleted = 0 AND tc_base >= 40.0;
CREATE INDEX finished_user_runs ON runs (username, last_updated DESC, id)
    WHERE finished = 1 AND deleted = 0;

CREATE TABLE tasks (
    run_id       BLOB NOT NULL,
    task_id      INTEGER NOT NULL,
    g            INTEGER NOT NULL,
    v            INTEGER NOT NULL,
    w            INTEGER NOT NULL,
    active       INTEGER NOT NULL,
    bad_position INTEGER,
    doc          BLOB NOT NULL,
    PRIMARY KEY (run_id, task_id)
);
CREATE INDEX active_tasks ON tasks (g) WHERE active = 1;
CREATE INDEX bad_tasks ON tasks (run_id, bad_position) WHERE bad_position IS NOT NULL;

CREATE TABLE users (
    id                BLOB PRIMARY KEY NOT NULL,
    username          TEXT NOT NULL UNIQUE,
    password          TEXT,
    registration_time INTEGER,
    pending           INTEGER NOT NULL,
    blocked           INTEGER NOT NULL,
    email             TEXT NOT NULL,
    groups            TEXT NOT NULL,
    tests_repo        TEXT NOT NULL,
    machine_limit     INTEGER NOT NULL,
    extra             BLOB NOT NULL
);

CREATE TABLE user_secrets (
    username TEXT PRIMARY KEY NOT NULL,
    phc      TEXT NOT NULL
);

CREATE TABLE user_cache (
    username TEXT PRIMARY KEY NOT NULL,
    doc      BLOB NOT NULL
);

CREATE TABLE actions (
    id       BLOB NOT NULL UNIQUE,
    time     REAL,
    action   TEXT,
    username TEXT,
    run_id   TEXT,
    doc      BLOB NOT NULL
);
CREATE INDEX actions_time_id ON actions (time DESC, id DESC);
CREATE INDEX actions_user_time_id ON actions (username, time DESC, id DESC);
CREATE INDEX actions_action_time_id ON actions (action, time DESC, id DESC);
CREATE INDEX actions_run_time_id ON actions (run_id, time DESC, id DESC);

CREATE TABLE workers (
    worker_name  TEXT PRIMARY KEY NOT NULL,
    id           BLOB NOT NULL,
    blocked      INTEGER NOT NULL,
    message      TEXT NOT NULL,
    last_updated INTEGER NOT NULL
);

CREATE TABLE pgns (
    id      BLOB NOT NULL UNIQUE,
    run_id  BLOB NOT NULL,
    task_id INTEGER NOT NULL,
    size    INTEGER NOT NULL,
    bytes   BLOB NOT NULL
);
CREATE INDEX pgns_run_task ON pgns (run_id, task_id, id, size);

CREATE TABLE nns (
    name TEXT PRIMARY KEY NOT NULL,
    doc  BLOB NOT NULL
);

CREATE TABLE kvstore (
    key   TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
);
