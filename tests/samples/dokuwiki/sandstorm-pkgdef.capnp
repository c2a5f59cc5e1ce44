@0xd94b7e21f0c8a357;
# How DokuWiki becomes a package. `cargo xtask samples dokuwiki` copies this file to target/samples/dokuwiki, stages
# the files in `root` beside it, writes the id of this checkout's signing key to `app-id`, and packs.

using Spk = import "/sandstorm/package.capnp";

const pkgdef :Spk.PackageDefinition = (
  id = embed "app-id",
  manifest = (
    appTitle = (defaultText = "DokuWiki"),
    appVersion = 1,
    appMarketingVersion = (defaultText = "2022-07-31a"),
    actions = [(
      nounPhrase = (defaultText = "wiki"),
      command = .command
    )],
    continueCommand = .command,
    metadata = (
      icons = (
        appGrid = (svg = embed "icon.svg"),
        grain = (svg = embed "icon.svg"),
        market = (svg = embed "icon.svg")
      ),
      website = "https://www.dokuwiki.org",
      codeUrl = "https://github.com/dokuwiki/dokuwiki",
      license = (openSource = gpl2),
      categories = [office],
      author = (upstreamAuthor = "Andreas Gohr and the DokuWiki community"),
      shortDescription = (defaultText = "A wiki in plain text files"),
      description = (defaultText = "A wiki that needs no database: pages are plain text files, with history, search, media and a friendly syntax.")
    )
  ),
  sourceMap = (
    searchPath = [(
      sourcePath = "root"
    )]
  ),
  alwaysInclude = ["."],
  bridgeConfig = (
    # The app knows no lesser roles: whoever is let in may change everything.
    viewInfo = ()
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
