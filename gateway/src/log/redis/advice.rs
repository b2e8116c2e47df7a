//! Settings of a Redis server that lose events, said once.

/// What an operator should know of a server whose `INFO` says this.
pub(super) fn advice(info: &str) -> Vec<&'static str> {
    let is = |name: &str, value: &str| {
        info.lines().any(|line| line.trim_end().split_once(':') == Some((name, value)))
    };
    let says = |name: &str| info.lines().any(|line| line.starts_with(name));
    let mut found = Vec::new();
    if is("aof_enabled", "0") {
        found.push("Redis has no append-only file (appendonly): a restart loses events");
    }
    let evicts = says("maxmemory_policy:") && !is("maxmemory_policy", "noeviction");
    if evicts && !is("maxmemory", "0") {
        found.push("Redis evicts keys (maxmemory-policy): streams of events may vanish");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loses_events_is_said() {
        let good = "aof_enabled:1\r\nmaxmemory:100\r\nmaxmemory_policy:noeviction\r\n";
        assert!(advice(good).is_empty());
        assert!(advice("").is_empty(), "a server that says nothing is not blamed");
        assert!(advice("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n").is_empty());
        assert_eq!(advice("aof_enabled:0\r\n").len(), 1);
        let evicting = "aof_enabled:1\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(advice(evicting).len(), 1);
    }
}
