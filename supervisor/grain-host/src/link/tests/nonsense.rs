//! Well-formed messages that make no sense together: every kind, with ids that collide, in random order.

use std::cell::RefCell;
use std::io::Write;
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;

use capnp::capability::{Client, FromClientHook};
use capnp::traits::{HasTypeId, ImbueMut};
use capnp::{Error, any_pointer};
use capnp_rpc::rpc_capnp::{cap_descriptor, message, message_target, payload};
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use percloud_schemas::grain_capnp::sandstorm_api;
use percloud_schemas::util_capnp::handle;
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};

use super::super::Link;
use super::bytes;
use crate::config::Limits;
use crate::membrane::{Realm, Side};

type Params<'a> = sandstorm_api::share_cap_params::Builder<'a, any_pointer::Owned>;
type Api = sandstorm_api::Client<any_pointer::Owned>;

/// Gives back what it is given, having called it; hands out what it was given before.
#[derive(Default)]
struct Echo(RefCell<Vec<Client>>);

impl sandstorm_api::Server<any_pointer::Owned> for Echo {
    async fn share_cap(
        self: Rc<Self>,
        params: sandstorm_api::ShareCapParams<any_pointer::Owned>,
        mut results: sandstorm_api::ShareCapResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let cap: Client = params.get()?.get_cap().get_as_capability()?;
        results
            .get()
            .init_shared_cap()
            .set_as_capability(cap.hook.add_ref());
        let handle: handle::Client = cap.clone().cast_to();
        drop(spawn_local(handle.ping_request().send().promise));
        let mut kept = self.0.borrow_mut();
        kept.push(cap);
        if kept.len() > 4 {
            kept.remove(0);
        }
        Ok(())
    }

    async fn restore(
        self: Rc<Self>,
        _: sandstorm_api::RestoreParams<any_pointer::Owned>,
        mut results: sandstorm_api::RestoreResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        tokio::task::yield_now().await;
        if let Some(cap) = self.0.borrow_mut().pop() {
            results.get().init_cap().set_as_capability(cap.hook);
        }
        Ok(())
    }
}

/// A source of decisions that are the same in every run (xorshift), and what it asked so far.
struct Whim {
    state: u64,
    /// Calls made and not finished: most questions get a new id, or the conversation would be over soon.
    asked: Vec<u32>,
    next: u32,
}

