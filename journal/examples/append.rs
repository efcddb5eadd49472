//! Appends a line of text, then prints every record.
//!
//! `cargo run -p lenslog-journal --example append -- DIR TEXT`; stop it at any moment, or cut the power: every line whose
//! seq was printed is there afterwards.

use std::path::PathBuf;

use lenslog_journal::{Entry, Journal, Kind, NewRecord, Options, ReaderOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(text)) = (arguments.next(), arguments.next()) else {
        return Err("usage: append DIR TEXT".into());
    };
    let journal = Journal::open(PathBuf::from(directory), &Options::default())?;
    let record = NewRecord::new(Kind(1), 1, text.as_bytes());
    println!("appended as seq {}", journal.append(&[record])?.seq());

    let view = journal.view();
    let mut reader = view.reader(view.floor()?, ReaderOptions::default())?;
    while let Some(entry) = reader.next()? {
        match entry {
            Entry::Record(record) if record.kind == Kind(1) => {
                println!("{} {}", record.seq, String::from_utf8_lossy(record.payload));
            }
            Entry::Record(_) => {}
            Entry::Lost(lost) => println!("{lost}"),
        }
    }
    journal.close()?;
    Ok(())
}
