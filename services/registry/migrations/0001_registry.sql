CREATE TABLE place (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    body bytea NOT NULL,
    withdrawn text,
    successor text,
    status text NOT NULL,
    name text COLLATE "C" NOT NULL,
    words text COLLATE "C" NOT NULL,
    insee text,
    departement text,
    families text[] NOT NULL,
    lat double precision,
    lon double precision
);
CREATE INDEX place_name ON place (name) WHERE withdrawn IS NULL;
CREATE INDEX place_position ON place (lat, lon);
CREATE INDEX place_updated ON place (updated_at);
-- Claims, terms and areas: records with a key of their own (the pair, the word, the name).
CREATE TABLE other (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    key text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    body bytea NOT NULL,
    withdrawn text,
    successor text,
    UNIQUE (kind, key)
);
CREATE TABLE token (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL,
    hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE TABLE answered (
    token uuid NOT NULL,
    key text NOT NULL,
    request bytea NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (token, key)
);
CREATE INDEX answered_at ON answered (at);
CREATE TABLE import (
    id uuid PRIMARY KEY,
    source text NOT NULL,
    mode text NOT NULL,
    format text NOT NULL,
    mapping bytea NOT NULL,
    license text,
    missing text NOT NULL,
    confirm integer,
    author text NOT NULL,
    created_at timestamptz NOT NULL,
    state text NOT NULL,
    total integer NOT NULL DEFAULT 0,
    done integer NOT NULL DEFAULT 0,
    counts bytea NOT NULL,
    error bytea,
    confirm_needed integer
);
CREATE TABLE import_chunk (
    import uuid NOT NULL REFERENCES import ON DELETE CASCADE,
    n integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (import, n)
);
CREATE TABLE import_line (
    import uuid NOT NULL REFERENCES import ON DELETE CASCADE,
    n integer NOT NULL,
    line integer NOT NULL,
    outcome text NOT NULL,
    faults bytea NOT NULL,
    PRIMARY KEY (import, n)
);
-- Which place a row of a list is, and what the row said when it was last imported.
CREATE TABLE imported (
    source text NOT NULL,
    key text COLLATE "C" NOT NULL,
    place uuid NOT NULL,
    body bytea NOT NULL,
    -- Whether the place was withdrawn because the last list of its source lacked the row: such a place comes back
    -- with its row, one that was withdrawn at the desk does not.
    absent boolean NOT NULL DEFAULT false,
    PRIMARY KEY (source, key)
);
CREATE INDEX imported_place ON imported (place);
