//! What a signed-in person does outside any one grain.

use hyper::header::SET_COOKIE;
use percloud_schemas::front_capnp::user_session;

use crate::cookie::Ours;
use crate::percent::decode;
use crate::respond::{Answer, Refusal};
use crate::shell::api::Call;
use crate::shell::api::reply::{ask, broken, is_error, pass, pass_on};
use crate::shell::{events, package, upload};

/// Answers a call of a signed-in person.
///
/// # Errors
///
/// When there is no such call, its document cannot be read, or the broker does not answer.
pub(super) async fn answer(call: Call<'_>, session: &user_session::Client) -> Result<Answer, Refusal> {
    match (call.method, call.path) {
        ("DELETE", ["session"]) => {
            let mut answer = pass_on!(session.sign_out_request())?;
            answer
                .headers_mut()
                .append(SET_COOKIE, Ours::Shell.take_back(&call.edge.base));
            Ok(answer)
        }
        ("GET", ["me"]) => pass_on!(session.whoami_request()),
        ("GET", ["home"]) => pass_on!(session.home_request()),
        ("GET", ["events"]) => events::answer(call.edge, session).await,
        ("GET", ["people"]) => pass_on!(session.people_request()),
        ("GET", ["history"]) => pass_on!(session.history_request()),

        ("POST", ["packages"]) => upload::package(call.edge, session, call.headers, call.body).await,
        (method, ["packages", id, rest @ ..]) => package::answer(session, method, id, rest).await,
        ("GET", ["grains"]) => grains(session, call.query).await,
        ("POST", ["grains"]) => {
            pass_on!(session.create_grain_request(), set_json = &call.document().await?)
        }
        ("POST", ["backups"]) => upload::backup(call.edge, session, call.headers, call.body).await,

        ("GET", ["invitations"]) => pass_on!(session.invitations_request()),
        ("POST", ["invitations"]) => {
            pass_on!(session.invite_request(), set_json = &call.any_document().await?)
        }
        ("DELETE", ["invitations", id]) => pass_on!(session.uninvite_request(), set_invitation_id = id),
        ("POST", ["links", "accept"]) => {
            pass_on!(session.accept_link_request(), set_json = &call.document().await?)
        }
        ("POST", ["offers", id, answer @ ("accept" | "decline")]) => {
            pass_on!(
                session.offer_request(),
                set_offer_id = id,
                set_accept = *answer == "accept"
            )
        }
        ("GET", ["notifications"]) => pass_on!(session.notifications_request()),
        ("POST", ["notifications", id]) => pass_on!(
            session.answer_notification_request(),
            set_notification_id = id,
            set_json = &call.document().await?
        ),
        (_, ["requests", id, rest @ ..]) => powerbox(call, session, id, rest).await,
        _ => Err(Refusal::NotFound),
    }
}

/// Answers with a page of the person's grains.
async fn grains(session: &user_session::Client, query: &str) -> Result<Answer, Refusal> {
    const UNREADABLE: Refusal = Refusal::BadRequest("There is no such page.");
    let mut request = session.grains_request();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(UNREADABLE)?;
        let value = decode(value).ok_or(UNREADABLE)?;
        match name {
            "search" => request.get().set_search(&value),
            "after" => request.get().set_after(&value),
            "trashed" => request.get().set_trashed(value == "true"),
            "limit" => request.get().set_limit(value.parse().map_err(|_| UNREADABLE)?),
            _ => return Err(UNREADABLE),
        }
    }
    pass_on!(request)
}

/// Everything about one powerbox request that waits for the person.
async fn powerbox(
    call: Call<'_>,
    session: &user_session::Client,
    id: &str,
    rest: &[&str],
) -> Result<Answer, Refusal> {
    let mut request = session.powerbox_request();
    request.get().set_request_id(id);
    let found = ask(request.send().promise).await?;
    let found = found.get().map_err(broken)?;
    if !found.has_powerbox() || is_error(found.get_reply()) {
        return pass(found.get_reply());
    }
    let powerbox = found.get_powerbox().map_err(broken)?;
    match (call.method, rest) {
        ("GET", []) => pass_on!(powerbox.choices_request()),
        ("POST", ["choose"]) => pass_on!(powerbox.choose_request(), set_json = &call.document().await?),
        ("DELETE", []) => pass_on!(powerbox.cancel_request()),
        _ => Err(Refusal::NotFound),
    }
}
