@0xe6a05d3c7b94128f;
# How cgit becomes a package. `cargo xtask samples cgit` copies this file to target/samples/cgit, stages
# the files in `root` beside it, writes the id of this checkout's signing key to `app-id`, and packs.

using Spk = import "/sandstorm/package.capnp";

const pkgdef :Spk.PackageDefinition = (
  id = embed "app-id",
  manifest = (
    appTitle = (defaultText = "cgit"),
    appVersion = 1,
    appMarketingVersion = (defaultText = "1.2.3"),
    actions = [(
      nounPhrase = (defaultText = "Git browser"),
      command = .command
    )],
    continueCommand = .command,
    metadata = (
      icons = (
        appGrid = (svg = embed "icon.svg"),
        grain = (svg = embed "icon.svg"),
        market = (svg = embed "icon.svg")
      ),
      website = "https://git.zx2c4.com/cgit/about/",
      codeUrl = "https://git.zx2c4.com/cgit/",
      license = (openSource = gpl2),
      categories = [developerTools],
      author = (upstreamAuthor = "Lars Hjemli, Jason A. Donenfeld and others"),
      shortDescription = (defaultText = "Browse Git repositories"),
      description = (defaultText = "A fast web view of Git repositories: logs, trees, diffs and snapshots; git itself fetches and pushes with a device password.")
    )
  ),
  sourceMap = (
    searchPath = [(
      sourcePath = "root"
    )]
  ),
  alwaysInclude = ["."],
  bridgeConfig = (
    viewInfo = (
      permissions = [(
        name = "write",
        title = (defaultText = "push"),
        description = (defaultText = "allows pushing commits")
      )],
      roles = [(
        title = (defaultText = "committer"),
        verbPhrase = (defaultText = "can push"),
        permissions = [true],
        default = true
      ), (
        title = (defaultText = "reader"),
        verbPhrase = (defaultText = "can read and fetch"),
        permissions = [false]
      )]
    ),
    # git is served below the same addresses as pages.
    apiPath = "/"
  )
);

const command :Spk.Manifest.Command = (
  argv = ["/sandstorm-http-bridge", "8000", "--", "/opt/start.sh"],
  environ = [
      (key = "PATH", value = "/usr/local/bin:/usr/bin:/bin"),
      (key = "SANDSTORM", value = "1"),
      (key = "HOME", value = "/var"),
      (key = "LANG", value = "C.UTF-8")
  ]
);
