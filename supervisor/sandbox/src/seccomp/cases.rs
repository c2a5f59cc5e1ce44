//! A call for each line of a policy, so that policies can be held against a kernel: what is written there is what an app
//! is answered.

use super::{ARCH, Compare, Group, Rules, Verdict, rules};
use crate::Policy;

/// A call that one line of a policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The call's number.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// What the policy says.
    pub answer: Verdict,
    /// Which of its group's conditions it meets first; `None` for a call that meets none.
    pub arm: Option<usize>,
}

/// Returns cases for every line of `policy`: for each call it names one for each condition and one that meets none, as
/// far as there is such a call.
#[must_use]
pub fn cases(policy: Policy) -> Vec<Case> {
    of(rules(policy))
}

/// Returns cases for every line of `rules`.
pub(super) fn of(rules: &Rules) -> Vec<Case> {
    let mut cases = Vec::new();
    for group in rules.groups {
        let met = met(group);
        for &number in group.calls {
            cases.extend(met.iter().map(|&(arm, arguments)| Case {
                number: number as u32,
                arguments,
                answer: rules.verdict(ARCH, number as u32, &arguments),
                arm,
            }));
        }
    }
    cases
}

/// Arguments that meet each arm of a group first, and some that meet none.
fn met(group: &Group) -> Vec<(Option<usize>, [u64; 6])> {
    let mut found: Vec<(Option<usize>, [u64; 6])> = Vec::new();
    let mut used: Vec<u8> = conditions(group).map(|condition| condition.arg).collect();
    used.sort_unstable();
    used.dedup();
    let candidates: Vec<Vec<u64>> = used.iter().map(|&arg| values(group, arg)).collect();
    let combinations: usize = candidates.iter().map(Vec::len).product();
    for mut combination in 0..combinations {
        let mut arguments = [0; 6];
        for (&arg, values) in used.iter().zip(&candidates) {
            arguments[usize::from(arg)] = values[combination % values.len()];
            combination /= values.len();
        }
        let arm = group
            .arms
            .iter()
            .position(|arm| arm.when.iter().all(|condition| condition.holds(&arguments)));
        if !found.iter().any(|(known, _)| *known == arm) {
            found.push((arm, arguments));
        }
    }
    found
}

fn conditions(group: &Group) -> impl Iterator<Item = &super::Condition> {
    group.arms.iter().flat_map(|arm| arm.when)
}

/// Values of one argument around all that it is compared with.
fn values(group: &Group, arg: u8) -> Vec<u64> {
    let mut values = vec![0];
    for condition in conditions(group).filter(|condition| condition.arg == arg) {
        let value = condition.value;
        values.extend([value, value.wrapping_add(1), value.wrapping_sub(1)]);
        if let Compare::Masked(mask) = condition.compare {
            values.extend([mask, !mask]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}
