-- Events that another version of this service may be able to read.
CREATE INDEX follow_event_opaque ON follow_event (node, seq) WHERE opaque IS NOT NULL;
