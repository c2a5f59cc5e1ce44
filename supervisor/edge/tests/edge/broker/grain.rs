//! The one grain, and what its owner may do with it.

use std::rc::Rc;

use capnp::Error;
use capnp_rpc::new_client;
use percloud_schemas::front_capnp::grain_control;
use percloud_schemas::util_capnp::byte_stream;

use crate::app::pattern;
use crate::broker::person::Handle;
use crate::broker::{Done, answer, methods};
use crate::world::Shared;

pub(super) struct Grain(pub(super) Shared);

impl Grain {
    fn note(&self, call: &str, json: Result<capnp::text::Reader<'_>, Error>) -> Done {
        let call = format!("{call} {}", json?.to_str()?);
        self.0.update(|facts| facts.calls.push(call));
        Ok(())
    }
}

impl grain_control::Server for Grain {
    methods! { grain_control:
        sharing(SharingParams) -> SharingResults 200 r#"{"ways":[]}"#;
        share(ShareParams, get_json) -> ShareResults 201 r#"{"way":{}}"#;
        change_share(ChangeShareParams, get_share_id, get_json) -> ChangeShareResults 200 r#"{"id":"w1"}"#;
        revoke_share(RevokeShareParams, get_share_id, get_json) -> RevokeShareResults 204 "";
        limit_myself(LimitMyselfParams, get_json) -> LimitMyselfResults 200 r#"{"id":"g1"}"#;
        leave(LeaveParams) -> LeaveResults 204 "";
        transfer(TransferParams, get_json) -> TransferResults 201 "{}";
        devices(DevicesParams) -> DevicesResults 200 r#"{"devices":[]}"#;
        add_device(AddDeviceParams, get_json) -> AddDeviceResults 201 r#"{"password":"p"}"#;
        remove_device(RemoveDeviceParams, get_device_id) -> RemoveDeviceResults 204 "";
        template(TemplateParams, get_json) -> TemplateResults 201 r#"{"token":"t"}"#;
        request(RequestParams, get_json) -> RequestResults 201 r#"{"request":"r1"}"#;
        history(HistoryParams) -> HistoryResults 200 r#"{"entries":[],"intact":true}"#;
        duplicate(DuplicateParams) -> DuplicateResults 201 r#"{"id":"g2"}"#;
        jobs(JobsParams) -> JobsResults 200 r#"{"jobs":[]}"#;
        authority(AuthorityParams) -> AuthorityResults 200 r#"{"held":[]}"#;
        drop_authority(DropAuthorityParams, get_token_id) -> DropAuthorityResults 204 "";
    }

    async fn backup(
        self: Rc<Self>,
        params: grain_control::BackupParams,
        mut results: grain_control::BackupResults,
    ) -> Done {
        let (told, size) = self.0.read(|facts| (facts.backup.clone(), facts.backup_size));
        let Some(told) = told else {
            answer(
                results.get().init_reply(),
                409,
                r#"{"error":{"code":"in-trash","message":"No."}}"#,
            );
            return Ok(());
        };
        answer(results.get().init_reply(), 200, &told);
        let stream = params.get()?.get_stream()?;
        results.get().set_handle(new_client(Handle(self.0.clone())));
        tokio::task::spawn_local(pack(self.0.clone(), stream, size));
        Ok(())
    }

    async fn info(
        self: Rc<Self>,
        _: grain_control::InfoParams,
        mut results: grain_control::InfoResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"id":"g1"}"#);
        Ok(())
    }

    async fn open(
        self: Rc<Self>,
        params: grain_control::OpenParams,
        mut results: grain_control::OpenResults,
    ) -> Done {
        self.note("open", params.get()?.get_json())?;
        answer(results.get().init_reply(), 200, r#"{"host":"h","secret":"s"}"#);
        Ok(())
    }

    async fn rename(
        self: Rc<Self>,
        params: grain_control::RenameParams,
        mut results: grain_control::RenameResults,
    ) -> Done {
        self.note("rename", params.get()?.get_json())?;
        answer(results.get().init_reply(), 200, r#"{"title":"new"}"#);
        Ok(())
    }

    async fn configure(
        self: Rc<Self>,
        params: grain_control::ConfigureParams,
        mut results: grain_control::ConfigureResults,
    ) -> Done {
        self.note("configure", params.get()?.get_json())?;
        answer(results.get().init_reply(), 200, r#"{"relaxedPolicy":true}"#);
        Ok(())
    }

    async fn trash(
        self: Rc<Self>,
        _: grain_control::TrashParams,
        mut results: grain_control::TrashResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"trashed":1}"#);
        Ok(())
    }

    async fn restore(
        self: Rc<Self>,
        _: grain_control::RestoreParams,
        mut results: grain_control::RestoreResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"trashed":null}"#);
        Ok(())
    }

    async fn delete(
        self: Rc<Self>,
        _: grain_control::DeleteParams,
        mut results: grain_control::DeleteResults,
    ) -> Done {
        answer(results.get().init_reply(), 204, "");
        Ok(())
    }

    async fn restart(
        self: Rc<Self>,
        _: grain_control::RestartParams,
        mut results: grain_control::RestartResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"state":"running"}"#);
        Ok(())
    }

    async fn log(
        self: Rc<Self>,
        params: grain_control::LogParams,
        mut results: grain_control::LogResults,
    ) -> Done {
        let params = params.get()?;
        let line = format!("backlog {}\n", params.get_backlog());
        let stream = params.get_stream()?;
        tokio::task::spawn_local(async move {
            let mut write = stream.write_request();
            write.get().set_data(line.as_bytes());
            let _ = write.send().await;
            std::future::pending::<()>().await;
        });
        results.get().set_handle(new_client(Handle(self.0.clone())));
        Ok(())
    }
}

/// Writes a backup of so many bytes, or for ever.
async fn pack(facts: Shared, stream: byte_stream::Client, size: Option<u64>) {
    let mut at = 0;
    while size.is_none_or(|size| at < size) {
        let mut write = stream.write_request();
        write.get().set_data(&pattern(at, 10_000));
        if let Err(error) = write.send().await {
            facts.update(|facts| facts.write_error = Some(error.to_string()));
            return;
        }
        at += 10_000;
        facts.update(|facts| facts.written = at);
    }
    let _ = stream.done_request().send().promise.await;
}
