//! The compiled tree against the rules it came from, and against seccompiler's own program for the same rules.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::*;

const POLICIES: [(&str, &Rules); 9] = [
    ("every comparison", &EVERY),
    ("sandstorm", &sandstorm::RULES),
    ("native", &native::RULES),
    ("worker", &worker::RULES),
    ("host", &role::HOST_RULES),
    ("edge", &role::EDGE_RULES),
    ("egress", &role::EGRESS_RULES),
    ("broker", &role::BROKER_RULES),
    ("launcher", &launcher::RULES),
];

/// Every comparison in both widths, alone and in company, which the real policies do not have.
static EVERY: Rules = Rules {
    groups: EVERY_GROUPS,
    unlisted: Verdict::Allow,
    newer_from: 100,
    newer: ENOSYS,
};

const WIDE: u64 = 0x1234_5678_0000_1000;

const EVERY_GROUPS: &[Group] = &[
    group(
        &[0, 7],
        &[arm(&[long(0, Compare::Eq, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[1],
        &[arm(&[long(1, Compare::Ne, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[2],
        &[arm(&[long(2, Compare::Lt, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[3],
        &[arm(&[long(3, Compare::Le, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[4],
        &[arm(&[long(4, Compare::Gt, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[5],
        &[arm(&[long(5, Compare::Ge, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[6],
        &[arm(&[long(0, Compare::Masked(0xff00_0000_00ff), WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[10],
        &[arm(&[int(0, Compare::Eq, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[11],
        &[arm(&[int(1, Compare::Ne, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[12],
        &[arm(&[int(2, Compare::Lt, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[13],
        &[arm(&[int(3, Compare::Le, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[14],
        &[arm(&[int(4, Compare::Gt, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[15],
        &[arm(&[int(5, Compare::Ge, WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[16],
        &[arm(&[int(0, Compare::Masked(0x0ff0), WIDE)], errno(1))],
        errno(2),
        "test",
    ),
    group(
        &[20],
        &[
            arm(
                &[
                    long(0, Compare::Gt, WIDE),
                    long(1, Compare::Lt, WIDE),
                    int(0, Compare::Ne, 7),
                ],
                errno(1),
            ),
            arm(
                &[long(0, Compare::Le, WIDE), long(1, Compare::Ge, WIDE)],
                errno(3),
            ),
            arm(&[long(1, Compare::Masked(1 << 40), 1 << 40)], errno(4)),
        ],
        errno(2),
        "test",
    ),
    // What lies between is `unlisted`, so the tree has ranges of every kind up to the last.
    group(&[99], &[], EPERM, "test"),
];

/// A machine for classic BPF programs over struct seccomp_data: the instructions the two compilers emit, and a panic
/// for any other. Returns the verdict, and how many instructions it took.
fn traced(program: &[sock_filter], arch: u32, number: u32, args: &[u64; 6]) -> (u32, usize) {
    let mut words = vec![number, arch, 0xdead_beef, 0xffff_8000];
    words.extend(args.iter().flat_map(|arg| [*arg as u32, (*arg >> 32) as u32]));
    let (mut accumulator, mut at) = (0u32, 0usize);
    // The kernel checks that jumps go forward, so a program ends within its length.
    for step in 1..=program.len() {
        let sock_filter { code, jt, jf, k } = program[at].clone();
        at += 1;
        let jump = |taken: bool| usize::from(if taken { jt } else { jf });
        match code {
            0x20 => accumulator = words[k as usize / 4],
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return (k, step),
            other => panic!("instruction {other:#x}"),
        }
    }
    panic!("no return");
}

fn run(program: &[sock_filter], arch: u32, number: u32, args: &[u64; 6]) -> u32 {
    traced(program, arch, number, args).0
}

/// What a return value of a program means.
fn decoded(value: u32) -> Verdict {
    match value & 0xffff_0000 {
        0x7fff_0000 => Verdict::Allow,
        0x0005_0000 => Verdict::Errno(value as u16),
        other => panic!("return {other:#x}"),
    }
}

/// The same rules in seccompiler's terms. Its filters know one match action, so there is one filter for each position
/// of an arm: filter 0 matches calls that meet their group's first arm, filter 1 their second, and so on.
struct Reference {
    layers: Vec<BpfProgram>,
    rules: &'static Rules,
}

impl Reference {
    fn new(rules: &'static Rules) -> Self {
        let depth = rules.groups.iter().map(|group| group.arms.len()).max().unwrap();
        let layers = (0..depth).map(|layer| {
            let mut map: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
            for group in rules.groups {
                let Some(arm) = group.arms.get(layer) else {
                    continue;
                };
                let rule = SeccompRule::new(arm.when.iter().map(condition).collect()).unwrap();
                for &call in group.calls {
                    map.insert(call, vec![rule.clone()]);
                }
            }
            let (missed, matched) = (SeccompAction::Allow, SeccompAction::Errno(1));
            let filter = SeccompFilter::new(map, missed, matched, TargetArch::x86_64).unwrap();
            BpfProgram::try_from(filter).unwrap()
        });
        Self {
            layers: layers.collect(),
            rules,
        }
    }

    fn verdict(&self, number: u32, args: &[u64; 6]) -> Verdict {
        let group = self
            .rules
            .groups
            .iter()
            .find(|group| group.calls.contains(&i64::from(number)));
        let hit = self
            .layers
            .iter()
            .position(|layer| run(layer, ARCH, number, args) == 0x0005_0001);
        match (group, hit) {
            (Some(group), Some(layer)) => group.arms[layer].then,
            (Some(group), None) => group.otherwise,
            (None, Some(_)) => panic!("a call without rules matched"),
            (None, None) if number >= self.rules.newer_from => self.rules.newer,
            (None, None) => self.rules.unlisted,
        }
    }
}

fn condition(condition: &Condition) -> SeccompCondition {
    let length = if condition.wide {
        SeccompCmpArgLen::Qword
    } else {
        SeccompCmpArgLen::Dword
    };
    let operator = match condition.compare {
        Compare::Eq => SeccompCmpOp::Eq,
        Compare::Ne => SeccompCmpOp::Ne,
        Compare::Lt => SeccompCmpOp::Lt,
        Compare::Le => SeccompCmpOp::Le,
        Compare::Gt => SeccompCmpOp::Gt,
        Compare::Ge => SeccompCmpOp::Ge,
        Compare::Masked(mask) => SeccompCmpOp::MaskedEq(mask),
    };
    SeccompCondition::new(condition.arg, length, operator, condition.value).unwrap()
}

/// Values around every boundary the policy's conditions have, in both halves of the word.
fn interesting(rules: &Rules) -> Vec<u64> {
    let mut values = BTreeSet::from([0, 1, u64::MAX, u64::from(u32::MAX), 1 << 32, 1 << 63]);
    for condition in rules
        .groups
        .iter()
        .flat_map(|group| group.arms)
        .flat_map(|arm| arm.when)
    {
        let mut centres = vec![condition.value];
        if let Compare::Masked(mask) = condition.compare {
            centres.extend([
                mask,
                !mask,
                condition.value | !mask,
                condition.value ^ (mask & mask.wrapping_neg()),
            ]);
        }
        for centre in centres {
            values.extend([
                centre.wrapping_sub(1),
                centre,
                centre.wrapping_add(1),
                centre | 1 << 32,
                centre | 1 << 63,
            ]);
        }
    }
    values.into_iter().collect()
}

#[test]
fn tree_rules_and_seccompiler_agree_on_every_number() {
    for (name, rules) in POLICIES {
        let program = Program::compile(rules, false);
        let reference = Reference::new(rules);
        for number in 0..=600 {
            for args in [[0; 6], [1; 6], [u64::MAX; 6]] {
                let expected = rules.verdict(ARCH, number, &args);
                assert_eq!(
                    decoded(run(&program.0, ARCH, number, &args)),
                    expected,
                    "{name} {number} {args:?}"
                );
                assert_eq!(
                    reference.verdict(number, &args),
                    expected,
                    "{name} {number} {args:?}"
                );
            }
        }
    }
}

#[test]
fn tree_rules_and_seccompiler_agree_on_every_boundary() {
    for (name, rules) in POLICIES {
        let program = Program::compile(rules, false);
        let reference = Reference::new(rules);
        let values = interesting(rules);
        for group in rules.groups.iter().filter(|group| !group.arms.is_empty()) {
            let used: BTreeSet<_> = group
                .arms
                .iter()
                .flat_map(|arm| arm.when)
                .map(|c| c.arg)
                .collect();
            assert!(used.len() <= 3, "the product below would be too long");
            let used: Vec<_> = used.into_iter().collect();
            for combination in 0..values.len().pow(used.len().min(2) as u32) {
                for third in [0, 6, 17, 255] {
                    let mut args = [0; 6];
                    args[usize::from(used[0])] = values[combination % values.len()];
                    if let Some(second) = used.get(1) {
                        args[usize::from(*second)] = values[combination / values.len()];
                    }
                    if let Some(last) = used.get(2) {
                        args[usize::from(*last)] = third;
                    }
                    for &call in group.calls {
                        let number = call as u32;
                        let expected = rules.verdict(ARCH, number, &args);
                        let tree = decoded(run(&program.0, ARCH, number, &args));
                        assert_eq!(tree, expected, "{name} {number} {args:x?}");
                        assert_eq!(
                            reference.verdict(number, &args),
                            expected,
                            "{name} {number} {args:x?}"
                        );
                    }
                    if used.len() < 3 {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn foreign_architectures_and_x32_answer_enosys() {
    const I386: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xc000_00b7;
    for (name, rules) in POLICIES {
        let program = Program::compile(rules, false);
        for number in 0..=600 {
            for (arch, number) in [
                (I386, number),
                (AARCH64, number),
                (0, number),
                (ARCH, X32 | number),
                (ARCH, !number),
            ] {
                assert_eq!(
                    decoded(run(&program.0, arch, number, &[0; 6])),
                    ENOSYS,
                    "{name} {arch:x} {number:x}"
                );
                assert_eq!(rules.verdict(arch, number, &[0; 6]), ENOSYS);
            }
        }
    }
}

#[test]
fn listening_programs_ask_where_others_refuse() {
    for (_, rules) in POLICIES {
        let (plain, asking) = (Program::compile(rules, false), Program::compile(rules, true));
        for number in 0..=600 {
            let refused = decoded(run(&plain.0, ARCH, number, &[0; 6])) != Verdict::Allow;
            let asked = run(&asking.0, ARCH, number, &[0; 6]) == 0x7fc0_0000;
            assert_eq!(refused, asked, "{number}");
        }
    }
}

#[test]
fn each_call_has_one_group_and_each_group_a_reason() {
    for (name, rules) in POLICIES {
        let mut seen = BTreeSet::new();
        for group in rules.groups {
            assert!(group.why.len() > 2, "{name}: {:?}", group.calls);
            for &call in group.calls {
                assert!(seen.insert(call), "{name}: {call} is in two groups");
                assert!(super::name(call as u32).is_some(), "{name}: {call} has no name");
            }
        }
    }
}

#[test]
fn trees_are_shallow() {
    for (name, rules) in POLICIES {
        let program = Program::compile(rules, false);
        // The kernel runs the filter over every number at installation and on each call of the app.
        let longest = (0..=600)
            .map(|number| traced(&program.0, ARCH, number, &[0; 6]).1)
            .max()
            .unwrap();
        assert!(longest <= 45, "{name}: {longest} instructions for one call");
        assert!(program.0.len() <= 250, "{name}: {} instructions", program.0.len());
    }
}

#[test]
fn the_answers_apps_depend_on() {
    let none = [0; 6];
    let say = |number: libc::c_long, args: [u64; 6]| sandstorm::RULES.verdict(ARCH, number as u32, &args);
    assert_eq!(
        say(libc::SYS_clone3, none),
        ENOSYS,
        "libc falls back to clone on nothing else (trap 50)"
    );
    assert_eq!(say(libc::SYS_clone, [0x1000_0000, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(
        say(libc::SYS_clone, [0x003d_0f00, 0, 0, 0, 0, 0]),
        Verdict::Allow,
        "a thread"
    );
    assert_eq!(
        say(libc::SYS_socket, [40, 1, 0, 0, 0, 0]),
        errno(libc::EAFNOSUPPORT)
    );
    assert_eq!(
        say(libc::SYS_socket, [0xffff_ffff_0000_0028, 1, 0, 0, 0, 0]),
        errno(libc::EAFNOSUPPORT)
    );
    assert_eq!(
        say(libc::SYS_socket, [2, 6 | 0x80000, 0, 0, 0, 0]),
        errno(libc::EPROTONOSUPPORT)
    );
    assert_eq!(say(libc::SYS_socket, [16, 3, 0, 0, 0, 0]), Verdict::Allow);
    for family in 0..64 {
        let allowed = [
            libc::AF_UNSPEC,
            libc::AF_UNIX,
            libc::AF_INET,
            libc::AF_INET6,
            libc::AF_NETLINK,
        ];
        let answer = if allowed.contains(&family) {
            Verdict::Allow
        } else {
            errno(libc::EAFNOSUPPORT)
        };
        assert_eq!(
            say(libc::SYS_socket, [family as u64, 1, 0, 0, 0, 0]),
            answer,
            "family {family}"
        );
    }
    assert_eq!(say(libc::SYS_prctl, [22, 2, 0, 0, 0, 0]), errno(libc::EINVAL));
    assert_eq!(say(libc::SYS_rseq, none), ENOSYS);
    assert_eq!(say(libc::SYS_renameat2, none), Verdict::Allow);
    for number in 424..600 {
        let allowed = [424, 434, 436, 437, 439, 441, 449, 452].contains(&number);
        assert_eq!(say(number, none) == Verdict::Allow, allowed, "{number}");
    }
}

#[test]
fn only_the_egress_opens_sockets_to_other_machines_and_none_opens_raw_ones() {
    let says = |rules: &Rules, family: i32, kind: i32, protocol: i32| {
        let args = [family as u64, kind as u64, protocol as u64, 0, 0, 0];
        rules.verdict(ARCH, libc::SYS_socket as u32, &args) == Verdict::Allow
    };
    for (family, kind) in (0..64).flat_map(|family| (0..16).map(move |kind| (family, kind))) {
        // MPTCP is the last protocol there is.
        for protocol in -1..=libc::IPPROTO_MPTCP {
            let with_flags = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            for within in [&role::HOST_RULES, &role::EDGE_RULES, &role::BROKER_RULES] {
                assert_eq!(
                    says(within, family, with_flags, protocol),
                    family == libc::AF_UNIX,
                    "{family} {kind} {protocol}"
                );
            }
            let is_internet = [libc::AF_INET, libc::AF_INET6].contains(&family);
            let is_plain = match kind {
                libc::SOCK_STREAM => [0, libc::IPPROTO_TCP].contains(&protocol),
                libc::SOCK_DGRAM => [0, libc::IPPROTO_UDP].contains(&protocol),
                _ => false,
            };
            assert_eq!(
                says(&role::EGRESS_RULES, family, with_flags, protocol),
                is_internet && is_plain,
                "{family} {kind} {protocol}"
            );
        }
    }
}

#[test]
fn every_line_decides_some_call() {
    for (name, rules) in POLICIES {
        let cases = cases::of(rules);
        for group in rules.groups {
            for arm in 0..group.arms.len() {
                let decided = |case: &Case| {
                    case.arm == Some(arm) && group.calls.contains(&libc::c_long::from(case.number))
                };
                assert!(
                    cases.iter().any(decided),
                    "{name}: condition {arm} of {:?} is never met first",
                    group.calls
                );
            }
        }
    }
}

#[test]
fn the_kernel_answers_every_line_as_it_is_written() {
    // An error no policy names.
    const PASSED: i32 = 4000;
    for (name, rules) in POLICIES {
        // The first is no policy: a process under it could not even tell.
        if name == "every comparison" {
            continue;
        }
        let mut asked: Vec<(u32, [u64; 6])> = cases::of(rules)
            .iter()
            .map(|case| (case.number, case.arguments))
            .collect();
        // What no line names, what is newer, what is the x32 interface's.
        for number in 0..=600 {
            asked.extend([(number, [0; 6]), (number, [u64::MAX; 6]), (X32 | number, [0; 6])]);
        }
        // uretprobe and uprobe, which kernels since 6.14 show to no filter and answer with SIGILL.
        asked.retain(|(number, _)| ![335, 336].contains(number));
        let answers = crate::sys::answers(&Program::compile(rules, false).0, &asked, PASSED);
        assert_eq!(answers.len(), asked.len(), "{name}");
        for ((number, arguments), answer) in asked.iter().zip(answers) {
            let expected = match rules.verdict(ARCH, *number, arguments) {
                Verdict::Allow => PASSED,
                Verdict::Errno(code) => i32::from(code),
            };
            assert_eq!(answer, expected, "{name}: {number} {arguments:x?}");
        }
    }
}

proptest! {
    #[test]
    fn tree_and_rules_agree_on_anything(
        arch in prop_oneof![9 => Just(ARCH), 1 => any::<u32>()],
        number in prop_oneof![8 => 0u32..600, 1 => any::<u32>(), 1 => (0u32..600).prop_map(|n| n | X32)],
        args in any::<[u64; 6]>(),
        small in any::<[u8; 6]>(),
        narrow in any::<bool>(),
    ) {
        let args = if narrow { small.map(u64::from) } else { args };
        for (_, rules) in POLICIES {
            let program = Program::compile(rules, false);
            prop_assert_eq!(decoded(run(&program.0, arch, number, &args)), rules.verdict(arch, number, &args));
        }
    }
}
