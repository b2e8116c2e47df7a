//! What librdkafka hands on, as the gateway has it.

use rdkafka::message::{BorrowedMessage, Message as _};

use super::native;
use crate::cursor::{Offset, Shard};
use crate::log::record::{Parts, Record, RecordWriter};

/// Copies a message of `shard` out of librdkafka's buffers.
pub(super) fn record(
    message: &BorrowedMessage<'_>,
    shard: Shard,
    writer: &mut RecordWriter,
) -> Record {
    let parts = Parts {
        shard,
        offset: offset(message.offset()),
        timestamp: message.timestamp().to_millis().unwrap_or_default(),
        tag: None,
        key: message.key(),
        value: message.payload(),
    };
    writer.write(parts, native::headers(message))
}

/// A place in a partition. Those of records are never negative.
pub(super) fn offset(number: i64) -> Offset {
    Offset(u128::try_from(number).unwrap_or_default())
}

/// A place as Kafka has it. One that is larger is past the end of any partition.
pub(super) fn number(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}
