//! stub
use super::*;
#[derive(Debug)]
pub struct MemoryLog;
impl MemoryLog {
    pub fn open(_: &crate::config::Memory, _: impl Sink) -> Self {
        Self
    }
    pub fn publish(&self, _: &NewEvent) -> Result<Receipt, PublishError> {
        Err(PublishError::NotAccepted("stub".into()))
    }
    pub fn close(&self) {}
}
