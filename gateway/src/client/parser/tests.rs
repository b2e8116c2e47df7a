use proptest::prelude::*;

use super::*;

fn event(id: &str, event: &str, data: &str) -> Item {
    Item::Event(Event { id: id.into(), event: event.into(), data: data.into() })
}

/// Everything in `bytes`, cut at `cuts`, and the last event id after it.
fn parse_cut(bytes: &[u8], cuts: &[usize]) -> (Vec<Item>, String) {
    let mut parser = Parser::resuming("");
    let mut items = Vec::new();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        let mut chunk = &bytes[from..cut];
        while let Some(item) = parser.next(&mut chunk).expect("within the limit") {
            items.push(item);
        }
        assert!(chunk.is_empty(), "a chunk is taken whole");
        from = cut;
    }
    (items, parser.last_event_id().to_owned())
}

fn parse(bytes: impl AsRef<[u8]>) -> Vec<Item> {
    parse_cut(bytes.as_ref(), &[]).0
}

#[test]
fn the_examples_of_the_standard_give_what_it_says() {
    assert_eq!(parse("data: YHOO\ndata: +2\ndata: 10\n\n"), [event("", "message", "YHOO\n+2\n10")]);
    assert_eq!(
        parse(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
        ),
        [
            Item::Comment("test stream".into()),
            event("1", "message", "first event"),
            event("", "message", "second event"),
            event("", "message", " third event"),
        ]
    );
    // Two events, the first empty, the second a newline; the last block has not ended.
    assert_eq!(
        parse("data\n\ndata\ndata\n\ndata:"),
        [event("", "message", ""), event("", "message", "\n")]
    );
    assert_eq!(
        parse("data:test\n\ndata: test\n\n"),
        [event("", "message", "test"), event("", "message", "test")]
    );
}

#[test]
fn every_line_end_ends_a_line_once() {
    let want = [event("7", "t", "a\nb")];
    for end in ["\n", "\r", "\r\n"] {
        let text = format!("id: 7{end}event: t{end}data: a{end}data: b{end}{end}");
        assert_eq!(parse(&text), want, "{end:?}");
    }
    assert_eq!(parse("id: 7\revent: t\r\ndata: a\ndata: b\r\r\n"), want);
}

#[test]
fn a_carriage_return_at_a_chunks_end_ends_the_event_without_waiting() {
    let mut parser = Parser::resuming("");
    let mut chunk = &b"data: a\r\n\r"[..];
    assert_eq!(parser.next(&mut chunk), Ok(Some(event("", "message", "a"))));
    // The line feed that arrives later is no second blank line, and does no harm to the next.
    let mut chunk = &b"\nevent: t\ndata: b\n\n"[..];
    assert_eq!(parser.next(&mut chunk), Ok(Some(event("", "t", "b"))));
}

