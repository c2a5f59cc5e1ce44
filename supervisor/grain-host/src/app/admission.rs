//! Whom the broker announces, and for what.

use capnp::capability::Client;
use capnp::private::capability::ClientHook;
use capnp::{Error, struct_list};
use percloud_schemas::host_capnp::{admission, object_id, session_keeper};
use percloud_schemas::identity_capnp::user_info;
use percloud_schemas::powerbox_capnp::powerbox_descriptor;

use crate::membrane::{Id, Message};

/// Why nobody may be announced or let in. The same for all presenters: nothing is learned by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("the nonce is unknown, used or expired")]
    Unknown,
    #[error("an announcement wants a nonce of 32 bytes, a session id of 16 and a tab id of 16")]
    Malformed,
    #[error("too many people are waiting at the door")]
    Crowded,
}

/// Somebody the broker announced.
pub(crate) struct Admission {
    pub(super) session: Id,
    pub(super) kind: Kind,
}

/// What they are to be given.
pub(super) enum Kind {
    Session(Visit),
    /// One of the app's objects: an `ObjectId`.
    Object(Message),
}

/// A person, and how they come.
pub(super) struct Visit {
    pub(super) tab: Vec<u8>,
    pub(super) is_owner: bool,
    /// A `UserInfo`, with the broker's capabilities.
    pub(super) user: Message,
    /// The broker towards this session.
    pub(super) keeper: Option<session_keeper::Client>,
    pub(super) wish: Wish,
}

/// What kind of session they want.
pub(super) enum Wish {
    Page,
    /// With an `IpAddress`, if the app is to be told.
    Api(Option<Message>),
    /// A list of `PowerboxDescriptor`.
    Request(Message),
    /// With a `PowerboxDescriptor` of the capability.
    Offer(Box<dyn ClientHook>, Message),
}

impl Admission {
    pub(super) fn read(admission: admission::Reader<'_>) -> Result<Self, Error> {
        use admission::Which;
        let session = admission.get_session_id()?.try_into().map_err(|_| malformed())?;
        let wish = match admission.which()? {
            Which::Object(object) => {
                let mut copy = Message::new(64);
                copy.get_mut()?.set_as::<object_id::Owned>(object?)?;
                let kind = Kind::Object(copy);
                return Ok(Self { session, kind });
            }
            Which::Page(()) => Wish::Page,
            Which::Api(api) => Wish::Api(if api.has_remote_address() {
                let mut copy = Message::new(4);
                copy.get_mut()?.set_as(api.get_remote_address()?)?;
                Some(copy)
            } else {
                None
            }),
            Which::Request(query) => {
                let mut copy = Message::new(64);
                copy.get_mut()?
                    .set_as::<struct_list::Owned<powerbox_descriptor::Owned>>(query?)?;
                Wish::Request(copy)
            }
            Which::Offer(offer) => {
                let mut copy = Message::new(64);
                copy.get_mut()?.set_as(offer.get_descriptor()?)?;
                let cap: Client = offer.get_cap().get_as_capability()?;
                Wish::Offer(cap.hook, copy)
            }
        };
        let tab = admission.get_tab_id()?.to_vec();
        if tab.len() != 16 {
            return Err(malformed());
        }
        let mut user = Message::new(64);
        user.get_mut()?
            .set_as::<user_info::Owned>(admission.get_user()?)?;
        let keeper = admission
            .has_keeper()
            .then(|| admission.get_keeper())
            .transpose()?;
        Ok(Self {
            session,
            kind: Kind::Session(Visit {
                tab,
                is_owner: admission.get_is_owner(),
                user,
                keeper,
                wish,
            }),
        })
    }
}

pub(super) fn malformed() -> Error {
    Error::failed(NotAdmitted::Malformed.to_string())
}
