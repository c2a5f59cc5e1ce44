//! The shares of one grain as a graph: dense numbers instead of names, so that a walk is cheap.

use std::collections::HashMap;

use super::role::RoleAssignment;
use super::share::{Holder, Share};

/// A share between two vertices.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub share: Share,
    pub from: u32,
    pub to: u32,
}

/// Somebody who gave or received.
#[derive(Debug, Clone)]
pub(super) struct Vertex {
    pub holder: Holder,
    /// Edges that lead here.
    pub incoming: Vec<u32>,
    /// How many edges lead away; with nothing left the vertex goes.
    given: u32,
    pub ceiling: Option<RoleAssignment>,
}

/// The shares of one grain.
#[derive(Debug, Clone, Default)]
pub(super) struct Board {
    edges: Vec<Option<Edge>>,
    free_edges: Vec<u32>,
    vertices: Vec<Option<Vertex>>,
    free_vertices: Vec<u32>,
    index: HashMap<Holder, u32>,
}

impl Board {
    pub(super) fn insert(&mut self, share: Share) -> u32 {
        let from = self.vertex_for(&share.from);
        let to = self.vertex_for(&share.holder());
        let edge = Edge { share, from, to };
        let number = match self.free_edges.pop() {
            Some(number) => {
                self.edges[number as usize] = Some(edge);
                number
            }
            None => {
                self.edges.push(Some(edge));
                number_of(self.edges.len() - 1)
            }
        };
        self.vertex_mut(from).given += 1;
        self.vertex_mut(to).incoming.push(number);
        number
    }

    pub(super) fn remove(&mut self, number: u32) {
        let Some(edge) = self.edges[number as usize].take() else {
            return;
        };
        self.free_edges.push(number);
        self.vertex_mut(edge.from).given -= 1;
        let incoming = &mut self.vertex_mut(edge.to).incoming;
        if let Some(place) = incoming.iter().position(|other| *other == number) {
            incoming.swap_remove(place);
        }
        self.forget_if_bare(edge.from);
        if edge.to != edge.from {
            self.forget_if_bare(edge.to);
        }
    }

    pub(super) fn set_ceiling(&mut self, holder: &Holder, ceiling: Option<RoleAssignment>) {
        let number = self.vertex_for(holder);
        self.vertex_mut(number).ceiling = ceiling;
        self.forget_if_bare(number);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(super) fn find(&self, holder: &Holder) -> Option<u32> {
        self.index.get(holder).copied()
    }

    pub(super) fn vertex(&self, number: u32) -> &Vertex {
        self.vertices[number as usize]
            .as_ref()
            .expect("a vertex stays while an edge or the index names it")
    }

    pub(super) fn edge(&self, number: u32) -> &Edge {
        self.edges[number as usize]
            .as_ref()
            .expect("an edge stays while a vertex or the ledger names it")
    }

    /// Every edge with its number, in no order that means anything.
    pub(super) fn edges(&self) -> impl Iterator<Item = (u32, &Edge)> {
        let all = self.edges.iter().enumerate();
        all.filter_map(|(number, edge)| Some((number_of(number), edge.as_ref()?)))
    }

    /// How many numbers of edges are in use or were: one more than the highest.
    pub(super) fn edge_numbers(&self) -> usize {
        self.edges.len()
    }

    /// The same for vertices.
    pub(super) fn vertex_numbers(&self) -> usize {
        self.vertices.len()
    }

    pub(super) fn shares(&self) -> usize {
        self.edges.len() - self.free_edges.len()
    }

    /// Everybody who gave, received or limited themselves.
    pub(super) fn vertices(&self) -> impl Iterator<Item = (u32, &Vertex)> {
        let all = self.vertices.iter().enumerate();
        all.filter_map(|(number, vertex)| Some((number_of(number), vertex.as_ref()?)))
    }

    /// For each vertex, the edges that lead away from it.
    pub(super) fn outgoing(&self) -> Vec<Vec<u32>> {
        let mut outgoing = vec![Vec::new(); self.vertices.len()];
        for (number, edge) in self.edges() {
            outgoing[edge.from as usize].push(number);
        }
        outgoing
    }

    fn vertex_for(&mut self, holder: &Holder) -> u32 {
        if let Some(number) = self.find(holder) {
            return number;
        }
        let vertex = Vertex {
            holder: holder.clone(),
            incoming: Vec::new(),
            given: 0,
            ceiling: None,
        };
        let number = match self.free_vertices.pop() {
            Some(number) => {
                self.vertices[number as usize] = Some(vertex);
                number
            }
            None => {
                self.vertices.push(Some(vertex));
                number_of(self.vertices.len() - 1)
            }
        };
        self.index.insert(holder.clone(), number);
        number
    }

    fn vertex_mut(&mut self, number: u32) -> &mut Vertex {
        self.vertices[number as usize]
            .as_mut()
            .expect("a vertex stays while an edge or the index names it")
    }

    fn forget_if_bare(&mut self, number: u32) {
        let vertex = self.vertex(number);
        if vertex.given == 0 && vertex.incoming.is_empty() && vertex.ceiling.is_none() {
            let holder = vertex.holder.clone();
            self.index.remove(&holder);
            self.vertices[number as usize] = None;
            self.free_vertices.push(number);
        }
    }
}

fn number_of(place: usize) -> u32 {
    u32::try_from(place).expect("a grain's shares are far fewer than four thousand million")
}
