//! Random histories of sharing, each step compared with the naive model.

mod event;
mod history;

use proptest::prelude::*;

use self::event::{app, events};
use self::history::History;

const PEOPLE: usize = 4;
const GRAINS: usize = 3;

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_sharing_agrees_with_the_naive_model(
        views in prop::collection::vec(app(), GRAINS),
        events in events(40),
    ) {
        let mut history = History::new(views);
        for event in events {
            history.happen(event);
            history.agrees_with_the_model();
        }
    }

    #[test]
    fn an_answer_stands_until_the_moment_it_names(
        views in prop::collection::vec(app(), GRAINS),
        events in events(20),
    ) {
        let mut history = History::new(views);
        for event in events {
            history.happen(event);
        }
        for (grain, holder) in history.holders() {
            let Some(access) = history.ledger.access(&history.world, &grain, &holder) else {
                continue;
            };
            let mut world = history.world.clone();
            for _ in 0..10 {
                world.now.0 += 1;
                if access.until.is_some_and(|until| until <= world.now) {
                    break;
                }
                assert_eq!(history.ledger.access(&world, &grain, &holder).as_ref(), Some(&access));
            }
        }
    }
}
