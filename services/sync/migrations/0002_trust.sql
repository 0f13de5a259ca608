-- The records that the operator hides, as her trust file in force says.
CREATE TABLE hidden (
    record text COLLATE "C" PRIMARY KEY,
    reason text NOT NULL,
    since date
);
-- Those without which the view stands.
CREATE TABLE merged_hidden (
    record text COLLATE "C" PRIMARY KEY
);
-- Nodes that asked to be heard, and what they were answered.
CREATE TABLE asking (
    node text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    url text NOT NULL,
    asked_at timestamptz NOT NULL,
    state text NOT NULL,
    code text,
    answered_at timestamptz
);
CREATE INDEX asking_open ON asking (asked_at) WHERE state = 'asking';
