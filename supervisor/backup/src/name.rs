//! Decides what an entry's name may be and where it belongs.

use crate::error::Refusal;
use crate::limits::Limits;

/// Prefix of everything in a grain's storage.
pub(crate) const DATA: &[u8] = b"data";
/// What the backup says of itself.
pub(crate) const METADATA: &[u8] = b"metadata";
/// What the app wrote to its standard output.
pub(crate) const LOG: &[u8] = b"log";

/// Longest component of a path on Linux.
const COMPONENT: usize = 255;

/// Where an entry belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// The description.
    Metadata,
    /// The storage, below its root by this path; empty for the root. Without slashes at either end.
    Storage(&'a [u8]),
    /// Nothing that is restored.
    Elsewhere,
}

/// Checks a name. What is never restored must be harmless too: a file with such a name was made to do harm.
pub(crate) fn place<'a>(name: &'a [u8], limits: &Limits) -> Result<Place<'a>, Refusal> {
    if name.is_empty() {
        return Err(Refusal::Name("is empty"));
    }
    if name.len() > limits.name {
        return Err(Refusal::Name("is too long"));
    }
    if name.contains(&0) {
        return Err(Refusal::Name("contains a zero byte"));
    }
    if name[0] == b'/' {
        return Err(Refusal::Name("begins at the root directory"));
    }
    let path = name.strip_suffix(b"/").unwrap_or(name);
    let mut components = 0;
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => return Err(Refusal::Name("has an empty part")),
            b".." => return Err(Refusal::Name("leads out of its folder")),
            long if long.len() > COMPONENT => return Err(Refusal::Name("has a part that is too long")),
            _ => components += 1,
        }
    }
    if components - 1 > limits.depth {
        return Err(Refusal::Depth(limits.depth));
    }
    Ok(match path {
        METADATA => Place::Metadata,
        DATA => Place::Storage(b""),
        _ => match path.strip_prefix(b"data/") {
            Some(below) => Place::Storage(below),
            None => Place::Elsewhere,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_somewhere_or_are_refused() {
        let limits = Limits {
            depth: 3,
            name: 600,
            ..Limits::default()
        };
        let place = |name: &'static [u8]| super::place(name, &limits);
        assert_eq!(place(b"metadata"), Ok(Place::Metadata));
        assert_eq!(place(b"data/"), Ok(Place::Storage(b"")));
        assert_eq!(place(b"data/a/b/"), Ok(Place::Storage(b"a/b")));
        assert_eq!(place(b"data/\xff \\..\\x"), Ok(Place::Storage(b"\xff \\..\\x")));
        assert_eq!(place(b"data/..."), Ok(Place::Storage(b"...")));
        assert_eq!(place(b"log"), Ok(Place::Elsewhere));
        assert_eq!(place(b"datax/a"), Ok(Place::Elsewhere));
        assert_eq!(place(b"data/a/b/c"), Ok(Place::Storage(b"a/b/c")));
        assert_eq!(place(b"data/a/b/c/d"), Err(Refusal::Depth(3)));
        for bad in [
            b"".as_slice(),
            b"/data/a",
            b"/",
            b"data//a",
            b"data/a//",
            b"data/./a",
            b"data/../a",
            b"..",
            b"../data",
            b"data/..",
            b"data/../",
            b"data/a\0b",
        ] {
            assert!(
                matches!(super::place(bad, &limits), Err(Refusal::Name(_))),
                "{bad:?}"
            );
        }
        let long = [b"data/".as_slice(), &[b'x'; 256]].concat();
        assert!(super::place(&long, &limits).is_err());
        assert!(super::place(&long[..long.len() - 1], &limits).is_ok());
        let long = [b"data/".as_slice(), &b"xxxxxxxxx/".repeat(60)].concat();
        assert_eq!(super::place(&long, &limits), Err(Refusal::Name("is too long")));
    }
}
