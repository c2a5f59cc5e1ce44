//! Peers that write what they like, on either side of a host that passes calls on as they came. Whatever they say ends in
//! an error or the end of their own connection; nothing panics or waits for ever, and the other side's connection stays.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdStream;

use capnp::message::{Builder, Reader};
use capnp::serialize::{self, OwnedSegments};
use capnp::traits::{HasTypeId, ImbueMut};
use capnp_rpc::new_client;
use capnp_rpc::rpc_capnp::{cap_descriptor, message, message_target, payload, return_};
use percloud_schemas::grain_capnp::{ui_session, ui_view};
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::passing::{View, session};
use super::*;

/// Where numbers of calls past the RPC system begin.
const OURS: u32 = 1 << 30;
/// How many calls are under way when a hostile app speaks.
const CALLS: u32 = 3;

#[derive(Clone, Copy, Debug)]
enum Results {
    Plain,
    Caps(Caps),
    Exception,
    Canceled,
    Elsewhere,
    TakeFrom(u32),
}

/// At most two.
type Caps = [Option<(u8, u32)>; 2];

#[derive(Clone, Debug)]
enum Says {
    Return(u32, Results, bool, bool),
    Call {
        question: u32,
        target: (bool, u32),
        caps: Caps,
        is_for_caller: bool,
    },
    Finish(u32, bool),
    Release(u32, u32),
    Resolve(u32, (u8, u32)),
    Disembargo(bool, u32),
    Bootstrap(u32),
    Unimplemented(u32),
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => OURS..OURS + 4,
        3 => 0_u32..4,
        1 => 100_u32..103,
        1 => Just(u32::MAX),
    ]
}

fn says() -> impl Strategy<Value = Says> {
    let cap = || (0_u8..5, number());
    let caps = || {
        prop_oneof![
            Just([None, None]),
            cap().prop_map(|cap| [Some(cap), None]),
            (cap(), cap()).prop_map(|(one, two)| [Some(one), Some(two)]),
        ]
    };
    let results = prop_oneof![
        2 => Just(Results::Plain),
        2 => caps().prop_map(Results::Caps),
        1 => Just(Results::Exception),
        1 => Just(Results::Canceled),
        1 => Just(Results::Elsewhere),
        1 => number().prop_map(Results::TakeFrom),
    ];
    prop_oneof![
        4 => (number(), results, any::<bool>(), any::<bool>())
            .prop_map(|(id, results, gives, needs)| Says::Return(id, results, gives, needs)),
        4 => (number(), (any::<bool>(), number()), caps(), proptest::bool::weighted(0.9))
            .prop_map(|(question, target, caps, is_for_caller)| Says::Call { question, target, caps, is_for_caller }),
        2 => (number(), any::<bool>()).prop_map(|(id, releases)| Says::Finish(id, releases)),
        2 => (number(), 0_u32..3).prop_map(|(id, count)| Says::Release(id, count)),
        1 => (number(), cap()).prop_map(|(id, cap)| Says::Resolve(id, cap)),
        1 => (any::<bool>(), number()).prop_map(|(answer, id)| Says::Disembargo(answer, id)),
        1 => number().prop_map(Says::Bootstrap),
        1 => number().prop_map(Says::Unimplemented),
    ]
}

fn fill_cap(mut cap: cap_descriptor::Builder<'_>, (kind, id): (u8, u32)) {
    match kind {
        0 => cap.set_none(()),
        1 => cap.set_sender_hosted(id),
        2 => cap.set_sender_promise(id),
        3 => cap.set_receiver_hosted(id),
        _ => cap.init_receiver_answer().set_question_id(id),
    }
}

fn fill(mut payload: payload::Builder<'_>, caps: Caps) {
    let caps: Vec<(u8, u32)> = caps.into_iter().flatten().collect();
    if !caps.is_empty() {
        let count = u32::try_from(caps.len()).unwrap();
        let mut table = payload.reborrow().init_cap_table(count);
        for (index, cap) in (0..).zip(caps) {
            fill_cap(table.reborrow().get(index), cap);
        }
    }
}

