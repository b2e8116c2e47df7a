//! What processes cost, read from `/proc`.

use std::{fs, io};

/// CPU time since a process started, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cpu {
    /// In the program itself. The sum is exact, but the kernel splits it by sampling at its tick: the
    /// split is good to a few per cent over seconds of CPU time, and to nothing over milliseconds.
    pub user: f64,
    /// In the kernel on its behalf, which on loopback includes much of the receiver's side.
    pub system: f64,
}

impl Cpu {
    /// Both together.
    #[must_use]
    pub fn total(self) -> f64 {
        self.user + self.system
    }

    /// What was used since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let total = (self.total() - earlier.total()).max(0.0);
        // The split of each reading is an estimate of its own.
        let user = (self.user - earlier.user).clamp(0.0, total);
        Self { user, system: total - user }
    }
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident pages, shared ones by their share: what the process is really charged for.
    pub pss: u64,
    /// Resident pages.
    pub rss: u64,
}

/// A server: one process, or several that share the work.
#[derive(Debug, Clone, Default)]
pub struct Server(Vec<u32>);

impl Server {
    /// The processes to add up.
    #[must_use]
    pub fn new(pids: Vec<u32>) -> Self {
        Self(pids)
    }

    /// This process.
    #[must_use]
    pub fn own() -> Self {
        Self(vec![std::process::id()])
    }

    /// The processes.
    #[must_use]
    pub fn pids(&self) -> &[u32] {
        &self.0
    }

    /// CPU time so far; `None` if no process was named.
    ///
    /// # Errors
    /// When one is gone.
    pub fn cpu(&self) -> io::Result<Option<Cpu>> {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let mut sum = Cpu::default();
        for pid in &self.0 {
            // Before the other reading, so that it does not seem that threads have ended.
            let threads = threads_seconds(*pid);
            let (user, system) =
                parse_stat(&read(*pid, "stat")?).ok_or(io::ErrorKind::InvalidData)?;
            let counted = (user + system) as f64 / ticks;
            // Threads are accounted in nanoseconds, the process in ticks of 10 ms; but only the
            // process remembers threads that have ended.
            let total = counted.max(threads);
            let user = if counted > 0.0 { total * (user as f64 / ticks) / counted } else { 0.0 };
            sum.user += user;
            sum.system += total - user;
        }
        Ok((!self.0.is_empty()).then_some(sum))
    }

    /// Memory now; `None` if no process was named.
    ///
    /// # Errors
    /// When one is gone, or belongs to somebody else.
    pub fn memory(&self) -> io::Result<Option<Memory>> {
        let mut sum = Memory::default();
        for pid in &self.0 {
            let text = read(*pid, "smaps_rollup")?;
            let bytes = |name| field(&text, name).ok_or(io::ErrorKind::InvalidData);
            sum.pss += bytes("Pss:")?;
            sum.rss += bytes("Rss:")?;
        }
        Ok((!self.0.is_empty()).then_some(sum))
    }
}

fn read(pid: u32, file: &str) -> io::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

/// CPU time of the threads that there are, in seconds; 0 on a kernel that does not say.
fn threads_seconds(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .map(|nanos| nanos as f64 / 1e9)
        .sum()
}

/// User and system time in clock ticks. The program's name, in parentheses, may contain anything.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A `Name:   12 kB` line, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 123 45 0 0 20 0 1 0 100 0 0";
        assert_eq!(parse_stat(stat), Some((123, 45)));
        assert_eq!(parse_stat("42 (a) S 1"), None);
    }

    #[test]
    fn a_difference_is_never_negative_nor_more_than_its_sum() {
        let earlier = Cpu { user: 1.0, system: 1.0 };
        assert_eq!(Cpu { user: 1.6, system: 0.9 }.since(earlier), Cpu { user: 0.5, system: 0.0 });
        assert_eq!(Cpu { user: 0.5, system: 1.0 }.since(earlier), Cpu::default());
    }

    #[test]
    fn a_process_can_read_what_it_uses_itself() {
        let own = Server::own();
        assert!(own.cpu().unwrap().unwrap().total() >= 0.0);
        let memory = own.memory().unwrap().unwrap();
        assert!(memory.pss > 0 && memory.pss <= memory.rss);
        assert_eq!(Server::default().cpu().unwrap(), None);
        assert!(Server::new(vec![u32::MAX]).cpu().is_err());
    }
}
