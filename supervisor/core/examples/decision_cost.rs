//! What a decision costs on a grain with 10,000 shares.
//!
//!     cargo run --release -p percloud-core --example decision_cost
//!
//! Prints the median and the slowest of many decisions, in microseconds: what somebody holds, for people at different
//! places of the graph, and who has access, for the whole of it.

use std::borrow::Cow;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use percloud_core::id::{AccountId, GrainId, ShareId};
use percloud_core::sharing::access::Facts;
use percloud_core::sharing::ledger::Ledger;
use percloud_core::sharing::permission::PermissionSet;
use percloud_core::sharing::requirement::TokenHash;
use percloud_core::sharing::role::{Role, RoleDef, View};
use percloud_core::sharing::share::{Acceptance, Holder, Recipient, Share};
use percloud_core::time::Timestamp;

const SHARES: usize = 10_000;
const DECISIONS: usize = 1000;
const LISTS: usize = 50;

struct World {
    owner: AccountId,
    view: View,
}

impl Facts for World {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn owner(&self, _: &GrainId) -> Option<AccountId> {
        Some(self.owner.clone())
    }

    fn view(&self, _: &GrainId) -> Cow<'_, View> {
        Cow::Borrowed(&self.view)
    }

    fn token_valid(&self, _: &TokenHash) -> bool {
        false
    }

    fn is_admin(&self, _: &AccountId) -> bool {
        false
    }
}

fn account(number: usize) -> AccountId {
    format!("{number:022}").parse().expect("digits make an id")
}

fn share(id: usize, from: Holder, to: Recipient) -> Share {
    let text = format!("{id:022}");
    Share {
        id: text.parse::<ShareId>().expect("digits make an id"),
        grain: grain(),
        from,
        to,
        role: Role::Index(u16::try_from(id % 3).expect("small")).into(),
        limits: Vec::new(),
        may_reshare: true,
        expires: None,
        created: Timestamp(id as u64),
        label: None,
        requirements: Vec::new(),
        accepted: Acceptance::Accepted,
    }
}

fn grain() -> GrainId {
    format!("{:022}", 0).parse().expect("digits make an id")
}

fn person(number: usize) -> Holder {
    Holder::Person(account(number))
}

fn to(number: usize) -> Recipient {
    Recipient::Person(account(number))
}

/// Name, shares, and the person who is asked about.
type Shape = (&'static str, Vec<Share>, usize);

fn shapes() -> Vec<Shape> {
    let fan = (0..SHARES).map(|n| share(n, person(0), to(n + 1))).collect();
    let chain = (0..SHARES).map(|n| share(n, person(n), to(n + 1))).collect();
    // A tree in which everybody shared with ten others.
    let tree = (0..SHARES).map(|n| share(n, person(n / 10), to(n + 1))).collect();
    // One link, redeemed by everybody.
    let link = share(0, person(0), Recipient::Link);
    let by_link = link.holder();
    let redeemed = (1..SHARES).map(|n| share(n, by_link.clone(), to(n)));
    // A thousand people who each shared with ten more around a circle: everything leads to everybody.
    let tangle = (0..SHARES).map(|n| share(n, person(n / 10), to((n / 10 + n % 10 + 1) % 1000)));
    vec![
        ("fan", fan, SHARES / 2),
        ("tree of tens", tree, SHARES),
        (
            "one link",
            std::iter::once(link.clone()).chain(redeemed).collect(),
            SHARES / 2,
        ),
        ("tangle of 1,000", tangle.collect(), 500),
        ("chain, 100 deep", (0..SHARES).map(|n| hop(n, 100)).collect(), 100),
        ("chain, 10,000 deep", chain, SHARES),
    ]
}

/// Chains of a length side by side, all from the owner.
fn hop(number: usize, length: usize) -> Share {
    let from = if number.is_multiple_of(length) { 0 } else { number };
    share(number, person(from), to(number + 1))
}

fn main() -> Result<(), Box<dyn Error>> {
    let role = |bits: [bool; 3]| {
        PermissionSet::from_bools(bits).map(|permissions| RoleDef {
            permissions,
            is_default: false,
        })
    };
    let world = World {
        owner: account(0),
        view: View {
            permissions: 3,
            roles: vec![
                role([true, true, true])?,
                role([true, true, false])?,
                role([true, false, false])?,
            ],
        },
    };
    println!(
        "{:<20} {:>12} {:>12} {:>12} {:>12}",
        "10,000 shares", "access p50", "max", "ways p50", "max"
    );
    for (name, shares, asked) in shapes() {
        let ledger = Ledger::load(shares, []);
        let asked = person(asked);
        let grain = grain();
        let access = time(DECISIONS, || {
            black_box(ledger.access(&world, &grain, &asked)).expect("they have access");
        });
        let ways = time(LISTS, || {
            assert_eq!(black_box(ledger.ways(&world, &grain)).len(), SHARES)
        });
        let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
        let [access, slowest_access, ways, slowest_ways] = [access.0, access.1, ways.0, ways.1].map(micros);
        println!("{name:<20} {access:>12} {slowest_access:>12} {ways:>12} {slowest_ways:>12}");
    }
    Ok(())
}

/// The median and the longest of `count` runs.
fn time(count: usize, mut run: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    (times[count / 2], times[count - 1])
}