#[test]
fn one_byte_order_mark_at_the_start_is_ignored() {
    assert_eq!(parse(b"\xEF\xBB\xBFdata: a\n\n"), [event("", "message", "a")]);
    assert_eq!(parse(b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\n"), []);
    assert_eq!(parse(b"data: a\n\n\xEF\xBB\xBFdata: b\n\n"), [event("", "message", "a")]);
    assert_eq!(
        parse_cut(b"\xEF\xBB\xBFdata: a\n\n", &[1, 2]).0,
        [event("", "message", "a")],
        "cut in the mark"
    );
}

#[test]
fn an_id_with_a_nul_is_ignored() {
    assert_eq!(
        parse("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n"),
        [event("1", "message", "a"), event("1", "message", "b")]
    );
}

#[test]
fn a_retry_is_digits_only() {
    assert_eq!(
        parse(
            "retry: 250\nretry: +250\nretry: 1.5\nretry:\nretry\nretry: 1 \nretry: 99999999999999999999\n"
        ),
        [Item::Retry(Duration::from_millis(250)), Item::Retry(Duration::from_millis(u64::MAX))]
    );
}

#[test]
fn a_block_without_data_moves_the_id_and_forgets_the_type() {
    let (items, id) = parse_cut(b"id: 1\ndata: a\n\nid: 2\nevent: t\n\ndata: b\n\nid: 3\n\n", &[]);
    assert_eq!(items, [event("1", "message", "a"), event("2", "message", "b")]);
    assert_eq!(id, "3");
}

#[test]
fn an_event_cut_before_its_blank_line_is_none_and_its_id_does_not_count() {
    for cut in ["id: 2\ndata: b\n", "id: 2\ndata: b", "id: 2\n", "id: 2"] {
        let (items, id) = parse_cut(format!("id: 1\ndata: a\n\n{cut}").as_bytes(), &[]);
        assert_eq!(items, [event("1", "message", "a")], "{cut:?}");
        assert_eq!(id, "1", "{cut:?}");
    }
}

#[test]
fn a_new_connection_keeps_the_last_id_until_it_is_told_another() {
    let mut parser = Parser::resuming("41");
    let mut chunk = &b"retry: 1\n\ndata: a\n\n"[..];
    assert_eq!(parser.next(&mut chunk), Ok(Some(Item::Retry(Duration::from_millis(1)))));
    assert_eq!(parser.next(&mut chunk), Ok(Some(event("41", "message", "a"))));
}

#[test]
fn bytes_that_are_no_utf_8_are_replaced() {
    assert_eq!(parse(b"data: a\xFFb\xE2\x82\n\n"), [event("", "message", "a\u{FFFD}b\u{FFFD}")]);
}

#[test]
fn what_does_not_end_is_refused_at_the_limit() {
    let mut parser = Parser::resuming("").with_limit(8);
    let mut chunk = &b"data: ab"[..];
    assert_eq!(parser.next(&mut chunk), Ok(None));
    let mut chunk = &b"c"[..];
    assert_eq!(parser.next(&mut chunk), Err(ParseError::LineTooLong { limit: 8 }));

    let mut parser = Parser::resuming("").with_limit(8);
    let mut chunk = &b"data:abcd\n"[..];
    assert_eq!(parser.next(&mut chunk), Err(ParseError::LineTooLong { limit: 8 }));

    let mut parser = Parser::resuming("").with_limit(8);
    let mut chunk = &b"data:abc\ndata:abc\ndata:abc\n"[..];
    assert_eq!(parser.next(&mut chunk), Err(ParseError::EventTooLarge { limit: 8 }));
}

/// Bytes that look like a stream: its own syntax, and what may break it.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            &b"\n"[..],
            b"\r",
            b"\r\n",
            b":",
            b" ",
            b"data",
            b"data: x",
            b"id: ",
            b"event:",
            b"retry: 12",
            b"\0",
            b"\xEF\xBB\xBF",
            b"\xE2\x82\xAC",
            b"\xFF",
        ])
        .prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// What a server writes for an event: the simplest encoder there is.
fn encode(event: &Event, end: &str) -> String {
    let mut text = format!("id: {}{end}event: {}{end}", event.id, event.event);
    for line in event.data.split('\n') {
        text.push_str(&format!("data: {line}{end}"));
    }
    text + end
}

fn events() -> impl Strategy<Value = Event> {
    ("[^\r\n\0]{0,8}", "[^\r\n]{1,8}", "[^\r]{0,24}").prop_map(|(id, event, data)| Event {
        id,
        event,
        data,
    })
}

proptest! {
    #[test]
    fn where_the_chunks_were_cut_changes_nothing(
        bytes in streams(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let every_byte: Vec<_> = (0..=bytes.len()).collect();
        let whole = parse_cut(&bytes, &[]);
        prop_assert_eq!(&parse_cut(&bytes, &cuts), &whole);
        prop_assert_eq!(&parse_cut(&bytes, &every_byte), &whole);
    }

    #[test]
    fn what_was_encoded_is_what_is_read(
        events in prop::collection::vec(events(), 0..6),
        end in prop::sample::select(vec!["\n", "\r", "\r\n"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes: String = events.iter().map(|event| encode(event, end)).collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let (items, id) = parse_cut(bytes.as_bytes(), &cuts);
        let want: Vec<_> = events.iter().cloned().map(Item::Event).collect();
        prop_assert_eq!(items, want);
        prop_assert_eq!(id, events.last().map_or("", |event| event.id.as_str()));
    }
}
