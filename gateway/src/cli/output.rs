//! Lines for people and for pipes.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Writes a line of results. `Break`: whoever read them has gone, as `head` does, and wants no more.
///
/// # Errors
/// Any other failure to write.
pub fn line(out: &mut impl Write, text: impl fmt::Display) -> io::Result<ControlFlow<()>> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}

/// Waits until nobody is left who reads standard output, which `head` does once it has its lines.
/// Writing would tell as well, but on a quiet stream that is a long time off. Never ends for a file.
pub async fn reader_gone() {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of descriptors that change; this one is open \
                  as long as the process"
    )]
    let watch = AsyncFd::with_interest(io::stdout(), Interest::ERROR);
    // A file cannot be watched, and always takes what is written.
    let Ok(watch) = watch else {
        return std::future::pending().await;
    };
    if watch.ready(Interest::ERROR).await.is_err() {
        std::future::pending().await
    }
}

/// Says something to the person beside the results. A closed standard error is nobody to tell.
pub fn note(err: &mut impl Write, text: impl fmt::Display) {
    let _ = writeln!(err, "{text}");
}

/// Text that came from elsewhere, for a terminal: a control character would be a command to it.
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                fmt::Write::write_char(f, c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_commands_no_terminal() {
        assert_eq!(Shown("a\u{1b}[2Jb\u{9b}c\nä").to_string(), "a\\u{1b}[2Jb\\u{9b}c\\u{a}ä");
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(line(&mut Closed, "a").expect("no error").is_break());
        assert!(line(&mut Vec::new(), "a").expect("no error").is_continue());
    }
}
