//! A small file system in memory for the log's data: a disk that can be filled.

use std::path::{Path, PathBuf};

use crate::shell::{self, Undo};

/// Kafka's own topics and the harness' events take up a small part of it.
const MIB: usize = 256;

/// A mounted file system.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
    _undo: Undo,
}

impl Disk {
    /// Mounts one beside `home`.
    ///
    /// # Errors
    /// Why this machine does not let us.
    pub async fn mount(home: &Path) -> Result<Self, String> {
        // Beside it: nobody can remove what something is mounted on.
        let at = home.with_extension("disk");
        let undo = Undo::with(&format!("umount -l '{0}'; rmdir '{0}'", at.display()))?;
        shell::run(&format!(
            "mkdir '{0}'\nmount -t tmpfs -o size={MIB}m tidegate-faults '{0}'\nmkdir '{0}/data'",
            at.display()
        ))
        .await?;
        Ok(Self { at, _undo: undo })
    }

    /// Where the data goes.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.at.join("data")
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// Never: that it ends for want of space is what is wanted.
    pub async fn fill(&self) -> Result<(), String> {
        let ballast = self.at.join("ballast");
        shell::run(&format!("cat /dev/zero >'{}' 2>/dev/null || true", ballast.display())).await
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// What `rm` says.
    pub async fn empty(&self) -> Result<(), String> {
        shell::run(&format!("rm -f '{}'", self.at.join("ballast").display())).await
    }
}
