//! Has the app open a session, of whatever kind.

use capnp::capability::{Client, Request, Response};
use capnp::traits::{HasTypeId, Owned, Pipelined};
use capnp::{Error, ErrorKind, any_pointer, struct_list};
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::grain_capnp::{session_context, ui_session, ui_view};
use percloud_schemas::identity_capnp::user_info;
use percloud_schemas::powerbox_capnp::powerbox_descriptor;
use percloud_schemas::web_session_capnp::web_session;

use super::App;
use super::admission::{Visit, Wish};
use crate::membrane::{Membrane, Message, Side};

/// Where an app is told it is found, when it is asked for a page's session instead of a program's (trap 11).
const SANDBOX: &str = "https://sandbox";

impl App {
    /// Has the app open the session of `visit`, across `membrane`.
    pub(super) async fn open(
        &self,
        visit: Visit,
        context: session_context::Client,
        params: web_session::params::Reader<'_>,
        membrane: &Membrane,
    ) -> Result<ui_session::Client, Error> {
        let Visit {
            tab,
            is_owner,
            mut user,
            wish,
            ..
        } = visit;
        user.carry_all(membrane, Side::Outside);
        // Not an optimisation to skip for others: asked once, an app that is slow to say so delays nobody twice.
        let described = self.describe().await?;
        let mut filled = Message::new(64);
        filled
            .get_mut()?
            .set_as(user.get()?.get_as::<user_info::Reader<'_>>()?)?;
        fill_permissions(filled.get_mut()?.get_as()?, is_owner, described.permissions())?;
        let opening = Opening {
            app: self,
            user: filled,
            context,
            tab,
        };
        let page = web_session::Client::TYPE_ID;
        let session = match wish {
            Wish::Page => opening.page(page, |target| target.set_as(params)).await?,
            Wish::Api(address) => opening.program(address.as_ref(), params).await?,
            Wish::Request(query) => opening.request(&query, params).await?,
            Wish::Offer(cap, descriptor) => {
                let cap = membrane.carry(Client::new(cap), Side::Outside);
                opening.offer(cap, &descriptor, params).await?
            }
        };
        Ok(session)
    }
}

/// What all kinds of sessions are opened with.
struct Opening<'app> {
    app: &'app App,
    /// A `UserInfo` as the app is to see it.
    user: Message,
    context: session_context::Client,
    tab: Vec<u8>,
}

