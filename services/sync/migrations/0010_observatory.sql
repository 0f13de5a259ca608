-- Dates as places say them, in whole or in part, and of which fields each place says something.
ALTER TABLE view
    ADD COLUMN opened_on text COLLATE "C",
    ADD COLUMN closed_on text COLLATE "C",
    ADD COLUMN verified_on text COLLATE "C",
    ADD COLUMN said text[] NOT NULL DEFAULT '{}';
-- Of which fields each present record of a followed network says something.
CREATE TABLE stated (
    record text COLLATE "C" PRIMARY KEY,
    network text COLLATE "C" NOT NULL,
    said text[] NOT NULL
);
