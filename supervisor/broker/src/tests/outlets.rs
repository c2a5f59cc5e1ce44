//! What a person lets a grain reach outside, and what becomes of it.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use capnp::capability::FromClientHook;
use percloud_core::id::GrainId;
use percloud_core::sharing::requirement::TokenHash;
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::egress_capnp::{egress, outlet};
use percloud_schemas::host_capnp::{host_keeper, restored, session_keeper};
use percloud_schemas::powerbox_capnp::powerbox_descriptor;
use percloud_schemas::supervisor_capnp::api_token_owner;
use serde_json::{Value, json};

use super::{World, enter, run};
use crate::account::SignedIn;
use crate::powerbox::Message;
use crate::record::Token;

/// An egress that notes what it is told.
#[derive(Default)]
struct Played {
    /// Holder, address, authorization.
    admitted: RefCell<Vec<[String; 3]>>,
    ended: RefCell<Vec<Vec<u8>>>,
    /// Set when it hangs: what it is told to end goes on.
    hangs: Cell<bool>,
    killed: Cell<bool>,
}

impl Played {
    /// Has a broker use it.
    fn join(self: &Rc<Self>, world: &World) {
        let client: egress::Client = capnp_rpc::new_client_from_rc(self.clone());
        let killed = self.clone();
        let end = Rc::new(move || killed.killed.set(true));
        world.broker.use_egress(client, PathBuf::from("/the/door"), end);
    }
}

impl egress::Server for Played {
    async fn admit(
        self: Rc<Self>,
        params: egress::AdmitParams,
        _: egress::AdmitResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let outlet::Which::Website(website) = params.get_outlet()?.which()? else {
            return Ok(());
        };
        self.admitted.borrow_mut().push([
            params.get_holder()?.to_string()?,
            website.get_url()?.to_string()?,
            website.get_authorization()?.to_string()?,
        ]);
        Ok(())
    }

