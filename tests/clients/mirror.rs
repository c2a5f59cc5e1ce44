//! An app that shows what reaches it: busybox's web server, with a script that prints its environment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use percloud_tests::built;
use tempfile::TempDir;

const DEFINITION: &str = r#"@0xa7c3f0915be2d846;
using Spk = import "/sandstorm/package.capnp";
const pkgdef :Spk.PackageDefinition = (
  id = "APP-ID",
  manifest = (
    appTitle = (defaultText = "Mirror"),
    appVersion = 1,
    appMarketingVersion = (defaultText = "1.0"),
    actions = [(nounPhrase = (defaultText = "mirror"), command = .command)],
    continueCommand = .command
  ),
  sourceMap = (searchPath = [(sourcePath = "root")]),
  alwaysInclude = ["."],
  bridgeConfig = (viewInfo = (), apiPath = "/cgi-bin/")
);
const command :Spk.Manifest.Command = (
  argv = ["/sandstorm-http-bridge", "8000", "--", "/busybox", "httpd", "-f", "-p", "127.0.0.1:8000", "-h", "/www"],
  environ = [(key = "PATH", value = "/")]
);
"#;

/// The app's package, and the folder it lies in.
#[derive(Debug)]
pub struct Mirror {
    folder: TempDir,
}

impl Mirror {
    /// Packs it, with a key of its own.
    pub fn pack() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("percloud-mirror-")
            .tempdir()
            .expect("a temporary folder can be made");
        let place = |relative: &str| folder.path().join(relative);
        fs::create_dir_all(place("root/www/cgi-bin")).expect("folders can be made");
        let busybox = built::target("samples/webdav/root/bin/busybox");
        fs::copy(&busybox, place("root/busybox"))
            .unwrap_or_else(|error| panic!("cannot copy {}: {error}", busybox.display()));
        let script = place("root/www/cgi-bin/seen");
        fs::write(
            &script,
            "#!/busybox sh\necho 'Content-Type: text/plain'\necho\n/busybox env\n",
        )
        .expect("the script can be written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode can be set");
        let printed = spk(folder.path(), &["keygen", "-k", "keyring"]);
        let id = printed.lines().map(str::trim).rfind(|line| line.len() == 52);
        let definition = DEFINITION.replace("APP-ID", id.expect("keygen prints the app id"));
        fs::write(place("sandstorm-pkgdef.capnp"), definition).expect("the definition can be written");
        let bridge = built::grain_program("sandstorm-http-bridge");
        let bridge = bridge.to_string_lossy();
        spk(
            folder.path(),
            &[
                "pack",
                "-p",
                "sandstorm-pkgdef.capnp:pkgdef",
                "-k",
                "keyring",
                "--bridge",
                &bridge,
                "app.spk",
            ],
        );
        Mirror { folder }
    }

    /// Where the package is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("app.spk")
    }
}

fn spk(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(built::program("spk"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("spk can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "spk {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
