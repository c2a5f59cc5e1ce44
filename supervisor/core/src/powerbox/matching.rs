//! Decides whether what is provided fits what is asked for (sheet 6.5).
//!
//! A list is a disjunction of descriptors, each a conjunction of tags. Every tag asked for must be provided, with a value
//! that fits: null on either side fits anything, different kinds of pointers never fit, structs fit when their data is
//! the same and their pointers fit, a list of structs fits when each that is asked for fits one that is provided, and
//! other lists must be equal.

use super::{DEPTH_LIMIT, DataList, Descriptor, ElementSize, Quality, Struct, Value};

/// How many pairs of values one call of [`matches`] compares before it gives up.
///
/// Lists of structs are compared each with each; this is what keeps hostile ones from costing more than a few
/// milliseconds.
pub const COMPARISON_LIMIT: usize = 65_536;

/// So many bytes of data count as one more comparison.
const BYTES_PER_COMPARISON: usize = 64;

/// How well `provided` answers `query`; `None` when it does not, and never [`Quality::Unacceptable`].
///
/// Of the descriptors asked for that fit, one that is more specific overrides those that are less so. The others count
/// in their order: an unacceptable one takes away what those before it allowed, a preferred one raises it. Of several
/// things provided the best counts.
///
/// What is provided as unacceptable is an exception to the provider's own more general descriptors: it takes away
/// questions that ask for nothing beside it. A provider cannot prefer itself.
///
/// Descriptors whose comparison would take more than [`COMPARISON_LIMIT`] do not match.
#[must_use]
pub fn matches(query: &[Descriptor], provided: &[Descriptor]) -> Option<Quality> {
    Comparison::default().best(query, provided).unwrap_or(None)
}

/// How the first of two values is to relate to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// Asked for and provided.
    Fits,
    /// Whatever fits the second fits the first.
    Covers,
    /// No difference.
    Equals,
}

/// Says that two lists are too much to compare.
#[derive(Debug)]
struct Exhausted;

/// Compares, and counts.
#[derive(Debug, Default)]
struct Comparison {
    made: usize,
}

impl Comparison {
    fn best(&mut self, query: &[Descriptor], provided: &[Descriptor]) -> Result<Option<Quality>, Exhausted> {
        let mut best = None;
        for offer in provided
            .iter()
            .filter(|offer| offer.quality != Quality::Unacceptable)
        {
            match self.offered(query, offer, provided)? {
                Some(Quality::Preferred) => return Ok(Some(Quality::Preferred)),
                Some(quality) => best = Some(quality),
                None => {}
            }
        }
        Ok(best)
    }

    /// How well one thing that is provided answers the question.
    fn offered(
        &mut self,
        query: &[Descriptor],
        offer: &Descriptor,
        provided: &[Descriptor],
    ) -> Result<Option<Quality>, Exhausted> {
        let mut fitting = Vec::new();
        for asked in query {
            if self.descriptors(Relation::Fits, asked, offer)? && !self.excepted(asked, offer, provided)? {
                fitting.push(asked);
            }
        }
        let mut quality = None;
        for asked in &fitting {
            if self.overridden(asked, &fitting)? {
                continue;
            }
            quality = match (asked.quality, quality) {
                (Quality::Unacceptable, _) => None,
                (Quality::Preferred, _) | (Quality::Acceptable, Some(Quality::Preferred)) => {
                    Some(Quality::Preferred)
                }
                (Quality::Acceptable, _) => Some(Quality::Acceptable),
            };
        }
        Ok(quality)
    }

