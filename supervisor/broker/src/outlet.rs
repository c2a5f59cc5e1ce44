//! What grains may reach outside: websites, the network, ports of this machine.
//!
//! The broker opens no connection to anybody. It decides, and announces what it decided to the egress, which does; a
//! grain's host takes it there as it would take another grain's object.

mod credential;

use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;

use capnp::Error;
use percloud_core::id::GrainId;
use percloud_core::powerbox::{Quality, matches};
use percloud_core::sharing::requirement::Requirement;
use percloud_core::web_address::WebAddress;
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::egress_capnp::{egress, egress_keeper};
use percloud_schemas::host_capnp::restored;
use percloud_schemas::ip_capnp::{ip_interface, ip_network};
use percloud_schemas::powerbox_capnp::powerbox_descriptor;
use serde::Deserialize;
use serde_json::{Value, json};

use capnp::traits::HasTypeId;

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::descriptor;
use crate::keeper::{told, write_door};
use crate::powerbox::{Asked, Message};
use crate::problem::Problem;
use crate::record::Referent;
use crate::visit::SessionId;
pub(crate) use credential::Credential;

const API_SESSION: u64 = api_session::Client::TYPE_ID;
const IP_NETWORK: u64 = ip_network::Client::TYPE_ID;
const IP_INTERFACE: u64 = ip_interface::Client::TYPE_ID;

/// How long the egress may take to do what it is told.
const DEADLINE: Duration = Duration::from_secs(1);
/// Addresses of one question that are shown.
const SHOWN: usize = 32;

/// The egress as the broker knows it.
pub(crate) struct Egress {
    client: egress::Client,
    door: PathBuf,
    /// Kills it. Another is started.
    end: Rc<dyn Fn()>,
}

/// How a person signs a grain in at a website, and where that is if the grain did not say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebsiteWish {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    credential: Option<credential::Wish>,
}

/// Something outside that a person chose, and how it is described to the grain.
pub(crate) struct Chosen {
    pub what: Referent,
    pub requirements: Vec<Requirement>,
    pub descriptor: Message,
}

impl Broker {
    /// Introduces the egress, which is reached by grain hosts at the socket `door`, and killed by `end`. It replaces one
    /// that ended, and with that everything that was taken there: apps restore it, as they do what broke off.
    pub fn use_egress(self: &Rc<Self>, client: egress::Client, door: PathBuf, end: Rc<dyn Fn()>) {
        *self.egress.borrow_mut() = Some(Egress { client, door, end });
        let mut ended = Vec::new();
        self.references.borrow_mut().retain(|id, reference| {
            let is_outside = reference
                .what
                .as_ref()
                .is_some_and(|what| what.outside().is_some());
            if is_outside {
                ended.push((reference.holder.clone(), *id));
            }
            !is_outside
        });
        let broker = self.clone();
        tokio::task::spawn_local(async move { broker.end_sessions(ended).await });
    }

    /// The broker towards the egress.
    #[must_use]
    pub fn egress_keeper(self: &Rc<Self>) -> egress_keeper::Client {
        capnp_rpc::new_client(Keeper {
            broker: Rc::downgrade(self),
        })
    }

    /// Announces something outside to the egress, and says where it is to be taken.
    pub(crate) async fn point_outside(
        &self,
        what: &Referent,
        (reference, holder): (&SessionId, &GrainId),
        into: restored::Builder<'_>,
    ) -> Result<(), Error> {
        let (client, door) = {
            let egress = self.egress.borrow();
            let egress = egress.as_ref().ok_or_else(|| told(Problem::NoWayOut))?;
            (egress.client.clone(), egress.door.clone())
        };
        let nonce = self.outside.secret();
        let mut request = client.admit_request();
        let mut call = request.get();
        call.set_nonce(nonce.expose());
        call.set_reference(reference);
        call.set_holder(holder.as_str());
        let outlet = call.init_outlet();
        match what {
            Referent::Website { url, credential } => {
                let mut website = outlet.init_website();
                website.set_url(url.as_str());
                if let Some(credential) = credential {
                    website.set_authorization(credential.expose()?);
                }
            }
            Referent::Network { tls } => outlet.init_network().set_tls(*tls),
            Referent::Interface => {
                let mut outlet = outlet;
                outlet.set_interface(())
            }
            _ => return Err(Error::failed("this is not outside".to_owned())),
        }
        let admitted = tokio::time::timeout(DEADLINE, request.send().promise).await;
        if !matches!(admitted, Ok(Ok(_))) {
            tracing::warn!("the egress does not answer");
            return Err(told(Problem::NoWayOut));
        }
        write_door(&door, &nonce, into)
    }

