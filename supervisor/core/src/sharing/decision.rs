//! Decides what somebody holds on a grain, from what leads to them.
//!
//! The graph is walked backwards from the holder, over requirements into other grains too, and what was found is then
//! filled forwards from the owners until nothing grows any more: the least fixpoint. Cycles and mutual requirements
//! therefore hold nothing up by themselves. Both walks keep their own stacks; the depth of the graph is not the depth
//! of ours.
//!
//! What must stay true: everything here only ever grows during a decision, and only from an owner.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use super::access::Facts;
use super::board::{Board, Edge};
use super::ledger::Ledger;
use super::permission::PermissionSet;
use super::requirement::Requirement;
use super::role::View;
use super::share::{Acceptance, Holder, Share};
use crate::id::{AccountId, GrainId};
use crate::time::Timestamp;

/// What a vertex holds, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub alive: bool,
    pub permissions: PermissionSet,
    pub may_share: bool,
    pub shareable: PermissionSet,
}

/// What comes through one edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Carried {
    pub permissions: PermissionSet,
    pub may_reshare: bool,
}

/// Why nothing can come through an edge, whatever its giver holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Pending,
    Declined,
    Expired,
    Requirement,
}

/// How a decision is made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Question {
    /// Look at what leads to owners too, which never matters for what they hold.
    pub into_owners: bool,
    /// Ask only who can be reached at all, with requirements taken for granted: nobody holds any permission then. Such
    /// a question is always answered to the end.
    pub reach_only: bool,
    /// An edge of the first grain that is to be left out.
    pub without: Option<u32>,
}

/// A grain a decision looks at.
struct Scope<'l, 'f> {
    board: Option<&'l Board>,
    owner_vertex: Option<u32>,
    owner: AccountId,
    view: Cow<'f, View>,
}

/// How often a share is carried over in one decision, on average, before the decision ends with what is known by then.
///
/// A share is carried over again each time its giver turns out to hold more: at most twice for each of the app's
/// permissions and twice beside, and nearly always once. Only thousands of shares that run in circles within an app
/// with hundreds of permissions could come near this, as made by somebody who wants decisions to take long. Then some
/// of them hold less than they were given, and nobody more.
const CARRIES_PER_SHARE: usize = 256;

/// Stands for the owner of a scope, who need not be on the board.
const OWNER: u32 = u32::MAX;
/// The end of a list of dependents.
const NONE: u32 = u32::MAX;

struct Node {
    scope: u32,
    vertex: u32,
    held: Held,
    /// Boxed, for hardly anybody has one.
    ceiling: Option<Box<PermissionSet>>,
    /// Head of the list of edges that depend on this node.
    dependents: u32,
    /// Place in an order in which, but for cycles, givers come before receivers.
    order: u32,
    entered: bool,
    queued: bool,
}

/// An edge through which something may come.
struct Candidate<'l> {
    edge: &'l Edge,
    number: u32,
    giver: u32,
    receiver: u32,
    needs: Range<u32>,
}

enum Step {
    Enter(u32),
    Leave(u32),
}

/// One decision: the part of the graph it looks at, and what everybody in it holds.
pub(super) struct Decision<'l, 'f, F: Facts + ?Sized> {
    ledger: &'l Ledger,
    facts: &'f F,
    now: Timestamp,
    question: Question,
    scopes: Vec<Scope<'l, 'f>>,
    scope_of: HashMap<&'l GrainId, Option<u32>>,
    nodes: Vec<Node>,
    node_of: HashMap<u64, u32, BuildHasherDefault<NumberHasher>>,
    candidates: Vec<Candidate<'l>>,
    needs: Vec<(u32, &'l PermissionSet)>,
    dependents: Vec<(u32, u32)>,
    entered: u32,
    until: Option<Timestamp>,
    /// Edges looked at and carried over: the work done, for tests.
    pub(super) steps: usize,
}

impl<'l, 'f, F: Facts + ?Sized> Decision<'l, 'f, F> {
    pub(super) fn new(ledger: &'l Ledger, facts: &'f F, question: Question) -> Self {
        Self {
            ledger,
            facts,
            now: facts.now(),
            question,
            scopes: Vec::new(),
            scope_of: HashMap::new(),
            nodes: Vec::new(),
            node_of: HashMap::default(),
            candidates: Vec::new(),
            needs: Vec::new(),
            dependents: Vec::new(),
            entered: 0,
            until: None,
            steps: 0,
        }
    }

    /// The node of `holder`; `None` when nothing can lead to them.
    pub(super) fn node(&mut self, grain: &'l GrainId, holder: &Holder) -> Option<u32> {
        let scope = self.scope(grain)?;
        let place = &self.scopes[scope as usize];
        let vertex = match holder {
            Holder::Person(account) if *account == place.owner => OWNER,
            _ => place.board?.find(holder)?,
        };
        Some(self.node_at(scope, vertex))
    }

