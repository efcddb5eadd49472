//! Appending under a condition, and reading by query.

use std::sync::Arc;
use std::time::Duration;

use lenslog_journal::storage::{FaultyStorage, Storage};
use lenslog_journal::{
    AppendCondition, Appended, Entry, Error, ExpectedRevision, Journal, Kind, NewRecord, Options,
    Query, ReaderOptions, Seq, Tags, stream_tag,
};

use crate::common::{KIND, ROOT, clock, file_bytes, open, options, record, segments, write_bytes};

fn tags(tags: &[&str]) -> Tags {
    Tags::new(tags).unwrap()
}

fn append(journal: &Journal, tag: &str, payload: &[u8]) -> Seq {
    journal.append(&[record(payload).tags(tags(&[tag]).list())]).unwrap().seq()
}

fn found(journal: &Journal, query: Query) -> Vec<u64> {
    let mut reader =
        journal.view().reader(Seq::FIRST, ReaderOptions::default().query(query)).unwrap();
    let mut seqs = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let Entry::Record(record) = entry else { panic!("{entry:?}") };
        seqs.push(record.seq.0);
    }
    seqs
}

#[test]
fn tags_are_read_back_and_queries_choose_by_them() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    let both = tags(&["room:attic", "account:7"]);
    let other = NewRecord::new(Kind(2), 1, b"other").tags(both.list()).key([3; 16]);
    let first = append(&journal, "account:7", b"one").0;
    let _ = journal.append(&[record(b"untagged"), other]).unwrap();
    append(&journal, "account:8", b"eight");
    let mut reader = journal.view().reader(Seq(first + 2), ReaderOptions::default()).unwrap();
    let Some(Entry::Record(found_record)) = reader.next().unwrap() else { panic!() };
    assert_eq!(found_record.tags, both.list());
    assert_eq!((found_record.payload, found_record.key), (&b"other"[..], Some([3; 16])));
    let seven = Query::tag("account:7");
    assert_eq!(found(&journal, seven.clone()), [first, first + 2]);
    assert_eq!(found(&journal, Query::item([Kind(2)], ["account:7"])), [first + 2]);
    assert_eq!(found(&journal, Query::item([], ["account:7", "room:attic"])), [first + 2]);
    assert_eq!(found(&journal, Query::kinds([KIND])), [first, first + 1, first + 3]);
    assert_eq!(found(&journal, seven.or(Query::tag("account:8"))), [first, first + 2, first + 3]);
    assert_eq!(found(&journal, Query::all()).len(), 4);
    assert_eq!(found(&journal, Query::default()), []);
    let limited = ReaderOptions::default().limit(2).until(Seq(first + 3));
    let mut reader = journal.view().reader(Seq(first + 1), limited).unwrap();
    assert!(reader.next().unwrap().is_some() && reader.next().unwrap().is_some());
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_match_refuses_the_batch_and_names_the_record() {
    let journal = open(&FaultyStorage::new());
    let name = append(&journal, "name:anna", b"taken");
    let unique = |name: &str| AppendCondition::new(Query::tag(name));
    let batch = [record(b"again")];
    let result = journal.append_if(&batch, &[unique("name:otto"), unique("name:anna")]);
    assert!(
        matches!(result, Err(Error::Conflict { condition: 1, seq }) if seq == name),
        "{result:?}"
    );
    assert!(matches!(journal.append_if(&batch, &[unique("name:otto")]), Ok(Appended::New(_))));
    let after = unique("name:anna").after(name);
    assert!(matches!(
        journal.append_if(&batch, std::slice::from_ref(&after)),
        Ok(Appended::New(_))
    ));
    let later = append(&journal, "name:anna", b"changed");
    let result = journal.append_if(&batch, &[after]);
    assert!(matches!(result, Err(Error::Conflict { condition: 0, seq }) if seq == later));
    let ahead = unique("x").after(journal.next_seq());
    assert!(matches!(journal.append_if(&batch, &[ahead]), Err(Error::Ahead { .. })));
}

#[test]
fn a_repeated_call_is_a_duplicate_not_a_conflict() {
    let journal = open(&FaultyStorage::new());
    let tags = tags(&["name:anna"]);
    let batch = [record(b"taken").key([7; 16]).tags(tags.list())];
    let unique = [AppendCondition::new(Query::tag("name:anna"))];
    let first = journal.append_if(&batch, &unique).unwrap();
    assert_eq!(
        journal.append_if(&batch, &unique).unwrap(),
        Appended::Duplicate { index: 0, seq: first.seq() }
    );
}

#[test]
fn a_stream_is_appended_to_at_its_revision() {
    let journal = open(&FaultyStorage::new());
    let tags = tags(&[&stream_tag("account-1")]);
    let to = |expected| {
        let condition = AppendCondition::stream("account-1", expected);
        journal.append_if(&[record(b"x").tags(tags.list())], condition.as_slice())
    };
    let first = to(ExpectedRevision::NoStream).unwrap().seq();
    assert!(matches!(to(ExpectedRevision::NoStream), Err(Error::Conflict { .. })));
    let second = to(ExpectedRevision::At(first)).unwrap().seq();
    assert!(
        matches!(to(ExpectedRevision::At(first)), Err(Error::Conflict { seq, .. }) if seq == second)
    );
    let other = append(&journal, "other", b"x");
    assert!(matches!(to(ExpectedRevision::At(other)), Err(Error::Ahead { .. })));
    assert!(to(ExpectedRevision::Any).is_ok());
}

