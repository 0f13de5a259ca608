-- In which place each record was from which position of our own log on; null: in none.
CREATE TABLE stay (
    record text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    view text COLLATE "C",
    PRIMARY KEY (record, seq)
);
INSERT INTO stay (record, seq, view) SELECT record, 0, view FROM member;
-- What a place was at a position, and where the log stood at a time.
CREATE INDEX ledger_event_record ON ledger_event (record, seq);
CREATE INDEX ledger_event_time ON ledger_event (time);
