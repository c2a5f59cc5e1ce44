//! Who is admitted to what.

use capnp::Error;
use capnp::capability::FromClientHook;
use percloud_schemas::host_capnp::admission;

use super::app::{ThingClient, ping};
use super::rig::{Grain, enter, refusal, with_grain};

async fn open(grain: &Grain, fill: impl FnOnce(admission::Builder<'_>)) -> String {
    let nonce = grain.announce([1; 16], fill).await.unwrap();
    let session = enter(&grain.door(), &nonce).await.unwrap();
    ping(&session).await.unwrap();
    grain.app.opened.borrow_mut().pop().unwrap()
}

async fn take(grain: &Grain, nonce: &[u8]) -> Result<ThingClient, Error> {
    let mut request = grain.door().take_request();
    request.get().set_nonce(nonce);
    request.send().promise.await?.get()?.get_cap().get_as_capability()
}

#[test]
fn a_visitor_has_as_many_permissions_as_the_app_defines() {
    with_grain(|grain| async move {
        let all = open(&grain, |mut admission| admission.set_is_owner(true)).await;
        assert_eq!(all, "page [true, true, true] [7] http://ui-1.localhost:6080");
        let cut = open(&grain, |admission| {
            let mut user = admission.init_user();
            user.set_permissions(&[false, true, false, true, true][..])
                .unwrap();
        })
        .await;
        assert_eq!(cut, "page [false, true, false] [2] http://ui-1.localhost:6080");
        let none = open(&grain, |_| {}).await;
        assert_eq!(none, "page [false, false, false] [0] http://ui-1.localhost:6080");
    });
}

#[test]
fn a_program_gets_its_own_kind_of_session_or_that_of_a_page() {
    with_grain(|grain| async move {
        let told = open(&grain, |admission| {
            let mut address = admission.init_api().init_remote_address();
            address.set_lower64(0x0000_ffff_7f00_0001);
        })
        .await;
        assert_eq!(told, "api [false, false, false] [0] address 0xffff7f000001");
        let untold = open(&grain, |admission| {
            admission.init_api();
        })
        .await;
        assert_eq!(untold, "api [false, false, false] [0] address 0x0");
        grain.app.knows_no_programs.set(true);
        let page = open(&grain, |mut admission| {
            admission.set_is_owner(true);
            admission.init_api();
        })
        .await;
        assert_eq!(page, "page [true, true, true] [7] https://sandbox");
    });
}

#[test]
fn requests_and_offers_have_sessions_of_their_own() {
    with_grain(|grain| async move {
        let request = open(&grain, |admission| {
            admission.init_request(1).get(0).init_tags(1).get(0).set_id(77);
        })
        .await;
        assert_eq!(request, "request [false, false, false] [0] tag 77");
        let ada = grain.broker().person("Ada");
        let offer = open(&grain, |admission| {
            let mut offer = admission.init_offer();
            offer
                .reborrow()
                .init_cap()
                .set_as_capability(ada.into_client_hook());
            offer.init_descriptor().init_tags(1).get(0).set_id(78);
        })
        .await;
        assert_eq!(offer, "offer [false, false, false] [0] tag 78");
        let offered: percloud_schemas::identity_capnp::identity::Client =
            grain.app.offered.borrow()[0].clone().cast_to();
        offered.get_profile_request().send().promise.await.unwrap();
        grain.broker().end([1; 16]).await;
        let profile = offered.get_profile_request().send().promise.await;
        assert!(refusal(profile).contains("the session was ended"));
    });
}

#[test]
fn an_object_is_taken_and_a_session_entered() {
    with_grain(|grain| async move {
        let object = |admission: admission::Builder<'_>| {
            admission.init_object().get_id().set_as("album").unwrap();
        };
        let nonce = grain.announce([1; 16], object).await.unwrap();
        let album = take(&grain, &nonce).await.unwrap();
        ping(&album).await.unwrap();
        assert!(refusal(take(&grain, &nonce).await).contains("unknown, used or expired"));

        let nonce = grain.announce([1; 16], object).await.unwrap();
        assert!(refusal(enter(&grain.door(), &nonce).await).contains("taken, not entered"));
        assert!(
            take(&grain, &nonce).await.is_err(),
            "a nonce works once, also for the wrong thing"
        );
        let nonce = grain.announce([1; 16], |_| {}).await.unwrap();
        assert!(refusal(take(&grain, &nonce).await).contains("entered, not taken"));
    });
}

#[test]
fn malformed_announcements_are_refused() {
    with_grain(|grain| async move {
        for (session, tab) in [(15, 16), (16, 15), (0, 16)] {
            let mut request = grain.host.admit_request();
            request.get().set_nonce(&[1; 32]);
            let mut admission = request.get().init_session();
            admission.set_session_id(&vec![1; session]);
            admission.set_tab_id(&vec![1; tab]);
            let refused = refusal(request.send().promise.await);
            assert!(refused.contains("session id of 16"), "{refused}");
        }
    });
}