fn address(mut target: message_target::Builder<'_>, (is_answer, id): (bool, u32)) {
    if is_answer {
        target.init_promised_answer().set_question_id(id);
    } else {
        target.set_imported_cap(id);
    }
}

fn bytes(fill: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
    let mut builder = Builder::new_default();
    fill(builder.init_root());
    let mut bytes = Vec::new();
    serialize::write_message(&mut bytes, &builder).unwrap();
    bytes
}

impl Says {
    fn bytes(&self) -> Vec<u8> {
        bytes(|message| match *self {
            Self::Return(id, results, gives_back, no_finish) => {
                let mut answer = message.init_return();
                answer.set_answer_id(id);
                answer.set_release_param_caps(gives_back);
                answer.set_no_finish_needed(no_finish);
                match results {
                    Results::Plain => drop(answer.init_results()),
                    Results::Caps(caps) => fill(answer.init_results(), caps),
                    Results::Exception => answer.init_exception().set_reason("no"),
                    Results::Canceled => answer.set_canceled(()),
                    Results::Elsewhere => answer.set_results_sent_elsewhere(()),
                    Results::TakeFrom(id) => answer.set_take_from_other_question(id),
                }
            }
            Self::Call {
                question,
                target,
                caps,
                is_for_caller,
            } => {
                let mut call = message.init_call();
                call.set_question_id(question);
                call.set_interface_id(web_session::Client::TYPE_ID);
                address(call.reborrow().init_target(), target);
                if !is_for_caller {
                    call.reborrow().init_send_results_to().set_yourself(());
                }
                fill(call.init_params(), caps);
            }
            Self::Finish(id, releases) => {
                let mut finish = message.init_finish();
                finish.set_question_id(id);
                finish.set_release_result_caps(releases);
            }
            Self::Release(id, count) => {
                let mut release = message.init_release();
                release.set_id(id);
                release.set_reference_count(count);
            }
            Self::Resolve(id, cap) => {
                let mut resolve = message.init_resolve();
                resolve.set_promise_id(id);
                fill_cap(resolve.init_cap(), cap);
            }
            Self::Disembargo(is_answer, id) => {
                let mut disembargo = message.init_disembargo();
                address(disembargo.reborrow().init_target(), (is_answer, id));
                disembargo.init_context().set_sender_loopback(7);
            }
            Self::Bootstrap(id) => message.init_bootstrap().set_question_id(id),
            Self::Unimplemented(id) => message.init_unimplemented().init_release().set_id(id),
        })
    }
}

/// A peer that reads and writes by hand.
struct Raw {
    peer: StdStream,
    bytes: Vec<u8>,
}

impl Raw {
    fn pair() -> (Self, UnixStream) {
        let (peer, stream) = StdStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let raw = Self {
            peer,
            bytes: Vec::new(),
        };
        (raw, UnixStream::from_std(stream).unwrap())
    }

