//! Every method of a session's context.

use capnp::capability::FromClientHook;
use capnp::{Error, ErrorKind};
use percloud_schemas::email_capnp::email_send_port;
use percloud_schemas::grain_capnp::session_context;
use percloud_schemas::hack_session_capnp::hack_session_context;
use percloud_schemas::identity_capnp::identity;

use super::app::{ThingClient, ping};
use super::broker::{Gift, Seal};
use super::rig::{Grain, enter, refusal, restore, save, with_grain, with_two};
use crate::membrane::Id;

type Context = session_context::Client;

const SESSION: Id = [1; 16];

async fn claim(context: &Context, token: &[u8]) -> Result<ThingClient, Error> {
    let mut request = context.claim_request_request();
    request
        .get()
        .set_request_token(std::str::from_utf8(token).unwrap());
    request
        .get()
        .set_required_permissions(&[true, false][..])
        .unwrap();
    request.send().promise.await?.get()?.get_cap().get_as_capability()
}

/// Gives something in the session of `context`: the parameters of both methods are alike.
macro_rules! give {
    ($context:expr, $method:ident, $cap:expr) => {{
        let mut request = $context.$method();
        let mut call = request.get();
        call.reborrow()
            .get_cap()
            .set_as_capability($cap.into_client_hook());
        call.reborrow().set_required_permissions(&[true][..]).unwrap();
        call.reborrow().init_descriptor().init_tags(1).get(0).set_id(77);
        call.init_display_info().init_title().set_default_text("a thing");
        request.send().promise
    }};
}

fn gift(kind: &'static str, session: Id, token: &[u8]) -> Gift {
    Gift {
        kind,
        session,
        token: token.to_owned(),
        permissions: vec![true],
        tag: 77,
        title: "a thing".to_owned(),
    }
}

async fn end(grain: &Grain, id: Id) {
    grain.broker().end(id).await;
}

#[test]
fn what_a_person_chose_is_claimed_once_and_lives_beyond_the_session() {
    with_two(|one, two| async move {
        let session = two.session(SESSION).await;
        let token = one.broker().give("one", "album", Seal::Answer(SESSION));
        let foreign = one.broker().give("one", "album", Seal::Answer([2; 16]));
        let context = two.app.context();
        assert!(
            claim(&context, &foreign).await.is_err(),
            "chosen in another session"
        );
        let album = claim(&context, &token).await.unwrap();
        assert!(
            two.broker()
                .told
                .borrow()
                .contains(&"claims with [true, false]".to_owned())
        );
        assert!(claim(&context, &token).await.is_err(), "only once");
        ping(&album).await.unwrap();

        end(&two, SESSION).await;
        assert!(ping(&session).await.is_err());
        assert_eq!(
            claim(&context, &token).await.err().unwrap().kind,
            ErrorKind::Disconnected
        );
        ping(&album).await.unwrap();
        end(&two, two.broker().living()[0]).await;
        assert!(refusal(ping(&album).await).contains("revoked"));

        // What turns out to be the app's own is its own.
        let token = two.broker().give("two", "note", Seal::Answer([3; 16]));
        two.session([3; 16]).await;
        let nonce = two.announce([3; 16], |_| {}).await.unwrap();
        let _held = enter(&two.door(), &nonce).await.unwrap();
        let note = claim(&two.app.context(), &token).await.unwrap();
        assert_eq!(two.app.recognise(note).await.as_deref(), Some("note"));
    });
}

#[test]
fn a_request_is_answered_and_something_offered_with_ones_own() {
    with_grain(|grain| async move {
        let _session = grain.session(SESSION).await;
        let context = grain.app.context();
        let (_, note) = grain.app.thing("note");
        give!(context, fulfill_request_request, note.clone())
            .await
            .unwrap();
        give!(context, offer_request, note).await.unwrap();
        let gifts = grain.broker().gifts.take();
        assert_eq!(gifts[0], gift("answer", SESSION, &gifts[0].token));
        assert_eq!(gifts[1], gift("offer", SESSION, &gifts[1].token));
        for gift in gifts {
            let record = grain.broker().record(&gift.token);
            assert_eq!(record.seal, Seal::Answer(SESSION));
            assert!(
                record.conditions.is_empty(),
                "the session's are added by its keeper"
            );
        }
        let passing = give!(context, offer_request, grain.app.thing("passing").1).await;
        assert!(refusal(passing).contains("cannot be saved"));
        assert!(grain.broker().gifts.borrow().is_empty());
    });
}

