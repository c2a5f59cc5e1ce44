//! Writes the page. It needs nothing from outside and works under the strictest policy a grain's page has.

use capnp::Error;
use percloud_schemas::util_capnp::localized_text;

use crate::config::PowerboxApi;

const PAGE: &str = include_str!("page.html");

const CHOICES: &str = "<h1 id=\"question\">Which one would you like to connect?</h1>\n\
    <p class=\"lead\">The app that asked will use your choice in your name.</p>\n";

const NOTHING: &str = "<h1>There is nothing here you can connect</h1>\n\
    <p class=\"lead\">What this app lends to others needs permissions you do not have here. \
    Whoever shared this with you can give you more.</p>\n";

/// One line of the page.
pub(super) struct Choice {
    name: String,
    title: String,
    details: Vec<String>,
}

impl Choice {
    /// Describes `api` in the first of `languages` it has words in.
    pub(super) fn of(api: &PowerboxApi, languages: &[String]) -> Result<Self, Error> {
        let display = api.display.get_root_as_reader()?;
        let mut title = localized(display.get_title()?, languages)?;
        if title.is_empty() {
            title.clone_from(&api.name);
        }
        let mut details = vec![
            localized(display.get_description()?, languages)?,
            localized(display.get_verb_phrase()?, languages)?,
        ];
        details.retain(|text| !text.is_empty());
        Ok(Self {
            name: api.name.clone(),
            title,
            details,
        })
    }
}

/// Returns the whole page.
pub(super) fn render(choices: &[Choice]) -> String {
    let mut content = String::new();
    if choices.is_empty() {
        content.push_str(NOTHING);
    } else {
        content.push_str(CHOICES);
        content.push_str("<ul aria-labelledby=\"question\">\n");
        for choice in choices {
            content.push_str("<li><button type=\"button\" data-name=\"");
            escape(&choice.name, &mut content);
            content.push_str("\"><span class=\"title\">");
            escape(&choice.title, &mut content);
            content.push_str("</span>");
            for detail in &choice.details {
                content.push_str("<span class=\"detail\">");
                escape(detail, &mut content);
                content.push_str("</span>");
            }
            content.push_str("</button></li>\n");
        }
        content
            .push_str("</ul>\n<noscript><p>This page needs JavaScript to send your choice.</p></noscript>\n");
    }
    PAGE.replace("<!-- content -->", &content)
}

/// Chooses the translation a person reads best; the default text if there is none.
fn localized(text: localized_text::Reader<'_>, languages: &[String]) -> Result<String, Error> {
    for language in languages {
        let tag = language.split(';').next().unwrap_or_default().trim();
        for localization in text.get_localizations()? {
            let locale = localization.get_locale()?.to_string()?;
            if locale.eq_ignore_ascii_case(tag) || primary(&locale).eq_ignore_ascii_case(primary(tag)) {
                return Ok(localization.get_text()?.to_string()?);
            }
        }
        // The default text is not marked with its language; in nearly every package it is English.
        if primary(tag).eq_ignore_ascii_case("en") {
            break;
        }
    }
    Ok(text.get_default_text()?.to_string()?)
}

/// Returns the language of a tag without its region: `de` for `de-AT` and `de_AT`.
fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or_default()
}

/// Appends `text` as it may stand in HTML, between tags and inside a quoted attribute.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use capnp::message::TypedBuilder;

    use super::*;

    #[test]
    fn names_from_the_package_stay_text() {
        let hostile = "\"><script>alert('1')</script>&";
        let page = render(&[Choice {
            name: hostile.into(),
            title: hostile.into(),
            details: vec![hostile.into()],
        }]);
        assert!(!page.contains("<script>alert"));
        let escaped = "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;";
        assert_eq!(page.matches(escaped).count(), 3);
    }

    #[test]
    fn nothing_comes_from_outside() {
        for page in [render(&[]), PAGE.to_owned()] {
            for outside in ["http:", "https:", "src=", "@import", "url("] {
                assert!(!page.contains(outside), "{outside}");
            }
        }
    }

    #[test]
    fn the_reader_s_language_goes_before_the_default() {
        let mut message = TypedBuilder::<localized_text::Owned>::new_default();
        let mut text = message.init_root();
        text.set_default_text("Calendar");
        let mut others = text.init_localizations(2);
        others.reborrow().get(0).set_locale("de");
        others.reborrow().get(0).set_text("Kalender");
        others.reborrow().get(1).set_locale("fr_CA");
        others.get(1).set_text("Calendrier");
        for (languages, expected) in [
            (&["de-AT", "en;q=0.5"][..], "Kalender"),
            (&["pt", "fr"], "Calendrier"),
            (&["en-GB", "de"], "Calendar"),
            (&["ja"], "Calendar"),
            (&[], "Calendar"),
        ] {
            let languages: Vec<String> = languages.iter().map(|language| (*language).to_owned()).collect();
            let text = message.get_root_as_reader().unwrap();
            assert_eq!(localized(text, &languages).unwrap(), expected, "{languages:?}");
        }
    }
}
