//! What the process takes up, by the names that Prometheus' own client libraries use.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use super::atomics::Page;

/// Appends what is known of the process. `started` is in seconds since the Unix epoch.
pub(super) fn render(page: &mut Page<'_>, started: f64) {
    page.fraction(
        "process_start_time_seconds",
        "gauge",
        "When the process was started, in seconds since the Unix epoch",
        started,
    );
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    page.fraction(
        "process_cpu_seconds_total",
        "counter",
        "CPU time of the process, in user and kernel, in seconds",
        cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
    );
    if let Some(bytes) = resident_bytes() {
        page.fraction(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of the process",
            bytes as f64,
        );
    }
}

/// `None` where there is no `/proc` of Linux.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_up_time_and_memory() {
        let mut text = String::new();
        render(&mut Page(&mut text), 5.5);
        let value = |name: &str| -> f64 {
            let sample = text.lines().find_map(|line| line.strip_prefix(name)).expect("a sample");
            sample.trim().parse().expect("a number")
        };
        assert_eq!(value("process_start_time_seconds "), 5.5);
        assert!((0.0001..1e6).contains(&value("process_cpu_seconds_total ")), "{text}");
        assert!((1e6..1e11).contains(&value("process_resident_memory_bytes ")), "{text}");
    }
}
