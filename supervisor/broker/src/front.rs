//! The broker's capabilities towards the edge (`schemas/percloud/front.capnp`): each method one use case.

mod grain;
mod package;
mod powerbox;
mod stranger;
mod user;

use std::rc::Rc;

use capnp::Error;
use percloud_schemas::front_capnp::{front, reply};
use percloud_schemas::util_capnp::handle;
use serde_json::{Value, json};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;

/// Writes what a use case came to into a reply.
fn answer(mut reply: reply::Builder<'_>, status: u16, outcome: Result<Value, Problem>) {
    let (status, json) = match outcome {
        Ok(value) => (status, value),
        Err(problem) => (problem.status(), problem.json()),
    };
    reply.set_status(status);
    reply.set_json(json.to_string());
}

/// Runs a use case to its end, even when whoever asked is gone by then: a closed tab must not leave half a change.
pub(crate) async fn finished<T: 'static>(
    work: impl Future<Output = Result<T, Problem>> + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_local(work).await;
    done.unwrap_or_else(|error| Err(Problem::internal("finish a use case", &error)))
}

/// Runs a use case for a person, if they are still signed in.
async fn act(
    broker: &Rc<Broker>,
    who: &SignedIn,
    work: impl AsyncFnOnce(&Rc<Broker>, &SignedIn) -> Result<Value, Problem> + 'static,
) -> Result<Value, Problem> {
    broker.check(who)?;
    let (broker, who) = (broker.clone(), who.clone());
    finished(async move { work(&broker, &who).await }).await
}

fn done(outcome: Result<(), Problem>) -> Result<Value, Problem> {
    outcome.map(|()| json!({}))
}

/// The methods of a capability that are one use case for a signed-in person each: read the parameters, act, answer.
///
/// `name NameParams NameResults (text = get_text, …) -> STATUS = |broker, who, of| …`, where `of` is what the capability is
/// for (its field `id`).
macro_rules! use_cases {
    ($interface:ident: $($name:ident $params:ident $results:ident ($($text:ident = $get:ident),*) -> $status:literal
        = |$broker:ident, $who:ident, $of:ident| $work:expr;)*) => {
        $(async fn $name(
            self: Rc<Self>,
            params: $interface::$params,
            mut results: $interface::$results,
        ) -> Result<(), Error> {
            let _ = &params;
            $(let $text = params.get()?.$get()?.to_string()?;)*
            let id = self.id.clone();
            let outcome = act(&self.broker, &self.who, async move |$broker, $who| {
                let $of = &id;
                $work
            })
            .await;
            answer(results.get().init_reply(), $status, outcome);
            Ok(())
        })*
    };
}
use use_cases;

impl Broker {
    /// The bootstrap capability of a connection to an edge.
    #[must_use]
    pub fn front(self: &Rc<Self>) -> front::Client {
        capnp_rpc::new_client(stranger::Front { broker: self.clone() })
    }
}

/// Ends a task when it is let go.
struct Task(tokio::task::AbortHandle);

impl handle::Server for Task {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
