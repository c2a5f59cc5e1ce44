@0xc1d7a94e83b2f605;
# How TiddlyWiki becomes a package. `cargo xtask samples tiddlywiki` copies this file to target/samples/tiddlywiki, stages
# the files in `root` beside it, writes the id of this checkout's signing key to `app-id`, and packs.

using Spk = import "/sandstorm/package.capnp";

const pkgdef :Spk.PackageDefinition = (
  id = embed "app-id",
  manifest = (
    appTitle = (defaultText = "TiddlyWiki"),
    appVersion = 1,
    appMarketingVersion = (defaultText = "5.3.8"),
    actions = [(
      nounPhrase = (defaultText = "notebook"),
      command = .command
    )],
    continueCommand = .command,
    metadata = (
      icons = (
        appGrid = (svg = embed "icon.svg"),
        grain = (svg = embed "icon.svg"),
        market = (svg = embed "icon.svg")
      ),
      website = "https://tiddlywiki.com",
      codeUrl = "https://github.com/TiddlyWiki/TiddlyWiki5",
      license = (openSource = bsd3Clause),
      categories = [office],
      author = (upstreamAuthor = "Jeremy Ruston and the TiddlyWiki community"),
      shortDescription = (defaultText = "A non-linear notebook"),
      description = (defaultText = "A notebook of small linked notes, each one a tiddler, which you can sort, tag and combine as you think.")
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
      (key = "LANG", value = "C.UTF-8"),
      (key = "TIDDLYWIKI_NO_COLOR", value = "1")
  ]
);
