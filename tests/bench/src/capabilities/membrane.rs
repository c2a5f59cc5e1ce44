//! The same call over the same kind of connection, to an object itself and to the object behind a membrane.

use std::rc::Rc;
use std::time::Instant;

use capnp::Error;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use capnp_rpc::{RpcSystem, new_client};
use percloud_grain_host::membrane::{Realm, Side as Place};
use percloud_schemas::util_capnp::blob;
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::Plan;
use crate::failure::{Attempt, Failure};
use crate::figures::Series;
use crate::summary::{Better, Entry};

struct Answering;

impl blob::Server for Answering {
    async fn get_size(
        self: Rc<Self>,
        _: blob::GetSizeParams,
        mut results: blob::GetSizeResults,
    ) -> Result<(), Error> {
        results.get().set_size(7);
        Ok(())
    }
}

/// Serves `object` on one end of a connection; what the other end holds of it.
fn held(object: blob::Client) -> std::io::Result<blob::Client> {
    let (near, far) = UnixStream::pair()?;
    let network = |stream: UnixStream, side| {
        let (reader, writer) = stream.into_split();
        VatNetwork::new(reader.compat(), writer.compat_write(), side, Default::default())
    };
    let server = RpcSystem::new(Box::new(network(far, Side::Server)), Some(object.client));
    spawn_local(server);
    let mut client = RpcSystem::new(Box::new(network(near, Side::Client)), None);
    let object = client.bootstrap(Side::Server);
    spawn_local(client);
    Ok(object)
}

pub fn measure(plan: &Plan) -> Result<Entry, Failure> {
    let (rounds, calls) = if plan.quick { (4, 200) } else { (40, 2000) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.attempt(|| "cannot build a runtime".to_owned())?;
    let (wrapped, bare) = LocalSet::new().block_on(&runtime, async {
        let realm = Realm::default();
        let membrane = realm.membrane();
        let bare = held(new_client(Answering));
        let wrapped = held(membrane.carry(new_client(Answering), Place::Inside));
        let failed = || "cannot make a connection".to_owned();
        let (bare, wrapped) = (bare.attempt(failed)?, wrapped.attempt(failed)?);
        let (mut of_bare, mut of_wrapped) = (Series::default(), Series::default());
        for round in 0..=rounds {
            for (object, series) in [(&bare, &mut of_bare), (&wrapped, &mut of_wrapped)] {
                for _ in 0..calls {
                    let begun = Instant::now();
                    let answer = object.get_size_request().send().promise.await;
                    let taken = begun.elapsed();
                    answer.map_err(|error| Failure::new(format!("a call failed: {error}")))?;
                    // The first round warms up.
                    if round > 0 {
                        series.push(taken.as_secs_f64() * 1e6);
                    }
                }
            }
        }
        Ok::<_, Failure>((of_wrapped, of_bare))
    })?;
    let entry = Entry::alone("membrane", "us", wrapped.median().unwrap_or(f64::NAN), Better::Lower);
    Ok(entry
        .against("the same call without", bare.median())
        .with_note(format!("p50 of {} calls each", rounds * calls)))
}
