//! Header fields as they were received.

use std::borrow::Cow;

/// Names, in lower case, with their values, in their order.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    pub(crate) fn new(parsed: &[httparse::Header<'_>]) -> Self {
        let fields = parsed
            .iter()
            .map(|field| (field.name.to_ascii_lowercase(), field.value.trim_ascii().to_vec()));
        Self(fields.collect())
    }

    /// Returns the values of every field called `name`, which is lower case.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, value)| value.as_slice())
    }

    /// Returns the first value of `name`.
    pub(crate) fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Returns all fields in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Returns each name of an allow-list that occurs, once, with its values joined. See
    /// [`allowed`](super::request::allowed).
    pub(crate) fn allowed<'a>(
        &'a self,
        mut is_allowed: impl FnMut(&str) -> bool,
    ) -> Vec<(&'a str, Cow<'a, [u8]>)> {
        let mut found: Vec<(&str, Cow<'_, [u8]>)> = Vec::new();
        for (name, _) in self.iter() {
            if found.iter().all(|(known, _)| *known != name) && is_allowed(name) {
                found.extend(self.joined(name).map(|value| (name, value)));
            }
        }
        found
    }

    /// Returns the values of every field called `name`, joined with `, `.
    pub(crate) fn joined(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.all(name);
        let first = values.next()?;
        let mut joined = Cow::Borrowed(first);
        for value in values {
            let joined = joined.to_mut();
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(value);
        }
        Some(joined)
    }
}
