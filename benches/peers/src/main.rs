//! The journal beside other embedded stores: the same work, the same device, in turns.
//!
//! `cargo run --release --ignore-rust-version --manifest-path benches/peers/Cargo.toml -- [--quick] [--directory DIR]
//! [--output FILE] [--events N]… [--only appends|queries|damage]`

mod appends;
mod damage;
mod event;
mod queries;
mod stores;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use stores::Kind;
use table::Output;

/// How much is measured.
struct Scale {
    rounds: usize,
    /// Time of one cell of W1.
    time: Duration,
    /// Events of W2 to W9.
    sizes: Vec<u64>,
    /// Places of W10.
    flips: u64,
    directory: PathBuf,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, kind, directory, count, round] = arguments.as_slice() {
        let (kind, directory) = (Kind::named(kind)?, Path::new(directory));
        match what.as_str() {
            "fill" | "measure" => {
                return queries::in_child(what, kind, directory, count.parse()?, round.parse()?);
            }
            "make" | "append" | "probe" => {
                std::process::exit(damage::in_child(what, kind, directory, count.parse()?)?)
            }
            _ => {}
        }
    }
    let (mut quick, mut directory, mut file, mut only) = (false, std::env::temp_dir(), None, None);
    let mut sizes = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().with_context(|| format!("{argument}: a value is missing"));
        match argument.as_str() {
            "--quick" => quick = true,
            "--directory" => directory = value()?.into(),
            "--output" => file = Some(value()?.into()),
            "--events" => sizes.push(value()?.parse()?),
            "--only" => only = Some(value()?),
            other => {
                bail!("{other}: unknown; use --quick, --directory, --output, --events or --only")
            }
        }
    }
    if sizes.is_empty() {
        sizes = if quick { vec![100_000] } else { vec![100_000, 1_000_000, 10_000_000] };
    }
    let scale = Scale {
        rounds: if quick { 3 } else { 7 },
        time: Duration::from_millis(if quick { 400 } else { 2000 }),
        sizes,
        flips: if quick { 500 } else { 10_000 },
        directory,
    };
    let mut output = Output::new(file);
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if wanted("appends") {
        appends::run(&scale, &mut output)?;
    }
    if wanted("queries") {
        queries::run(&scale, &mut output)?;
    }
    if wanted("damage") {
        damage::run(&scale, &mut output)?;
    }
    output.finish()
}

fn fresh(parent: &Path) -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("peers").tempdir_in(parent)?)
}
