//! What librdkafka says and its safe binding does not pass on.
#![expect(
    unsafe_code,
    reason = "the binding hides whether an undelivered message was ever sent, and panics on a header name that is not UTF-8, which anybody who may write to the topic can send"
)]

use std::ffi::CStr;
use std::ptr;
use std::slice;

use rdkafka::bindings::{
    rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_message_headers, rd_kafka_message_status,
    rd_kafka_msg_status_t, rd_kafka_resp_err_t,
};
use rdkafka::message::BorrowedMessage;

/// Whether a message that came back from the producer can be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It was never sent, or the broker said that it did not write it.
    No,
    /// It was sent, and nobody knows what became of it.
    Possibly,
    /// The broker said that it wrote it.
    Yes,
}

/// What librdkafka knows of a delivered or failed message.
pub(super) fn persistence(message: &BorrowedMessage<'_>) -> Persistence {
    // SAFETY: the pointer is that of the message behind `message`, which keeps it alive and is
    // borrowed for the whole call; the function only reads a field of it.
    match unsafe { rd_kafka_message_status(message.ptr()) } {
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Persistence::No,
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Persistence::Possibly,
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Persistence::Yes,
    }
}

/// The headers of a message, names and values as they are. A null value is left out: the record's
/// writer did not say anything.
pub(super) fn headers<'m>(
    message: &'m BorrowedMessage<'_>,
) -> impl Iterator<Item = (&'m [u8], &'m [u8])> + use<'m> {
    let mut list: *mut rd_kafka_headers_t = ptr::null_mut();
    // SAFETY: the message is alive for `'m`; `list` is written only if the call succeeds, and then
    // points to a list that the message owns and that nobody changes while it is borrowed.
    let found = unsafe { rd_kafka_message_headers(message.ptr(), &raw mut list) };
    if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        list = ptr::null_mut();
    }
    let mut index = 0;
    std::iter::from_fn(move || {
        while !list.is_null() {
            let mut name = ptr::null();
            let mut value = ptr::null();
            let mut len = 0;
            // SAFETY: `list` is the message's own and alive for `'m`. On success the name is a C
            // string and `value` null or the start of `len` bytes, all of them in the list.
            let part = unsafe {
                let got = rd_kafka_header_get_all(
                    list,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut len,
                );
                if got != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return None;
                }
                let value: Option<&'m [u8]> =
                    (!value.is_null()).then(|| slice::from_raw_parts(value.cast::<u8>(), len));
                let name: &'m CStr = CStr::from_ptr(name);
                (name.to_bytes(), value)
            };
            index += 1;
            if let (name, Some(value)) = part {
                return Some((name, value));
            }
        }
        None
    })
}
