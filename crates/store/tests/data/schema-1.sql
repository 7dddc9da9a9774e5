-- A database as schema 1 left it: one script with a plain and a secret binding (key: "ab" 32 times) and a route.
BEGIN TRANSACTION;
CREATE TABLE account (
    id         TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "account" VALUES('default',1795229909126);
CREATE TABLE deployment (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    script     INTEGER NOT NULL REFERENCES script (id) ON DELETE CASCADE,
    message    TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO "deployment" VALUES(1,'01a1fc0a-8092-75af-97c2-d66638e2dc9c',1,'m',1795229909138);
CREATE TABLE deployment_share (
    deployment INTEGER NOT NULL REFERENCES deployment (seq) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    version    TEXT NOT NULL REFERENCES version (id) ON DELETE CASCADE,
    percentage REAL NOT NULL,
    PRIMARY KEY (deployment, position),
    UNIQUE (deployment, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "deployment_share" VALUES(1,0,'01a1fc0a-808d-7711-90be-817fed73f912',100.0);
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('generation',604);
INSERT INTO "meta" VALUES('key_check',X'9D725F58BAD0F49DF130AE468648284662B03E08A8EF8AEC376A0C16847FCD161B221FAFE2');
CREATE TABLE route (
    -- Normalised; the same pattern cannot lead to two scripts.
    pattern TEXT PRIMARY KEY,
    script  INTEGER NOT NULL REFERENCES script (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
INSERT INTO "route" VALUES('x.org/*',1);
CREATE TABLE schema_migration (
            number     INTEGER PRIMARY KEY,
            applied_at INTEGER NOT NULL
        ) STRICT;
INSERT INTO "schema_migration" VALUES(1,1795229909122);
CREATE TABLE script (
    id         INTEGER PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT;
INSERT INTO "script" VALUES(1,'default','a',1795229909138);
CREATE TABLE token (
    id         INTEGER PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    -- SHA-256 of the token's text.
    hash       BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT;
INSERT INTO "token" VALUES(1,'default','default',X'719A9150C7A58360FDBC918D2A3163E3BFBE1A5C00AA98F6C0D8D994AE30FB23',1795229909132);
CREATE TABLE version (
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  TEXT NOT NULL UNIQUE,
    script              INTEGER NOT NULL REFERENCES script (id) ON DELETE CASCADE,
    digest              TEXT NOT NULL,
    -- JSON array of bindings without secrets.
    bindings            TEXT NOT NULL,
    limits              TEXT NOT NULL,
    isolation           TEXT NOT NULL,
    compatibility_date  TEXT NOT NULL,
    compatibility_flags TEXT NOT NULL,
    handlers            TEXT NOT NULL,
    message             TEXT NOT NULL,
    created_at          INTEGER NOT NULL
) STRICT;
INSERT INTO "version" VALUES(1,'01a1fc0a-808d-7711-90be-817fed73f912',1,'c7518de6a84c1b37e1e42ca25861b0f41d60e5736b787504a25afd5d8bc18c4f','[{"name":"P","type":"plain_text","text":"x"}]','{"memory_mb":256,"wall_ms":30000,"cpu_ms":7,"cpu_burst_ms":500,"body_bytes":134217728,"subrequests":50,"concurrency":256,"queue":1024}','"worker"','2026-01-01','["nodejs_compat"]','["fetch"]','m',1795229909138);
CREATE TABLE version_secret (
    version TEXT NOT NULL REFERENCES version (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    -- Nonce, then AES-256-GCM ciphertext and tag.
    sealed  BLOB NOT NULL,
    PRIMARY KEY (version, name)
) STRICT, WITHOUT ROWID;
INSERT INTO "version_secret" VALUES('01a1fc0a-808d-7711-90be-817fed73f912','S',X'8AE0CF64F36A16D18B9D5588C382E1C470977EB35C4CC42D4D024412275AA4D7D300F7');
CREATE INDEX version_by_script ON version (script, seq);
CREATE INDEX version_by_digest ON version (digest);
CREATE INDEX deployment_by_script ON deployment (script, seq);
CREATE INDEX deployment_share_by_version ON deployment_share (version);
CREATE INDEX route_by_script ON route (script);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('version',301);
INSERT INTO "sqlite_sequence" VALUES('deployment',301);
COMMIT;
