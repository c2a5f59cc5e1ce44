//! Reads lists with weights: `Accept` and `Accept-Encoding` (RFC 9110 section 12.5).

/// More entries than any client sends are left out.
const ENTRIES: usize = 64;

/// Returns the entries in their order, each with its weight from 0 to 1. Parameters before `q` belong to the entry.
pub(crate) fn entries(list: &str) -> impl Iterator<Item = (&str, f32)> {
    list.split(',').filter_map(entry).take(ENTRIES)
}

fn entry(text: &str) -> Option<(&str, f32)> {
    let mut end = text.len();
    let mut weight = 1.0;
    let mut from = 0;
    while let Some(semicolon) = text.get(from..)?.find(';').map(|at| from + at) {
        let parameter = text.get(semicolon + 1..)?.trim_start();
        if let Some(value) = parameter
            .strip_prefix("q=")
            .or_else(|| parameter.strip_prefix("Q="))
        {
            end = semicolon;
            let value = value.split(';').next()?.trim().parse();
            weight = value
                .ok()
                .filter(|value: &f32| value.is_finite())
                .unwrap_or(1.0)
                .clamp(0.0, 1.0);
            break;
        }
        from = semicolon + 1;
    }
    let name = text.get(..end)?.trim();
    (!name.is_empty()).then_some((name, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_order_weight_and_parameters() {
        let list = "text/html, text/plain;format=flowed;q=0.5;x=y,*/* ; q=0.1,, a;q=x, b;q=7, c;q=NaN";
        let expected = [
            ("text/html", 1.0),
            ("text/plain;format=flowed", 0.5),
            ("*/*", 0.1),
            ("a", 1.0),
            ("b", 1.0),
            ("c", 1.0),
        ];
        assert_eq!(entries(list).collect::<Vec<_>>(), expected);
        assert_eq!(entries("").count(), 0);
        assert_eq!(entries(&"a,".repeat(1000)).count(), ENTRIES);
    }
}