#[test]
fn a_request_is_answered_and_something_offered_with_what_is_anothers() {
    with_two(|one, two| async move {
        let _session = two.session(SESSION).await;
        let context = two.app.context();
        let token = one.broker().give("one", "album", Seal::Grain("two".to_owned()));
        let album: ThingClient = restore(&two.api, &token).await.unwrap();
        let reference = one.broker().living()[0];
        give!(context, fulfill_request_request, album.clone())
            .await
            .unwrap();
        give!(context, offer_request, album).await.unwrap();
        for gift in one.broker().gifts.take() {
            let record = one.broker().record(&gift.token);
            assert_eq!(record.seal, Seal::Answer(SESSION), "{}", gift.kind);
            assert_eq!(
                record.conditions,
                [reference],
                "it is under the conditions it was held by"
            );
            // Whoever receives it reaches the object itself, not by way of the second grain.
            let token = one.broker().reseal(&gift.token, Seal::Grain("two".to_owned()));
            ping(&restore::<ThingClient>(&two.api, &token).await.unwrap())
                .await
                .unwrap();
        }

        let ada = one.broker().give_person("Ada", Seal::Grain("two".to_owned()));
        let ada: ThingClient = restore(&two.api, &ada).await.unwrap();
        give!(context, fulfill_request_request, ada.clone())
            .await
            .unwrap();
        give!(context, offer_request, ada).await.unwrap();
        assert_eq!(one.broker().gifts.borrow().len(), 2);
    });
}

#[test]
fn a_person_is_asked_from_the_servers_side() {
    with_two(|one, two| async move {
        let _session = two.session(SESSION).await;
        let context = two.app.context();
        let ask = || {
            let mut request = context.request_request();
            request.get().init_query(1).get(0).init_tags(1).get(0).set_id(9);
            request.send().promise
        };
        assert!(refusal(ask().await).contains("chose nothing"));
        *one.broker().choice.borrow_mut() = Some(one.broker().give("one", "album", Seal::Answer(SESSION)));
        let chosen = ask().await.unwrap();
        let album: ThingClient = chosen.get().unwrap().get_cap().get_as_capability().unwrap();
        ping(&album).await.unwrap();
        let descriptor = chosen.get().unwrap().get_descriptor().unwrap();
        assert_eq!(descriptor.get_tags().unwrap().get(0).get_id(), 9);
        end(&two, two.broker().living()[0]).await;
        assert!(ping(&album).await.is_err());
    });
}

#[test]
fn permissions_are_a_variable_that_dies_with_the_session() {
    with_grain(|grain| async move {
        let _session = grain.session(SESSION).await;
        let answer = grain
            .app
            .context()
            .get_shared_permissions_request()
            .send()
            .promise
            .await;
        let variable = answer.unwrap().get().unwrap().get_var().unwrap();
        for permissions in [vec![true, false], vec![false]] {
            grain.broker().permissions.replace(permissions.clone());
            let value = variable.get_request().send().promise.await.unwrap();
            let value: Vec<bool> = value.get().unwrap().get_value().unwrap().iter().collect();
            assert_eq!(value, permissions);
        }
        end(&grain, SESSION).await;
        let value = variable.get_request().send().promise.await;
        assert_eq!(value.err().unwrap().kind, ErrorKind::Disconnected);
    });
}

