//! Compiles rules into a balanced tree of classic BPF.
//!
//! Shape: check the architecture, load the call number, then a binary search over ranges of numbers that are treated
//! alike. A leaf returns, or compares arguments first.

use seccompiler::sock_filter;

use super::{ARCH, Arm, Compare, Condition, Group, Rules, Verdict, X32};

// Instructions (linux/bpf_common.h): load a word of seccomp_data, and, jump, return.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RETURN: u16 = 0x06;

// Offsets in struct seccomp_data (linux/seccomp.h), little endian.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const ARGS_AT: u32 = 16;

const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_NOTIFY: u32 = 0x7fc0_0000;

/// What happens to a range of call numbers.
#[derive(Clone, Copy)]
enum Leaf {
    Plain(Verdict),
    Arms(&'static Group),
}

pub(super) fn compile(rules: &Rules, notify: bool) -> Vec<sock_filter> {
    let ranges = ranges(rules);
    let mut program = Backwards::default();
    program.tree(&ranges, notify);
    for step in [
        op(LOAD, NUMBER_AT),
        op(RETURN, returned(super::ENOSYS, notify)),
        jump(JEQ, ARCH, 1, 0),
        op(LOAD, ARCH_AT),
    ] {
        program.push(step);
    }
    program.code.reverse();
    program.code
}

/// Cuts the number space where the treatment changes: each entry starts a range that ends where the next begins.
fn ranges(rules: &Rules) -> Vec<(u32, Leaf)> {
    let named = rules
        .groups
        .iter()
        .flat_map(|group| group.calls)
        .map(|&n| n as u32);
    let last = named.max().unwrap_or(0).max(rules.newer_from);
    let mut ranges: Vec<(u32, Leaf)> = Vec::new();
    for number in 0..=last + 1 {
        let leaf = match rules
            .groups
            .iter()
            .find(|group| group.calls.contains(&i64::from(number)))
        {
            Some(group) if group.arms.is_empty() => Leaf::Plain(group.otherwise),
            Some(group) => Leaf::Arms(group),
            None if number >= rules.newer_from => Leaf::Plain(rules.newer),
            None => Leaf::Plain(rules.unlisted),
        };
        push(&mut ranges, number, leaf);
    }
    push(&mut ranges, X32, Leaf::Plain(super::ENOSYS));
    ranges
}

/// Starts a new range unless `leaf` treats numbers as the last range does.
fn push(ranges: &mut Vec<(u32, Leaf)>, number: u32, leaf: Leaf) {
    let same = match (ranges.last(), leaf) {
        (Some((_, Leaf::Plain(before))), Leaf::Plain(now)) => *before == now,
        (Some((_, Leaf::Arms(before))), Leaf::Arms(now)) => std::ptr::eq(*before, now),
        _ => false,
    };
    if !same {
        ranges.push((number, leaf));
    }
}

/// A program that is written from its end to its beginning, since every jump leads forward: where to is known by then,
/// and what is there once need not be there again. Positions count from the end.
#[derive(Default)]
struct Backwards {
    code: Vec<sock_filter>,
    returns: Vec<(u32, usize)>,
    groups: Vec<(&'static Group, usize)>,
}

/// How far a conditional jump reaches, less one: two targets may have to be brought near.
const REACH: usize = 254;

impl Backwards {
    /// Emits a binary search over `ranges` and returns where it begins. Recursion depth is the logarithm of our own
    /// table's length.
    fn tree(&mut self, ranges: &[(u32, Leaf)], notify: bool) -> usize {
        if let [(_, leaf)] = ranges {
            return match leaf {
                Leaf::Plain(verdict) => self.answer(returned(*verdict, notify)),
                Leaf::Arms(group) => self.arms(group, notify),
            };
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let at = high[0].0;
        let high = self.tree(high, notify);
        let low = self.tree(low, notify);
        let (high, low) = (self.near(high), self.near(low));
        let over = |target| u8::try_from(self.distance(target)).expect("both have been brought near");
        let test = jump(JGE, at, over(high), over(low));
        self.push(test)
    }

    fn answer(&mut self, value: u32) -> usize {
        let known = self.returns.iter().rev().find(|(known, _)| *known == value);
        match known {
            Some(&(_, at)) if self.distance(at) <= REACH => at,
            _ => {
                let at = self.push(op(RETURN, value));
                self.returns.push((value, at));
                at
            }
        }
    }

    fn arms(&mut self, group: &'static Group, notify: bool) -> usize {
        let known = self.groups.iter().find(|(known, _)| std::ptr::eq(*known, group));
        if let Some(&(_, at)) = known {
            return at;
        }
        for step in arms(group, notify).into_iter().rev() {
            self.push(step);
        }
        let at = self.code.len() - 1;
        self.groups.push((group, at));
        at
    }

    /// Returns a place within reach from which `target` is carried out.
    fn near(&mut self, target: usize) -> usize {
        let distance = self.distance(target);
        match self.code[target] {
            _ if distance <= REACH => target,
            sock_filter { code: RETURN, k, .. } => self.answer(k),
            // The unconditional jump reaches any distance.
            _ => self.push(op(JUMP, distance as u32)),
        }
    }

    /// How many instructions the next one would have to skip to get to `target`.
    fn distance(&self, target: usize) -> usize {
        self.code.len() - target - 1
    }

    fn push(&mut self, instruction: sock_filter) -> usize {
        self.code.push(instruction);
        self.code.len() - 1
    }
}

fn arms(group: &Group, notify: bool) -> Vec<sock_filter> {
    let mut code = Vec::new();
    for Arm { when, then } in group.arms {
        let mut arm = vec![op(RETURN, returned(*then, notify))];
        for condition in when.iter().rev() {
            // A failed comparison jumps behind what is emitted so far, to the next arm.
            let mut block = comparison(condition, arm.len());
            block.append(&mut arm);
            arm = block;
        }
        code.append(&mut arm);
    }
    code.push(op(RETURN, returned(group.otherwise, notify)));
    code
}

/// Where a comparison leads.
#[derive(Clone, Copy)]
enum To {
    /// The instruction after this one.
    Next,
    /// Behind this comparison.
    Pass,
    /// Behind this arm.
    Fail,
}

/// Emits one comparison of an arm that has `rest` more instructions.
fn comparison(condition: &Condition, rest: usize) -> Vec<sock_filter> {
    let low_at = ARGS_AT + 8 * u32::from(condition.arg);
    let (low, high) = (condition.value as u32, (condition.value >> 32) as u32);
    // Steps: load a half, cut it by a mask if there is one, compare and go somewhere.
    enum Do {
        Load(u32),
        And(u32),
        Test(u16, u32, To, To),
    }
    use Do::{And, Load, Test};
    use To::{Fail, Next, Pass};
    let steps = match (condition.compare, condition.wide) {
        (Compare::Eq, false) => vec![Load(low_at), Test(JEQ, low, Pass, Fail)],
        (Compare::Ne, false) => vec![Load(low_at), Test(JEQ, low, Fail, Pass)],
        (Compare::Gt, false) => vec![Load(low_at), Test(JGT, low, Pass, Fail)],
        (Compare::Ge, false) => vec![Load(low_at), Test(JGE, low, Pass, Fail)],
        (Compare::Lt, false) => vec![Load(low_at), Test(JGE, low, Fail, Pass)],
        (Compare::Le, false) => vec![Load(low_at), Test(JGT, low, Fail, Pass)],
        (Compare::Masked(mask), false) => {
            vec![
                Load(low_at),
                And(mask as u32),
                Test(JEQ, low & mask as u32, Pass, Fail),
            ]
        }
        (Compare::Eq, true) => {
            vec![
                Load(low_at + 4),
                Test(JEQ, high, Next, Fail),
                Load(low_at),
                Test(JEQ, low, Pass, Fail),
            ]
        }
        (Compare::Ne, true) => {
            vec![
                Load(low_at + 4),
                Test(JEQ, high, Next, Pass),
                Load(low_at),
                Test(JEQ, low, Fail, Pass),
            ]
        }
        (Compare::Masked(mask), true) => {
            let (mask_low, mask_high) = (mask as u32, (mask >> 32) as u32);
            vec![
                Load(low_at + 4),
                And(mask_high),
                Test(JEQ, high & mask_high, Next, Fail),
                Load(low_at),
                And(mask_low),
                Test(JEQ, low & mask_low, Pass, Fail),
            ]
        }
        // The upper halves decide unless they are equal.
        (compare, true) => {
            let (test, greater, smaller) = match compare {
                Compare::Gt => (JGT, Pass, Fail),
                Compare::Ge => (JGE, Pass, Fail),
                Compare::Lt => (JGE, Fail, Pass),
                _ => (JGT, Fail, Pass),
            };
            vec![
                Load(low_at + 4),
                Test(JGT, high, greater, Next),
                Test(JEQ, high, Next, smaller),
                Load(low_at),
                Test(test, low, greater, smaller),
            ]
        }
    };
    let length = steps.len();
    let distance = |at: usize, to: To| {
        let instructions = match to {
            Next => 0,
            Pass => length - at - 1,
            Fail => length - at - 1 + rest,
        };
        u8::try_from(instructions).expect("an arm is shorter than a conditional jump reaches")
    };
    let code = steps.into_iter().enumerate();
    code.map(|(at, step)| match step {
        Load(offset) => op(LOAD, offset),
        And(mask) => op(AND, mask),
        Test(code, value, yes, no) => jump(code, value, distance(at, yes), distance(at, no)),
    })
    .collect()
}

fn returned(verdict: Verdict, notify: bool) -> u32 {
    match verdict {
        Verdict::Allow => RET_ALLOW,
        Verdict::Errno(_) if notify => RET_NOTIFY,
        Verdict::Errno(code) => RET_ERRNO | u32::from(code),
    }
}

fn op(code: u16, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}