#[test]
fn a_stream_is_appended_to_at_a_revision_that_is_not_durable_yet() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    let tags = tags(&[&stream_tag("cart")]);
    let batch = [record(b"added").tags(tags.list())];
    let first = journal.append_unsynced(&batch).unwrap().seq();
    let next = AppendCondition::stream("cart", ExpectedRevision::At(first)).unwrap();
    let appended = journal.append_if(&batch, &[next]).unwrap();
    assert_eq!(appended.seq(), first.next());
    assert_eq!(journal.view().head().unwrap(), first.next().next());
}

#[test]
fn of_many_threads_one_takes_a_name() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    for name in 0..20 {
        let winners: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let tag = format!("name:{name}");
                        let tags = Tags::new([&tag]).unwrap();
                        let unique = [AppendCondition::new(Query::tag(&tag))];
                        journal.append_if(&[record(b"mine").tags(tags.list())], &unique).is_ok()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(winners, 1, "{name}");
    }
}

#[test]
fn lost_records_make_a_condition_undecidable() {
    let storage = FaultyStorage::new();
    let journal = open(&storage);
    let lost = append(&journal, "name:anna", b"damaged soon");
    append(&journal, "name:otto", b"whole");
    journal.close().unwrap();
    drop(journal);
    let path = segments(&storage).remove(0);
    let mut bytes = file_bytes(&storage, &path);
    bytes[8192 + 60] ^= 1;
    write_bytes(&storage, &path, &bytes);
    let journal = open(&storage);
    let unique = AppendCondition::new(Query::tag("name:anna"));
    let result = journal.append_if(&[record(b"x")], std::slice::from_ref(&unique));
    assert!(
        matches!(result, Err(Error::Undecidable { condition: 0, range }) if range.contains(lost)),
        "{result:?}"
    );
    assert!(journal.append_if(&[record(b"x")], &[unique.accept_lost()]).is_ok());
}

#[test]
fn what_was_pruned_after_the_expected_seq_is_a_conflict() {
    let (storage, clock) = (FaultyStorage::new(), clock());
    let journal = Journal::open(
        ROOT,
        &Options { clock: Arc::clone(&clock) as _, ..options(&storage, &clock) },
    )
    .unwrap();
    let kept = NewRecord::new(KIND, 1, b"kept").day("2026-12-24".parse().ok());
    let kept = journal.append(&[kept]).unwrap().seq();
    clock.advance(Duration::from_secs(86_400));
    append(&journal, "name:anna", b"pruned");
    clock.advance(Duration::from_secs(86_400));
    append(&journal, "name:otto", b"today");
    let after = AppendCondition::new(Query::tag("name:anna")).after(kept);
    journal.prune_through("2026-11-24".parse().unwrap()).unwrap();
    let result = journal.append_if(&[record(b"x")], &[after]);
    let Err(Error::Conflict { seq, .. }) = result else { panic!("{result:?}") };
    let mut reader = journal.view().reader(seq, ReaderOptions::default()).unwrap();
    let Some(Entry::Record(tombstone)) = reader.next().unwrap() else { panic!() };
    assert!(tombstone.kind.is_reserved());
    let before = AppendCondition::new(Query::tag("name:anna"));
    assert!(journal.append_if(&[record(b"x")], &[before]).is_ok(), "of what is retained");
}

#[test]
fn an_index_decides_where_records_are_lost() {
    let storage = FaultyStorage::new();
    let clock = clock();
    let journal = Journal::open(ROOT, &options(&storage, &clock)).unwrap();
    let lost = append(&journal, "name:anna", b"damaged soon");
    append(&journal, "name:otto", b"whole");
    clock.advance(Duration::from_secs(86_400));
    append(&journal, "name:ida", b"of the next segment");
    let path = segments(&storage).remove(0);
    storage.rot(&path, 8192 + 60, 1);
    let unique = |name: &str| [AppendCondition::new(Query::tag(name))];
    let batch = [record(b"x")];
    // The index was written when the segment was whole: a tag that is not in it was in no lost record.
    assert!(journal.append_if(&batch, &unique("name:eva")).is_ok());
    let result = journal.append_if(&batch, &unique("name:anna"));
    assert!(
        matches!(result, Err(Error::Undecidable { range, .. }) if range.contains(lost)),
        "{result:?}"
    );
    let index = path.with_extension("tags");
    storage.remove(&index).unwrap();
    let result = journal.append_if(&batch, &unique("name:eva"));
    assert!(matches!(result, Err(Error::Undecidable { .. })), "{result:?}");
    assert!(!storage.files().contains(&index), "an index is not made from what is left");
}