impl Whim {
    fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            asked: Vec::new(),
            next: 0,
        }
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 33) as u32 % limit
    }

    /// The id of a new question.
    fn question(&mut self) -> u32 {
        if self.below(100) == 0 {
            return self.id();
        }
        self.next += 1;
        self.asked.push(self.next);
        self.next
    }

    /// The id of a question that was asked, most of the time.
    fn answer(&mut self) -> u32 {
        match u32::try_from(self.asked.len()) {
            Ok(count @ 1..) => {
                let place = self.below(count) as usize;
                self.asked[place]
            }
            _ => self.id(),
        }
    }

    /// Small, so that ids meet.
    fn id(&mut self) -> u32 {
        self.below(5)
    }

    fn cap(&mut self, mut cap: cap_descriptor::Builder<'_>) {
        match self.below(6) {
            0 => cap.set_none(()),
            1 => cap.set_sender_hosted(self.id()),
            2 => cap.set_sender_promise(self.id() + 5),
            3 => cap.set_receiver_hosted(self.id()),
            4 => {
                let mut answer = cap.init_receiver_answer();
                answer.set_question_id(self.answer());
                if self.below(2) == 0 {
                    answer
                        .init_transform(1)
                        .get(0)
                        .set_get_pointer_field(self.below(3) as u16);
                }
            }
            // Of third parties nobody has heard; the conversation is over when one appears.
            _ if self.below(50) > 0 => cap.set_none(()),
            _ => cap.init_third_party_hosted().set_vine_id(self.id()),
        }
    }

    fn target(&mut self, mut target: message_target::Builder<'_>) {
        if self.below(10) == 0 {
            target.set_imported_cap(self.below(2));
        } else {
            let mut answer = target.init_promised_answer();
            answer.set_question_id(self.answer());
            if self.below(2) == 0 {
                answer
                    .init_transform(1)
                    .get(0)
                    .set_get_pointer_field(self.below(2) as u16);
            }
        }
    }

    /// A payload whose first pointer is a capability, as parameters and results of `Echo` have it.
    fn payload(&mut self, mut payload: payload::Builder<'_>) {
        let caps = self.below(3);
        let mut table = payload.reborrow().init_cap_table(caps);
        (0..caps).for_each(|index| self.cap(table.reborrow().get(index)));
        if self.below(4) > 0 {
            // What the capabilities are says the table; only their numbers are in the bytes.
            let mut thrown_away = Vec::new();
            let mut content = payload.reborrow().get_content();
            content.imbue_mut(&mut thrown_away);
            let mut params = content.init_as::<Params<'_>>();
            for _ in 0..=self.below(2) {
                let nothing = capnp_rpc::new_broken_cap(Error::failed(String::new()));
                params.reborrow().get_cap().set_as_capability(nothing.hook);
            }
        }
    }

    fn message(&mut self) -> Vec<u8> {
        bytes(|message: message::Builder<'_>| match self.below(200) {
            0..=4 => message.init_bootstrap().set_question_id(self.question()),
            5..=124 => {
                let mut call = message.init_call();
                call.set_question_id(self.question());
                let (interface, method) = match self.below(4) {
                    0 => (handle::Client::TYPE_ID, 0),
                    1 => (Api::TYPE_ID, 4),
                    _ => (Api::TYPE_ID, 2),
                };
                call.set_interface_id(interface);
                call.set_method_id(method);
                self.target(call.reborrow().init_target());
                self.payload(call.reborrow().init_params());
                if self.below(3) == 0 {
                    call.get_send_results_to().set_yourself(());
                }
            }
            125..=139 => {
                let mut answer = message.init_return();
                answer.set_answer_id(self.below(3));
                answer.set_release_param_caps(self.below(2) == 0);
                answer.set_no_finish_needed(self.below(2) == 0);
                match self.below(7) {
                    0..=2 => self.payload(answer.init_results()),
                    3 => answer.init_exception().set_reason("so it goes"),
                    4 => answer.set_canceled(()),
                    5 => answer.set_results_sent_elsewhere(()),
                    _ => answer.set_take_from_other_question(self.id()),
                }
            }
            140..=169 => {
                let mut finish = message.init_finish();
                let question = self.answer();
                self.asked.retain(|asked| *asked != question);
                finish.set_question_id(question);
                finish.set_release_result_caps(self.below(2) == 0);
            }
            170..=192 => {
                let mut resolve = message.init_resolve();
                resolve.set_promise_id(self.id() + 5);
                if self.below(4) == 0 {
                    resolve.init_exception().set_reason("so it goes");
                } else {
                    self.cap(resolve.init_cap());
                }
            }
            193..=194 => {
                let mut release = message.init_release();
                release.set_id(self.id());
                release.set_reference_count(self.below(3));
            }
            195..=198 => {
                let mut disembargo = message.init_disembargo();
                self.target(disembargo.reborrow().init_target());
                let mut context = disembargo.init_context();
                match self.below(10) {
                    0..=7 => context.set_sender_loopback(self.id()),
                    8 => context.set_receiver_loopback(self.id()),
                    _ => context.set_accept(()),
                }
            }
            _ => {
                let mut resolve = message.init_unimplemented().init_resolve();
                resolve.set_promise_id(self.id());
                resolve.init_cap().set_sender_hosted(self.id());
            }
        })
    }
}

/// Has one conversation; false when it made something panic.
fn converse(seed: u64) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (mut peer, stream) = StdStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let echo: Api = capnp_rpc::new_client(Echo::default());
        let realm = Realm::default();
        let offered = realm.membrane().carry(echo, Side::Outside);
        let bounds = crate::link::bounds(&Limits::default(), Rc::default(), None);
        let stream = UnixStream::from_std(stream).unwrap();
        let mut link = Link::new(stream, VatSide::Server, bounds, Some(offered.client));
        let theirs: Api = realm.membrane().carry(link.bootstrap(), Side::Inside);
        let link = spawn_local(link.run());
        let mut whim = Whim::new(seed);
        let mut held = Vec::new();
        for _ in 0..200 {
            if peer.write_all(&whim.message()).is_err() || link.is_finished() {
                break;
            }
            if whim.below(3) == 0 {
                let mut request = theirs.share_cap_request();
                let own: Api = capnp_rpc::new_client(Echo::default());
                request.get().get_cap().set_as_capability(own.client.hook);
                let answer = request.send();
                let cap = answer.pipeline.get_shared_cap().as_cap();
                let cap: handle::Client = FromClientHook::new(cap);
                drop(spawn_local(cap.ping_request().send().promise));
                held.push((spawn_local(answer.promise), cap));
                if held.len() > 3 {
                    let (answer, _) = held.remove(0);
                    answer.abort();
                }
            }
            for _ in 0..whim.below(8) {
                tokio::task::yield_now().await;
            }
        }
        drop(peer);
        match link.await {
            Ok(_ended) => true,
            Err(error) => !error.is_panic(),
        }
    })
}

#[test]
fn nonsense_ends_a_conversation_and_nothing_else() {
    let panicked: Vec<u64> = (0..500).filter(|seed| !converse(*seed)).collect();
    assert!(
        panicked.is_empty(),
        "{} panicked: {:?}",
        panicked.len(),
        &panicked[..panicked.len().min(10)]
    );
}
