//! Where a setting came from, and what is wrong with it.

use std::fmt;
use std::path::PathBuf;

/// The longest part of a bad value that is repeated in a message, in characters.
const SHOWN_CHARS: usize = 100;

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// This file.
    File(PathBuf),
    /// This environment variable.
    Variable(String),
    /// This flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting's key; empty if it is about no single one.
    pub key: String,
    /// Where the setting was given.
    pub origin: Origin,
    /// What was given, masked if it is secret.
    pub value: Option<String>,
    /// What is wrong with it, and what is accepted.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "{}: {}", self.origin, self.reason);
        }
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            match value.char_indices().nth(SHOWN_CHARS) {
                Some((end, _)) => write!(f, " = {:?}…", &value[..end])?,
                None => write!(f, " = {value:?}")?,
            }
        }
        write!(f, " ({}): {}", self.origin, self.reason)
    }
}

/// Everything that is wrong with the settings, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.0.iter().enumerate() {
            if nth > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