    /// The next message; none when the connection has ended.
    async fn next(&mut self) -> Option<Reader<OwnedSegments>> {
        loop {
            let mut rest = &self.bytes[..];
            if let Ok(message) = serialize::read_message(&mut rest, Default::default()) {
                self.bytes = rest.to_vec();
                return Some(message);
            }
            let mut more = [0; 4096];
            match self.peer.read(&mut more) {
                Ok(0) => return None,
                Ok(count) => self.bytes.extend_from_slice(&more[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
            tokio::task::yield_now().await;
        }
    }

    /// The number of the next message for which `which` has one.
    async fn wait(&mut self, which: impl Fn(message::Reader<'_>) -> Option<u32>) -> u32 {
        loop {
            let message = self.next().await.expect("the connection lasts");
            if let Some(number) = which(message.get_root().unwrap()) {
                return number;
            }
        }
    }

    async fn wait_for_call(&mut self) -> u32 {
        self.wait(|message| match message.which() {
            Ok(message::Call(Ok(call))) => Some(call.get_question_id()),
            _ => None,
        })
        .await
    }

    async fn wait_for_answer(&mut self) -> u32 {
        self.wait(|message| match message.which() {
            Ok(message::Return(Ok(answer))) => {
                assert!(matches!(answer.which(), Ok(return_::Results(_))));
                Some(answer.get_answer_id())
            }
            _ => None,
        })
        .await
    }

    fn say(&mut self, bytes: &[u8]) {
        self.peer
            .write_all(bytes)
            .expect("there is room for a few messages");
    }

    fn say_all(&mut self, all: &[Says]) {
        for says in all {
            // It may have been cut off by now.
            let _cut_off = self.peer.write_all(&says.bytes());
        }
    }

    fn end(&self) {
        let _ended_already = self.peer.shutdown(Shutdown::Write);
    }
}

/// Answers the bootstrap with number 0, and the call that opens a session with number 1.
fn offers(question: u32, id: u32) -> Vec<u8> {
    let mut caps = Vec::new();
    let mut builder = Builder::new_default();
    let mut answer = builder.init_root::<message::Builder<'_>>().init_return();
    answer.set_answer_id(question);
    let mut results = answer.init_results();
    results.reborrow().init_cap_table(1).get(0).set_sender_hosted(id);
    let mut content = results.get_content();
    content.imbue_mut(&mut caps);
    let nobody = capnp_rpc::new_broken_cap(Error::failed(String::new()));
    if id == 0 {
        content.set_as_capability(nobody.hook);
    } else {
        let mut results = content.init_as::<ui_view::new_session_results::Builder<'_>>();
        results.set_session(ui_session::Client::new(nobody.hook));
    }
    serialize::write_message_to_words(&builder)
}

struct Sink;

impl byte_stream::Server for Sink {}

async fn get(web: &web_session::Client) -> Result<(), Error> {
    let mut request = web.get_request();
    request.get().init_context().set_response_stream(new_client(Sink));
    request.send().promise.await.map(drop)
}

/// Runs `test` in a place of its own.
fn on_its_own<Test: Future<Output = ()>>(test: Test) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(PATIENCE, test)
            .await
            .expect("nothing waits for ever");
    });
}

/// What becomes of calls that are under way when the app says `all`.
async fn with_app_that_says(all: &[Says]) {
    let (mut app, inner) = Raw::pair();
    let mut link = Link::new(
        inner,
        VatSide::Server,
        Bounds {
            calls_run_to_their_end: true,
            ..bounds()
        },
        None,
    );
    let view: ui_view::Client = link.bootstrap();
    let inner = spawn_local(link.run());
    let web = spawn_local(session(view));
    let bootstrap = app
        .wait(|message| match message.which() {
            Ok(message::Bootstrap(Ok(bootstrap))) => Some(bootstrap.get_question_id()),
            _ => None,
        })
        .await;
    app.say(&offers(bootstrap, 0));
    let opening = app.wait_for_call().await;
    app.say(&offers(opening, 1));
    let realm = Realm::default();
    let local = View::of(realm.membrane().carry(web.await.unwrap(), Side::Inside));

    let (outer, edge) = UnixStream::pair().unwrap();
    let outer = spawn_local(Link::new(outer, VatSide::Server, bounds(), Some(local.client)).run());
    let mut link = Link::new(edge, VatSide::Client, bounds(), None);
    let view: ui_view::Client = link.bootstrap();
    let edge = spawn_local(link.run());
    let web = percloud_link::Direct::new(session(view).await);
    for _ in 0..3 {
        let call = spawn_local({
            let web = web.clone();
            async move { get(&web).await }
        });
        let id = app.wait_for_call().await;
        app.say(&Says::Return(id, Results::Plain, false, false).bytes());
        call.await.unwrap().unwrap();
    }
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let web = web.clone();
            spawn_local(async move { get(&web).await })
        })
        .collect();
    for _ in 0..CALLS {
        let id = app.wait_for_call().await;
        assert!(id >= OURS, "calls go past the RPC system by now");
    }
    app.say_all(all);
    app.end();
    while app.next().await.is_some() {}
    let _how = inner.await.expect("nothing panics");
    for call in calls {
        let _answer = call.await.expect("nothing panics");
    }
    assert_eq!(realm.pending(), 0, "nothing is counted as under way");
    assert!(
        !outer.is_finished() && !edge.is_finished(),
        "others stay connected"
    );
}

/// The app of a host whose caller is hostile.
#[derive(Default)]
struct Page(Cell<usize>);

