//! Everything about one grain: opening it, its settings, and who and what may use it.

use percloud_schemas::front_capnp::{grain_control, user_session};
use serde_json::Value;

use crate::respond::{Answer, Refusal};
use crate::shell::api::Call;
use crate::shell::api::reply::{ask, broken, is_error, pass, pass_on};
use crate::shell::{backup, events};

/// Answers a call about one grain.
///
/// # Errors
///
/// When there is no such call, its document cannot be read, or the broker does not answer.
pub(super) async fn answer(
    call: Call<'_>,
    session: &user_session::Client,
    id: &str,
    rest: &[&str],
) -> Result<Answer, Refusal> {
    let mut request = session.grain_request();
    request.get().set_grain_id(id);
    let found = ask(request.send().promise).await?;
    let found = found.get().map_err(broken)?;
    if !found.has_grain() || is_error(found.get_reply()) {
        return pass(found.get_reply());
    }
    let grain = found.get_grain().map_err(broken)?;
    match (call.method, rest) {
        ("GET", []) => pass_on!(grain.info_request()),
        ("PATCH", []) => change(&grain, &call.document().await?).await,
        ("DELETE", []) => pass_on!(grain.delete_request()),
        ("POST", ["open"]) => pass_on!(grain.open_request(), set_json = &call.document().await?),
        ("POST", ["trash"]) => pass_on!(grain.trash_request()),
        ("POST", ["restore"]) => pass_on!(grain.restore_request()),
        ("POST", ["prepare"]) => pass_on!(grain.prepare_request()),
        ("POST", ["restart"]) => pass_on!(grain.restart_request()),
        ("GET", ["log"]) => events::log(call.edge, &grain, call.query).await,
        ("GET", ["history"]) => pass_on!(grain.history_request()),
        ("GET", ["backup"]) => backup::download(call.edge, &grain).await,
        ("POST", ["duplicate"]) => pass_on!(grain.duplicate_request()),
        ("GET", ["jobs"]) => pass_on!(grain.jobs_request()),
        ("GET", ["limits"]) => pass_on!(grain.limits_request()),
        ("PATCH", ["limits"]) => {
            pass_on!(grain.change_limits_request(), set_json = &call.document().await?)
        }

        ("GET", ["sharing"]) => pass_on!(grain.sharing_request()),
        ("POST", ["shares"]) => pass_on!(grain.share_request(), set_json = &call.document().await?),
        ("PATCH", ["shares", way]) => pass_on!(
            grain.change_share_request(),
            set_share_id = way,
            set_json = &call.document().await?
        ),
        ("DELETE", ["shares", way]) => pass_on!(
            grain.revoke_share_request(),
            set_share_id = way,
            set_json = &call.any_document().await?
        ),
        ("PATCH", ["access"]) => {
            pass_on!(grain.limit_myself_request(), set_json = &call.document().await?)
        }
        ("POST", ["leave"]) => pass_on!(grain.leave_request()),
        ("POST", ["transfer"]) => pass_on!(grain.transfer_request(), set_json = &call.document().await?),

        ("GET", ["devices"]) => pass_on!(grain.devices_request()),
        ("POST", ["devices"]) => pass_on!(grain.add_device_request(), set_json = &call.document().await?),
        ("DELETE", ["devices", device]) => {
            pass_on!(grain.remove_device_request(), set_device_id = device)
        }
        ("POST", ["templates"]) => pass_on!(grain.template_request(), set_json = &call.document().await?),
        ("GET", ["authority"]) => pass_on!(grain.authority_request()),
        ("DELETE", ["authority", token]) => {
            pass_on!(grain.drop_authority_request(), set_token_id = token)
        }
        ("POST", ["requests"]) => pass_on!(grain.request_request(), set_json = &call.document().await?),
        _ => Err(Refusal::NotFound),
    }
}

/// A change of title and one of settings are two acts of the broker; which are meant shows in the document.
async fn change(grain: &grain_control::Client, text: &str) -> Result<Answer, Refusal> {
    const UNKNOWN: Refusal = Refusal::BadRequest("There is nothing to change in this request.");
    let Ok(Value::Object(document)) = serde_json::from_str(text) else {
        return Err(Refusal::BadRequest("The request is not a JSON document."));
    };
    let part = |name: &str| {
        document
            .get(name)
            .map(|value| serde_json::json!({name: value}).to_string())
    };
    let (title, settings) = (part("title"), part("relaxedPolicy"));
    if document.len() != usize::from(title.is_some()) + usize::from(settings.is_some()) {
        return Err(UNKNOWN);
    }
    let mut answer = Err(UNKNOWN);
    if let Some(title) = title {
        let renamed = pass_on!(grain.rename_request(), set_json = &title)?;
        if !renamed.status().is_success() {
            return Ok(renamed);
        }
        answer = Ok(renamed);
    }
    if let Some(settings) = settings {
        answer = pass_on!(grain.configure_request(), set_json = &settings);
    }
    answer
}