    /// The node of a vertex of a grain already looked at.
    pub(super) fn node_at(&mut self, scope: u32, vertex: u32) -> u32 {
        let place = &self.scopes[scope as usize];
        let vertex = if Some(vertex) == place.owner_vertex {
            OWNER
        } else {
            vertex
        };
        let key = u64::from(scope) << 32 | u64::from(vertex);
        if let Some(node) = self.node_of.get(&key) {
            return *node;
        }
        let on_board = if vertex == OWNER {
            place.owner_vertex
        } else {
            Some(vertex)
        };
        let ceiling = on_board
            .zip(place.board)
            .and_then(|(vertex, board)| board.vertex(vertex).ceiling.as_ref())
            .map(|ceiling| Box::new(place.view.grants(ceiling)));
        let held = if vertex == OWNER {
            let mut permissions = place.view.all();
            if let Some(ceiling) = &ceiling {
                permissions.limit_to(ceiling);
            }
            Held {
                alive: true,
                shareable: permissions.clone(),
                permissions,
                may_share: true,
            }
        } else {
            Held::default()
        };
        let node = count(self.nodes.len());
        self.nodes.push(Node {
            scope,
            vertex,
            held,
            ceiling,
            dependents: NONE,
            order: 0,
            entered: false,
            queued: false,
        });
        self.node_of.insert(key, node);
        node
    }

    /// The number of a grain in this decision; `None` when it has no owner.
    pub(super) fn scope(&mut self, grain: &'l GrainId) -> Option<u32> {
        if let Some(known) = self.scope_of.get(grain) {
            return *known;
        }
        let scope = self.facts.owner(grain).map(|owner| {
            let board = self.ledger.board(grain);
            let scope = count(self.scopes.len());
            let holder = Holder::Person(owner);
            let owner_vertex = board.and_then(|board| board.find(&holder));
            let Holder::Person(owner) = holder else {
                unreachable!("it was made a person just above")
            };
            self.scopes.push(Scope {
                board,
                owner_vertex,
                owner,
                view: self.facts.view(grain),
            });
            scope
        });
        self.scope_of.insert(grain, scope);
        scope
    }

    /// Finds everything that leads to `root`.
    pub(super) fn explore(&mut self, root: u32) {
        let mut steps = vec![Step::Enter(root)];
        while let Some(step) = steps.pop() {
            match step {
                Step::Leave(node) => {
                    self.nodes[node as usize].order = self.entered;
                    self.entered += 1;
                }
                Step::Enter(node) if self.nodes[node as usize].entered => {}
                Step::Enter(node) => {
                    self.nodes[node as usize].entered = true;
                    steps.push(Step::Leave(node));
                    self.enter(node, &mut steps);
                }
            }
        }
    }

    fn enter(&mut self, node: u32, steps: &mut Vec<Step>) {
        let Node { scope, vertex, .. } = self.nodes[node as usize];
        let place = &self.scopes[scope as usize];
        let on_board = match vertex {
            OWNER if self.question.into_owners => place.owner_vertex,
            OWNER => None,
            _ => Some(vertex),
        };
        let (Some(board), Some(on_board)) = (place.board, on_board) else {
            return;
        };
        for number in &board.vertex(on_board).incoming {
            self.steps += 1;
            let edge = board.edge(*number);
            if scope == 0 && self.question.without == Some(*number) {
                continue;
            }
            if self.closed(&edge.share).is_some() {
                continue;
            }
            if let Some(expires) = edge.share.expires {
                self.until = Some(self.until.map_or(expires, |until| until.min(expires)));
            }
            let Some(needs) = self.needs_of(&edge.share) else {
                continue;
            };
            let giver = self.node_at(scope, edge.from);
            let candidate = count(self.candidates.len());
            self.depend(giver, candidate);
            steps.push(Step::Enter(giver));
            for need in needs.clone() {
                let (needed, _) = self.needs[need as usize];
                self.depend(needed, candidate);
                steps.push(Step::Enter(needed));
            }
            self.candidates.push(Candidate {
                edge,
                number: *number,
                giver,
                receiver: node,
                needs,
            });
        }
    }

    /// Why nothing comes through a share, whoever gave it; what holders have to hold is not looked at.
    pub(super) fn closed(&self, share: &Share) -> Option<Closed> {
        match share.accepted {
            Acceptance::Pending => return Some(Closed::Pending),
            Acceptance::Declined => return Some(Closed::Declined),
            Acceptance::Accepted => {}
        }
        if share.is_expired(self.now) {
            return Some(Closed::Expired);
        }
        if self.question.reach_only {
            return None;
        }
        let failed = share.requirements.iter().any(|requirement| match requirement {
            Requirement::TokenValid(token) => !self.facts.token_valid(token),
            Requirement::IsAdmin(person) => !self.facts.is_admin(person),
            Requirement::PermissionsHeld { .. } => false,
        });
        failed.then_some(Closed::Requirement)
    }

    /// What a share needs somebody to hold; `None` when one of them cannot hold anything.
    fn needs_of(&mut self, share: &'l Share) -> Option<Range<u32>> {
        let start = count(self.needs.len());
        if !self.question.reach_only {
            for requirement in &share.requirements {
                if let Requirement::PermissionsHeld {
                    grain,
                    holder,
                    permissions,
                } = requirement
                {
                    self.steps += 1;
                    let Some(node) = self.node(grain, holder) else {
                        self.needs.truncate(start as usize);
                        return None;
                    };
                    self.needs.push((node, permissions));
                }
            }
        }
        Some(start..count(self.needs.len()))
    }

