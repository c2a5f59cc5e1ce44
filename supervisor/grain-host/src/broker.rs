//! What the broker may ask of a grain host.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use futures::channel::oneshot;
use percloud_schemas::host_capnp::grain_host;
use percloud_schemas::util_capnp::{byte_stream, handle};
use tokio::task::AbortHandle;

use crate::app::{App, Described, Sessions};
use crate::config::{Ended, Limits, RefusedSyscall};
use crate::descriptor::{self, Descriptor};
use crate::log::{Log, Watch};
use crate::membrane::{Membrane, Realm, Side};
use crate::platform::Platform;
use crate::rest::Rest;
use crate::share::Share;

/// Most bytes of log that are replayed: all there can be.
fn most_backlog(limits: &Limits) -> u64 {
    limits.log_bytes.saturating_mul(2)
}

/// The host as its broker sees it. Holding it is holding the grain.
pub(crate) struct GrainHost {
    pub(crate) app: Rc<App>,
    pub(crate) sessions: Rc<Sessions>,
    pub(crate) platform: Rc<Platform>,
    pub(crate) realm: Realm,
    /// What the broker and the app hand each other crosses here.
    pub(crate) membrane: Membrane,
    pub(crate) log: Log,
    pub(crate) share: Rc<Share>,
    pub(crate) limits: Limits,
    pub(crate) refused: Option<Box<dyn Fn() -> Vec<RefusedSyscall> + Send>>,
    pub(crate) rest: Rc<Rest>,
    /// Taken by whoever ends the host first.
    pub(crate) end: RefCell<Option<oneshot::Sender<Ended>>>,
}

impl grain_host::Server for GrainHost {
    async fn admit(
        self: Rc<Self>,
        params: grain_host::AdmitParams,
        _: grain_host::AdmitResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        self.realm.touch();
        self.sessions.announce(
            params.get_nonce()?,
            params.get_session()?,
            self.limits.nonce_lifetime,
        )
    }

    async fn view_info(
        self: Rc<Self>,
        _: grain_host::ViewInfoParams,
        mut results: grain_host::ViewInfoResults,
    ) -> Result<(), Error> {
        match &*self.app.describe().await? {
            Described::As(info) => {
                let info = self.membrane.carry_message(info.hook.get()?, Side::Inside)?;
                results.get().set_info(info.get()?.get_as()?)
            }
            Described::Nothing => {
                results.get().init_info();
                Ok(())
            }
        }
    }

    async fn end_session(
        self: Rc<Self>,
        params: grain_host::EndSessionParams,
        _: grain_host::EndSessionResults,
    ) -> Result<(), Error> {
        self.sessions.end(params.get()?.get_session_id()?);
        Ok(())
    }

    async fn watch_log(
        self: Rc<Self>,
        params: grain_host::WatchLogParams,
        mut results: grain_host::WatchLogResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let backlog = params.get_backlog().min(most_backlog(&self.limits));
        let stream = params.get_stream()?;
        let log = self.log.clone();
        let watch = tokio::task::spawn_blocking(move || log.watch(backlog)).await;
        let watch = watch
            .map_err(|error| Error::failed(format!("the log cannot be read: {error}")))?
            .ok_or_else(|| Error::overloaded("too many follow this log already".to_owned()))?;
        let task = tokio::task::spawn_local(follow(watch, stream));
        results
            .get()
            .set_handle(capnp_rpc::new_client(Following(task.abort_handle())));
        Ok(())
    }

    async fn shutdown(
        self: Rc<Self>,
        _: grain_host::ShutdownParams,
        _: grain_host::ShutdownResults,
    ) -> Result<(), Error> {
        if let Some(end) = self.end.take() {
            // Nobody listens only when the host is ending already.
            let _ending = end.send(Ended {
                reason: "the grain was stopped".to_owned(),
                asked: true,
                limit: None,
            });
        }
        std::future::pending().await
    }

    async fn refused_syscalls(
        self: Rc<Self>,
        _: grain_host::RefusedSyscallsParams,
        mut results: grain_host::RefusedSyscallsResults,
    ) -> Result<(), Error> {
        let calls = self.refused.as_ref().map_or_else(Vec::new, |refused| refused());
        let mut list = results.get().init_calls(u32::try_from(calls.len()).unwrap_or(0));
        for (index, call) in (0..list.len()).zip(&calls) {
            let mut entry = list.reborrow().get(index);
            entry.set_number(call.number);
            entry.set_name(&call.name);
            entry.set_count(call.count);
        }
        Ok(())
    }