impl web_session::Server for Page {
    async fn get(
        self: Rc<Self>,
        _: web_session::GetParams,
        mut results: web_session::GetResults,
    ) -> Result<(), Error> {
        self.0.set(self.0.get() + 1);
        results.get().init_content().init_body().set_bytes(b"page");
        Ok(())
    }
}

impl ui_session::Server for Page {}

async fn with_caller_that_says(all: &[Says]) {
    let page = Rc::new(Page::default());
    let offered: web_session::Client = capnp_rpc::new_client_from_rc(Rc::clone(&page));
    let (inner, app_end) = UnixStream::pair().unwrap();
    let _inside: Client = peer(app_end, VatSide::Client, Some(View::of(offered).client));
    let mut link = Link::new(inner, VatSide::Server, bounds(), None);
    let view: ui_view::Client = link.bootstrap();
    let inner = spawn_local(link.run());
    let realm = Realm::default();
    let local = realm.membrane().carry(session(view).await, Side::Inside);

    let (mut caller, outer) = Raw::pair();
    let offered = local.client.clone();
    let outer = spawn_local(Link::new(outer, VatSide::Server, bounds(), Some(offered)).run());
    caller.say(&Says::Bootstrap(1000).bytes());
    assert_eq!(caller.wait_for_answer().await, 1000);
    for question in 2000..2003 {
        let call = Says::Call {
            question,
            target: (false, 0),
            caps: [None, None],
            is_for_caller: true,
        };
        caller.say(&call.bytes());
        assert_eq!(caller.wait_for_answer().await, question);
    }
    assert_eq!(page.0.get(), 3);
    caller.say_all(all);
    caller.end();
    while caller.next().await.is_some() {}
    let _how = outer.await.expect("nothing panics");
    local
        .get_request()
        .send()
        .promise
        .await
        .expect("the app still answers");
    while realm.pending() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(!inner.is_finished(), "the app stays connected");
}

fn for_many(cases: u32, test: impl Fn(&[Says])) {
    let config = ProptestConfig {
        cases,
        max_shrink_time: 8000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let all = proptest::collection::vec(says(), 1..12);
    TestRunner::new(config)
        .run(&all, |all| {
            test(&all);
            Ok(())
        })
        .unwrap();
}

#[test]
fn whatever_an_app_says_calls_end_and_others_stay_connected() {
    for_many(400, |all| on_its_own(with_app_that_says(all)));
}

#[test]
fn whatever_a_caller_says_the_app_stays_connected() {
    for_many(400, |all| on_its_own(with_caller_that_says(all)));
}

/// Sequences that random ones hardly hit.
#[test]
fn numbers_are_not_used_twice_or_for_others() {
    use Says::{Call, Finish, Release, Return};
    let plain = |id| Return(id, Results::Plain, true, true);
    let brings = |id| Return(id, Results::Caps([Some((1, 5)), None]), false, false);
    let call = |question, id| Call {
        question,
        target: (false, id),
        caps: [None, None],
        is_for_caller: true,
    };
    let hands_on = |question| Call {
        question,
        target: (false, 0),
        caps: [Some((3, OURS)), Some((3, OURS + 1))],
        is_for_caller: true,
    };
    for all in [
        vec![plain(OURS), plain(OURS)],
        vec![brings(OURS), plain(OURS)],
        vec![brings(OURS), plain(0), plain(1), plain(2), plain(3)],
        vec![Release(OURS, 1), brings(OURS), Release(OURS, 1)],
        vec![Release(OURS, 1), call(7, OURS)],
        vec![Release(OURS, 2)],
        vec![call(7, OURS), call(8, OURS + 1), plain(OURS), plain(OURS + 1)],
        vec![call(7, OURS), Finish(7, true), Finish(7, true), Release(OURS, 1)],
        vec![plain(OURS), call(7, OURS), Release(OURS, 1)],
        vec![hands_on(7), brings(OURS), brings(OURS + 1)],
        vec![Return(OURS, Results::TakeFrom(7), false, false)],
        vec![call(7, u32::MAX), plain(u32::MAX), Release(u32::MAX, 1)],
    ] {
        on_its_own(with_app_that_says(&all));
        on_its_own(with_caller_that_says(&all));
    }
}
