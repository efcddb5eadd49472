//! `replay discard-lost`: removes the files that rebuilds moved aside because the journal had lost records.

use anyhow::Result;
use clap::Args;

use crate::args::GlobalArgs;
use crate::{EXIT_FAILED, EXIT_OK};

/// Remove the files that rebuilds moved aside as .lost-N.
///
/// These files may hold the last copy of what the journal lost. Rebuilds and the recorder never remove them; they go
/// when their days are pruned, or by this command.
#[derive(Debug, Args)]
pub struct DiscardLost {}

impl DiscardLost {
    pub(crate) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let mut code = EXIT_OK;
        for mut projection in args.existing()?.projections() {
            let name = projection.spec().name;
            match projection.remove_lost() {
                Ok(0) => {}
                Ok(count) => say!("{name:<10} {} removed", crate::counted(count, "file")),
                Err(error) => {
                    say!("{name:<10} {error}");
                    code = EXIT_FAILED;
                }
            }
        }
        Ok(code)
    }
}