    fn depend(&mut self, node: u32, candidate: u32) {
        let node = &mut self.nodes[node as usize];
        self.dependents.push((candidate, node.dependents));
        node.dependents = count(self.dependents.len() - 1);
    }

    /// Lets what the owners hold flow to everybody found.
    pub(super) fn fill(&mut self) {
        let enough = self
            .steps
            .saturating_add(self.candidates.len().saturating_mul(CARRIES_PER_SHARE));
        let owners = self.nodes.iter_mut().enumerate();
        let owners = owners.filter(|(_, node)| node.vertex == OWNER);
        let mut queue: BinaryHeap<Reverse<(u32, u32)>> = owners
            .map(|(number, node)| {
                node.queued = true;
                Reverse((node.order, count(number)))
            })
            .collect();
        while let Some(Reverse((_, number))) = queue.pop() {
            if self.steps > enough {
                break;
            }
            let node = &mut self.nodes[number as usize];
            node.queued = false;
            let mut next = node.dependents;
            while next != NONE {
                let (candidate, after) = self.dependents[next as usize];
                next = after;
                self.steps += 1;
                let candidate = &self.candidates[candidate as usize];
                let Some(carried) = self.carried(candidate) else {
                    continue;
                };
                let receiver = candidate.receiver;
                let node = &mut self.nodes[receiver as usize];
                if node.receive(carried) && !node.queued {
                    node.queued = true;
                    queue.push(Reverse((node.order, receiver)));
                }
            }
        }
    }

    /// What comes through an edge, as far as is known.
    fn carried(&self, candidate: &Candidate<'l>) -> Option<Carried> {
        let share = &candidate.edge.share;
        let giver = &self.nodes[candidate.giver as usize];
        if !may_give(&giver.held, share) || !self.proved(candidate) {
            return None;
        }
        let may_reshare = share.may_reshare && giver.held.may_share;
        if self.question.reach_only {
            return Some(Carried {
                permissions: PermissionSet::default(),
                may_reshare,
            });
        }
        let view = &self.scopes[giver.scope as usize].view;
        let mut permissions = view.grants(&share.role);
        for limit in &share.limits {
            permissions.limit_to(&view.grants(limit));
        }
        permissions.limit_to(match share.from {
            Holder::Person(_) => &giver.held.shareable,
            Holder::Link(_) => &giver.held.permissions,
        });
        Some(Carried {
            permissions,
            may_reshare,
        })
    }

    fn proved(&self, candidate: &Candidate<'l>) -> bool {
        let needs = &self.needs[candidate.needs.start as usize..candidate.needs.end as usize];
        needs.iter().all(|(node, permissions)| {
            let held = self.held(*node);
            held.alive && held.permissions.covers(permissions)
        })
    }

    pub(super) fn is_owner(&self, node: u32) -> bool {
        self.nodes[node as usize].vertex == OWNER
    }

    /// The first moment at which a share that was looked at ends.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.until
    }

    pub(super) fn held(&self, node: u32) -> &Held {
        &self.nodes[node as usize].held
    }

    /// For each edge of the grain numbered `scope`: what it carries, and whether its requirements are proved.
    ///
    /// Edges that are closed are not among them.
    pub(super) fn outcomes(&self, scope: u32) -> impl Iterator<Item = (u32, Option<Carried>, bool)> {
        let candidates = self.candidates.iter();
        let own = candidates.filter(move |candidate| self.nodes[candidate.receiver as usize].scope == scope);
        own.map(|candidate| (candidate.number, self.carried(candidate), self.proved(candidate)))
    }
}

impl Node {
    /// Takes what came through an edge; says whether that was anything new.
    fn receive(&mut self, carried: Carried) -> bool {
        let Carried {
            mut permissions,
            may_reshare,
        } = carried;
        if let Some(ceiling) = &self.ceiling {
            permissions.limit_to(ceiling);
        }
        let held = &mut self.held;
        let mut grown = !held.alive;
        held.alive = true;
        grown |= held.permissions.unite_with(&permissions);
        if may_reshare {
            grown |= !held.may_share;
            held.may_share = true;
            grown |= held.shareable.unite_with(&permissions);
        }
        grown
    }
}

/// Whether who holds `held` may give what `share` says, as far as their own right to give goes.
///
/// Coming by a link is not sharing: only making another link of it is.
pub(super) fn may_give(held: &Held, share: &Share) -> bool {
    match share.from {
        Holder::Link(_) if !share.is_link() => held.alive,
        _ => held.may_share,
    }
}

/// Spreads numbers of our own making. Nobody outside chooses them, so nobody can make them collide.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed")
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio; the table uses the upper bits and the lower ones, so they are swapped in.
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread.rotate_left(32);
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("a decision looks at far fewer than four thousand million things")
}
