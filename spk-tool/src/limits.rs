//! How much of everything a package may hold.

/// Bounds on a package that is being read.
///
/// [`Limits::default`] is what Sandstorm's own tools enforce or can write (sheet sections 1.1 and 1.2); the remaining
/// bounds are far above any real package and keep a hostile one from using memory, file descriptors or time.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the archive after decompression.
    pub archive: u64,
    /// Bytes of one regular file.
    pub file: u64,
    /// Entries of the whole archive: files, folders and links.
    pub entries: u64,
    /// Folders inside one another.
    pub depth: usize,
    /// Bytes of one name; what Linux file systems can hold.
    pub name: u64,
    /// Bytes of a symbolic link's target; what Linux can hold.
    pub link_target: u64,
    /// Bytes of the manifest and of the bridge's configuration, each.
    pub manifest: u64,
    /// KiB the xz decoder may use. The largest preset, `xz -9`, needs 64 MiB and a little.
    pub xz_memory_kib: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            archive: 1 << 30,
            file: (1 << 29) - 1,
            entries: 200_000,
            depth: 128,
            name: 255,
            link_target: 4095,
            manifest: 8 << 20,
            xz_memory_kib: 132 << 10,
        }
    }
}
