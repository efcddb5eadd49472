//! Reads the journal's own records out of a segment.

use crate::directory::OpenSegment;
use crate::format::{FRAMES_OFFSET, RecordsCursor, Salt, SystemRecord};
use crate::walk::FrameWalk;
use crate::window::Window;
use crate::{Error, Seq};

use std::sync::Arc;

/// The journal's own records before `limit` (an offset) and `end` (a seq), oldest first.
pub(crate) fn system_records(
    segment: &OpenSegment,
    salt: Salt,
    limit: u64,
    end: Seq,
) -> Result<Vec<(Seq, SystemRecord)>, Error> {
    let mut window = Window::new(segment.path.clone(), Arc::clone(&segment.file), limit);
    let mut walk = FrameWalk::new(salt, FRAMES_OFFSET, Seq(0));
    let mut records = Vec::new();
    while let Some(found) = walk.next(&mut window)? {
        let body = found.body(&window);
        let mut cursor = RecordsCursor::new(found.header.first_seq);
        while let Some(record) = cursor.next(body).filter(|record| record.seq < end) {
            if record.kind.is_reserved() {
                let system = SystemRecord::decode(record.kind, record.version, record.payload);
                records.extend(system.map(|system| (record.seq, system)));
            }
        }
    }
    Ok(records)
}
