@0xd4b8e19f2c6a7035;
# How the WebDAV folder becomes a package. `cargo xtask samples webdav` copies this file to target/samples/webdav, stages
# the files in `root` beside it, writes the id of this checkout's signing key to `app-id`, and packs.

using Spk = import "/sandstorm/package.capnp";

const pkgdef :Spk.PackageDefinition = (
  id = embed "app-id",
  manifest = (
    appTitle = (defaultText = "WebDAV files"),
    appVersion = 1,
    appMarketingVersion = (defaultText = "1.4.69"),
    actions = [(
      nounPhrase = (defaultText = "folder"),
      command = .command
    )],
    continueCommand = .command,
    metadata = (
      icons = (
        appGrid = (svg = embed "icon.svg"),
        grain = (svg = embed "icon.svg"),
        market = (svg = embed "icon.svg")
      ),
      website = "https://www.lighttpd.net",
      codeUrl = "https://git.lighttpd.net/lighttpd/lighttpd1.4",
      license = (openSource = bsd3Clause),
      categories = [productivity],
      author = (upstreamAuthor = "Jan Kneschke, Glenn Strauss and others"),
      shortDescription = (defaultText = "Files for every device"),
      description = (defaultText = "A folder that browsers read and that file managers and synchronisers write over WebDAV.")
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
        title = (defaultText = "change files"),
        description = (defaultText = "allows adding, changing and removing files")
      )],
      roles = [(
        title = (defaultText = "editor"),
        verbPhrase = (defaultText = "can change files"),
        permissions = [true],
        default = true
      ), (
        title = (defaultText = "reader"),
        verbPhrase = (defaultText = "can read files"),
        permissions = [false]
      )]
    ),
    # Programs are served the same tree as pages.
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
