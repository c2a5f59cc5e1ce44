//! Who has access: every way into a grain, and why those that lead nowhere do.

use super::access::Facts;
use super::board::Board;
use super::decision::{Carried, Closed, Decision, Question, may_give};
use super::ledger::Ledger;
use super::permission::PermissionSet;
use super::share::{Holder, Share};
use crate::id::{GrainId, ShareId};

/// Whether a share carries anything, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does: its recipient has access by it.
    Alive,
    /// The recipient has not answered.
    Pending,
    /// The recipient does not want it.
    Declined,
    /// Its time is over.
    Expired,
    /// Something it depends on is not true.
    RequirementFailed,
    /// Who gave it has no access any more.
    GiverLost,
    /// Who gave it has access, but none they may pass on.
    GiverMayNotShare,
    /// The grain has no owner: it is unknown or in the trash.
    NoOwner,
}

/// One way into a grain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way<'l> {
    /// The share that makes it.
    pub share: &'l Share,
    /// The share by which its giver has access; `None` below the owner, or when nothing leads to the giver.
    ///
    /// Of several it is one that is alive and may be passed on, if there is one.
    pub parent: Option<&'l ShareId>,
    /// How many shares lie between it and the owner.
    pub depth: usize,
    /// What comes this way.
    pub permissions: PermissionSet,
    /// Whether the recipient may pass on what comes this way.
    pub may_reshare: bool,
    /// What its recipient holds, by all ways together and within their own ceiling.
    pub held: PermissionSet,
    /// Whether it is open.
    pub standing: Standing,
}

/// How a way serves as the place below which its recipient's own shares are shown; less is better.
type Rank = u8;
const FIRM: Rank = 0;
const ALIVE: Rank = 1;
const DEAD: Rank = 2;

impl Ledger {
    /// Every share of a grain exactly once, each after its parent and siblings by age: a tree, written depth first.
    ///
    /// The work grows with the number of shares and the cycles among them. The owner is not among the ways, and
    /// somebody with several ways has their own shares listed below one of them.
    #[must_use]
    pub fn ways<F: Facts + ?Sized>(&self, facts: &F, grain: &GrainId) -> Vec<Way<'_>> {
        self.ways_counted(facts, grain).0
    }

    /// The same, with the work done.
    pub(super) fn ways_counted<F: Facts + ?Sized>(
        &self,
        facts: &F,
        grain: &GrainId,
    ) -> (Vec<Way<'_>>, usize) {
        let Some(board) = self.board(grain) else {
            return (Vec::new(), 0);
        };
        let (outcomes, owner, steps) = self.outcomes(facts, grain, board);
        let tree = Tree::new(board, owner, |edge| rank(&outcomes[edge as usize]));
        let ways = tree
            .depth_first()
            .map(|(edge, parent, depth)| {
                let outcome = outcomes[edge as usize].clone();
                let carried = outcome.carried.unwrap_or(Carried {
                    permissions: PermissionSet::default(),
                    may_reshare: false,
                });
                Way {
                    share: &board.edge(edge).share,
                    parent: parent.map(|parent| &board.edge(parent).share.id),
                    depth,
                    permissions: carried.permissions,
                    may_reshare: carried.may_reshare,
                    held: outcome.held,
                    standing: outcome.standing,
                }
            })
            .collect();
        (ways, steps)
    }

    /// For each number of an edge what comes of it, the owner's vertex, and the work done.
    fn outcomes<F: Facts + ?Sized>(
        &self,
        facts: &F,
        grain: &GrainId,
        board: &Board,
    ) -> (Vec<Outcome>, Option<u32>, usize) {
        let mut outcomes = vec![Outcome::default(); board.edge_numbers()];
        let question = Question {
            into_owners: true,
            ..Question::default()
        };
        let mut decision = Decision::new(self, facts, question);
        let Some(scope) = decision.scope(grain) else {
            return (outcomes, None, 0);
        };
        let mut nodes = vec![0; board.vertex_numbers()];
        for (vertex, _) in board.vertices() {
            let node = decision.node_at(scope, vertex);
            nodes[vertex as usize] = node;
            decision.explore(node);
        }
        decision.fill();
        let mut proofs = vec![None; board.edge_numbers()];
        for (edge, carried, proved) in decision.outcomes(scope) {
            proofs[edge as usize] = Some((carried, proved));
        }
        for (number, edge) in board.edges() {
            let giver = decision.held(nodes[edge.from as usize]);
            let outcome = &mut outcomes[number as usize];
            let (carried, proved) = proofs[number as usize].take().unwrap_or((None, false));
            outcome.standing = match decision.closed(&edge.share) {
                Some(Closed::Pending) => Standing::Pending,
                Some(Closed::Declined) => Standing::Declined,
                Some(Closed::Expired) => Standing::Expired,
                Some(Closed::Requirement) => Standing::RequirementFailed,
                None if carried.is_some() => Standing::Alive,
                None if !giver.alive => Standing::GiverLost,
                None if !may_give(giver, &edge.share) => Standing::GiverMayNotShare,
                None => {
                    debug_assert!(!proved, "who may give gives what is proved");
                    Standing::RequirementFailed
                }
            };
            outcome.carried = carried;
            outcome.held = decision.held(nodes[edge.to as usize]).permissions.clone();
        }
        let owner = facts
            .owner(grain)
            .and_then(|owner| board.find(&Holder::Person(owner)));
        (outcomes, owner, decision.steps)
    }
}

