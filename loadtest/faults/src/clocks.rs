//! Clocks that can be set for each process while it runs, by libfaketime.

use std::fs;
use std::path::{Path, PathBuf};

/// Where distributions put it.
const PLACES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

/// The clocks of the gateways, and of the log's server.
#[derive(Debug)]
pub struct Clocks {
    library: &'static str,
    /// The gateways', and at the end the log's: how far each is from the machine's.
    files: Vec<PathBuf>,
}

impl Clocks {
    /// Clocks that are right so far. Their files are in `home`.
    ///
    /// # Errors
    /// Why there are none.
    pub fn find(home: &Path, gateways: usize) -> Result<Self, String> {
        let library = PLACES.into_iter().find(|place| Path::new(place).exists());
        let library = library.ok_or("libfaketime is missing (Debian: apt-get install faketime)")?;
        let files: Vec<PathBuf> = (0..=gateways).map(|n| home.join(format!("clock-{n}"))).collect();
        let clocks = Self { library, files };
        for n in 0..=gateways {
            clocks.set(n, 0).map_err(|error| error.to_string())?;
        }
        Ok(clocks)
    }

    /// Sets a gateway's clock so many seconds ahead of the machine's; the one behind the last
    /// gateway's is the log's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, n: usize, seconds: i64) -> std::io::Result<()> {
        // Renamed into place: it is read again and again.
        let next = self.files[n].with_extension("next");
        fs::write(&next, format!("{seconds:+}\n"))?;
        fs::rename(next, &self.files[n])
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// The environment of a gateway.
    #[must_use]
    pub fn gateway(&self, n: usize) -> Vec<(String, String)> {
        let file = self.files[n].display().to_string();
        [
            ("LD_PRELOAD", self.library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_CACHE_DURATION", "1"),
            // Timers go by the monotonic clock, which no operator can set.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            // A fix for old glibcs that makes each look at a clock ten times as dear.
            ("FAKETIME_FORCE_MONOTONIC_FIX", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The environment of the log's server.
    #[must_use]
    pub fn store(&self) -> Vec<(String, String)> {
        self.gateway(self.files.len() - 1)
    }
}
