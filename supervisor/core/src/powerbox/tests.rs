use proptest::prelude::*;

use super::*;

/// The interface id and value of the reference test app.
const TEST_TAG: u64 = 0xdf95_18c9_479d_dfcb;

fn text(text: &str) -> Value {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    Value::Data(DataList {
        element: ElementSize::Byte,
        count: u32::try_from(bytes.len()).unwrap(),
        bytes,
    })
}

fn content(data: &[u8], pointers: Vec<Value>) -> Struct {
    Struct {
        data: data.to_vec(),
        pointers,
    }
}

fn value(data: &[u8], pointers: Vec<Value>) -> Value {
    Value::Struct(content(data, pointers))
}

fn tag(id: u64, value: impl Into<Option<Value>>) -> Tag {
    Tag {
        id,
        value: value.into(),
    }
}

fn having(tags: impl IntoIterator<Item = Tag>) -> Descriptor {
    Descriptor {
        tags: tags.into_iter().collect(),
        quality: Quality::Acceptable,
    }
}

fn rated(quality: Quality, tags: impl IntoIterator<Item = Tag>) -> Descriptor {
    Descriptor {
        quality,
        ..having(tags)
    }
}

fn fits(query: Value, provided: Value) -> bool {
    matches(&[having([tag(1, query)])], &[having([tag(1, provided)])]).is_some()
}