    /// Whether another descriptor that fits is more specific.
    fn overridden(&mut self, asked: &Descriptor, fitting: &[&Descriptor]) -> Result<bool, Exhausted> {
        for other in fitting {
            if self.is_more_specific(other, asked)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the provider excepts from `offer` all that is asked for.
    fn excepted(
        &mut self,
        asked: &Descriptor,
        offer: &Descriptor,
        provided: &[Descriptor],
    ) -> Result<bool, Exhausted> {
        let exceptions = provided
            .iter()
            .filter(|other| other.quality == Quality::Unacceptable);
        for exception in exceptions {
            if self.descriptors(Relation::Covers, exception, asked)?
                && !self.is_more_specific(offer, exception)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_more_specific(&mut self, one: &Descriptor, than: &Descriptor) -> Result<bool, Exhausted> {
        Ok(self.descriptors(Relation::Covers, than, one)?
            && !self.descriptors(Relation::Covers, one, than)?)
    }

    /// Whether each tag of the first relates to one of the second.
    fn descriptors(
        &mut self,
        relation: Relation,
        one: &Descriptor,
        other: &Descriptor,
    ) -> Result<bool, Exhausted> {
        for tag in &one.tags {
            let mut found = false;
            for candidate in &other.tags {
                self.count(0)?;
                let null = Value::Null;
                found = tag.id == candidate.id
                    && self.values(
                        relation,
                        tag.value.as_ref().unwrap_or(&null),
                        candidate.value.as_ref().unwrap_or(&null),
                        0,
                    )?;
                if found {
                    break;
                }
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn values(
        &mut self,
        relation: Relation,
        one: &Value,
        other: &Value,
        depth: usize,
    ) -> Result<bool, Exhausted> {
        self.count(0)?;
        if depth >= DEPTH_LIMIT {
            return Err(Exhausted);
        }
        match (one, other) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Null, _) => Ok(relation != Relation::Equals),
            (_, Value::Null) => Ok(relation == Relation::Fits),
            (Value::Struct(one), Value::Struct(other)) => self.structs(relation, one, other, depth + 1),
            (Value::Data(one), Value::Data(other)) => self.data_lists(one, other),
            (Value::Pointers(one), Value::Pointers(other)) => {
                let mut pairs = one.iter().zip(other);
                Ok(one.len() == other.len()
                    && all(&mut pairs, |(one, other)| {
                        self.values(Relation::Equals, one, other, depth + 1)
                    })?)
            }
            (Value::Structs(one), Value::Structs(other)) if relation == Relation::Equals => {
                let mut pairs = one.iter().zip(other);
                Ok(one.len() == other.len()
                    && all(&mut pairs, |(one, other)| {
                        self.structs(relation, one, other, depth + 2)
                    })?)
            }
            (Value::Structs(one), Value::Structs(other)) => all(&mut one.iter(), |one| {
                for other in other {
                    if self.structs(relation, one, other, depth + 2)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }),
            _ => Ok(false),
        }
    }

    fn structs(
        &mut self,
        relation: Relation,
        one: &Struct,
        other: &Struct,
        depth: usize,
    ) -> Result<bool, Exhausted> {
        self.count(one.data.len().max(other.data.len()))?;
        if without_zeros(&one.data) != without_zeros(&other.data) {
            return Ok(false);
        }
        let null = Value::Null;
        let length = one.pointers.len().max(other.pointers.len());
        all(&mut (0..length), |place| {
            let one = one.pointers.get(place).unwrap_or(&null);
            let other = other.pointers.get(place).unwrap_or(&null);
            self.values(relation, one, other, depth)
        })
    }

    fn data_lists(&mut self, one: &DataList, other: &DataList) -> Result<bool, Exhausted> {
        self.count(one.bytes.len().min(other.bytes.len()))?;
        let counts = one.count == other.count && one.element == other.element;
        Ok(counts && (one.element == ElementSize::Void || one.bytes == other.bytes))
    }

    fn count(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.made += 1 + bytes / BYTES_PER_COMPARISON;
        if self.made > COMPARISON_LIMIT {
            Err(Exhausted)
        } else {
            Ok(())
        }
    }
}

/// Whether all of `items` are so, as far as that can be found out.
fn all<T>(
    items: &mut impl Iterator<Item = T>,
    mut is_so: impl FnMut(T) -> Result<bool, Exhausted>,
) -> Result<bool, Exhausted> {
    for item in items {
        if !is_so(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A data section as long as it needs to be.
fn without_zeros(data: &[u8]) -> &[u8] {
    let length = data
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    &data[..length]
}
