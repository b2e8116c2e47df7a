use proptest::prelude::*;

use super::*;

fn part(text: &str) -> Part {
    text.parse().expect("a part")
}

#[test]
fn a_part_is_spelled_as_the_settings_have_it() {
    let table = [
        ("key", Part::Key),
        ("topic", Part::Topic),
        ("header:X-Tenant", Part::Header("X-Tenant".into())),
        ("header:a:b", Part::Header("a:b".into())),
        ("constant:", Part::Constant("".into())),
        ("constant:a b", Part::Constant("a b".into())),
        ("attribute:subject", Part::Attribute("subject".into())),
        ("/user/id", Part::Pointer("/user/id".parse().expect("a pointer"))),
        ("value:", Part::Pointer("".parse().expect("a pointer"))),
    ];
    for (text, expected) in table {
        assert_eq!(part(text), expected);
        assert_eq!(expected.to_string(), text);
    }
    assert_eq!(part("value:/a"), part("/a"));
}

#[test]
fn what_is_no_part_says_what_would_be_one() {
    let error = |text: &str| text.parse::<Part>().expect_err(text).to_string();
    assert!(error("headers:x").contains("header:NAME"));
    assert!(error("").contains("constant:TEXT"));
    assert!(error("header:").contains("header:tenant"));
    assert!(error("attribute:Subject").contains("lower-case"));
    assert!(error("attribute:data").contains("no attribute"));
    assert!(error("/a~").contains("~0"));
    assert!(error("value:a").contains("'/'"));
    assert!("yaml".parse::<ValueKind>().expect_err("no").to_string().contains("base64"));
    assert_eq!("cloudevents".parse(), Ok(Format::CloudEvents));
}

#[test]
fn a_mapping_that_no_record_could_satisfy_is_refused() {
    let mapped = |id: &str, kind: &str, user: Option<&str>, value| {
        Mapping::mapped(part(id), part(kind), user.map(part), value).map_err(|e| e.to_string())
    };
    let refused = |result: Result<Mapping, String>| result.expect_err("refused");
    let json = ValueKind::Json;
    assert!(refused(mapped("constant:*", "topic", None, json)).starts_with("event_id"));
    assert!(refused(mapped("key", "constant:a/b", None, json)).starts_with("event_type"));
    assert!(refused(mapped("key", "topic", Some("constant:"), json)).starts_with("to_user"));
    assert!(refused(mapped("attribute:id", "topic", None, json)).contains("cloudevents"));
    assert!(refused(mapped("key", "/type", None, ValueKind::Text)).contains("value kind json"));
    assert!(mapped("constant:a/b", "topic", Some("header:u"), ValueKind::Base64).is_ok());
    // The data of a CloudEvent says itself what it is.
    let event = Mapping::cloud_events(Some(part("/id")), None, None, ValueKind::Base64);
    assert!(!event.expect("a mapping").is_keyed());
    let defaults = Mapping::cloud_events(None, None, None, json).expect("a mapping");
    assert!(defaults.is_keyed());
    assert_eq!(defaults.event_type, part("attribute:type"));
}

proptest! {
    #[test]
    fn a_part_that_is_read_is_written_so_that_it_is_read_again(
        prefix in "(key|topic|header:|constant:|attribute:|value:|/)?",
        rest in "[a-z0-9~/: é]{0,12}|.{0,12}",
    ) {
        if let Ok(part) = format!("{prefix}{rest}").parse::<Part>() {
            prop_assert_eq!(part.to_string().parse::<Part>(), Ok(part));
        }
    }
}
