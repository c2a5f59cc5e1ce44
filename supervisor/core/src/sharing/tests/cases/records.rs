//! What may be added and changed, found again and read again.

use super::super::world::{account, grain, link, person, share, share_id, to};
use super::{ANNA, BORIS, CARLA, EDIT, LOOK, OWNER, held, no_reshare, of, requiring, world};
use crate::sharing::ledger::{Ledger, Refused};
use crate::sharing::requirement::{Requirement, TokenHash};
use crate::sharing::role::Role;
use crate::sharing::share::{
    Acceptance, Holder, LABEL_LIMIT, REQUIREMENTS_PER_SHARE, Recipient, SHARES_PER_GRAIN, Share,
};
use crate::time::Timestamp;

#[test]
fn what_cannot_be_added_is_refused() {
    let world = world();
    let there = [
        share(1, person(OWNER), to(ANNA), EDIT),
        no_reshare(share(2, person(OWNER), to(BORIS), EDIT)),
        no_reshare(share(3, person(OWNER), Recipient::Link, EDIT)),
        of(1, share(4, person(OWNER), Recipient::Link, EDIT)),
    ];
    let ledger = Ledger::load(there, []);
    let labelled = |label: &str| Share {
        label: Some(label.to_owned()),
        ..share(9, person(ANNA), to(CARLA), EDIT)
    };
    let many = |count| vec![held(0, person(ANNA), ""); count];
    for (share, expected) in [
        (share(9, person(ANNA), to(CARLA), Role::All), Ok(())),
        (share(9, person(ANNA), Recipient::Link, EDIT), Ok(())),
        (share(9, link(3), to(CARLA), EDIT), Ok(())),
        (share(9, link(3), Recipient::Link, EDIT), Err(Refused::NotHeld)),
        (share(9, link(4), to(CARLA), EDIT), Err(Refused::NotHeld)),
        (share(9, person(BORIS), to(CARLA), EDIT), Err(Refused::NotHeld)),
        (share(9, person(CARLA), to(ANNA), EDIT), Err(Refused::NotHeld)),
        (
            of(2, share(9, person(ANNA), to(CARLA), EDIT)),
            Err(Refused::NotHeld),
        ),
        (
            of(7, share(9, person(OWNER), to(CARLA), EDIT)),
            Err(Refused::NotHeld),
        ),
        (share(1, person(ANNA), to(CARLA), EDIT), Err(Refused::Exists)),
        (share(9, person(ANNA), to(ANNA), EDIT), Err(Refused::ToSelf)),
        (share(9, link(9), Recipient::Link, EDIT), Err(Refused::ToSelf)),
        (labelled(&"x".repeat(LABEL_LIMIT)), Ok(())),
        (labelled(&"x".repeat(LABEL_LIMIT + 1)), Err(Refused::Label)),
        (labelled("two\nlines"), Err(Refused::Label)),
        (requiring(labelled(""), many(REQUIREMENTS_PER_SHARE)), Ok(())),
        (
            requiring(labelled(""), many(REQUIREMENTS_PER_SHARE + 1)),
            Err(Refused::TooMuch),
        ),
    ] {
        let planned = ledger.plan_add(&world, share.clone()).map(|changes| {
            assert_eq!(changes.put, std::slice::from_ref(&share));
        });
        assert_eq!(planned, expected, "{share:?}");
    }
    let full = (0..SHARES_PER_GRAIN).map(|number| share(100 + number, person(OWNER), to(number + 1), EDIT));
    let refused = Ledger::load(full, []).plan_add(&world, share(9, person(OWNER), to(CARLA), EDIT));
    assert_eq!(refused, Err(Refused::TooMany));
}

#[test]
fn a_change_cannot_turn_one_share_into_another() {
    let before = share(1, person(OWNER), to(ANNA), EDIT);
    let mut ledger = Ledger::load([before.clone()], []);
    let changes = ledger
        .plan_change(&before.id, |share| {
            share.id = share_id(5);
            share.grain = grain(1);
            share.from = person(BORIS);
            share.to = Recipient::Link;
            share.role = LOOK.into();
        })
        .unwrap();
    let after = Share {
        role: LOOK.into(),
        ..before.clone()
    };
    assert_eq!(changes.put, std::slice::from_ref(&after));
    assert_eq!(ledger.share(&before.id), Some(&before), "a plan changes nothing");
    ledger.apply(changes);
    assert_eq!(ledger.share(&before.id), Some(&after));
    assert!(ledger.plan_change(&before.id, |_| {}).unwrap().is_empty());
    let long = ledger.plan_change(&before.id, |share| {
        share.label = Some("x".repeat(LABEL_LIMIT + 1))
    });
    assert_eq!(long, Err(Refused::Label));
    assert_eq!(ledger.plan_change(&share_id(7), |_| {}), Err(Refused::Unknown));
}

#[test]
fn a_redeemed_link_is_found_again() {
    let shares = [
        share(1, person(OWNER), Recipient::Link, EDIT),
        share(2, link(1), to(ANNA), Role::All),
        share(3, person(OWNER), to(ANNA), EDIT),
    ];
    let ledger = Ledger::load(shares, []);
    let found = |from: Holder, who| -> Vec<u64> {
        let between = ledger.between(&grain(0), &from, &account(who));
        between.map(|share| share.created.0).collect()
    };
    assert_eq!(found(link(1), ANNA), [2]);
    assert_eq!(found(person(OWNER), ANNA), [3]);
    assert!(found(link(1), BORIS).is_empty());
    assert_eq!(ledger.between(&grain(1), &link(1), &account(ANNA)).count(), 0);
}

#[test]
fn records_come_back_and_older_ones_are_understood() {
    let full = Share {
        expires: Some(Timestamp(7)),
        label: Some("choir".to_owned()),
        requirements: vec![
            Requirement::TokenValid(TokenHash([1; 32])),
            held(1, link(2), "01"),
            Requirement::IsAdmin(account(3)),
        ],
        limits: vec![LOOK.into()],
        accepted: Acceptance::Pending,
        ..share(1, link(4), to(ANNA), Role::Default)
    };
    for share in [full.clone(), share(2, person(OWNER), Recipient::Link, Role::All)] {
        let text = serde_json::to_string(&share).unwrap();
        assert_eq!(serde_json::from_str::<Share>(&text).unwrap(), share, "{text}");
    }
    // What is in stores is for ever.
    let number = |number: usize| format!("{number:022}");
    let written = format!(
        r#"{{"id":"{}","grain":"{}","from":{{"person":"{}"}},"to":"link","role":{{"role":{{"index":1}}}},"may_reshare":true,"expires":null,"created":1}}"#,
        number(1),
        number(0),
        number(0)
    );
    let read: Share = serde_json::from_str(&written).unwrap();
    assert_eq!(read, share(1, person(OWNER), Recipient::Link, EDIT));
    for foreign in [
        written.replace(&number(1), "../../../../etc/passwd"),
        written.replace("{\"index\":1}", "{\"index\":65536}"),
        written.replace("\"link\"", "\"everybody\""),
    ] {
        assert!(serde_json::from_str::<Share>(&foreign).is_err(), "{foreign}");
    }
}