#[test]
fn what_is_done_to_the_page_and_said_of_the_person_reaches_the_broker() {
    with_grain(|grain| async move {
        let ada = grain.broker().person("Ada");
        let nonce = grain
            .announce(SESSION, |admission| admission.init_user().set_identity(ada))
            .await
            .unwrap();
        let _session = enter(&grain.door(), &nonce).await.unwrap();
        let context = grain.app.context();
        context.close_request().send().promise.await.unwrap();

        let mut request = context.activity_request();
        let mut event = request.get().init_event();
        event.set_path("page/1");
        let mut users = event.init_users(2);
        // The session's own, which comes home, and one restored meanwhile.
        let ada = grain.app.people.borrow()[0].clone();
        let bob = grain.broker().give_person("Bob", Seal::Grain("one".to_owned()));
        let bob: identity::Client = restore(&grain.api, &bob).await.unwrap();
        users.reborrow().get(0).set_identity(ada);
        users.reborrow().get(1).set_identity(bob);
        request.send().promise.await.unwrap();

        let view = grain.broker().view("Chess");
        let nonce = grain
            .announce([2; 16], |admission| {
                let mut offer = admission.init_offer();
                offer
                    .reborrow()
                    .init_cap()
                    .set_as_capability(view.into_client_hook());
                offer.init_descriptor().init_tags(1);
            })
            .await
            .unwrap();
        let _offer = enter(&grain.door(), &nonce).await.unwrap();
        let view = grain.app.offered.borrow()[0].clone();
        let mut request = context.open_view_request();
        request.get().set_view(view.cast_to());
        request.get().set_path("board");
        request.get().set_new_tab(true);
        request.send().promise.await.unwrap();
        assert_eq!(
            grain.broker().told.take(),
            ["closes", "page/1 Ada Bob", "opens Chess board true"]
        );
        let mut request = context.open_view_request();
        request.get().set_view(grain.app.thing("own").1.cast_to());
        assert!(refusal(request.send().promise.await).contains("only a view of a whole grain"));
        let mut request = context.open_view_request();
        request
            .get()
            .set_view(grain.app.offered.borrow()[0].clone().cast_to());
        request.get().set_path("x".repeat(5000));
        assert!(refusal(request.send().promise.await).contains("a path has"));
    });
}

#[test]
fn public_ids_and_addresses_come_from_the_broker() {
    with_grain(|grain| async move {
        let _session = grain.session(SESSION).await;
        let context: hack_session_context::Client = grain.app.context().cast_to();
        let answer = context.get_public_id_request().send().promise.await.unwrap();
        let public = answer.get().unwrap();
        assert_eq!(public.get_public_id().unwrap(), "abcdefghij0123456789");
        assert_eq!(public.get_hostname().unwrap(), "percloud.example");
        assert_eq!(
            public.get_auto_url().unwrap(),
            "https://abcdefghij0123456789.percloud.example"
        );
        assert!(public.get_is_demo_user());
        let answer = context.get_user_address_request().send().promise.await.unwrap();
        let address = answer.get().unwrap();
        assert_eq!(address.get_address().unwrap(), "ada@example.org");
        assert_eq!(address.get_name().unwrap(), "Ada");
    });
}

#[test]
fn what_is_gone_and_what_is_yet_to_come_say_so() {
    with_grain(|grain| async move {
        let _session = grain.session(SESSION).await;
        let context: hack_session_context::Client = grain.app.context().cast_to();
        let mail: email_send_port::Client = context.clone().cast_to();
        let send = mail.send_request().send().promise.await.err().unwrap();
        let hint = mail.hint_address_request().send().promise.await.err().unwrap();
        assert_eq!(
            (send.kind, hint.kind),
            (ErrorKind::Unimplemented, ErrorKind::Unimplemented)
        );

        macro_rules! removed {
            ($($method:ident),*) => {$(
                let error = context.$method().send().promise.await.err().unwrap();
                assert_eq!(error.kind, ErrorKind::Failed, stringify!($method));
                assert!(error.extra.contains("was removed"), "{error}");
            )*};
        }
        removed!(
            obsolete_http_get_request,
            obsolete_generate_api_token_request,
            obsolete_list_api_tokens_request,
            obsolete_revoke_api_token_request,
            obsolete_get_ip_network_request,
            obsolete_get_ip_interface_request,
            obsolete_get_ui_view_for_endpoint_request
        );
    });
}

#[test]
fn a_context_without_a_person_says_so() {
    with_grain(|grain| async move {
        let mut request = grain.host.admit_request();
        request.get().set_nonce(&[9; 32]);
        let mut admission = request.get().init_session();
        admission.set_session_id(&SESSION);
        admission.set_tab_id(&[7; 16]);
        request.send().promise.await.unwrap();
        let _session = enter(&grain.door(), &[9; 32]).await.unwrap();
        let close = grain.app.context().close_request().send().promise.await;
        assert_eq!(close.err().unwrap().kind, ErrorKind::Unimplemented);
    });
}

async fn tie(context: &Context, cap: ThingClient) -> ThingClient {
    let mut request = context.tie_to_user_request();
    request.get().get_cap().set_as_capability(cap.into_client_hook());
    request
        .get()
        .set_required_permissions(&[false, true][..])
        .unwrap();
    let answer = request.send().promise.await.unwrap();
    answer.get().unwrap().get_tied_cap().get_as_capability().unwrap()
}