    /// Has the egress end these. What their holders have of them was broken where they hold it; this ends the
    /// connections too. An egress that does not confirm is killed.
    pub(crate) async fn end_outlets(&self, ended: Vec<SessionId>) {
        let egress = self
            .egress
            .borrow()
            .as_ref()
            .map(|egress| (egress.client.clone(), egress.end.clone()));
        let Some((client, kill)) = egress else { return };
        let endings = ended.into_iter().map(async |reference| {
            let mut request = client.end_request();
            request.get().set_reference(&reference);
            let confirmed = tokio::time::timeout(DEADLINE, request.send().promise).await;
            matches!(confirmed, Ok(Ok(_)))
        });
        let confirmed = futures::future::join_all(endings).await;
        if confirmed.contains(&false) {
            tracing::warn!("the egress did not confirm that a connection has ended, and is killed");
            kill();
        }
    }

    /// What outside fits a request.
    pub(crate) fn outside_choices(&self, who: &SignedIn, asked: &Asked) -> Result<Vec<Value>, Problem> {
        let mut choices = Vec::new();
        for (index, address) in self.addresses(asked)?.into_iter().enumerate() {
            let choice = match address {
                Some(address) => {
                    let Some(quality) = fit(asked, &website_descriptor(&address))? else {
                        continue;
                    };
                    json!({
                        "id": format!("website:{index}"),
                        "kind": "website",
                        "title": address.authority(),
                        "detail": address,
                        "url": address,
                        "icon": null,
                        "preferred": quality == Quality::Preferred,
                    })
                }
                None => json!({
                    "id": "website", "kind": "website", "title": "", "detail": "", "url": null, "icon": null,
                    "preferred": false,
                }),
            };
            choices.push(choice);
        }
        if self.runs_the_server(who).is_ok() {
            for (id, kind, message) in [
                ("network:plain", "network", network_descriptor(false)),
                ("network:tls", "network", network_descriptor(true)),
                ("interface", "interface", interface_descriptor()),
            ] {
                if let Some(quality) = fit(asked, &message)? {
                    choices.push(json!({
                        "id": id, "kind": kind, "title": "", "detail": "", "icon": null,
                        "preferred": quality == Quality::Preferred,
                    }));
                }
            }
        }
        Ok(choices)
    }

    /// The websites a request names; `None` for one the person may name.
    fn addresses(&self, asked: &Asked) -> Result<Vec<Option<WebAddress>>, Problem> {
        let unreadable = |error: capnp::Error| Problem::internal("read a request", &error);
        let mut addresses = Vec::new();
        for descriptor in asked.original().map_err(unreadable)? {
            for tag in descriptor.get_tags().map_err(unreadable)? {
                if tag.get_id() != API_SESSION {
                    continue;
                }
                let value: Result<api_session::powerbox_tag::Reader<'_>, _> = tag.get_value().get_as();
                let Ok(value) = value else { continue };
                let address = if tag.get_value().is_null() || !value.has_canonical_url() {
                    None
                } else {
                    let named = value.get_canonical_url().ok().and_then(|url| url.to_str().ok());
                    let named = named.and_then(|url| WebAddress::parse(url).ok());
                    // What nobody can go to is not offered.
                    let Some(named) = named else { continue };
                    Some(named)
                };
                if !addresses.contains(&address) && addresses.len() < SHOWN {
                    addresses.push(address);
                }
            }
        }
        Ok(addresses)
    }

