-- The signed log of a node: events, the latest state of every record, checkpoints, descriptors, one head.
CREATE TABLE ledger_head (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    node text NOT NULL,
    epoch integer NOT NULL,
    size bigint NOT NULL,
    n bigint NOT NULL,
    kid text NOT NULL,
    descriptor text NOT NULL,
    peaks bytea[] NOT NULL,
    full_size bigint NOT NULL,
    signed_at timestamptz NOT NULL
);
-- Apart from the head, so that the relay never waits for a batch nor a batch for the relay.
CREATE TABLE ledger_relay (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    confirmed bigint NOT NULL
);
INSERT INTO ledger_relay (confirmed) VALUES (0);
CREATE TABLE ledger_descriptor (
    version integer PRIMARY KEY,
    hash text NOT NULL UNIQUE,
    raw text NOT NULL,
    signatures bytea NOT NULL
);
CREATE TABLE ledger_event (
    seq bigint PRIMARY KEY,
    epoch integer NOT NULL,
    record text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    raw bytea NOT NULL,
    kid text NOT NULL,
    sig bytea NOT NULL,
    leaf bytea NOT NULL,
    routing text NOT NULL,
    also text,
    author text NOT NULL,
    UNIQUE (record, version)
);
CREATE TABLE ledger_record (
    record text COLLATE "C" PRIMARY KEY,
    bucket smallint NOT NULL,
    seq bigint NOT NULL,
    version bigint NOT NULL,
    leaf bytea NOT NULL
);
CREATE INDEX ledger_record_seq ON ledger_record (seq);
CREATE INDEX ledger_record_bucket ON ledger_record (bucket);
CREATE TABLE ledger_bucket (
    bucket smallint PRIMARY KEY,
    hash bytea NOT NULL,
    count bigint NOT NULL
);
CREATE TABLE ledger_checkpoint (
    n bigint PRIMARY KEY,
    epoch integer NOT NULL,
    size bigint NOT NULL,
    complete boolean NOT NULL,
    raw text NOT NULL,
    kid text NOT NULL,
    sig bytea NOT NULL
);
CREATE INDEX ledger_checkpoint_size ON ledger_checkpoint (size, n);