    async fn end(
        self: Rc<Self>,
        params: egress::EndParams,
        _: egress::EndResults,
    ) -> Result<(), capnp::Error> {
        self.ended
            .borrow_mut()
            .push(params.get()?.get_reference()?.to_vec());
        if self.hangs.get() {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// A grain with a page open, on a server with an egress.
struct Scene {
    world: World,
    anna: SignedIn,
    grain: GrainId,
    egress: Rc<Played>,
    keeper: session_keeper::Client,
    host: host_keeper::Client,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let grain = world.grain(&anna).await;
        let egress = Rc::new(Played::default());
        egress.join(&world);
        let opened = world.broker.open(&anna, &grain, "").unwrap();
        enter(&world, &opened).await.unwrap();
        let keeper = world.visitor(|last| last.keeper.clone().unwrap());
        let host = world.stage.keepers.borrow().last().unwrap().clone();
        Self {
            world,
            anna,
            grain,
            egress,
            keeper,
            host,
        }
    }

    /// Asks for any website, and has Anna choose; the id of what was claimed.
    async fn given(&self, website: Value) -> Vec<u8> {
        let broker = &self.world.broker;
        let visit = broker
            .visits
            .borrow()
            .values()
            .find(|visit| visit.grain == self.grain)
            .unwrap()
            .clone();
        let mut query = Message::new_default();
        query
            .initn_root::<capnp::struct_list::Builder<'_, powerbox_descriptor::Owned>>(1)
            .get(0)
            .init_tags(1)
            .get(0)
            .set_id(<api_session::Client as capnp::traits::HasTypeId>::TYPE_ID);
        let (sender, answer) = tokio::sync::oneshot::channel();
        let list = query.get_root_as_reader().unwrap();
        let asked = broker
            .ask(&visit, &self.anna.account, "a calendar", list, Some(sender))
            .unwrap();
        let body = json!({"choice": "website", "website": website}).to_string();
        broker.choose(&self.anna, &asked.id, &body).await.unwrap();
        let answer = answer.await.unwrap();
        let mut request = self.keeper.claim_request();
        request.get().set_token(answer.token.expose());
        let claimed = request.send().promise.await.unwrap();
        reference(claimed.get().unwrap().get_restored().unwrap())
    }

    /// What the grain's host does when the app saves what it took at the egress.
    async fn save(&self, reference: &[u8]) -> Result<Vec<u8>, capnp::Error> {
        let keeper = self.world.broker.egress_keeper();
        let mut request = keeper.save_request();
        request.get().set_reference(reference);
        let owner: api_token_owner::Builder<'_> = request.get().get_owner().init_as();
        owner.init_grain().set_grain_id(self.grain.as_str());
        Ok(request.send().promise.await?.get()?.get_token()?.to_vec())
    }

    async fn restore(&self, token: &[u8]) -> Result<Vec<u8>, capnp::Error> {
        let mut request = self.host.restore_request();
        request.get().set_token(token);
        let answer = request.send().promise.await?;
        Ok(reference(answer.get()?.get_restored()?))
    }

    async fn held(&self) -> Vec<Value> {
        let held = self
            .world
            .broker
            .authority(&self.anna, &self.grain)
            .await
            .unwrap();
        held["held"].as_array().unwrap().clone()
    }

    fn is_alive(&self, reference: &[u8]) -> bool {
        let id: [u8; 16] = reference.try_into().unwrap();
        self.world.broker.references.borrow().contains_key(&id)
    }
}

fn reference(restored: restored::Reader<'_>) -> Vec<u8> {
    let restored::Which::Door(door) = restored.which().unwrap() else {
        panic!("it is to be taken at the egress");
    };
    assert_eq!(door.get_socket_path().unwrap(), "/the/door");
    restored.get_id().unwrap().to_vec()
}

#[test]
fn what_is_taken_back_ends_however_it_was_kept() {
    run(async {
        let scene = Scene::new().await;
        let claimed = scene.given(json!({"url": "https://example.org/"})).await;
        assert_eq!(
            scene.held().await.len(),
            1,
            "what is alive is seen before it is saved"
        );
        let (first, second) = (
            scene.save(&claimed).await.unwrap(),
            scene.save(&claimed).await.unwrap(),
        );
        let restored = scene.restore(&first).await.unwrap();
        let held = scene.held().await;
        assert_eq!(held.len(), 1, "one gift, however often it was saved: {held:?}");
        assert_eq!(held[0]["from"], json!("https://example.org/"));
        assert_eq!(held[0]["label"], json!("a calendar"));

        let id = held[0]["id"].as_str().unwrap();
        scene
            .world
            .broker
            .drop_authority(&scene.anna, &scene.grain, id)
            .await
            .unwrap();
        for reference in [&claimed, &restored] {
            assert!(!scene.is_alive(reference));
            assert!(
                scene.egress.ended.borrow().contains(reference),
                "its connections were cut"
            );
            assert!(
                scene.world.stage.ended.borrow().contains(reference),
                "its host was told"
            );
            assert!(
                scene.save(reference).await.is_err(),
                "it cannot be saved any more"
            );
        }
        for token in [first, second] {
            assert!(scene.restore(&token).await.is_err());
            let hash = TokenHash(<sha2::Sha256 as sha2::Digest>::digest(&token).into());
            assert!(
                scene.world.broker.read::<Token>(&hash.0).unwrap().is_none(),
                "nothing is left"
            );
        }
        assert!(scene.held().await.is_empty());
        scene.world.broker.stop().await;
    });
}

#[test]
fn an_app_that_drops_one_of_its_tokens_keeps_the_others() {
    run(async {
        let scene = Scene::new().await;
        let claimed = scene.given(json!({"url": "https://example.org/"})).await;
        let (first, second) = (
            scene.save(&claimed).await.unwrap(),
            scene.save(&claimed).await.unwrap(),
        );
        let mut request = scene.host.drop_request();
        request.get().set_token(&first);
        request.send().promise.await.unwrap();
        assert!(scene.restore(&first).await.is_err());
        scene.restore(&second).await.unwrap();
        assert!(scene.is_alive(&claimed));
        scene.world.broker.stop().await;
    });
}

#[test]
fn credentials_go_to_the_egress_and_nowhere_else() {
    run(async {
        let scene = Scene::new().await;
        let key = "k".repeat(1024 - "Bearer ".len());
        let website = json!({"url": "https://example.org/a", "credential": {"kind": "bearer", "token": key}});
        let claimed = scene.given(website).await;
        let kept = scene.save(&claimed).await.unwrap();
        let restored = scene.restore(&kept).await.unwrap();
        let again = scene.save(&restored).await.unwrap();
        scene.restore(&again).await.unwrap();
        let admitted = scene.egress.admitted.borrow().clone();
        assert_eq!(admitted.len(), 3);
        for [holder, url, authorization] in admitted {
            assert_eq!(holder, scene.grain.as_str());
            assert_eq!(url, "https://example.org/a");
            assert_eq!(authorization, format!("Bearer {key}"), "the longest there may be");
        }
        let store = scene.world.broker.store.scan::<Token>(b"").unwrap();
        assert_eq!(store.len(), 3, "the gift, and what was saved twice");
        let store =
            serde_json::to_string(&store.into_iter().map(|(_, token)| token).collect::<Vec<_>>()).unwrap();
        assert!(!store.contains("kkkk"), "{store}");
        assert!(!format!("{:?}", scene.world.broker.references.borrow()).contains("kkkk"));
        scene.world.broker.stop().await;
    });
}

#[test]
fn what_was_taken_at_an_egress_that_died_is_let_go_and_restored_at_the_next() {
    run(async {
        let scene = Scene::new().await;
        let claimed = scene.given(json!({"url": "https://example.org/"})).await;
        let kept = scene.save(&claimed).await.unwrap();
        scene.egress.join(&scene.world);
        assert!(!scene.is_alive(&claimed));
        assert!(scene.save(&claimed).await.is_err());
        let restored = scene.restore(&kept).await.unwrap();
        assert!(scene.is_alive(&restored));

        // An egress that does not answer refuses by name, and nothing is listed.
        let silent = egress::Client::new(
            capnp_rpc::new_broken_cap(capnp::Error::disconnected("gone".to_owned())).hook,
        );
        scene
            .world
            .broker
            .use_egress(silent, PathBuf::from("/the/door"), Rc::new(|| {}));
        let refused = scene.restore(&kept).await.unwrap_err();
        assert!(refused.extra.contains("cannot reach other machines"), "{refused}");
        assert!(scene.world.broker.references.borrow().is_empty());
        scene.world.broker.stop().await;
    });
}

#[test]
fn an_egress_that_does_not_end_what_it_is_told_to_is_killed() {
    run(async {
        let scene = Scene::new().await;
        let claimed = scene.given(json!({"url": "https://example.org/"})).await;
        scene.egress.hangs.set(true);
        let id = scene.held().await[0]["id"].as_str().unwrap().to_owned();
        scene
            .world
            .broker
            .drop_authority(&scene.anna, &scene.grain, &id)
            .await
            .unwrap();
        assert!(scene.egress.killed.get());
        assert!(!scene.is_alive(&claimed));
        scene.world.broker.stop().await;
    });
}

#[test]
fn what_a_grain_let_go_of_is_no_longer_counted_and_only_its_own() {
    run(async {
        let scene = Scene::new().await;
        let claimed = scene.given(json!({"url": "https://example.org/"})).await;
        let kept = scene.save(&claimed).await.unwrap();
        let other = scene.world.grain(&scene.anna).await;
        scene.world.broker.wake(&other).await.unwrap();
        let stranger = scene.world.stage.keepers.borrow().last().unwrap().clone();
        let let_go = async |host: &host_keeper::Client, ids: &[u8]| {
            let mut request = host.let_go_request();
            request.get().set_references(ids);
            request.send().promise.await.unwrap();
        };
        let_go(&stranger, &claimed).await;
        let_go(&scene.host, &[0; 15]).await;
        let_go(&scene.host, &[0; 64]).await;
        assert!(scene.is_alive(&claimed));
        let_go(&scene.host, &claimed).await;
        assert!(!scene.is_alive(&claimed));
        scene.restore(&kept).await.unwrap();
        assert_eq!(scene.held().await.len(), 1);
        scene.world.broker.stop().await;
    });
}
