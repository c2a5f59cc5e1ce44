@0xb38f4c1a2d5e6f71;
# How Radicale becomes a package. `cargo xtask samples radicale` copies this file to target/samples/radicale, stages
# the files in `root` beside it, writes the id of this checkout's signing key to `app-id`, and packs.

using Spk = import "/sandstorm/package.capnp";

const pkgdef :Spk.PackageDefinition = (
  id = embed "app-id",
  manifest = (
    appTitle = (defaultText = "Radicale"),
    appVersion = 1,
    appMarketingVersion = (defaultText = "3.9.0"),
    actions = [(
      nounPhrase = (defaultText = "calendar"),
      command = .command
    )],
    continueCommand = .command,
    metadata = (
      icons = (
        appGrid = (svg = embed "icon.svg"),
        grain = (svg = embed "icon.svg"),
        market = (svg = embed "icon.svg")
      ),
      website = "https://radicale.org",
      codeUrl = "https://github.com/Kozea/Radicale",
      license = (openSource = gpl3),
      categories = [productivity],
      author = (upstreamAuthor = "Guillaume Ayoub, Unrud, Peter Bieringer and others"),
      shortDescription = (defaultText = "Calendars and contacts"),
      description = (defaultText = "A small CalDAV and CardDAV server: calendars, to-do lists and address books, kept as plain files and open to the clients you already use.")
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
    viewInfo = (),
    # Calendar and contact clients are served the same tree as pages.
    apiPath = "/"
  )
);

const command :Spk.Manifest.Command = (
  argv = ["/sandstorm-http-bridge", "8000", "--", "/usr/bin/python3.11", "-m", "radicale", "--config", "/etc/radicale/config"],
  environ = [
      (key = "PATH", value = "/usr/local/bin:/usr/bin:/bin"),
      (key = "SANDSTORM", value = "1"),
      (key = "HOME", value = "/var"),
      (key = "LANG", value = "C.UTF-8"),
      (key = "PYTHONDONTWRITEBYTECODE", value = "1")
  ]
);
