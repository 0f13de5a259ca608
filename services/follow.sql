-- The logs of other nodes, as far as they were proven.
CREATE TABLE follow_node (
    node text COLLATE "C" PRIMARY KEY,
    url text NOT NULL,
    alias text NOT NULL,
    mode text NOT NULL,
    state text NOT NULL DEFAULT 'new',
    epoch integer NOT NULL DEFAULT 0,
    size bigint NOT NULL DEFAULT 0,
    peaks bytea[] NOT NULL DEFAULT '{}',
    n bigint NOT NULL DEFAULT 0,
    descriptor text NOT NULL DEFAULT '',
    created text NOT NULL DEFAULT '',
    name text NOT NULL DEFAULT '',
    license text NOT NULL DEFAULT '',
    contact text NOT NULL DEFAULT '',
    heartbeat_s integer NOT NULL DEFAULT 60,
    told bigint NOT NULL DEFAULT 0,
    heard_at timestamptz,
    trouble text,
    opaque bigint NOT NULL DEFAULT 0,
    -- The checkpoint with the highest (epoch, n) that was believed, as it was served: what came later must fit.
    highest text
);
CREATE TABLE follow_descriptor (
    node text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    raw text NOT NULL,
    signatures bytea NOT NULL,
    PRIMARY KEY (node, version)
);
CREATE TABLE follow_event (
    node text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    epoch integer NOT NULL,
    record text COLLATE "C",
    version bigint,
    type text,
    raw bytea NOT NULL,
    kid text NOT NULL,
    sig bytea NOT NULL,
    leaf bytea NOT NULL,
    opaque text,
    PRIMARY KEY (node, seq)
);
CREATE TABLE follow_record (
    record text COLLATE "C" PRIMARY KEY,
    node text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL
);
CREATE INDEX follow_record_seq ON follow_record (node, seq);
