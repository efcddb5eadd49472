-- Version 1: the events, and the versions that were applied.
--
-- Columns and indexes of `events` are a contract with everyone who reads the file: they stay as they are.
-- `id` is the event's place in the journal, `timestamp` and `created_at` are UTC as YYYY-MM-DDTHH:MM:SS.mmmZ,
-- `detected_objects` is a JSON array, `camera_id` is ready to refer to a table of cameras.

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT UNIQUE NOT NULL,
    timestamp DATETIME NOT NULL,
    camera_id TEXT NOT NULL,
    motion_confidence REAL,
    detected_objects TEXT,
    llm_description TEXT,
    image_path TEXT,
    json_log_path TEXT,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_events_timestamp ON events(timestamp);
CREATE INDEX idx_events_camera ON events(camera_id);
CREATE INDEX idx_events_event_id ON events(event_id);

CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY,
    applied_at DATETIME
);
