//! A cgroup for each gateway: memory that runs out.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{self, Undo};

/// The groups.
#[derive(Debug)]
pub struct Memory {
    groups: Vec<PathBuf>,
    files: Files,
    _undo: Undo,
}

#[derive(Debug, Clone, Copy)]
struct Files {
    limit: &'static str,
    usage: &'static str,
    none: &'static str,
}

const V1: Files =
    Files { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", none: "-1" };
const V2: Files = Files { limit: "memory.max", usage: "memory.current", none: "max" };

impl Memory {
    /// Makes so many.
    ///
    /// # Errors
    /// Why this machine does not let us.
    pub async fn make(count: usize) -> Result<Self, String> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (root, files) = if v1.is_dir() { (v1, V1) } else { (Path::new("/sys/fs/cgroup"), V2) };
        let pid = std::process::id();
        let groups: Vec<PathBuf> =
            (0..count).map(|n| root.join(format!("tidegate-faults-{pid}-{n}"))).collect();
        let each = |command: &str| -> String {
            groups.iter().map(|group| format!("{command} '{}'\n", group.display())).collect()
        };
        // A group can go once its last process has.
        let undo = format!("for i in 1 2 3 4 5 6 7 8 9; do\n{}sleep 0.3\ndone", each("rmdir"));
        let undo = Undo::with(&undo)?;
        shell::run(&each("mkdir")).await?;
        if !groups[0].join(files.limit).exists() {
            return Err("the memory controller is not there".to_owned());
        }
        Ok(Self { groups, files, _undo: undo })
    }

    /// What stands before a command so that it runs in a gateway's group.
    #[must_use]
    pub fn enter(&self, n: usize) -> Vec<OsString> {
        let enter = format!("echo $$ >'{}/cgroup.procs' && exec \"$@\"", self.groups[n].display());
        ["sh", "-c", &enter, "enter"].map(Into::into).to_vec()
    }

    /// Leaves a gateway so many bytes beyond what it uses.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn squeeze(&self, n: usize, spare: u64) -> Result<u64, String> {
        let usage = fs::read_to_string(self.groups[n].join(self.files.usage));
        let usage = usage.map_err(|error| error.to_string())?;
        let usage: u64 = usage.trim().parse().map_err(|_| "no number".to_owned())?;
        self.write(n, &(usage + spare).to_string())?;
        Ok(usage + spare)
    }

    /// Lifts the limit.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn release(&self, n: usize) -> Result<(), String> {
        self.write(n, self.files.none)
    }

    fn write(&self, n: usize, value: &str) -> Result<(), String> {
        fs::write(self.groups[n].join(self.files.limit), value).map_err(|error| error.to_string())
    }
}
