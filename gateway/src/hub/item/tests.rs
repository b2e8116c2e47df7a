use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::*;
use crate::config::Config;
use crate::cursor::SourceId;
use crate::log::Role;
use crate::log::letter::outbox;
use crate::log::mapping::{Mapping, Part, ValueKind};
use crate::log::record::{Parts, RecordWriter};

/// An item of a source whose values are bytes.
fn item_of_bytes(value: &[u8]) -> Item {
    let mapping = Mapping::mapped(Part::Key, Part::Topic, None, ValueKind::Base64);
    let mapping = mapping.expect("a mapping").into();
    let source = Source::new("images", Role::Events, 1).with_mapping(mapping);
    let parts = Parts {
        shard: Shard { source: SourceId(1), index: 0 },
        offset: Offset(0),
        timestamp: 1,
        tag: None,
        key: Some(b"a"),
        value: Some(value),
    };
    let record = RecordWriter::default().write(parts, std::iter::empty());
    let head = decode::head(&record, &source).expect("a head");
    let spelling = Spelling { json_depth: 8, lz4_min_bytes: 64 };
    let (letters, _) = outbox(&Config::default());
    let shared = Shared { spelling, budget: Arc::default(), letters };
    Item::new(0, record, head, After::Unknown, source, Arc::new(shared))
}

fn envelope(item: &Item, lz4: bool) -> Value {
    let frame = item.frame(Variant { lz4, unnamed: true, ..Variant::default() }).expect("a frame");
    let block = frame.body();
    let text = std::str::from_utf8(&block).expect("UTF-8");
    serde_json::from_str(text.trim().strip_prefix("data: ").expect("data")).expect("JSON")
}

fn bytes(base64: &Value) -> Vec<u8> {
    STANDARD.decode(base64.as_str().expect("a string")).expect("base64")
}

#[test]
fn bytes_travel_as_base64_and_lz4_lies_over_it() {
    let value = [0xff; 300];
    let item = item_of_bytes(&value);
    let plain = envelope(&item, false);
    assert_eq!(plain["encoding"], "base64");
    assert_eq!(bytes(&plain["data"]), value);

    let coded = envelope(&item, true);
    assert_eq!(coded["encoding"], "base64+lz4");
    let mut json = String::new();
    let frame = bytes(&coded["data"]);
    lz4_flex::frame::FrameDecoder::new(&frame[..]).read_to_string(&mut json).expect("LZ4");
    let data: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(data, plain["data"]);

    let small = envelope(&item_of_bytes(b"\xff"), true);
    assert_eq!((&small["encoding"], &small["data"]), (&"base64".into(), &"/w==".into()));
}