impl Opening<'_> {
    async fn page(
        &self,
        kind: u64,
        fill: impl FnOnce(&mut any_pointer::Builder<'_>) -> Result<(), Error>,
    ) -> Result<ui_session::Client, Error> {
        let mut request: Request<ui_view::new_session_params::Owned, _> = self.app.view.new_session_request();
        {
            let mut call = request.get();
            call.set_user_info(self.user.get()?.get_as()?)?;
            call.set_context(self.context.clone());
            call.set_session_type(kind);
            fill(&mut call.reborrow().get_session_params())?;
            call.set_tab_id(&self.tab);
        }
        opened(request.send().promise.await?)
    }

    /// A session for a program; apps that know no such thing are asked for one of a page (sheet 5.5).
    async fn program(
        &self,
        address: Option<&Message>,
        params: web_session::params::Reader<'_>,
    ) -> Result<ui_session::Client, Error> {
        let refused = self.page(api_session::Client::TYPE_ID, |target| {
            let mut params = target.reborrow().init_as::<api_session::params::Builder<'_>>();
            match address {
                Some(address) => params.set_remote_address(address.get()?.get_as()?),
                None => Ok(()),
            }
        });
        match refused.await {
            Err(error) if error.kind != ErrorKind::Disconnected => {
                self.page(web_session::Client::TYPE_ID, |target| {
                    target.set_as(params)?;
                    let mut params = target.reborrow().get_as::<web_session::params::Builder<'_>>()?;
                    params.set_base_path(SANDBOX);
                    Ok(())
                })
                .await
            }
            answer => answer,
        }
    }

    async fn request(
        &self,
        query: &Message,
        params: web_session::params::Reader<'_>,
    ) -> Result<ui_session::Client, Error> {
        let mut request = self.app.view.new_request_session_request();
        {
            let mut call = request.get();
            call.set_user_info(self.user.get()?.get_as()?)?;
            call.set_context(self.context.clone());
            call.set_session_type(web_session::Client::TYPE_ID);
            call.reborrow().get_session_params().set_as(params)?;
            let query = query.get()?;
            call.set_request_info(query.get_as::<struct_list::Reader<'_, powerbox_descriptor::Owned>>()?)?;
            call.set_tab_id(&self.tab);
        }
        opened(request.send().promise.await?)
    }

    async fn offer(
        &self,
        cap: Client,
        descriptor: &Message,
        params: web_session::params::Reader<'_>,
    ) -> Result<ui_session::Client, Error> {
        let mut request = self.app.view.new_offer_session_request();
        {
            let mut call = request.get();
            call.set_user_info(self.user.get()?.get_as()?)?;
            call.set_context(self.context.clone());
            call.set_session_type(web_session::Client::TYPE_ID);
            call.reborrow().get_session_params().set_as(params)?;
            call.reborrow().init_offer().set_as_capability(cap.hook);
            call.set_descriptor(descriptor.get()?.get_as()?)?;
            call.set_tab_id(&self.tab);
        }
        opened(request.send().promise.await?)
    }
}

/// The session in an answer: the results of all three methods have it in the same place.
fn opened<T: Owned + Pipelined>(answer: Response<T>) -> Result<ui_session::Client, Error> {
    let answer: any_pointer::Reader<'_> = answer.hook.get()?;
    let answer = answer.get_as::<ui_view::new_session_results::Reader<'_>>()?;
    if !answer.has_session() {
        return Err(Error::failed("the app answered without a session".to_owned()));
    }
    answer.get_session()
}

/// Writes the permissions as many as the app defines, all of them for an owner, and their old form as bits (sheet
/// section 2, trap 32).
fn fill_permissions(mut user: user_info::Builder<'_>, is_owner: bool, count: u32) -> Result<(), Error> {
    let given: Vec<bool> = user.reborrow().into_reader().get_permissions()?.iter().collect();
    let mut permissions = user.reborrow().init_permissions(count);
    let mut blob = vec![0; count.div_ceil(8) as usize];
    for index in 0..count {
        let permitted = is_owner || given.get(index as usize).copied().unwrap_or(false);
        permissions.set(index, permitted);
        blob[index as usize / 8] |= u8::from(permitted) << (index % 8);
    }
    user.set_deprecated_permissions_blob(&blob);
    Ok(())
}

#[cfg(test)]
mod tests {
    use capnp::message::Builder;

    use super::*;

    /// What an app that defines `count` permissions is told of somebody who was given `given`.
    fn told(count: u32, is_owner: bool, given: &[bool]) -> (Vec<bool>, Vec<u8>) {
        let mut message = Builder::new_default();
        let mut user = message.init_root::<user_info::Builder<'_>>();
        user.set_permissions(given).unwrap();
        fill_permissions(user.reborrow(), is_owner, count).unwrap();
        let user = user.into_reader();
        (
            user.get_permissions().unwrap().iter().collect(),
            user.get_deprecated_permissions_blob().unwrap().to_vec(),
        )
    }

    #[test]
    fn permissions_are_as_many_as_the_app_defines_and_packed_lowest_bit_first() {
        let ten = [true, false, false, true, false, false, false, false, false, true];
        assert_eq!(told(10, false, &ten), (ten.to_vec(), vec![0b1001, 0b10]));
        assert_eq!(told(2, false, &ten), (vec![true, false], vec![1]));
        assert_eq!(told(3, false, &[true]), (vec![true, false, false], vec![1]));
        assert_eq!(told(9, true, &[]), (vec![true; 9], vec![0xff, 1]));
        assert_eq!(told(0, true, &[true]), (vec![], vec![]));
    }
}
