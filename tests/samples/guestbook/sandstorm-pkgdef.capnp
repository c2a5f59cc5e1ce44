@0x9c2f6b8e41d7a035;
# How the native guestbook becomes a package. `cargo xtask samples guestbook` copies this file to
# target/samples/guestbook, stages the program in `root` beside it, writes the id of this checkout's signing
# key to `app-id`, and packs.

using Spk = import "/sandstorm/package.capnp";

const pkgdef :Spk.PackageDefinition = (
  id = embed "app-id",
  manifest = (
    appTitle = (defaultText = "Guestbook"),
    appVersion = 1,
    appMarketingVersion = (defaultText = "1.0"),
    actions = [(
      nounPhrase = (defaultText = "guestbook"),
      description = (defaultText = "A page where visitors leave a few words"),
      command = .command
    )],
    continueCommand = .command,
    metadata = (
      icons = (
        appGrid = (svg = embed "icon.svg"),
        grain = (svg = embed "icon.svg"),
        market = (svg = embed "icon.svg")
      ),
      license = (openSource = apache2),
      categories = [communications],
      author = (upstreamAuthor = "The Percloud authors"),
      shortDescription = (defaultText = "A page where visitors leave a few words"),
      description = (defaultText = "The smallest complete native app: one program that speaks Cap'n Proto to Percloud, with no web server inside.")
    )
  ),
  sourceMap = (
    searchPath = [(
      sourcePath = "root"
    )]
  ),
  alwaysInclude = ["."]
);

const command :Spk.Manifest.Command = (
  argv = ["/app"],
  environ = []
);
