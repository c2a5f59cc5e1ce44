//! Tells the broker why a grain could not be started, in place of the grain host that never came to be.

use std::error::Error;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use percloud_schemas::host_capnp::host_keeper;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

/// How long the broker may take to listen.
const DEADLINE: Duration = Duration::from_secs(5);

/// Reports `reason` over the connection a grain host would have had.
pub fn report(broker: UnixStream, reason: &str) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        broker.set_nonblocking(true)?;
        let (reader, writer) = tokio::net::UnixStream::from_std(broker)?.into_split();
        let network = VatNetwork::new(
            reader.compat(),
            writer.compat_write(),
            Side::Client,
            Default::default(),
        );
        let mut system = RpcSystem::new(Box::new(network), None);
        let keeper: host_keeper::Client = system.bootstrap(Side::Server);
        tokio::task::spawn_local(system);
        let mut request = keeper.report_exit_request();
        request.get().set_reason(reason);
        let _ = tokio::time::timeout(DEADLINE, request.send().promise).await;
        Ok(())
    })
}
