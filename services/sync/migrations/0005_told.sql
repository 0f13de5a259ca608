-- Of which node each leaf is that our own events show.
ALTER TABLE told ADD COLUMN node text COLLATE "C" NOT NULL DEFAULT '';
