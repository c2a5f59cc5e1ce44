//! One grain, for a person who has access to it; what only its owner may do is decided by the use cases.

use std::rc::Rc;

use capnp::Error;
use capnp_rpc::new_client;
use percloud_core::id::GrainId;
use percloud_schemas::front_capnp::grain_control;
use percloud_schemas::util_capnp::byte_stream;

use super::{Task, act, answer, done, use_cases};
use crate::account::SignedIn;
use crate::broker::Broker;

pub(super) struct GrainControl {
    pub broker: Rc<Broker>,
    pub who: SignedIn,
    pub id: GrainId,
}

impl grain_control::Server for GrainControl {
    use_cases! { grain_control:
        info InfoParams InfoResults () -> 200 = |broker, who, id| broker.grain_now(who, id);
        open OpenParams OpenResults (json = get_json) -> 200 = |broker, who, id| broker.open(who, id, &json);
        rename RenameParams RenameResults (json = get_json) -> 200
            = |broker, who, id| broker.change_grain(who, id, &json).await;
        configure ConfigureParams ConfigureResults (json = get_json) -> 200
            = |broker, who, id| broker.change_grain(who, id, &json).await;
        trash TrashParams TrashResults () -> 200 = |broker, who, id| broker.trash_grain(who, id).await;
        restore RestoreParams RestoreResults () -> 200 = |broker, who, id| broker.restore_grain(who, id).await;
        delete DeleteParams DeleteResults () -> 204 = |broker, who, id| done(broker.delete_grain(who, id).await);
        prepare PrepareParams PrepareResults () -> 202 = |broker, who, id| broker.prepare(who, id);
        restart RestartParams RestartResults () -> 200 = |broker, who, id| broker.restart_grain(who, id).await;

        sharing SharingParams SharingResults () -> 200 = |broker, who, id| broker.sharing(who, id).await;
        share ShareParams ShareResults (json = get_json) -> 201 = |broker, who, id| broker.share(who, id, &json).await;
        change_share ChangeShareParams ChangeShareResults (share = get_share_id, json = get_json) -> 200
            = |broker, who, id| broker.change_share(who, id, &share, &json).await;
        revoke_share RevokeShareParams RevokeShareResults (share = get_share_id, json = get_json) -> 204
            = |broker, who, id| done(broker.revoke_share(who, id, &share, &json).await);
        limit_myself LimitMyselfParams LimitMyselfResults (json = get_json) -> 200
            = |broker, who, id| broker.limit_myself(who, id, &json).await;
        leave LeaveParams LeaveResults () -> 204 = |broker, who, id| done(broker.leave(who, id).await);
        transfer TransferParams TransferResults (json = get_json) -> 201
            = |broker, who, id| broker.offer_ownership(who, id, &json).await;

        devices DevicesParams DevicesResults () -> 200 = |broker, who, id| broker.devices(who, id).await;
        add_device AddDeviceParams AddDeviceResults (json = get_json) -> 201
            = |broker, who, id| broker.add_device(who, id, &json).await;
        remove_device RemoveDeviceParams RemoveDeviceResults (device = get_device_id) -> 204
            = |broker, who, id| done(broker.remove_device(who, id, &device).await);
        template TemplateParams TemplateResults (json = get_json) -> 201
            = |broker, who, id| broker.offer_template(who, id, &json).await;

        request RequestParams RequestResults (json = get_json) -> 201
            = |broker, who, id| broker.request(who, id, &json).await;
        jobs JobsParams JobsResults () -> 200 = |broker, who, id| broker.jobs(who, id).await;
        authority AuthorityParams AuthorityResults () -> 200 = |broker, who, id| broker.authority(who, id).await;
        drop_authority DropAuthorityParams DropAuthorityResults (token = get_token_id) -> 204
            = |broker, who, id| done(broker.drop_authority(who, id, &token).await);
        duplicate DuplicateParams DuplicateResults () -> 201 = |broker, who, id| broker.duplicate(who, id).await;
        limits LimitsParams LimitsResults () -> 200 = |broker, who, id| broker.limits(who, id).await;
        change_limits ChangeLimitsParams ChangeLimitsResults (json = get_json) -> 200
            = |broker, who, id| broker.change_limits(who, id, &json).await;
        history HistoryParams HistoryResults () -> 200 = |broker, who, id| broker.grain_history(who, id).await;
    }

    async fn backup(
        self: Rc<Self>,
        params: grain_control::BackupParams,
        mut results: grain_control::BackupResults,
    ) -> Result<(), Error> {
        let stream: byte_stream::Client = params.get()?.get_stream()?;
        let outcome = match self.broker.check(&self.who) {
            Ok(()) => self.broker.back_up(&self.who, &self.id, stream).await,
            Err(problem) => Err(problem),
        };
        let mut results = results.get();
        let outcome = outcome.map(|(told, sending)| {
            results.set_handle(new_client(Task(sending)));
            told
        });
        answer(results.init_reply(), 200, outcome);
        Ok(())
    }

    async fn log(
        self: Rc<Self>,
        params: grain_control::LogParams,
        mut results: grain_control::LogResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let stream: byte_stream::Client = params.get_stream()?;
        let handle = self
            .broker
            .follow_log(&self.who, &self.id, params.get_backlog(), stream);
        results.get().set_handle(new_client(Task(handle)));
        Ok(())
    }
}