    /// Takes what the person chose of it: `kind`, and which.
    pub(crate) fn choose_outside(
        &self,
        who: &SignedIn,
        asked: &Asked,
        chosen: &str,
        wish: WebsiteWish,
    ) -> Result<Chosen, Problem> {
        let admin = || {
            self.runs_the_server(who)?;
            Ok::<_, Problem>(vec![Requirement::IsAdmin(who.account.clone())])
        };
        let chosen = match chosen.split_once(':') {
            Some(("website", index)) => {
                let index: usize = index.parse().map_err(|_| Problem::NotFound)?;
                let address = self.addresses(asked)?.into_iter().nth(index).flatten();
                website(address.ok_or(Problem::NotFound)?, wish.credential)?
            }
            None if chosen == "website" && self.addresses(asked)?.contains(&None) => {
                let typed = wish.url.unwrap_or_default();
                let address = WebAddress::parse(&typed);
                let address = address.map_err(|problem| Problem::BadRequest(problem.to_string()))?;
                website(address, wish.credential)?
            }
            Some(("network", way @ ("plain" | "tls"))) => Chosen {
                what: Referent::Network { tls: way == "tls" },
                requirements: admin()?,
                descriptor: network_descriptor(way == "tls"),
            },
            None if chosen == "interface" => Chosen {
                what: Referent::Interface,
                requirements: admin()?,
                descriptor: interface_descriptor(),
            },
            _ => return Err(Problem::NotFound),
        };
        if fit(asked, &chosen.descriptor)?.is_none() {
            return Err(Problem::NotFound);
        }
        Ok(chosen)
    }
}

fn website(url: WebAddress, wish: Option<credential::Wish>) -> Result<Chosen, Problem> {
    Ok(Chosen {
        descriptor: website_descriptor(&url),
        what: Referent::Website {
            url,
            credential: wish.map(Credential::read).transpose()?,
        },
        requirements: Vec::new(),
    })
}

/// How well something that is described like this answers a request.
fn fit(asked: &Asked, provided: &Message) -> Result<Option<Quality>, Problem> {
    let provided = provided
        .get_root_as_reader()
        .map_err(|error| Problem::internal("read a descriptor", &error))?;
    let provided =
        descriptor::read_one(provided).map_err(|error| Problem::internal("read a descriptor", &error))?;
    Ok(matches(&asked.query, &[provided]))
}

fn website_descriptor(address: &WebAddress) -> Message {
    let mut message = Message::new_default();
    let mut tag = one_tag(&mut message);
    tag.set_id(API_SESSION);
    let mut value: api_session::powerbox_tag::Builder<'_> = tag.init_value().init_as();
    value.set_canonical_url(address.as_str());
    message
}

fn network_descriptor(tls: bool) -> Message {
    let mut message = Message::new_default();
    let mut tag = one_tag(&mut message);
    tag.set_id(IP_NETWORK);
    let value: ip_network::powerbox_tag::Builder<'_> = tag.init_value().init_as();
    let mut encryption = value.init_encryption();
    if tls {
        encryption.set_tls(());
    } else {
        encryption.set_none(());
    }
    message
}

fn interface_descriptor() -> Message {
    let mut message = Message::new_default();
    one_tag(&mut message).set_id(IP_INTERFACE);
    message
}

fn one_tag(message: &mut Message) -> powerbox_descriptor::tag::Builder<'_> {
    let descriptor = message.init_root::<powerbox_descriptor::Builder<'_>>();
    descriptor.init_tags(1).get(0)
}

/// The broker towards the egress.
struct Keeper {
    broker: Weak<Broker>,
}

impl egress_keeper::Server for Keeper {
    async fn save(
        self: Rc<Self>,
        params: egress_keeper::SaveParams,
        mut results: egress_keeper::SaveResults,
    ) -> Result<(), Error> {
        let broker = self.broker.upgrade();
        let broker = broker.ok_or_else(|| Error::disconnected("the server stops".to_owned()))?;
        let params = params.get()?;
        let unknown = || told(Problem::NoReference);
        let reference: SessionId = params.get_reference()?.try_into().map_err(|_| unknown())?;
        let leads_outside = {
            let references = broker.references.borrow();
            let what = references
                .get(&reference)
                .and_then(|reference| reference.what.as_ref());
            what.is_some_and(|what| what.outside().is_some())
        };
        if !leads_outside {
            return Err(unknown());
        }
        let token = broker.save_reference(&reference, params.get_owner()).await?;
        results.get().set_token(token.expose().as_bytes());
        Ok(())
    }
}
