//! Turns what a page got from its powerbox request into a capability the app keeps.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use capnp::message::TypedBuilder;
use percloud_schemas::util_capnp::localized_text;
use serde::Deserialize;
use tokio::time::timeout;

use super::{PATIENCE, Refusal, malformed};
use crate::bridge::Bridge;
use crate::exchange::Body;
use crate::permissions;
use crate::session::Entry;

/// Largest claim read, in bytes.
const MAX_CLAIM: usize = 64 << 10;

/// What the app posts; see `ProxyClaimRequestRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Claim {
    request_token: String,
    required_permissions: Vec<String>,
    label: Option<Label>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Label {
    default_text: String,
    localizations: Vec<Localization>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Localization {
    locale: String,
    text: String,
}

/// Returns the session id in `session/<id>/claim`.
pub(super) fn session_of(path: &str) -> Option<&str> {
    let path = path.split('?').next()?;
    let id = path.strip_prefix("session/")?.strip_suffix("/claim")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

/// Claims, saves, and returns the answer in JSON.
pub(super) async fn answer(session: &str, body: &mut Body, bridge: &Bridge) -> Result<String, Refusal> {
    // Only this is given up when it takes too long: what is claimed but not saved would be lost.
    let (bytes, complete) = timeout(PATIENCE, body.collect(MAX_CLAIM))
        .await
        .map_err(|_| Refusal::new(408, "the claim did not arrive in time"))?
        .map_err(|error| malformed(&error))?;
    if !complete {
        return Err(Refusal::new(413, "a claim may have no more than 64 KiB"));
    }
    let claim: Claim = serde_json::from_slice(&bytes).map_err(|error| Refusal {
        status: 400,
        text: format!("this is no claim: {error}").into(),
    })?;
    if claim.request_token.is_empty() {
        return Err(Refusal::new(400, "the claim has no requestToken"));
    }
    let required = bits(&claim.required_permissions, &bridge.config.permissions)?;
    let session = bridge
        .sessions
        .find(session.as_bytes())
        .ok_or(Refusal::new(404, "no session with this id is open"))?;
    let token = claim_and_save(&claim, &required, session, bridge).await?;
    // Base64 needs no escapes.
    Ok(format!("{{\"cap\":\"{}\"}}", BASE64_STANDARD.encode(token)))
}

async fn claim_and_save(
    claim: &Claim,
    required: &[bool],
    session: Entry,
    bridge: &Bridge,
) -> Result<Vec<u8>, Refusal> {
    let unclaimed = |error: capnp::Error| match Refusal::of_call("could not claim the request", &error) {
        // The platform said no: to this token, in this session, for this person.
        refusal if error.kind == capnp::ErrorKind::Failed => Refusal {
            status: 403,
            ..refusal
        },
        refusal => refusal,
    };
    let unsaved = |error: capnp::Error| Refusal::of_call("could not save the capability", &error);

    let mut request = session.context.claim_request_request();
    request.get().set_request_token(&*claim.request_token);
    let count = permissions::length(required).map_err(unclaimed)?;
    permissions::fill(request.get().init_required_permissions(count), required);
    let answer = request.send().promise.await.map_err(unclaimed)?;
    let cap = answer
        .get()
        .and_then(|answer| answer.get_cap().get_as_capability());
    let cap: capnp::capability::Client = cap.map_err(unclaimed)?;

    let mut request = bridge.platform().map_err(unsaved)?.save_request();
    request.get().init_cap().set_as_capability(cap.hook);
    let label = label(claim.label.as_ref()).map_err(unsaved)?;
    request
        .get()
        .set_label(label.get_root_as_reader().map_err(unsaved)?)
        .map_err(unsaved)?;
    let answer = request.send().promise.await.map_err(unsaved)?;
    let token = answer
        .get()
        .and_then(|answer| answer.get_token())
        .map_err(unsaved)?;
    Ok(token.to_vec())
}

type LabelMessage = TypedBuilder<localized_text::Owned, capnp::message::HeapAllocator>;

fn label(label: Option<&Label>) -> capnp::Result<LabelMessage> {
    let mut message = TypedBuilder::<localized_text::Owned>::new_default();
    let mut text = message.init_root();
    if let Some(label) = label {
        text.set_default_text(&*label.default_text);
        let count = u32::try_from(label.localizations.len())
            .map_err(|_| capnp::Error::failed("too many localizations".into()))?;
        let mut list = text.init_localizations(count);
        for (index, localization) in (0..).zip(&label.localizations) {
            let mut entry = list.reborrow().get(index);
            entry.set_locale(&*localization.locale);
            entry.set_text(&*localization.text);
        }
    }
    Ok(message)
}

/// Turns names of permissions into bits. A name nobody knows cannot be required, and must not be forgotten either.
fn bits(wanted: &[String], names: &[Vec<u8>]) -> Result<Vec<bool>, Refusal> {
    let mut bits = vec![false; names.len()];
    for name in wanted {
        let at = names.iter().position(|known| known == name.as_bytes());
        match at.and_then(|at| bits.get_mut(at)) {
            Some(bit) => *bit = true,
            None => {
                return Err(Refusal {
                    status: 400,
                    text: format!("this app has no permission called {name:?}").into(),
                });
            }
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_s_claim_is_one() {
        assert_eq!(session_of("session/0/claim"), Some("0"));
        assert_eq!(session_of("session/12/claim?x"), Some("12"));
        for path in [
            "",
            "session//claim",
            "session/0/x/claim",
            "session/0/claims",
            "/session/0/claim",
            "session/claim",
        ] {
            assert_eq!(session_of(path), None, "{path}");
        }
    }

    #[test]
    fn names_become_bits_and_unknown_ones_are_refused() {
        let names = ["view", "edit", "admin"].map(|name| name.as_bytes().to_vec());
        let bits = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            super::bits(&wanted, &names).map_err(|refusal| refusal.status)
        };
        assert_eq!(bits(&[]), Ok(vec![false, false, false]));
        assert_eq!(bits(&["admin", "view", "view"]), Ok(vec![true, false, true]));
        assert_eq!(bits(&["view", "delete"]), Err(400));
    }

    #[test]
    fn claims_may_leave_things_out_and_say_too_much() {
        let claim: Claim = serde_json::from_str(r#"{"requestToken":"x","label":null,"more":[{}]}"#).unwrap();
        assert_eq!(claim.request_token, "x");
        let claim: Claim = serde_json::from_str(
            r#"{"label":{"defaultText":"a","localizations":[{"locale":"de","text":"b"}]}}"#,
        )
        .unwrap();
        let label = label(claim.label.as_ref()).unwrap();
        let label = label.get_root_as_reader().unwrap();
        assert_eq!(label.get_default_text().unwrap(), "a");
        assert_eq!(label.get_localizations().unwrap().get(0).get_text().unwrap(), "b");
        assert!(serde_json::from_str::<Claim>(&"[".repeat(10_000)).is_err());
    }
}
