//! The command `farwire`.

use std::process::ExitCode;

fn main() -> ExitCode {
    farwire::cli::run()
}
