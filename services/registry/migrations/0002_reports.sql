-- What people report of this network's places. Never public; `place` is null where one is said to be missing.
CREATE TABLE report (
    id uuid PRIMARY KEY,
    -- Of the key that opens its outcome: the key itself is not kept.
    hash bytea NOT NULL,
    place uuid,
    kind text NOT NULL,
    field text,
    text text NOT NULL,
    proposed text,
    contact text,
    language text NOT NULL,
    page text,
    sent_at timestamptz NOT NULL,
    state text NOT NULL,
    answer text,
    closed_at timestamptz,
    closed_by text
);
CREATE INDEX report_state ON report (state, id);
CREATE INDEX report_place ON report (place);
