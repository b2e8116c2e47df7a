use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn pointer(text: &str) -> JsonPointer {
    text.parse().expect("a pointer")
}

fn one<'a>(text: &'a str, at: &str) -> Option<&'a str> {
    let [found] = find(text, [Some(&pointer(at))], MAX_DEPTH).expect("JSON");
    found
}

#[test]
fn the_examples_of_the_rfc_are_found() {
    let text = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
    let table = [
        ("", text),
        ("/foo", r#"["bar","baz"]"#),
        ("/foo/0", r#""bar""#),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ("/k\"l", "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
    ];
    for (at, value) in table {
        assert_eq!(one(text, at), Some(value), "{at:?}");
    }
    for nowhere in ["/bar", "/foo/2", "/foo/-", "/foo/00", "/foo/+1", "/foo/0/x", "/a/b"] {
        assert_eq!(one(text, nowhere), None, "{nowhere:?}");
    }
}

#[test]
fn a_whole_value_is_meant_by_the_empty_pointer() {
    assert_eq!(one(" \"x\" ", ""), Some("\"x\""));
    assert_eq!(one(r#"{"":1}"#, "/"), Some("1"));
}

#[test]
fn what_is_no_pointer_is_refused() {
    assert_eq!("a".parse::<JsonPointer>(), Err(PointerError::Slash));
    assert_eq!("/~".parse::<JsonPointer>(), Err(PointerError::Tilde));
    assert_eq!("/~2".parse::<JsonPointer>(), Err(PointerError::Tilde));
    assert_eq!("/a".repeat(MAX_DEPTH + 1).parse::<JsonPointer>(), Err(PointerError::TooDeep));
}

#[test]
fn the_last_of_several_members_with_one_name_counts() {
    assert_eq!(one(r#"{"a":1,"a":2}"#, "/a"), Some("2"));
    assert_eq!(one(r#"{"a":{"b":1},"a":{}}"#, "/a/b"), None);
    assert_eq!(one(r#"{"a":{"b":1},"\u0061":{"b":2}}"#, "/a/b"), Some("2"));
}

#[test]
fn a_pointer_to_a_container_and_one_into_it_are_found_at_once() {
    let (outer, inner) = (pointer("/a"), pointer("/a/b/1"));
    let text = r#" {"a" : {"b":[0, 1 ,2]} , "c":[[]] } "#;
    let found = find(text, [Some(&inner), None, Some(&outer)], MAX_DEPTH).expect("JSON");
    assert_eq!(found, [Some("1"), None, Some(r#"{"b":[0, 1 ,2]}"#)]);
}

#[test]
fn the_depth_is_bounded_wherever_it_is() {
    let at = pointer("/a/0");
    let find = |text: &str, depth| find(text, [Some(&at)], depth).map(|found| found[0].is_some());
    assert_eq!(find(r#"{"a":[[]]}"#, 3), Ok(true));
    for text in [r#"{"a":[[]]}"#, r#"{"x":[[]]}"#, r#"{"a":[1,[]]}"#] {
        let error = find(text, 2).expect_err("too deep");
        assert_eq!(error.reason, Reason::TooDeep(2), "{text}");
    }
    assert!(find(&"[".repeat(100_000), MAX_DEPTH).is_err());
}

/// Values with few names, so that pointers meet them.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any_name(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(vec!["a", "b", "0", "1", "01", "-", "", "~", "/", "é\"\\"])
            .prop_map(str::to_owned),
        1 => ".{0,3}",
    ]
}

fn any_pointer() -> impl Strategy<Value = String> {
    proptest::collection::vec(any_name(), 0..5).prop_map(|names| {
        let escaped = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        names.iter().map(escaped).collect()
    })
}

proptest! {
    #[test]
    fn it_finds_what_a_parsed_tree_has_there(
        value in any_value(),
        at in proptest::array::uniform3(any_pointer()),
        pretty in any::<bool>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("text");
        let pointers = [pointer(&at[0]), pointer(&at[1]), pointer(&at[2])];
        let found = find(&text, pointers.each_ref().map(Some), MAX_DEPTH).expect("JSON");
        for (found, at) in found.into_iter().zip(&at) {
            let found = found.map(|raw| serde_json::from_str::<Value>(raw).expect("a value"));
            prop_assert_eq!(found.as_ref(), value.pointer(at), "{} in {}", at, text);
        }
    }

    #[test]
    fn it_takes_exactly_the_texts_that_the_scanner_takes(text in "[\\[\\]{}:, \"a0tn\\\\-]{0,24}", at in any_pointer()) {
        let found = find(&text, [Some(&pointer(&at))], 4);
        let whole = crate::json::minify(&text, 4);
        prop_assert_eq!(found.is_ok(), whole.is_ok(), "{:?} {:?}", found, whole);
    }

    #[test]
    fn a_pointer_is_spelled_as_it_was_read(text in "(/(~0|~1|[^~/]){0,4}){0,4}") {
        prop_assert_eq!(pointer(&text).to_string(), text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".*") {
        let _ = text.parse::<JsonPointer>();
    }
}
