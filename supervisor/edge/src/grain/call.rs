//! Sends a request whose body is at hand to the app, and once more if the grain went away in between.

use std::rc::Rc;

use capnp::ErrorKind;
use capnp::capability::Promise;
use capnp::traits::HasTypeId;
use hyper::Request;
use hyper::body::Incoming;
use percloud_link::{Direct, Repeated};
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session;

use crate::alarm::Late;
use crate::edge::Edge;
use crate::grain::ask::{Ask, Payload, Verb};
use crate::grain::sessions::{self, Session, Way};
use crate::grain::{context, reply, upload};
use crate::intake::Intake;
use crate::pipe::pipe;
use crate::respond::{Answer, Refusal};
use crate::said::Heard;

/// What an app answers, on its way.
pub(super) type Replied = Promise<capnp::capability::Response<web_session::response::Owned>, capnp::Error>;

/// Answers a request with what the app says.
pub(super) async fn answer(
    edge: &Rc<Edge>,
    session: Rc<Session>,
    way: Way<'_>,
    heard: Heard,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let (parts, body) = request.into_parts();
    let body = Intake::new(body, edge.limits.body_pause, heard.taken.as_ref());
    let (ask, streamed) = Ask::read(edge, &session, parts, heard, body).await?;
    let page = Page { edge, way };
    match streamed {
        Some(body) => Box::pin(upload::answer(&page, session, ask, body)).await,
        None => whole(&page, session, &ask).await,
    }
}

/// What it takes to open a session again.
pub(super) struct Page<'a> {
    pub edge: &'a Rc<Edge>,
    pub way: Way<'a>,
}

impl Page<'_> {
    /// A new session in place of one that turned out dead.
    pub(super) async fn reopen(&self, dead: &Rc<Session>, ask: &Ask) -> Result<Rc<Session>, Refusal> {
        self.forget(dead);
        sessions::get(self.edge, self.way, &ask.headers, false).await
    }

    pub(super) fn forget(&self, dead: &Rc<Session>) {
        sessions::forget(self.edge, self.way, dead);
    }
}

/// Sends a request whose body, if any, is at hand.
pub(super) async fn whole(page: &Page<'_>, session: Rc<Session>, ask: &Ask) -> Result<Answer, Refusal> {
    match once(page.edge, &session, ask).await {
        Err(Failure::App(error)) if error.kind == ErrorKind::Disconnected => {
            // The grain was put to sleep, restarted or killed. What may be asked twice is asked again of the new one.
            if !ask.may_be_repeated() {
                page.forget(&session);
                return Err(Refusal::AppGone);
            }
            let session = Box::pin(page.reopen(&session, ask)).await?;
            Box::pin(once(page.edge, &session, ask))
                .await
                .map_err(Refusal::from)
        }
        answered => answered.map_err(Refusal::from),
    }
}

/// Why one try came to nothing.
enum Failure {
    App(capnp::Error),
    Refused(Refusal),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::App(error) => Self::from_app(&error),
            Failure::Refused(refusal) => refusal,
        }
    }
}

async fn once(edge: &Rc<Edge>, session: &Rc<Session>, ask: &Ask) -> Result<Answer, Failure> {
    let (alarm, patience) = (&ask.heard.alarm, edge.limits.answer);
    let (writer, reader) = pipe(edge.limits.window, session.share.streamed());
    let stream = capnp_rpc::new_client(writer);
    if ask.verb == Verb::Options {
        let mut request = session.plain.options_request();
        request.get().set_path(&ask.path);
        context::fill(request.get().init_context(), &ask.headers, &ask.heard, stream)
            .map_err(Failure::Refused)?;
        let replied = alarm.within(patience, request.send().promise).await;
        let replied = replied.map_err(|Late| Failure::Refused(Refusal::AppSilent))?;
        return reply::options(session, replied).map_err(Failure::App);
    }
    let replied = send(ask, &session.plain, stream).map_err(Failure::Refused)?;
    let replied = alarm.within(patience, replied).await;
    let replied = replied.map_err(|Late| Failure::Refused(Refusal::AppSilent))?;
    let replied = replied.map_err(Failure::App)?;
    reply::compose(edge, session, ask, &replied, reader)
        .await
        .map_err(Failure::Refused)
}

/// `WebSession.get`, and which of its parameters are path and context.
const GET: (u64, u16) = (web_session::Client::TYPE_ID, 0);
const GET_PLACES: (usize, usize) = (0, 1);

/// Makes the call that a request stands for.
fn send(
    ask: &Ask,
    web: &Direct<web_session::Client>,
    stream: byte_stream::Client,
) -> Result<Replied, Refusal> {
    if ask.verb == Verb::Get
        && let Some(shared) = context::shared(&ask.headers, &ask.heard, &stream)?
        && let Some(open) = web.open()
    {
        let call = Repeated {
            method: GET,
            places: GET_PLACES,
            text: &ask.path,
            shared,
        };
        return Ok(open.call::<web_session::get_params::Owned, _>(&call, stream.client.hook));
    }
    // The builders of these calls share method names, not a trait.
    macro_rules! call {
        ($request:ident $(, $params:ident => $more:block)?) => {{
            let mut request = web.$request();
            let mut params = request.get();
            params.set_path(&ask.path);
            $({
                #[allow(unused_mut)]
                let mut $params = params.reborrow();
                $more
            })?
            context::fill(params.init_context(), &ask.headers, &ask.heard, stream)?;
            request.send().promise
        }};
    }
    macro_rules! content {
        ($params:ident) => {{
            let mut content = $params.init_content();
            content.set_mime_type(ask.mime_type());
            content.set_encoding(ask.encoding());
            if let Payload::Whole(bytes) = &ask.payload {
                content.set_content(bytes);
            }
        }};
    }
    let xml = match &ask.payload {
        Payload::Xml(text) => std::str::from_utf8(text).expect("what is read as XML is UTF-8"),
        _ => "",
    };
    Ok(match &ask.verb {
        Verb::Get => call!(get_request),
        Verb::Head => call!(get_request, params => { params.set_ignore_body(true) }),
        Verb::Post => call!(post_request, params => { content!(params) }),
        Verb::Put => call!(put_request, params => { content!(params) }),
        Verb::Patch => call!(patch_request, params => { content!(params) }),
        Verb::Delete => call!(delete_request),
        Verb::Propfind(depth) => call!(propfind_request, params => {
            params.set_depth(*depth);
            params.set_xml_content(xml);
        }),
        Verb::Proppatch => call!(proppatch_request, params => { params.set_xml_content(xml) }),
        Verb::Mkcol => call!(mkcol_request, params => { content!(params) }),
        Verb::Copy(to) => call!(copy_request, params => {
            params.set_destination(&to.destination);
            params.set_no_overwrite(to.no_overwrite);
            params.set_shallow(to.shallow);
        }),
        Verb::Move(to) => call!(move_request, params => {
            params.set_destination(&to.destination);
            params.set_no_overwrite(to.no_overwrite);
        }),
        Verb::Lock { shallow } => call!(lock_request, params => {
            params.set_xml_content(xml);
            params.set_shallow(*shallow);
        }),
        Verb::Unlock { token } => call!(unlock_request, params => { params.set_lock_token(token) }),
        Verb::Acl => call!(acl_request, params => { params.set_xml_content(xml) }),
        Verb::Report => call!(report_request, params => { content!(params) }),
        Verb::Options => unreachable!("asked through its own call, which answers differently"),
    })
}
