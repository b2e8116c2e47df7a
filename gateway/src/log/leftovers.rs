//! What a process leaves in the log when it does not end in order.

use super::Log;
use super::kafka::Groups;

impl Log {
    /// The consumer groups of all pods, if pods have some: on Kafka, unless the partitions are
    /// assigned by hand. Each is deleted by its own pod when that drains; one that was killed cannot.
    #[must_use]
    pub fn groups(&self) -> Option<&Groups> {
        match self {
            Self::Kafka(log) => log.groups(),
            Self::Memory(_) | Self::Redis(_) => None,
        }
    }
}
