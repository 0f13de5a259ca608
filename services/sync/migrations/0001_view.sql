CREATE TABLE claim (
    record text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL,
    a text COLLATE "C" NOT NULL,
    b text COLLATE "C" NOT NULL,
    verdict text NOT NULL,
    statement text
);
CREATE INDEX claim_a ON claim (a);
CREATE INDEX claim_b ON claim (b);
-- A withdrawn record and the one that takes its place.
CREATE TABLE successor (
    record text COLLATE "C" PRIMARY KEY,
    successor text COLLATE "C" NOT NULL
);
CREATE INDEX successor_of ON successor (successor);
-- Records whose latest event is well signed and not a place that this version can read.
CREATE TABLE unread (
    record text COLLATE "C" PRIMARY KEY,
    why text NOT NULL
);
CREATE TABLE merged (
    node text COLLATE "C" PRIMARY KEY,
    epoch integer NOT NULL,
    size bigint NOT NULL,
    log_root text NOT NULL,
    descriptor text NOT NULL,
    -- How many of its records are in the view.
    places bigint NOT NULL DEFAULT 0
);
CREATE TABLE merge (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    followed text NOT NULL,
    policy text NOT NULL
);
-- In which place each record is; null for one that was in a place and is in none now.
CREATE TABLE member (
    record text COLLATE "C" PRIMARY KEY,
    view text COLLATE "C"
);
CREATE INDEX member_view ON member (view);
CREATE TABLE view (
    id text COLLATE "C" PRIMARY KEY,
    bucket smallint NOT NULL,
    entry bytea NOT NULL,
    body bytea NOT NULL,
    item bytea NOT NULL,
    words text COLLATE "C" NOT NULL,
    networks text[] NOT NULL,
    families text[] NOT NULL,
    status text NOT NULL,
    departement text,
    insee text,
    lat double precision,
    lon double precision
);
CREATE INDEX view_bucket ON view (bucket);
CREATE INDEX view_networks ON view USING gin (networks);
CREATE INDEX view_position ON view (lat, lon);
CREATE TABLE bucket (
    bucket smallint PRIMARY KEY,
    hash bytea NOT NULL
);
