//! Lists of processors as control groups write them: `0-3,7` (cpuset(7), "List format").

/// The processors of `list` without the first of them; `None` where none is left, or it is not such a list.
pub(in crate::cgroup) fn all_but_one(list: &str) -> Option<String> {
    let (first, rest) = list
        .split_once(',')
        .map_or((list, None), |(first, rest)| (first, Some(rest)));
    let (low, high) = first.split_once('-').unwrap_or((first, first));
    let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
    let others = (low < high).then(|| format!("{}-{high}", low + 1));
    let left: Vec<_> = others.as_deref().into_iter().chain(rest).collect();
    (!left.is_empty()).then(|| left.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_processor_is_left_out() {
        for (all, most) in [
            ("0-1", Some("1-1")),
            ("0-3", Some("1-3")),
            ("0-3,7", Some("1-3,7")),
            ("2,5-6", Some("5-6")),
            ("0,1", Some("1")),
            ("0", None),
            ("", None),
            ("3-3", None),
            ("a-b", None),
            ("4294967295-4294967295", None),
        ] {
            assert_eq!(all_but_one(all).as_deref(), most, "{all}");
        }
    }
}