#[derive(Debug, Clone)]
struct Outcome {
    carried: Option<Carried>,
    held: PermissionSet,
    standing: Standing,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            carried: None,
            held: PermissionSet::default(),
            standing: Standing::NoOwner,
        }
    }
}

fn rank(outcome: &Outcome) -> Rank {
    match &outcome.carried {
        Some(carried) if carried.may_reshare => FIRM,
        Some(_) => ALIVE,
        None => DEAD,
    }
}

/// A spanning tree of a grain's shares.
struct Tree {
    /// For each vertex the edges that lead away, oldest first.
    outgoing: Vec<Vec<u32>>,
    /// For each edge, the vertex it leads to.
    to: Vec<u32>,
    /// For each vertex the edge below which its own edges are shown.
    entry: Vec<Option<u32>>,
    /// Vertices that have no such edge.
    roots: Vec<u32>,
}

impl Tree {
    fn new(board: &Board, owner: Option<u32>, rank: impl Fn(u32) -> Rank) -> Self {
        let mut order: Vec<(u32, u32)> = board.edges().map(|(number, edge)| (number, edge.from)).collect();
        order.sort_by_key(|(number, _)| {
            let share = &board.edge(*number).share;
            (share.created, &share.id)
        });
        let mut tree = Self {
            outgoing: vec![Vec::new(); board.vertex_numbers()],
            to: vec![0; board.edge_numbers()],
            entry: vec![None; board.vertex_numbers()],
            roots: Vec::new(),
        };
        for (number, from) in &order {
            tree.outgoing[*from as usize].push(*number);
            tree.to[*number as usize] = board.edge(*number).to;
        }
        let mut reached = Reached {
            order: Vec::new(),
            seen: vec![false; board.vertex_numbers()],
        };
        // First below the owner: whoever can be shown on a living branch is.
        if let Some(owner) = owner {
            tree.root(owner, &mut reached);
            for worst in [FIRM, ALIVE, DEAD] {
                tree.spread(&mut reached, 0, |edge| rank(edge) <= worst);
            }
        }
        // Then what nothing leads to, and last what leads to itself only.
        let is_source = |vertex: u32| board.vertex(vertex).incoming.is_empty();
        for sources_only in [true, false] {
            for (_, from) in &order {
                if !reached.seen[*from as usize] && (!sources_only || is_source(*from)) {
                    let start = reached.order.len();
                    tree.root(*from, &mut reached);
                    tree.spread(&mut reached, start, |_| true);
                }
            }
        }
        tree
    }

    fn root(&mut self, vertex: u32, reached: &mut Reached) {
        self.roots.push(vertex);
        reached.seen[vertex as usize] = true;
        reached.order.push(vertex);
    }

    /// Enters whatever can be reached from what was reached from `start` on.
    fn spread(&mut self, reached: &mut Reached, start: usize, passable: impl Fn(u32) -> bool) {
        let mut next = start;
        while let Some(vertex) = reached.order.get(next).copied() {
            next += 1;
            for edge in &self.outgoing[vertex as usize] {
                let to = self.to[*edge as usize];
                if passable(*edge) && !std::mem::replace(&mut reached.seen[to as usize], true) {
                    self.entry[to as usize] = Some(*edge);
                    reached.order.push(to);
                }
            }
        }
    }

    /// Each edge with its parent and depth.
    fn depth_first(&self) -> impl Iterator<Item = (u32, Option<u32>, usize)> {
        let top = self.roots.iter().flat_map(|root| &self.outgoing[*root as usize]);
        let mut open: Vec<(u32, Option<u32>, usize)> = top.map(|edge| (*edge, None, 0)).collect();
        open.reverse();
        std::iter::from_fn(move || {
            let (edge, parent, depth) = open.pop()?;
            let to = self.to[edge as usize] as usize;
            if self.entry[to] == Some(edge) {
                let below = self.outgoing[to].iter().rev();
                open.extend(below.map(|child| (*child, Some(edge), depth + 1)));
            }
            Some((edge, parent, depth))
        })
    }
}

/// The vertices a tree has so far, in the order they were reached.
struct Reached {
    order: Vec<u32>,
    seen: Vec<bool>,
}
