-- Accounts, scripts and what of them is served. Times are Unix milliseconds.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    id         TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE token (
    id         INTEGER PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    -- SHA-256 of the token's text.
    hash       BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT;

CREATE TABLE script (
    id         INTEGER PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT;

-- Immutable. `seq` orders versions even where the clock went back.
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
CREATE INDEX version_by_script ON version (script, seq);
CREATE INDEX version_by_digest ON version (digest);

CREATE TABLE version_secret (
    version TEXT NOT NULL REFERENCES version (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    -- Nonce, then AES-256-GCM ciphertext and tag.
    sealed  BLOB NOT NULL,
    PRIMARY KEY (version, name)
) STRICT, WITHOUT ROWID;

-- The newest one of a script is in force.
CREATE TABLE deployment (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    script     INTEGER NOT NULL REFERENCES script (id) ON DELETE CASCADE,
    message    TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX deployment_by_script ON deployment (script, seq);

CREATE TABLE deployment_share (
    deployment INTEGER NOT NULL REFERENCES deployment (seq) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    version    TEXT NOT NULL REFERENCES version (id) ON DELETE CASCADE,
    percentage REAL NOT NULL,
    PRIMARY KEY (deployment, position),
    UNIQUE (deployment, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX deployment_share_by_version ON deployment_share (version);

CREATE TABLE route (
    -- Normalised; the same pattern cannot lead to two scripts.
    pattern TEXT PRIMARY KEY,
    script  INTEGER NOT NULL REFERENCES script (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX route_by_script ON route (script);
