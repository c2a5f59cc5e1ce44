//! What every request of one thread may use.

use percloud_schemas::front_capnp::front;

use crate::BaseUrl;
use crate::api::guesses::Guesses;
use crate::bodies::Bodies;
use crate::config::Limits;
use crate::grain::sessions::Sessions;
use crate::policy::Policy;
use crate::shell::assets::Assets;

/// One thread's share of the edge. Capabilities belong to their thread, so nothing here is shared with others but what
/// bodies may take.
pub(crate) struct Edge {
    pub base: BaseUrl,
    pub limits: Limits,
    pub policy: Policy,
    pub assets: Assets,
    pub front: front::Client,
    pub sessions: Sessions,
    pub bodies: Bodies,
    pub guesses: Guesses,
}
