//! The statements of the store: one for each combination of conditions, all with parameters only, each bound to the
//! index that answers it in the order asked for.
//!
//! `INDEXED BY` and `CROSS JOIN` leave the planner no choice: with statistics (`ANALYZE`) or without, no statement
//! reads or sorts more rows than it returns and passes over.

use super::stored_event::COLUMNS;

/// Which of the conditions that choose an index are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) camera: bool,
    pub(super) label: bool,
}

/// Parameters of [`Shape::select`] and [`Shape::count`] by their names.
pub(super) mod parameter {
    pub(crate) const SINCE: &str = ":since";
    pub(crate) const UNTIL: &str = ":until";
    pub(crate) const UNTIL_ID: &str = ":until_id";
    pub(crate) const CAMERA: &str = ":camera";
    pub(crate) const LABEL: &str = ":label";
    pub(crate) const LIMIT: &str = ":limit";
    pub(crate) const OFFSET: &str = ":offset";
}

impl Shape {
    #[cfg(test)]
    pub(super) const ALL: [Self; 4] = [
        Self { camera: false, label: false },
        Self { camera: true, label: false },
        Self { camera: false, label: true },
        Self { camera: true, label: true },
    ];

    /// The events that meet the conditions, newest first.
    pub(super) fn select(self) -> String {
        let (table, join) = (self.table(), self.join());
        let (source, conditions) = (self.source(), self.conditions());
        format!(
            "SELECT {COLUMNS} FROM {source}{join} WHERE {conditions}
             ORDER BY {table}.timestamp DESC, {table}.id DESC LIMIT :limit OFFSET :offset"
        )
    }

    /// How many events meet the conditions.
    pub(super) fn count(self) -> String {
        format!("SELECT count(*) FROM {} WHERE {}", self.source(), self.conditions())
    }

    /// The smallest seq of the events that meet the conditions.
    pub(super) fn first_seq(self) -> String {
        let (table, source) = (self.table(), self.source());
        format!("SELECT min({table}.id) FROM {source} WHERE {}", self.conditions())
    }

    const fn table(self) -> &'static str {
        if self.label { "event_labels" } else { "events" }
    }

    const fn join(self) -> &'static str {
        if self.label { " CROSS JOIN events ON events.id = event_labels.id" } else { "" }
    }

    fn source(self) -> String {
        let index = match (self.camera, self.label) {
            (false, false) => "idx_events_timestamp",
            (true, false) => "idx_events_camera_timestamp",
            (false, true) => "idx_event_labels_label",
            (true, true) => "idx_event_labels_camera",
        };
        format!("{} INDEXED BY {index}", self.table())
    }

    fn conditions(self) -> String {
        let table = self.table();
        let mut conditions = format!(
            "{table}.timestamp >= :since AND ({table}.timestamp, {table}.id) < (:until, :until_id)"
        );
        if self.camera {
            conditions += &format!(" AND {table}.camera_id = :camera");
        }
        if self.label {
            conditions += " AND event_labels.label = :label";
        }
        conditions
    }
}

/// The event of an event_id.
pub(super) fn by_event_id() -> String {
    format!("SELECT {COLUMNS} FROM events WHERE event_id = ?1")
}

/// The event of a seq.
pub(super) fn by_seq() -> String {
    format!("SELECT {COLUMNS} FROM events WHERE id = ?1")
}

/// The events behind a seq, in the order of the journal.
pub(super) fn after_seq() -> String {
    format!("SELECT {COLUMNS} FROM events WHERE id > ?1 ORDER BY id LIMIT ?2")
}

/// The largest seq.
pub(super) const LAST_SEQ: &str = "SELECT max(id) FROM events";

/// The timestamp of a seq.
pub(super) const TIMESTAMP_OF_SEQ: &str = "SELECT timestamp FROM events WHERE id = ?1";

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::sqlite::testing::empty_database;

    fn plan(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
        drop(statement);
        steps
    }

    fn every_statement() -> Vec<String> {
        let shapes = Shape::ALL
            .into_iter()
            .flat_map(|shape| [shape.select(), shape.count(), shape.first_seq()]);
        let others = [by_event_id(), by_seq(), after_seq()];
        let fixed = [LAST_SEQ.to_owned(), TIMESTAMP_OF_SEQ.to_owned()];
        shapes.chain(others).chain(fixed).collect()
    }

    /// Statistics that make every index look worthless.
    const MISLEADING: &str = "
        ANALYZE;
        INSERT INTO sqlite_stat1 SELECT tbl_name, name, '1000000 1000000 1000000 1000000'
            FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL;
        ANALYZE sqlite_schema;";

    #[test]
    fn every_statement_seeks_in_an_index_and_sorts_nothing_whatever_the_statistics_say() {
        for preparation in ["", MISLEADING] {
            let connection = empty_database();
            connection.execute_batch(preparation).unwrap();
            for sql in every_statement() {
                let plan = plan(&connection, &sql);
                assert!(!plan.is_empty());
                for step in &plan {
                    assert!(step.starts_with("SEARCH "), "{step} in the plan of {sql}");
                }
            }
        }
    }

    #[test]
    fn all_conditions_narrow_the_index() {
        let connection = empty_database();
        for (shape, expected) in Shape::ALL.into_iter().zip([
            "idx_events_timestamp (timestamp>? AND timestamp<?)",
            "idx_events_camera_timestamp (camera_id=? AND timestamp>? AND timestamp<?)",
            "idx_event_labels_label (label=? AND timestamp>? AND (timestamp,id)<(?,?))",
            "idx_event_labels_camera (camera_id=? AND label=? AND timestamp>? AND (timestamp,id)<(?,?))",
        ]) {
            for sql in [shape.select(), shape.count()] {
                let plan = plan(&connection, &sql);
                assert!(plan[0].ends_with(expected), "{plan:?} of {sql}");
            }
        }
    }

    #[test]
    fn events_are_counted_without_looking_at_them() {
        let connection = empty_database();
        for shape in Shape::ALL {
            let plan = plan(&connection, &shape.count());
            assert!(plan.len() == 1 && plan[0].contains(" COVERING INDEX "), "{plan:?}");
        }
    }
}