#[test]
fn a_tied_capability_outlives_the_session_and_dies_with_the_tie() {
    use super::app::{child, echo, keep};
    with_grain(|grain| async move {
        let session = grain.session(SESSION).await;
        let visitor = grain.session([2; 16]).await;
        let context = grain.app.contexts.borrow()[0].clone();
        let (note, own) = grain.app.thing("note");
        let tied = tie(&context, own.clone()).await;
        assert_eq!(grain.broker().told.take(), ["ties to [false, true]"]);
        ping(&tied).await.unwrap();
        let id = grain.broker().living()[0];
        end(&grain, SESSION).await;
        assert!(ping(&session).await.is_err());
        ping(&tied).await.unwrap();

        // To the app it is another capability than its own, also after a round through a visitor.
        assert_eq!(grain.app.recognise(tied.clone()).await, None);
        let (hub, hub_cap) = grain.app.thing("hub");
        hub.kept.borrow_mut().push(tied.client.clone());
        keep(&visitor, &hub_cap).await.ok();
        let token = save(&grain.api, tied.clone(), "").await.unwrap();
        assert_eq!(
            grain.broker().record(&token).conditions,
            [id],
            "saved, it stays tied"
        );

        // What comes of it is tied like it; what is given to it is not wrapped needlessly.
        let derived = child(&tied, "page").await.unwrap();
        ping(&derived).await.unwrap();
        let back = echo(&tied, &own).await.unwrap();
        ping(&back).await.unwrap();
        let kept = keep(&tied, &own).await;
        kept.unwrap();
        let inside: ThingClient = note.kept.borrow()[0].clone().cast_to();
        assert_eq!(grain.app.recognise(inside).await.as_deref(), Some("note"));

        end(&grain, id).await;
        for dead in [&tied, &derived, &back] {
            assert!(
                refusal(ping(dead).await).contains("no longer"),
                "all of it is over"
            );
        }
        ping(&own).await.unwrap();
        assert!(restore::<ThingClient>(&grain.api, &token).await.is_err());
        assert!(
            save(&grain.api, tied, "").await.is_err(),
            "a dead capability is not saved"
        );
    });
}

#[test]
fn a_tie_is_not_lost_by_way_of_another_one() {
    use super::app::{child, keep};
    with_grain(|grain| async move {
        let visitor = grain.session([2; 16]).await;
        let context = grain.app.context();
        let (_, note) = grain.app.thing("note");
        let (hub, hub_cap) = grain.app.thing("hub");
        let note = tie(&context, note).await;
        let id = grain.broker().living()[0];
        let hub_cap = tie(&context, hub_cap).await;
        // A visitor who was given both passes the one to the other.
        let shelf = grain.app.sessions.borrow()[0].clone();
        let mut shown = Vec::new();
        for cap in [note, hub_cap] {
            *shelf.kept.borrow_mut() = vec![cap.client];
            shown.push(child(&visitor, "kept").await.unwrap());
        }
        keep(&shown[1], &shown[0]).await.unwrap();
        let passed: ThingClient = hub.kept.borrow()[0].clone().cast_to();
        assert_eq!(grain.app.recognise(passed.clone()).await, None);
        ping(&passed).await.unwrap();
        end(&grain, id).await;
        assert!(ping(&passed).await.is_err());
    });
}

#[test]
fn a_foreign_capability_is_tied_but_not_saved_without_its_tie() {
    with_two(|one, two| async move {
        let _session = two.session(SESSION).await;
        let token = one.broker().give("one", "album", Seal::Grain("two".to_owned()));
        let album: ThingClient = restore(&two.api, &token).await.unwrap();
        let reference = one.broker().living()[0];
        let tied = tie(&two.app.context(), album.clone()).await;
        let living = one.broker().living();
        let tie = living.into_iter().find(|id| *id != reference).unwrap();
        ping(&tied).await.unwrap();
        assert!(refusal(save(&two.api, tied.clone(), "").await).contains("cannot be saved"));
        end(&two, tie).await;
        assert!(ping(&tied).await.is_err());
        ping(&album).await.unwrap();
        end(&two, reference).await;
        assert!(ping(&album).await.is_err());
    });
}
