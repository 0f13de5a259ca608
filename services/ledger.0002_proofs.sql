-- What a log needs to outlive lost backups, stolen keys and erased content.
-- Why nothing may be written before the root keys have signed, as a code; null in fair weather.
ALTER TABLE ledger_head ADD COLUMN hold text;
-- Readers go on from here, or start from a snapshot; the Merkle range of what was let go.
ALTER TABLE ledger_head ADD COLUMN floor bigint NOT NULL DEFAULT 0;
ALTER TABLE ledger_head ADD COLUMN floor_peaks bytea[] NOT NULL DEFAULT '{}';
-- The erase events by which content left: signed proof of why an event is no longer shown.
CREATE TABLE ledger_erasure (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record text COLLATE "C" NOT NULL,
    raw bytea NOT NULL,
    kid text NOT NULL,
    sig bytea NOT NULL
);
ALTER TABLE ledger_event ADD COLUMN erasure bigint REFERENCES ledger_erasure;
-- What a new epoch cut off.
CREATE TABLE ledger_dropped (
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    record text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    raw bytea NOT NULL,
    kid text NOT NULL,
    sig bytea NOT NULL,
    leaf bytea NOT NULL,
    author text NOT NULL,
    PRIMARY KEY (epoch, seq)
);