const NUMBER: [u8; 8] = [123, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn the_reference_test_apps_question_is_answered() {
    let query = [having([tag(TEST_TAG, value(&NUMBER, vec![]))])];
    for (provided, expected) in [
        (value(&NUMBER, vec![text("foo")]), true),
        (value(&[124], vec![text("foo")]), false),
        (value(&NUMBER[..4], vec![]), true),
    ] {
        let provided = [having([tag(TEST_TAG, provided)])];
        assert_eq!(matches(&query, &provided).is_some(), expected, "{provided:?}");
    }
    assert!(!fits(
        value(&NUMBER, vec![text("bar")]),
        value(&NUMBER, vec![text("foo")])
    ));
}

#[test]
fn every_tag_asked_for_must_be_provided() {
    let provided = [having([tag(1, None), tag(2, None)])];
    for (ids, expected) in [
        (vec![], true),
        (vec![1], true),
        (vec![2, 1], true),
        (vec![1, 2, 3], false),
        (vec![3], false),
    ] {
        let query = [having(ids.iter().map(|id| tag(*id, None)))];
        assert_eq!(matches(&query, &provided).is_some(), expected, "{ids:?}");
    }
    assert_eq!(matches(&[], &provided), None, "no question, no answer");
    assert_eq!(matches(&[having([])], &[]), None, "nothing provided, no answer");
    assert_eq!(matches(&[having([tag(1, None)])], &[having([])]), None);
}

#[test]
fn values_fit_by_their_kind() {
    let list = |bytes: &[u8], element| {
        Value::Data(DataList {
            element,
            count: 2,
            bytes: bytes.to_vec(),
        })
    };
    let structs =
        |numbers: &[u8]| Value::Structs(numbers.iter().map(|number| content(&[*number], vec![])).collect());
    for (query, provided, expected) in [
        (Value::Null, text("x"), true),
        (text("x"), Value::Null, true),
        (text("x"), text("x"), true),
        (text("x"), text("y"), false),
        (text("x"), value(&[], vec![]), false),
        (value(&[], vec![]), structs(&[]), false),
        (Value::Capability, Value::Null, true),
        (Value::Capability, Value::Capability, false),
        (
            list(&[1, 2], ElementSize::Byte),
            list(&[1, 2], ElementSize::Byte),
            true,
        ),
        (
            list(&[1, 2], ElementSize::Byte),
            list(&[1, 2, 0, 0], ElementSize::TwoBytes),
            false,
        ),
        (list(&[], ElementSize::Void), list(&[], ElementSize::Void), true),
        // Missing ends of a struct are zero and null.
        (value(&[1, 0, 0], vec![Value::Null]), value(&[1], vec![]), true),
        (value(&[1], vec![]), value(&[1, 0, 2], vec![]), false),
        (value(&[], vec![text("x")]), value(&[], vec![]), true),
        (value(&[], vec![]), value(&[], vec![text("x")]), true),
        // Lists of structs are sets: each one asked for is among those provided.
        (structs(&[]), structs(&[1]), true),
        (structs(&[2, 1]), structs(&[1, 2, 3]), true),
        (structs(&[1, 1]), structs(&[1]), true),
        (structs(&[1, 4]), structs(&[1, 2, 3]), false),
        (structs(&[1]), structs(&[]), false),
        // Other lists have to be equal.
        (
            Value::Pointers(vec![text("x")]),
            Value::Pointers(vec![text("x")]),
            true,
        ),
        (
            Value::Pointers(vec![text("x")]),
            Value::Pointers(vec![text("x"), text("y")]),
            false,
        ),
        (
            Value::Pointers(vec![Value::Null]),
            Value::Pointers(vec![text("x")]),
            false,
        ),
        (
            Value::Pointers(vec![value(&[1, 0], vec![Value::Null])]),
            Value::Pointers(vec![value(&[1], vec![])]),
            true,
        ),
        (
            Value::Pointers(vec![structs(&[1, 2])]),
            Value::Pointers(vec![structs(&[2, 1])]),
            false,
        ),
    ] {
        assert_eq!(
            fits(query.clone(), provided.clone()),
            expected,
            "{query:?} of {provided:?}"
        );
    }
}

#[test]
fn more_specific_questions_override_less_specific_ones() {
    use Quality::{Acceptable, Preferred, Unacceptable};
    let any = |quality| rated(quality, [tag(1, None)]);
    let exactly = |quality, what| rated(quality, [tag(1, text(what))]);
    let provided = [having([tag(1, text("x")), tag(2, None)])];
    let both = |quality| rated(quality, [tag(1, text("x")), tag(2, None)]);
    for (query, expected) in [
        (vec![any(Acceptable)], Some(Acceptable)),
        (vec![any(Preferred)], Some(Preferred)),
        (vec![any(Unacceptable)], None),
        (vec![any(Acceptable), exactly(Unacceptable, "x")], None),
        (vec![exactly(Unacceptable, "x"), any(Acceptable)], None),
        (
            vec![any(Acceptable), exactly(Unacceptable, "y")],
            Some(Acceptable),
        ),
        (
            vec![any(Unacceptable), exactly(Acceptable, "x")],
            Some(Acceptable),
        ),
        (
            vec![exactly(Acceptable, "x"), any(Unacceptable)],
            Some(Acceptable),
        ),
        (vec![any(Preferred), exactly(Acceptable, "x")], Some(Acceptable)),
        (vec![any(Acceptable), exactly(Preferred, "x")], Some(Preferred)),
        (
            vec![any(Preferred), exactly(Unacceptable, "x"), both(Acceptable)],
            Some(Acceptable),
        ),
        // Equally specific: in their order.
        (vec![any(Acceptable), any(Preferred)], Some(Preferred)),
        (vec![any(Preferred), any(Acceptable)], Some(Preferred)),
        (vec![any(Acceptable), any(Unacceptable)], None),
        (vec![any(Unacceptable), any(Acceptable)], Some(Acceptable)),
        // Not comparable: in their order as well.
        (
            vec![exactly(Acceptable, "x"), rated(Unacceptable, [tag(2, None)])],
            None,
        ),
        (
            vec![rated(Unacceptable, [tag(2, None)]), exactly(Acceptable, "x")],
            Some(Acceptable),
        ),
    ] {
        assert_eq!(matches(&query, &provided), expected, "{query:?}");
    }
}

#[test]
fn of_several_things_provided_the_best_counts() {
    use Quality::{Preferred, Unacceptable};
    let query = [
        having([tag(1, None)]),
        rated(Preferred, [tag(1, text("good"))]),
        rated(Unacceptable, [tag(1, text("bad"))]),
    ];
    let offer = |what| having([tag(1, text(what))]);
    for (provided, expected) in [
        (vec![offer("bad")], None),
        (vec![offer("bad"), offer("so-so")], Some(Quality::Acceptable)),
        (vec![offer("so-so"), offer("good"), offer("bad")], Some(Preferred)),
    ] {
        assert_eq!(matches(&query, &provided), expected, "{provided:?}");
    }
}

#[test]
fn a_provider_can_except_something_but_not_praise_itself() {
    use Quality::{Preferred, Unacceptable};
    let provided = [
        rated(Preferred, [tag(1, None)]),
        rated(Unacceptable, [tag(1, text("x"))]),
    ];
    for (asked, expected) in [
        (None, Some(Quality::Acceptable)),
        (Some(text("y")), Some(Quality::Acceptable)),
        (Some(text("x")), None),
    ] {
        assert_eq!(
            matches(&[having([tag(1, asked.clone())])], &provided),
            expected,
            "{asked:?}"
        );
    }
    // What is more specific than the exception stands beside it.
    let special = [
        provided[0].clone(),
        provided[1].clone(),
        having([tag(1, text("x")), tag(2, None)]),
    ];
    let query = [having([tag(1, text("x"))])];
    assert_eq!(matches(&query, &special), Some(Quality::Acceptable));
    assert_eq!(matches(&query, &provided[1..]), None);
}

#[test]
fn hostile_lists_do_not_take_longer_than_the_limit() {
    let set = |first: u16, count: u16| {
        let structs = (first..first + count).map(|number| content(&number.to_le_bytes(), vec![]));
        Value::Structs(structs.collect())
    };
    assert!(fits(set(1, 200), set(1, 200)), "what people use is well within");
    let one_too_much = u16::try_from(NODE_LIMIT).unwrap();
    assert!(
        !fits(set(1, one_too_much), set(1, one_too_much)),
        "and this is not"
    );
    // An exception that cannot be compared is not taken for one that does not apply.
    let query = [
        having([tag(2, None)]),
        rated(
            Quality::Unacceptable,
            [tag(1, set(1, one_too_much)), tag(2, None)],
        ),
    ];
    assert_eq!(
        matches(&query, &[having([tag(2, None), tag(1, set(1, one_too_much))])]),
        None
    );
}

#[test]
fn what_is_too_large_or_too_deep_is_found_out() {
    let deep = |depth| (1..depth).fold(Value::Null, |inner, _| value(&[], vec![inner]));
    let list = |value| vec![having([tag(1, Some(value))])];
    let data = |length| value(&vec![1; length], vec![]);
    for (descriptors, expected) in [
        (vec![having([]); DESCRIPTOR_LIMIT], Ok(())),
        (vec![having([]); DESCRIPTOR_LIMIT + 1], Err(Excess::Descriptors)),
        (vec![having(vec![tag(1, None); TAG_LIMIT])], Ok(())),
        (vec![having(vec![tag(1, None); TAG_LIMIT + 1])], Err(Excess::Tags)),
        (list(deep(DEPTH_LIMIT)), Ok(())),
        (list(deep(DEPTH_LIMIT + 1)), Err(Excess::Depth)),
        (
            list(Value::Structs(vec![Struct::default(); NODE_LIMIT - 1])),
            Ok(()),
        ),
        (
            list(Value::Structs(vec![Struct::default(); NODE_LIMIT])),
            Err(Excess::Nodes),
        ),
        (
            list(Value::Pointers(vec![Value::Null; NODE_LIMIT])),
            Err(Excess::Nodes),
        ),
        (list(data(BYTE_LIMIT)), Ok(())),
        (list(data(BYTE_LIMIT + 1)), Err(Excess::Bytes)),
        (list(text(&"x".repeat(BYTE_LIMIT))), Err(Excess::Bytes)),
    ] {
        assert_eq!(check(&descriptors), expected);
    }
    // What `check` lets pass is never too deep to be compared.
    let deepest = list(deep(DEPTH_LIMIT));
    assert_eq!(matches(&deepest, &deepest), Some(Quality::Acceptable));
    let deeper = list(deep(DEPTH_LIMIT + 1));
    assert_eq!(matches(&deeper, &deeper), None);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        2 => Just(Value::Null),
        1 => Just(Value::Capability),
        3 => "[ab]{0,1}".prop_map(|letters| text(&letters)),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let inner = prop::collection::vec(inner, 0..3);
        let content = (prop::collection::vec(0..2_u8, 0..2), inner.clone())
            .prop_map(|(data, pointers)| Struct { data, pointers });
        prop_oneof![
            content.clone().prop_map(Value::Struct),
            inner.prop_map(Value::Pointers),
            prop::collection::vec(content, 0..3).prop_map(Value::Structs),
        ]
    })
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    let quality = prop_oneof![
        3 => Just(Quality::Acceptable),
        1 => Just(Quality::Preferred),
        1 => Just(Quality::Unacceptable)
    ];
    let tag = (0..3_u64, prop::option::of(any_value())).prop_map(|(id, value)| Tag { id, value });
    (prop::collection::vec(tag, 0..3), quality).prop_map(|(tags, quality)| Descriptor { tags, quality })
}

