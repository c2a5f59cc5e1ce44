//! From the address in a request to the path of a file below the published folder.

use crate::percent::decode;

/// The path of the file meant, without a slash in front; `None` for addresses that no file has. One file has one
/// address: nothing is tidied up, and a slash in a name is none of ours.
pub(super) fn file(address: &str) -> Option<String> {
    let rest = address.strip_prefix('/')?;
    let mut path = String::with_capacity(rest.len());
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if last && segment.is_empty() {
            path.push_str("index.html");
            break;
        }
        let name = decode(segment)?;
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return None;
        }
        path.push_str(&name);
        if !last {
            path.push('/');
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_one_address() {
        for (address, path) in [
            ("/", Some("index.html")),
            ("/a", Some("a")),
            ("/a/", Some("a/index.html")),
            ("/a/b.html", Some("a/b.html")),
            ("/a%20b/%C3%BC", Some("a b/\u{fc}")),
            ("/%2e%2e", None),
            ("/..", None),
            ("/a/../b", None),
            ("/./a", None),
            ("/a//b", None),
            ("//", None),
            ("//evil.example", None),
            ("/a%2fb", None),
            ("/a%00", None),
            ("/%", None),
            ("/%4", None),
            ("/%zz", None),
            ("/%ff", None),
            ("/...", Some("...")),
            ("", None),
            ("a", None),
            ("*", None),
        ] {
            assert_eq!(file(address).as_deref(), path, "{address}");
        }
    }
}
