//! The targets: what makes an input, what its grammar is made of, and what has to hold.

pub mod answer;
pub mod batch_line;
pub mod batch_lines;
pub mod credentials;
pub mod cursor;
pub mod delivery;
pub mod duration;
pub mod foreign;
pub mod from;
pub mod json;
pub mod keys;
pub mod lz4;
pub mod peer;
pub mod publish_body;
pub mod record;
pub mod redis_entry;
pub mod resume;
pub mod settings;
pub mod signature;
pub mod stream;
pub mod target;

pub mod broken;

mod checks;
mod request;
