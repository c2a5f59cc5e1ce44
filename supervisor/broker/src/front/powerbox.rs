//! One request of a grain, in front of the person it was made to.

use std::rc::Rc;

use capnp::Error;
use percloud_core::id::RequestId;
use percloud_schemas::front_capnp::powerbox;

use super::{act, answer, done, use_cases};
use crate::account::SignedIn;
use crate::broker::Broker;

pub(super) struct Powerbox {
    pub broker: Rc<Broker>,
    pub who: SignedIn,
    pub id: RequestId,
}

impl powerbox::Server for Powerbox {
    use_cases! { powerbox:
        choices ChoicesParams ChoicesResults () -> 200 = |broker, who, id| broker.choices(who, id).await;
        choose ChooseParams ChooseResults (json = get_json) -> 200 = |broker, who, id| broker.choose(who, id, &json).await;
        cancel CancelParams CancelResults () -> 204 = |broker, who, id| done(broker.cancel_request(who, id).await);
    }
}
