//! stub
use super::*;
#[derive(Debug)]
pub struct KafkaLog;
impl KafkaLog {
    pub fn open(_: &Config, _: impl Sink) -> anyhow::Result<Self> {
        Ok(Self)
    }
    pub async fn publish(&self, _: &NewEvent, _: Instant) -> Result<Receipt, PublishError> {
        Err(PublishError::NotAccepted("stub".into()))
    }
    pub async fn close(&self, _: Instant) {}
}
