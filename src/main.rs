//! Parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use flapscope::{cli::Cli, commands};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A plugin that was called wrongly knows nothing; 2 would be CRITICAL.
            let check = std::env::args_os()
                .nth(1)
                .is_some_and(|word| word == "check");
            let _ = error.print(); // nobody is left to tell
            return match check && error.use_stderr() {
                true => ExitCode::from(commands::check::UNKNOWN),
                false => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
            };
        }
    };
    match commands::run(cli) {
        Ok(code) => ExitCode::from(code),
        // The reader of our output went away (`| head`): not an error.
        Err(error) if commands::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            commands::complain(&error);
            ExitCode::from(2)
        }
    }
}
