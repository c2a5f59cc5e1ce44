//! The `spk` program. All of it is in [`percloud_spk::program`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    percloud_spk::program::main()
}
