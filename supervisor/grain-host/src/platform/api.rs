//! The platform as every app finds it on file descriptor 3.

use std::rc::Rc;

use std::future::Future;

use capnp::capability::{Client, FromClientHook};
use capnp::{Error, any_pointer};
use percloud_schemas::grain_capnp::sandstorm_api;

use super::seal::Recipient;
use super::{Platform, TOKEN, objects, passed};
use crate::membrane::{Side, carry_error};

type Any = any_pointer::Owned;

/// Text of methods that Sandstorm retired before any app of today was written.
const RETIRED: &str = "this method was retired long ago";

/// What an app may do with nobody looking at it. Its calls come straight from the app, through no membrane.
pub(crate) fn sandstorm_api(platform: Rc<Platform>) -> Client {
    let api: sandstorm_api::Client<Any> = capnp_rpc::new_client(SandstormApi(platform));
    Client::new(api.into_client_hook())
}

struct SandstormApi(Rc<Platform>);

impl SandstormApi {
    /// A method whose failures lose the marks of the hops they took.
    async fn plainly<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        work.await.map_err(carry_error)
    }
}

impl sandstorm_api::Server<Any> for SandstormApi {
    async fn deprecated_publish(
        self: Rc<Self>,
        _: sandstorm_api::DeprecatedPublishParams<Any>,
        _: sandstorm_api::DeprecatedPublishResults<Any>,
    ) -> Result<(), Error> {
        Err(Error::unimplemented(RETIRED.to_owned()))
    }

    async fn deprecated_register_action(
        self: Rc<Self>,
        _: sandstorm_api::DeprecatedRegisterActionParams<Any>,
        _: sandstorm_api::DeprecatedRegisterActionResults<Any>,
    ) -> Result<(), Error> {
        Err(Error::unimplemented(RETIRED.to_owned()))
    }

    async fn share_cap(
        self: Rc<Self>,
        params: sandstorm_api::ShareCapParams<Any>,
        mut results: sandstorm_api::ShareCapResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async {
            let platform = &self.0;
            let cap = passed(params.get()?.get_cap())?;
            let taken = platform.taken(&params)?;
            let taken = taken
                .get()?
                .get_as::<sandstorm_api::share_cap_params::Reader<'_, Any>>()?;
            let token = platform.save(cap.clone(), &Recipient::Link, None).await?;
            let mut request = platform.keeper().share_cap_request();
            request.get().set_token(&token);
            request.get().set_display(taken.get_display_info()?)?;
            let answer = request.send().promise.await?;
            let link = answer.get()?.get_link()?;
            let mut shared = results.get();
            // What is given away is revoked where it is used, by the link; the app holds the object in any case.
            shared.reborrow().init_shared_cap().set_as_capability(cap.hook);
            shared.set_link(platform.realm.membrane().carry(link, Side::Outside));
            Ok(())
        })
        .await
    }

    async fn share_view(
        self: Rc<Self>,
        params: sandstorm_api::ShareViewParams<Any>,
        mut results: sandstorm_api::ShareViewResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async {
            let platform = &self.0;
            let view = params.get()?.get_view()?.cast_to();
            let view = platform
                .brokers_own(
                    view,
                    "only a view of a whole grain, as Percloud gave it, can be shared",
                )
                .await?;
            let mut request = platform.keeper().share_view_request();
            request.get().set_view(view.cast_to());
            let answer = request.send().promise.await?;
            let membrane = platform.realm.membrane();
            let mut shared = results.get();
            shared.set_shared_view(membrane.carry(answer.get()?.get_view()?, Side::Outside));
            shared.set_link(membrane.carry(answer.get()?.get_link()?, Side::Outside));
            Ok(())
        })
        .await
    }

    async fn restore(
        self: Rc<Self>,
        params: sandstorm_api::RestoreParams<Any>,
        mut results: sandstorm_api::RestoreResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async {
            let cap = self.0.restore(params.get()?.get_token()?).await?;
            results.get().init_cap().set_as_capability(cap.hook);
            Ok(())
        })
        .await
    }

    /// Never an error: whoever forgets is done (trap 38).
    async fn drop(
        self: Rc<Self>,
        params: sandstorm_api::DropParams<Any>,
        _: sandstorm_api::DropResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async {
            let token = params.get()?.get_token()?;
            if token.len() > TOKEN {
                return Ok(());
            }
            let mut request = self.0.keeper().drop_request();
            request.get().set_token(token);
            request.send().promise.await.map(drop)
        })
        .await
    }

    async fn deleted(
        self: Rc<Self>,
        params: sandstorm_api::DeletedParams<Any>,
        _: sandstorm_api::DeletedResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async {
            let object = objects::shortest(params.get()?.get_ref()?)?;
            let mut request = self.0.keeper().forget_request();
            request.get().init_object().get_id().set_as(object.get()?)?;
            request.send().promise.await.map(drop)
        })
        .await
    }

    async fn stay_awake(
        self: Rc<Self>,
        params: sandstorm_api::StayAwakeParams<Any>,
        mut results: sandstorm_api::StayAwakeResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async {
            let shown = self.0.taken(&params)?;
            let params = params.get()?;
            let notification = params.has_notification().then(|| params.get_notification());
            let handle = self.0.stay_awake(&shown, notification.transpose()?).await?;
            results.get().set_handle(handle);
            Ok(())
        })
        .await
    }

    async fn save(
        self: Rc<Self>,
        params: sandstorm_api::SaveParams<Any>,
        mut results: sandstorm_api::SaveResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async {
            let params = params.get()?;
            let label = params.has_label().then(|| params.get_label()).transpose()?;
            let recipient = Recipient::Grain(self.0.grain.clone());
            let token = self.0.save(passed(params.get_cap())?, &recipient, label).await?;
            results.get().set_token(&token);
            Ok(())
        })
        .await
    }

    async fn background_activity(
        self: Rc<Self>,
        params: sandstorm_api::BackgroundActivityParams<Any>,
        _: sandstorm_api::BackgroundActivityResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async {
            let taken = self.0.taken(&params)?;
            let taken = taken
                .get()?
                .get_as::<sandstorm_api::background_activity_params::Reader<'_, Any>>()?;
            let mut request = self.0.keeper().activity_request();
            request.get().set_event(taken.get_event()?)?;
            request.send().promise.await.map(drop)
        })
        .await
    }

    async fn get_identity_id(
        self: Rc<Self>,
        params: sandstorm_api::GetIdentityIdParams<Any>,
        mut results: sandstorm_api::GetIdentityIdResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async {
            let identity = params.get()?.get_identity()?.cast_to();
            let identity = self
                .0
                .brokers_own(identity, "this is no identity as Percloud gives them")
                .await?;
            let mut request = self.0.keeper().identity_id_request();
            request.get().init_identity().set_as_capability(identity.hook);
            let answer = request.send().promise.await?;
            results.get().set_id(answer.get()?.get_id()?);
            Ok(())
        })
        .await
    }

    async fn schedule(
        self: Rc<Self>,
        params: sandstorm_api::ScheduleParams,
        _: sandstorm_api::ScheduleResults<Any>,
    ) -> Result<(), Error> {
        Self::plainly(async { self.0.schedule(params.get()?).await }).await
    }
}
