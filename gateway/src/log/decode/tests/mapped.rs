use super::*;

fn mapped(id: &str, kind: &str, user: Option<&str>) -> Source {
    let mapping = Mapping::mapped(part(id), part(kind), user.map(part), ValueKind::Json);
    source(mapping.expect("a mapping"))
}

/// Where a record goes: `id/type` and the user.
fn goes_to(record: &Record, source: &Source) -> Result<(String, Option<String>), Malformed> {
    let head = head(record, source)?;
    let Audience::Room(room) = head.audience else { panic!("a room") };
    Ok((room.to_string(), head.to_user.map(|user| user.to_string())))
}

#[test]
fn every_part_can_come_from_everywhere() {
    let value = br#"{"user":{"id":42,"name":"J\u00f6rg","vip":true},"kinds":["a","created"]}"#;
    let headers: [(&str, &[u8]); 3] =
        [("tenant", b"old"), ("tenant", b"acme"), ("n", "ä".as_bytes())];
    let record = record(Some(b"cart-7"), &headers, Some(value));
    let table = [
        ("key", "topic", Some("header:n"), "cart-7/orders", Some("ä")),
        ("header:tenant", "constant:t", Some("key"), "acme/t", Some("cart-7")),
        ("/user/id", "/kinds/1", Some("/user/name"), "42/created", Some("Jörg")),
        ("topic", "/user/vip", None, "orders/true", None),
        ("key", "topic", Some("/nobody"), "cart-7/orders", None),
        ("key", "topic", Some("header:nobody"), "cart-7/orders", None),
    ];
    for (id, kind, user, room, for_user) in table {
        let (to, to_user) = goes_to(&record, &mapped(id, kind, user)).expect("a head");
        assert_eq!((&*to, to_user.as_deref()), (room, for_user), "{id} {kind}");
    }
}

#[test]
fn what_a_mapping_cannot_find_is_said_with_its_place() {
    let record =
        record(None, &[("bad", b"\xff"), ("line", b"a\nb")], Some(br#"{"a":{},"n":null}"#));
    let error = |id: &str, user: Option<&str>| {
        goes_to(&record, &mapped(id, "topic", user)).expect_err("malformed")
    };
    let table = [
        ("key", None, "mapping", "event_id from key, which the record does not have"),
        ("header:x", None, "mapping", "event_id from header:x,"),
        ("/n", None, "mapping", "from /n, which the record does not have"),
        ("/a", None, "mapping", "neither a string"),
        ("value:", None, "mapping", "from value:, which is neither"),
        ("header:bad", None, "not_utf8", "event_id is not UTF-8"),
        ("header:line", None, "name", "U+000A"),
        // It may not be shown to everybody for being misunderstood.
        ("topic", Some("/a"), "mapping", "to_user from /a"),
        ("topic", Some("header:line"), "name", "user has the control"),
    ];
    for (id, user, kind, says) in table {
        let error = error(id, user);
        assert_eq!(error.kind().as_str(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(goes_to(&record, &mapped("topic", "topic", Some("/n"))).expect("a head").1, None);
}

#[test]
fn the_value_is_looked_at_only_for_a_pointer() {
    let broken = record(Some(b"a"), &[], Some(b"\xff"));
    assert!(head(&broken, &mapped("key", "topic", Some("header:x"))).is_ok());
    assert!(matches!(head(&broken, &mapped("/a", "topic", None)), Err(Malformed::NotJson(_))));
    let tombstone = record(Some(b"a"), &[], None);
    assert_eq!(head(&tombstone, &mapped("key", "topic", None)), Err(Malformed::NullValue));
}

#[test]
fn a_value_is_json_text_or_bytes_as_the_topic_says() {
    let of = |kind, value: &[u8]| {
        let mapping = Mapping::mapped(Part::Key, Part::Topic, None, kind).expect("a mapping");
        let event = read(&record(Some(b"a"), &[], Some(value)), &source(mapping))?;
        Ok((data(&event).to_owned(), event.is_base64))
    };
    let ok = |data: &str, is_base64| Ok::<_, Malformed>((data.to_owned(), is_base64));
    assert_eq!(of(ValueKind::Json, b" { \"n\" : 1.0 } "), ok(r#"{"n":1.0}"#, false));
    assert_eq!(of(ValueKind::Text, "a\n\"ä\"\u{1}".as_bytes()), ok(r#""a\n\"ä\"\u0001""#, false));
    assert_eq!(of(ValueKind::Text, b""), ok("\"\"", false));
    assert_eq!(of(ValueKind::Text, b"\xff"), Err(Malformed::NotUtf8("value")));
    assert_eq!(of(ValueKind::Base64, b"\xff\0"), ok("\"/wA=\"", true));
    assert!(matches!(of(ValueKind::Json, b"text"), Err(Malformed::NotJson(_))));
}

#[test]
fn what_a_mapping_does_not_name_is_read_as_in_the_gateways_own_records() {
    let headers: [(&str, &[u8]); 5] = [
        ("event_name", b"Moved"),
        ("from_user", b"u"),
        ("h.X-A", b"1"),
        ("final", b"true"),
        // Whom an event is for is the mapping's to say.
        ("to_user", b"v"),
    ];
    let event = read(&record(Some(b"a"), &headers, Some(b"1")), &mapped("key", "topic", None));
    let event = event.expect("an event");
    assert_eq!(event.event_name.as_deref(), Some("Moved"));
    assert_eq!(event.from_user, Some(User::new("u").expect("a user")));
    assert_eq!(event.headers, [("X-A".into(), "1".into())]);
    assert_eq!((event.is_final, event.to_user), (true, None));
    assert_eq!(event.message_id, MessageId::from_place("orders", 1, "2"));
}

#[test]
fn a_broadcast_needs_no_id() {
    let mut source = mapped("header:nowhere", "key", None);
    source.role = Role::Broadcast;
    let head = head(&record(Some(b"t"), &[], Some(b"1")), &source).expect("a head");
    assert_eq!(head.audience, Audience::Broadcast(EventType::new("t").expect("a type")));
}
