//! Every method of `SandstormApi`.

mod background;
mod saving;

use capnp::ErrorKind;
use capnp::capability::FromClientHook;
use percloud_schemas::grain_capnp::ui_view;
use percloud_schemas::identity_capnp::identity;

use super::app::ThingClient;
use super::rig::{Grain, enter, refusal, restore, save, with_grain};

/// Opens a session of somebody with an account; the app's view of them.
async fn visit_of(grain: &Grain, session: [u8; 16], name: &str) -> (ThingClient, identity::Client) {
    let person = grain.broker().person(name);
    let nonce = grain
        .announce(session, |admission| admission.init_user().set_identity(person))
        .await
        .unwrap();
    let session = enter(&grain.door(), &nonce).await.unwrap();
    let person = grain.app.people.borrow().last().unwrap().clone();
    (session, person)
}

async fn identity_id(grain: &Grain, person: identity::Client) -> Result<Vec<u8>, capnp::Error> {
    let mut request = grain.api.get_identity_id_request();
    request.get().set_identity(person);
    Ok(request.send().promise.await?.get()?.get_id()?.to_vec())
}

#[test]
fn people_are_known_by_whichever_way_the_app_met_them() {
    with_grain(|grain| async move {
        let (_session, ada) = visit_of(&grain, [1; 16], "Ada").await;
        let token = save(&grain.api, ada.clone(), "").await.unwrap();
        let again: identity::Client = restore(&grain.api, &token).await.unwrap();
        assert_eq!(identity_id(&grain, ada).await.unwrap(), b"Ada");
        assert_eq!(identity_id(&grain, again).await.unwrap(), b"Ada");

        let (_, impostor) = grain.app.thing("impostor");
        assert!(refusal(identity_id(&grain, impostor.cast_to()).await).contains("no identity"));
    });
}

#[test]
fn what_happens_by_itself_is_told_with_the_people_it_concerns() {
    with_grain(|grain| async move {
        let (_session, ada) = visit_of(&grain, [1; 16], "Ada").await;
        let (_, impostor) = grain.app.thing("impostor");
        let mut request = grain.api.background_activity_request();
        let mut event = request.get().init_event();
        event.set_path("inbox");
        let mut users = event.init_users(2);
        users.reborrow().get(0).set_identity(ada);
        users.get(1).set_identity(impostor.cast_to());
        request.send().promise.await.unwrap();
        assert_eq!(*grain.broker().told.borrow(), ["inbox Ada a stranger"]);

        let mut request = grain.api.background_activity_request();
        request.get().init_event().set_path("x".repeat(100 << 10));
        assert!(refusal(request.send().promise.await).contains("too long"));
    });
}

#[test]
fn capabilities_and_views_are_shared() {
    with_grain(|grain| async move {
        let (_, note) = grain.app.thing("note");
        let mut request = grain.api.share_cap_request();
        request.get().get_cap().set_as_capability(note.into_client_hook());
        request
            .get()
            .init_display_info()
            .init_title()
            .set_default_text("a note");
        let shared = request.send().promise.await.unwrap();
        let shared = shared.get().unwrap();
        assert_eq!(grain.broker().told.take(), ["shares a note"]);
        let cap: ThingClient = shared.get_shared_cap().get_as_capability().unwrap();
        assert_eq!(grain.app.recognise(cap).await.as_deref(), Some("note"));
        let name = shared
            .get_link()
            .unwrap()
            .get_petname_request()
            .send()
            .promise
            .await;
        assert_eq!(
            name.err().unwrap().kind,
            ErrorKind::Unimplemented,
            "the broker's link is there"
        );

        // A view the app was offered.
        let view = grain.broker().view("Chess");
        let nonce = grain
            .announce([1; 16], |admission| {
                let mut offer = admission.init_offer();
                offer
                    .reborrow()
                    .init_cap()
                    .set_as_capability(view.into_client_hook());
                offer.init_descriptor().init_tags(1);
            })
            .await
            .unwrap();
        let _session = enter(&grain.door(), &nonce).await.unwrap();
        let offered: ui_view::Client = grain.app.offered.borrow()[0].clone().cast_to();
        let share = |view: ui_view::Client| {
            let mut request = grain.api.share_view_request();
            request.get().set_view(view);
            request.send().promise
        };
        let shared = share(offered).await.unwrap();
        let view = shared.get().unwrap().get_shared_view().unwrap();
        let info = view.get_view_info_request().send().promise.await.unwrap();
        assert_eq!(
            info.get()
                .unwrap()
                .get_app_title()
                .unwrap()
                .get_default_text()
                .unwrap(),
            "Chess"
        );
        let link = shared.get().unwrap().get_link().unwrap();
        let role = link.get_role_assignment_request().send().promise.await;
        assert!(refusal(role).contains("the link answers"));
        let (_, own) = grain.app.thing("own");
        assert!(refusal(share(own.cast_to()).await).contains("only a view of a whole grain"));
    });
}

#[test]
fn what_was_retired_long_ago_says_so() {
    with_grain(|grain| async move {
        let publish = grain
            .api
            .deprecated_publish_request()
            .send()
            .promise
            .await
            .err()
            .unwrap();
        assert_eq!(publish.kind, ErrorKind::Unimplemented);
        assert!(publish.extra.contains("retired"), "{publish}");
        let register = grain
            .api
            .deprecated_register_action_request()
            .send()
            .promise
            .await;
        assert_eq!(register.err().unwrap().kind, ErrorKind::Unimplemented);
    });
}

#[test]
fn a_query_of_a_page_is_read_and_an_answer_written() {
    with_grain(|grain| async move {
        let read = |texts: Vec<&str>| {
            let mut request = grain.host.read_query_request();
            let mut query = request.get().init_query(texts.len() as u32);
            for (index, text) in texts.iter().enumerate() {
                query.set(index as u32, text);
            }
            request.send().promise
        };
        let text = "EAZQAQEAABEBF1EEAQH_5-Jn6pjXtNsAAAA";
        let answer = read(vec![text; 32]).await.unwrap();
        let descriptors = answer.get().unwrap().get_descriptors().unwrap();
        assert_eq!(descriptors.len(), 32);
        assert_eq!(
            descriptors.get(31).get_tags().unwrap().get(0).get_id(),
            0xdbb4_d798_ea67_e2e7
        );
        let mut request = grain.host.write_descriptor_request();
        request.get().set_descriptor(descriptors.get(0)).unwrap();
        let written = request.send().promise.await.unwrap();
        // The same in its shortest form.
        assert_eq!(
            written.get().unwrap().get_text().unwrap(),
            "EARAAREBDxEEAf_n4mfqmNe02wA="
        );
        assert!(refusal(read(vec![text; 33]).await).contains("32 descriptors at most"));
        assert!(refusal(read(vec![text, "%"]).await).contains("descriptor 2 of the query"));
    });
}
