//! The `shoal` command.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    shoal::cli::main(Some(allocator::figures))
}
