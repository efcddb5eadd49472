-- Version 2: what makes queries fast, and where the projection stands in the journal.

-- The newest events of one camera, without sorting all of them.
CREATE INDEX idx_events_camera_timestamp ON events(camera_id, timestamp);

-- Each label of each event once; camera and time are repeated here so that one index answers a query.
CREATE TABLE event_labels (
    id INTEGER NOT NULL,
    label TEXT NOT NULL,
    camera_id TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    PRIMARY KEY (id, label)
) WITHOUT ROWID;

CREATE INDEX idx_event_labels_label ON event_labels(label, timestamp, id);
CREATE INDEX idx_event_labels_camera ON event_labels(camera_id, label, timestamp, id);

INSERT OR IGNORE INTO event_labels (id, label, camera_id, timestamp)
SELECT events.id, object.value ->> 'label', events.camera_id, events.timestamp
FROM events, json_each(events.detected_objects) AS object;

-- One row: the checkpoint as the engine writes it, committed together with the rows it speaks of, and the inode of
-- the file it was written to, by which a copied or restored file is told.
CREATE TABLE checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    content TEXT NOT NULL,
    inode INTEGER NOT NULL
);
