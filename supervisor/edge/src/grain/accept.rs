//! Reads lists with weights: `Accept` and `Accept-Encoding` (RFC 9110 section 12.5).

use hyper::header::{GetAll, HeaderValue};

/// Names with their weights, from 0 to 1, in the order they were sent.
pub(crate) type Weighed = Box<[(Box<str>, f32)]>;

/// More entries than any browser sends are left out.
const ENTRIES: usize = 64;

/// Reads all headers of a name; what is not text is left out.
pub(crate) fn read(values: GetAll<'_, HeaderValue>) -> Weighed {
    values
        .into_iter()
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(entries)
        .map(|(name, weight)| (name.into(), weight))
        .collect()
}

/// The entries of one list.
///
/// Parameters before `q` belong to the entry; what follows `q` is for extensions nobody uses and is left out.
fn entries(list: &str) -> impl Iterator<Item = (&str, f32)> {
    list.split(',').filter_map(entry).take(ENTRIES)
}

fn entry(text: &str) -> Option<(&str, f32)> {
    let text = text.trim();
    let mut from = 0;
    while let Some(semicolon) = text[from..].find(';').map(|at| at + from) {
        let parameter = text[semicolon + 1..].trim_start();
        if let Some(weight) = parameter
            .strip_prefix("q=")
            .or_else(|| parameter.strip_prefix("Q="))
        {
            let weight = weight.split(';').next().unwrap_or_default().trim().parse().ok();
            let weight = weight
                .filter(|weight: &f32| weight.is_finite())
                .unwrap_or(1.0)
                .clamp(0.0, 1.0);
            return some(text[..semicolon].trim_end(), weight);
        }
        from = semicolon + 1;
    }
    some(text, 1.0)
}

fn some(name: &str, weight: f32) -> Option<(&str, f32)> {
    (!name.is_empty()).then_some((name, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_order_weight_and_parameters() {
        let list = "text/html, application/xhtml+xml;q=0.9, text/plain;format=flowed;q=0.5;x=y,*/* ; q=0.1,, a;q=x, b;q=7";
        let expected = [
            ("text/html", 1.0),
            ("application/xhtml+xml", 0.9),
            ("text/plain;format=flowed", 0.5),
            ("*/*", 0.1),
            ("a", 1.0),
            ("b", 1.0),
        ];
        assert_eq!(entries(list).collect::<Vec<_>>(), expected);
        assert_eq!(entries("").count(), 0);
        assert_eq!(entries("a;q=NaN").collect::<Vec<_>>(), [("a", 1.0)]);
        assert_eq!(entries(&"a,".repeat(1000)).count(), ENTRIES);
    }
}