    async fn keep_alive(
        self: Rc<Self>,
        _: grain_host::KeepAliveParams,
        _: grain_host::KeepAliveResults,
    ) -> Result<(), Error> {
        self.realm.touch();
        Ok(())
    }

    async fn figures(
        self: Rc<Self>,
        _: grain_host::FiguresParams,
        mut results: grain_host::FiguresResults,
    ) -> Result<(), Error> {
        let mut figures = results.get();
        figures.set_memory(self.rest.memory().unwrap_or(0));
        let used = self.rest.processor_time().unwrap_or_default();
        figures.set_processor_time(u64::try_from(used.as_micros()).unwrap_or(u64::MAX));
        figures.set_at_rest(self.rest.is_frozen());
        Ok(())
    }

    async fn read_query(
        self: Rc<Self>,
        params: grain_host::ReadQueryParams,
        mut results: grain_host::ReadQueryResults,
    ) -> Result<(), Error> {
        let query = params.get()?.get_query()?;
        if query.len() > descriptor::TEXTS {
            return Err(Error::failed(format!(
                "a query has {} descriptors at most",
                descriptor::TEXTS
            )));
        }
        let mut descriptors = results.get().init_descriptors(query.len());
        for (index, text) in query.iter().enumerate() {
            let read = Descriptor::read(text?.as_bytes());
            let read = read.map_err(|why| {
                Error::failed(format!(
                    "descriptor {} of the query cannot be read: {why}",
                    index + 1
                ))
            })?;
            descriptors.set_with_caveats(u32::try_from(index).expect("there are few"), read.get()?)?;
        }
        Ok(())
    }

    async fn write_descriptor(
        self: Rc<Self>,
        params: grain_host::WriteDescriptorParams,
        mut results: grain_host::WriteDescriptorResults,
    ) -> Result<(), Error> {
        let text = descriptor::write(params.get()?.get_descriptor()?)?;
        results.get().set_text(&text);
        Ok(())
    }

    async fn run_job(
        self: Rc<Self>,
        params: grain_host::RunJobParams,
        mut results: grain_host::RunJobResults,
    ) -> Result<(), Error> {
        let is_done = self.platform.run_job(params.get()?.get_object()?).await?;
        results.get().set_cancel_future_runs(is_done);
        Ok(())
    }

    async fn drop_object(
        self: Rc<Self>,
        params: grain_host::DropObjectParams,
        _: grain_host::DropObjectResults,
    ) -> Result<(), Error> {
        self.platform.forget(params.get()?.get_object()?).await
    }

    async fn usage(
        self: Rc<Self>,
        _: grain_host::UsageParams,
        mut results: grain_host::UsageResults,
    ) -> Result<(), Error> {
        let storage = self.share.measure().await;
        let reading = self.share.read();
        let number = |known: Option<u64>| known.and_then(|known| i64::try_from(known).ok()).unwrap_or(-1);
        let mut usage = results.get().init_usage();
        usage.set_memory(number(reading.memory));
        usage.set_processes(number(reading.processes));
        let processor = reading.processor.map(|time| time.as_millis());
        usage.set_processor(number(processor.and_then(|time| u64::try_from(time).ok())));
        if let Some(storage) = storage {
            usage.set_bytes(storage.bytes);
            usage.set_files(storage.files);
        }
        Ok(())
    }

    async fn limit_storage(
        self: Rc<Self>,
        params: grain_host::LimitStorageParams,
        _: grain_host::LimitStorageResults,
    ) -> Result<(), Error> {
        let limit = params.get()?.get_limit()?;
        self.share.limit_storage(limit.get_bytes(), limit.get_files());
        Ok(())
    }
}

/// Writes the log to `stream` until that fails. Each write waits for the one before, as streams do.
async fn follow(mut watch: Watch, stream: byte_stream::Client) -> Result<(), Error> {
    loop {
        let words = watch.next().await;
        let mut request = stream.write_request();
        request.get().set_data(&words);
        request.send().await?;
    }
}

/// Dropped by whoever does not want to follow the log any more.
struct Following(AbortHandle);

impl handle::Server for Following {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}