/// The rule for values word for word, without any limit.
fn plainly_fits(query: &Value, provided: &Value) -> bool {
    let structs = |query: &Struct, provided: &Struct| {
        let length = query.data.len().max(provided.data.len());
        let padded = |data: &[u8]| {
            let mut data = data.to_vec();
            data.resize(length, 0);
            data
        };
        let mut pairs = query.pointers.iter().zip(&provided.pointers);
        padded(&query.data) == padded(&provided.data)
            && pairs.all(|(query, provided)| plainly_fits(query, provided))
    };
    match (query, provided) {
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Struct(query), Value::Struct(provided)) => structs(query, provided),
        (Value::Structs(query), Value::Structs(provided)) => query
            .iter()
            .all(|query| provided.iter().any(|provided| structs(query, provided))),
        (Value::Data(query), Value::Data(provided)) => query == provided,
        (Value::Pointers(query), Value::Pointers(provided)) => {
            let normal = |values: &[Value]| values.iter().map(normal_form).collect::<Option<Vec<_>>>();
            let (query, provided) = (normal(query), normal(provided));
            query.is_some() && query == provided
        }
        _ => false,
    }
}

/// A value without anything that makes no difference; `None` when there is a capability in it, which equals nothing.
fn normal_form(value: &Value) -> Option<Value> {
    let content = |content: &Struct| {
        let mut content = Struct {
            data: content.data.clone(),
            pointers: content.pointers.iter().map(normal_form).collect::<Option<_>>()?,
        };
        while content.data.last() == Some(&0) {
            content.data.pop();
        }
        while content.pointers.last() == Some(&Value::Null) {
            content.pointers.pop();
        }
        Some(content)
    };
    Some(match value {
        Value::Capability => return None,
        Value::Null | Value::Data(_) => value.clone(),
        Value::Struct(inner) => Value::Struct(content(inner)?),
        Value::Structs(structs) => Value::Structs(structs.iter().map(content).collect::<Option<_>>()?),
        Value::Pointers(values) => Value::Pointers(values.iter().map(normal_form).collect::<Option<_>>()?),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_fit_as_the_rule_says(query in any_value(), provided in any_value()) {
        prop_assert_eq!(fits(query.clone(), provided.clone()), plainly_fits(&query, &provided));
    }

    #[test]
    fn nothing_fits_that_no_acceptable_descriptor_fits(
        query in prop::collection::vec(any_descriptor(), 0..4),
        provided in prop::collection::vec(any_descriptor(), 0..4),
    ) {
        let quality = matches(&query, &provided);
        prop_assert_ne!(quality, Some(Quality::Unacceptable));
        if quality.is_some() {
            let welcome = query.iter().filter(|asked| asked.quality != Quality::Unacceptable);
            let mut offers = provided.iter().filter(|offer| offer.quality != Quality::Unacceptable);
            let tags = |asked: &Descriptor, offer: &Descriptor| {
                asked.tags.iter().all(|tag| {
                    offer.tags.iter().any(|other| {
                        let null = Value::Null;
                        let value = |tag: &Tag| tag.value.clone().unwrap_or(null.clone());
                        tag.id == other.id && plainly_fits(&value(tag), &value(other))
                    })
                })
            };
            let welcome: Vec<_> = welcome.collect();
            prop_assert!(offers.any(|offer| welcome.iter().any(|asked| tags(asked, offer))));
        }
    }
}
