//! The language of the few pages that the edge makes itself.

use hyper::header::HeaderValue;

/// A language that these pages speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    #[default]
    English,
    German,
}

/// Ranges of a header that are looked at.
const RANGES: usize = 32;

impl Language {
    /// What `Accept-Language` (RFC 9110 section 12.5.4) likes best of them; English where it likes none.
    pub(crate) fn preferred(header: Option<&HeaderValue>) -> Self {
        let text = header.and_then(|header| header.to_str().ok()).unwrap_or_default();
        let liked = text.split(',').take(RANGES).filter_map(weighed);
        // Of those that are liked the same the first counts.
        let best = liked.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or(Self::default(), |(language, _)| language)
    }

    /// Its tag in HTML.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }
}

/// A language of ours in a range of the header, and how much it is liked, in thousandths; none that is not wanted.
fn weighed(range: &str) -> Option<(Language, u32)> {
    let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
    let primary = tag.trim().split('-').next()?;
    let language = [Language::English, Language::German]
        .into_iter()
        .find(|language| primary.eq_ignore_ascii_case(language.tag()))?;
    let weight = match parameters.trim().strip_prefix(['q', 'Q']) {
        Some(weight) => {
            let weight = weight.strip_prefix('=')?.parse::<f32>().ok()?;
            (weight.clamp(0.0, 1.0) * 1000.0) as u32
        }
        None => 1000,
    };
    (weight > 0).then_some((language, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_liked_best_is_spoken() {
        use Language::{English, German};
        for (header, language) in [
            ("", English),
            ("de", German),
            ("DE-at, en;q=0.7", German),
            ("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", German),
            ("en-GB,en;q=0.9,de;q=0.8", English),
            ("en;q=0.3, de; q=0.5", German),
            ("fr-FR,fr;q=0.9,de;q=0.2", German),
            ("fr, *", English),
            ("de;q=0, en;q=0.1", English),
            ("de;q=0", English),
            ("de;Q=0.1, en;Q=0.2", English),
            ("de;q=much", English),
            ("de;q=NaN", English),
            ("den, deutsch", English),
            (",,;q=1,", English),
        ] {
            let value = HeaderValue::from_static(header);
            assert_eq!(Language::preferred(Some(&value)), language, "{header}");
        }
        assert_eq!(Language::preferred(None), English);
        let value = HeaderValue::from_bytes(b"de\xff").unwrap();
        assert_eq!(Language::preferred(Some(&value)), English);
    }

    #[test]
    fn no_more_of_a_header_is_read_than_anybody_needs() {
        let late = format!("{}de", "fr,".repeat(RANGES));
        let value = HeaderValue::try_from(late).unwrap();
        assert_eq!(Language::preferred(Some(&value)), Language::English);
    }
}
