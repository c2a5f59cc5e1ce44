//! Types of published files, by what their names end in.

/// The type of a file: bytes where the ending is not known, none where there is no ending (sheet 5.7).
pub(super) fn of(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (_, ending) = name.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    let known = TYPES.iter().find(|(known, _)| *known == ending);
    Some(known.map_or("application/octet-stream", |(_, kind)| kind))
}

/// What is text says in which encoding; everything else says what it is.
const TYPES: [(&str, &str); 73] = [
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("appcache", "text/cache-manifest; charset=UTF-8"),
    ("atom", "application/atom+xml; charset=UTF-8"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css; charset=UTF-8"),
    ("csv", "text/csv; charset=UTF-8"),
    ("doc", "application/msword"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=UTF-8"),
    ("html", "text/html; charset=UTF-8"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar; charset=UTF-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=UTF-8"),
    ("json", "application/json; charset=UTF-8"),
    ("jsonld", "application/ld+json; charset=UTF-8"),
    ("jxl", "image/jxl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json; charset=UTF-8"),
    ("md", "text/markdown; charset=UTF-8"),
    ("mid", "audio/midi"),
    ("mjs", "text/javascript; charset=UTF-8"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    (
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    ("rss", "application/rss+xml; charset=UTF-8"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml; charset=UTF-8"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("tsv", "text/tab-separated-values; charset=UTF-8"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=UTF-8"),
    ("vcf", "text/vcard; charset=UTF-8"),
    ("vtt", "text/vtt; charset=UTF-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json; charset=UTF-8"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml; charset=UTF-8"),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("xml", "application/xml; charset=UTF-8"),
    ("xz", "application/x-xz"),
    ("yaml", "text/yaml; charset=UTF-8"),
    ("zip", "application/zip"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_say_what_a_file_is() {
        for (path, kind) in [
            ("index.html", Some("text/html; charset=UTF-8")),
            ("a/b.JS", Some("text/javascript; charset=UTF-8")),
            ("a.b/c.png", Some("image/png")),
            ("a.tar.gz", Some("application/gzip")),
            ("a.unknown", Some("application/octet-stream")),
            ("a.", Some("application/octet-stream")),
            ("README", None),
            ("a.html/README", None),
        ] {
            assert_eq!(of(path), kind, "{path}");
        }
        assert!(TYPES.iter().map(|(ending, _)| ending).is_sorted());
    }
}
