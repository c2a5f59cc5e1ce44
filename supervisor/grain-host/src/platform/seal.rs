//! Whom a token is for: in our own words, and in those Sandstorm's objects are asked with.

use capnp::Error;
use percloud_core::secret::hex;
use percloud_schemas::host_capnp::seal;
use percloud_schemas::supervisor_capnp::api_token_owner;
use percloud_schemas::util_capnp::localized_text;

use crate::membrane::Id;

/// Longest id of a grain that is passed on. Ours have 22 letters.
const GRAIN_ID: usize = 64;

/// Whom a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    Grain(String),
    /// The session whose request is answered with it.
    Request(Id),
    /// The session whose person is offered it.
    Offer(Id),
    Platform,
    Link,
}

impl Recipient {
    pub(super) fn write(&self, mut seal: seal::Builder<'_>) {
        match self {
            Self::Grain(id) => seal.set_grain(id.as_str()),
            Self::Request(session) | Self::Offer(session) => seal.set_answer(session),
            Self::Platform => seal.set_platform(()),
            Self::Link => seal.set_link(()),
        }
    }

    /// The same for `SystemPersistent.save` of an object of somebody else; `grain` is our own id.
    pub(super) fn write_owner(
        &self,
        grain: &str,
        label: Option<localized_text::Reader<'_>>,
        mut owner: api_token_owner::Builder<'_>,
    ) -> Result<(), Error> {
        match self {
            Self::Grain(id) => {
                let mut owner = owner.init_grain();
                owner.set_grain_id(id.as_str());
                if let Some(label) = label {
                    owner.set_save_label(label)?;
                }
            }
            Self::Request(session) => {
                let mut request = owner.init_client_powerbox_request();
                request.set_session_id(hex(session).as_str());
                request.set_grain_id(grain);
            }
            Self::Offer(session) => {
                let mut offer = owner.init_client_powerbox_offer();
                offer.set_session_id(hex(session).as_str());
            }
            Self::Platform => owner.set_frontend(()),
            Self::Link => owner.set_webkey(()),
        }
        Ok(())
    }

    /// Whom somebody outside wants to save one of our app's objects for.
    pub(super) fn read(owner: api_token_owner::Reader<'_>) -> Result<Self, Error> {
        use api_token_owner::Which;
        let refuse = || {
            Err(Error::failed(
                "an object cannot be saved for this kind of owner".to_owned(),
            ))
        };
        Ok(match owner.which()? {
            Which::Grain(grain) => {
                let id = grain.get_grain_id()?.to_str()?;
                if id.is_empty() || id.len() > GRAIN_ID {
                    return Err(Error::failed("this is no id of a grain".to_owned()));
                }
                Self::Grain(id.to_owned())
            }
            Which::ClientPowerboxRequest(request) => Self::Request(session(request.get_session_id()?)?),
            Which::ClientPowerboxOffer(offer) => Self::Offer(session(offer.get_session_id()?)?),
            Which::Webkey(()) => Self::Link,
            Which::Frontend(()) | Which::User(_) | Which::Internet(_) => return refuse(),
        })
    }
}

/// A session's id from its 32 hexadecimal digits.
fn session(text: capnp::text::Reader<'_>) -> Result<Id, Error> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let digits: Option<Vec<u8>> = text.as_bytes().iter().take(33).map(digit).collect();
    let bytes: Option<Vec<u8>> = digits
        .filter(|digits| digits.len() == 32)
        .map(|digits| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Error::failed("this is no id of a session".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_an_owner(recipient: &Recipient) -> Result<Recipient, Error> {
        let mut message = capnp::message::Builder::new_default();
        recipient.write_owner("us", None, message.init_root())?;
        Recipient::read(message.get_root_as_reader()?)
    }

    #[test]
    fn recipients_of_others_are_understood_as_ours_are_said() {
        for recipient in [
            Recipient::Grain("g1".to_owned()),
            Recipient::Request([0xa5; 16]),
            Recipient::Offer([0x5a; 16]),
            Recipient::Link,
        ] {
            assert_eq!(through_an_owner(&recipient).unwrap(), recipient);
        }
        assert!(
            through_an_owner(&Recipient::Platform).is_err(),
            "jobs are the app's own"
        );
        assert!(through_an_owner(&Recipient::Grain("g".repeat(65))).is_err());
    }

    #[test]
    fn what_is_no_session_id_is_refused() {
        let digits = "0123456789abcdef0123456789ABCDEF";
        let bytes = [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        assert_eq!(session(digits.into()).unwrap(), [bytes, bytes].concat()[..]);
        for wrong in [
            "",
            &digits[1..],
            &format!("{digits}0"),
            &digits.replace('3', "g"),
            &digits.repeat(99),
        ] {
            assert!(session(wrong.into()).is_err(), "{wrong}");
        }
    }
}
