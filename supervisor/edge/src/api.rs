//! API hosts: programs that bring a token speak to a grain over plain HTTP (sheet 5.4).
//!
//! A token is all the authority there is: no cookie counts, and scripts of any site may speak here. The broker says
//! what a token stands for, and only on the host that belongs to it.
//!
//! - [`token`]: where a token stands, and taking it out of the request
//! - [`visit`]: asking the broker what it opens
//! - [`stranger`]: what is said to those without one
//! - [`guesses`]: makes guessing slow
//! - [`ambient`]: what a browser may have sent by itself
//! - [`cors`]: what every answer says to browsers

pub(crate) mod guesses;
pub(crate) mod host;
pub(crate) mod visit;

mod ambient;
mod cors;
mod stranger;
mod token;

use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use crate::api::cors::Asked;
use crate::api::host::ApiHost;
use crate::api::token::{Brought, Form};
use crate::api::visit::Visit;
use crate::body::Body;
use crate::edge::Edge;
use crate::grain;
use crate::intake;
use crate::respond::{Answer, Refusal};
use crate::said::Said;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("x-sandstorm-token-keepalive");
/// What makes git, calendar clients and browsers ask for a password (sheet trap 24).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Percloud\", charset=\"UTF-8\"");

/// Answers a request to a host for programs.
pub(crate) async fn answer(
    edge: &Rc<Edge>,
    said: &Said,
    peer: IpAddr,
    host: ApiHost,
    request: Request<Incoming>,
) -> Answer {
    let asked = Asked::read(&request);
    let peer = visit::address(peer, request.headers());
    // Where nobody could bring a password, asking for one would only puzzle.
    let challenge = !host.is_generic() || token::asks_for_passwords(request.headers());
    let answered = if asked.is_preflight() {
        Ok(preflight())
    } else {
        call(edge, said, peer, host, request).await
    };
    let mut answer = answered.unwrap_or_else(|refusal| refuse(edge, peer, &refusal, challenge));
    asked.finish(&mut answer);
    answer
}

async fn call(
    edge: &Rc<Edge>,
    said: &Said,
    peer: IpAddr,
    host: ApiHost,
    mut request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let answered = match admit(edge, peer, host, &mut request).await {
        Ok(Admitted::Visit(visit)) => return grain::answer_program(edge, said, &visit, request).await,
        Ok(Admitted::Answer(answer)) => Ok(answer),
        Err(refusal) => Err(refusal),
    };
    intake::discard(request, said.taken()).await;
    answered
}

/// What comes of a request before it reaches a grain.
enum Admitted {
    /// It goes on.
    Visit(Visit),
    /// It is answered here.
    Answer(Answer),
}

async fn admit(
    edge: &Rc<Edge>,
    peer: IpAddr,
    host: ApiHost,
    request: &mut Request<Incoming>,
) -> Result<Admitted, Refusal> {
    let well_known = stranger::well_known(edge, &host, request.method(), request.uri().path());
    if let Some(answer) = well_known.await? {
        return Ok(Admitted::Answer(answer));
    }
    let token = match token::take(&host, request)? {
        Brought::Token(token, Form::Basic) => {
            ambient::refuse(&edge.base.api_origin(&host), request)?;
            token
        }
        Brought::Token(token, _) => token,
        Brought::NoToken => {
            // It costs the broker nothing, but is a guess all the same.
            slow_down(edge, peer)?;
            return Err(Refusal::NoSuchToken);
        }
        Brought::Nothing => {
            let answered = stranger::answer(edge, &host, request.method(), request.uri().path()).await;
            return answered.map(Admitted::Answer);
        }
    };
    let visit = Visit::new(host, token, peer, request.headers());
    // Who is let in already is not held up by what others at the same address do.
    if !grain::is_open(edge, &visit) {
        slow_down(edge, peer)?;
    }
    if let Some(milliseconds) = request.headers().get(KEEP_ALIVE) {
        let milliseconds = milliseconds
            .to_str()
            .ok()
            .and_then(|digits| digits.trim().parse().ok());
        let milliseconds = milliseconds.ok_or(Refusal::BadRequest(
            "The header X-Sandstorm-Token-Keepalive is not a number of milliseconds.",
        ))?;
        visit.keep_alive(&edge.front, milliseconds).await?;
        return Ok(Admitted::Answer(Response::new(Body::Empty)));
    }
    Ok(Admitted::Visit(visit))
}

fn preflight() -> Answer {
    let mut answer = Response::new(Body::Empty);
    answer.headers_mut().insert(ALLOW, grain::METHODS);
    answer
}

fn slow_down(edge: &Edge, peer: IpAddr) -> Result<(), Refusal> {
    match edge.guesses.wait(Instant::now(), peer) {
        None => Ok(()),
        Some(wait) => Err(Refusal::TooManyGuesses(wait.as_secs() + 1)),
    }
}

/// Says no. Absent, wrong and foreign tokens get the same status and the same challenge.
fn refuse(edge: &Edge, peer: IpAddr, refusal: &Refusal, challenge: bool) -> Answer {
    if *refusal == Refusal::NoSuchToken {
        edge.guesses.count(Instant::now(), peer);
    }
    let mut answer = refusal.text();
    if matches!(refusal, Refusal::NoSuchToken | Refusal::TokenMissing) {
        if challenge {
            answer.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
        } else {
            *answer.status_mut() = StatusCode::FORBIDDEN;
        }
    }
    answer
}
