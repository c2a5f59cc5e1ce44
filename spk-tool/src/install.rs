//! Checks and unpacks a package for a server: the whole job of its unpack worker, in one call.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bridge_config::{self, BridgeInfo};
use crate::error::SpkError;
use crate::limits::Limits;
use crate::manifest::{self, Icon, Icons, Manifest, check_commands};
use crate::sandbox::{self, Sandbox};
use crate::unpack::{Access, unpack};
use crate::verify::{Contents, VerifiedSpk, verify};
use crate::{AppId, PackageId};

/// What a server keeps of a package beside its files. A few KiB as a rule, and less than the
/// manifest's limit of 8 MiB always.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageInfo {
    /// The package's own id.
    pub package_id: PackageId,
    /// The app, after replaced keys were followed: compare this one.
    pub app_id: AppId,
    /// The key that signed the package.
    pub signer: AppId,
    /// Bytes of the `.spk` file.
    pub size: u64,
    /// Bytes of all unpacked files.
    pub unpacked_size: u64,
    /// Number of unpacked files.
    pub files: u64,
    /// What the app says about itself.
    pub manifest: Manifest,
    /// Who may do what, if the app speaks through the bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgeInfo>,
    /// Which rules for system calls its app runs under. Packages installed before there was a choice have Sandstorm's.
    #[serde(default)]
    pub sandbox: Sandbox,
    /// Pictures, beside the tree in the folder `icons`.
    pub icons: Vec<IconFile>,
}

impl PackageInfo {
    /// Returns the picture for `kind`, or the one that stands in for it.
    #[must_use]
    pub fn icon(&self, kind: IconKind) -> Option<&IconFile> {
        let own = self.icons.iter().find(|icon| icon.kind == kind);
        match (own, kind) {
            (Some(icon), _) => Some(icon),
            (None, IconKind::AppGrid) => None,
            (None, IconKind::Grain | IconKind::Market) => self.icon(IconKind::AppGrid),
            (None, IconKind::MarketBig) => self.icon(IconKind::Market),
        }
    }
}

/// What a picture is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IconKind {
    /// The list of apps.
    AppGrid,
    /// The list of grains.
    Grain,
    /// A shop.
    Market,
    /// A shop's large picture.
    MarketBig,
}

impl IconKind {
    /// Returns the name in file names and addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AppGrid => "appGrid",
            Self::Grain => "grain",
            Self::Market => "market",
            Self::MarketBig => "marketBig",
        }
    }
}

/// A picture in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IconFile {
    /// What it is for.
    pub kind: IconKind,
    /// Name of the file in the folder `icons`: `appGrid.svg`, `grain.png`.
    pub file: String,
    /// `image/svg+xml` or `image/png`.
    pub media_type: String,
    /// Name of the file for dense screens: `grain@2x.png`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub double_file: Option<String>,
}

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes done in this stage.
    pub done: u64,
    /// Bytes to do in this stage.
    pub total: u64,
}

/// The stages, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Reading, decompressing and checking the package.
    Verify,
    /// Writing its files.
    Unpack,
    /// Waiting for the disk.
    Sync,
}

/// Folder of the unpacked tree, inside the staging folder.
pub const TREE: &str = "tree";
/// Folder of the pictures, inside the staging folder.
pub const ICONS: &str = "icons";

/// Checks `spk` and unpacks it below `staging`, an empty folder that the caller made for this.
///
/// Creates `staging/tree/` with the package's files and `staging/icons/` with its pictures, all on the disk when this
/// returns. Nothing is created before the signature is verified and the manifest found usable, except an unnamed
/// temporary file in `staging`. After an error, neither folder is left.
///
/// # Errors
/// Whatever is wrong with the package, or with the disk.
pub fn check_and_unpack(
    spk: File,
    staging: &Path,
    mut progress: impl FnMut(Progress),
) -> Result<PackageInfo, SpkError> {
    let size = spk
        .metadata()
        .map_err(|error| SpkError::io("read the package", error))?
        .len();
    let verified = verify(spk, staging, &Limits::default(), &mut |done| {
        progress(Progress {
            stage: Stage::Verify,
            done,
            total: size.max(done),
        });
    })?;
    let described = describe(&verified)?;
    let total = verified.contents().bytes;
    unpack(&verified, &staging.join(TREE), Access::Shared, &mut |done| {
        progress(Progress {
            stage: Stage::Unpack,
            done,
            total,
        });
    })?;
    progress(Progress {
        stage: Stage::Sync,
        done: 0,
        total,
    });
    let finished = write_icons(staging, &described.icons).and_then(|icons| sync(staging).map(|()| icons));
    let icons = finished.inspect_err(|_| {
        // What cannot be removed is rubbish in a staging folder, which is emptied at the next start.
        let _ = fs::remove_dir_all(staging.join(TREE));
        let _ = fs::remove_dir_all(staging.join(ICONS));
    })?;
    progress(Progress {
        stage: Stage::Sync,
        done: total,
        total,
    });
    let Contents { files, bytes, .. } = verified.contents();
    Ok(PackageInfo {
        package_id: verified.package_id(),
        app_id: verified.app_id(),
        signer: verified.signer(),
        size: verified.size(),
        unpacked_size: bytes,
        files,
        manifest: described.manifest,
        bridge: described.bridge,
        sandbox: described.sandbox,
        icons,
    })
}

/// A package's own words and pictures.
#[derive(Clone, Debug)]
pub struct Description {
    /// What the app says about itself.
    pub manifest: Manifest,
    /// Its pictures.
    pub icons: Icons,
    /// What it told the bridge, if it uses one.
    pub bridge: Option<BridgeInfo>,
    /// Which rules for system calls it asks for.
    pub sandbox: Sandbox,
}

/// Reads what a verified package says about itself and makes sure that its commands can be started.
///
/// # Errors
/// Refuses a package that a server could not run.
pub fn describe(spk: &VerifiedSpk) -> Result<Description, SpkError> {
    let description = read_description(spk)?;
    check_commands(spk.archive(), &description.manifest)?;
    Ok(description)
}

/// Reads what a verified package says about itself, whether or not it could be run.
pub(crate) fn read_description(spk: &VerifiedSpk) -> Result<Description, SpkError> {
    // A message of 8 MiB has a segment table beside its words.
    let most = Limits::default().manifest + (64 << 10);
    let archive = spk.archive();
    let bytes = archive.read_root_file(manifest::FILE_NAME.as_bytes(), "manifest", most)?;
    let (manifest, icons) = manifest::parse(&bytes.ok_or(SpkError::NoManifest)?)?;
    let config = archive.read_root_file(bridge_config::FILE_NAME.as_bytes(), "bridge configuration", most)?;
    let bridge = config.as_deref().map(bridge_config::parse).transpose()?;
    let mark = archive.read_root_file(
        sandbox::FILE_NAME.as_bytes(),
        sandbox::FILE_NAME,
        sandbox::LONGEST,
    )?;
    let sandbox = mark.as_deref().map(sandbox::parse).transpose()?;
    Ok(Description {
        manifest,
        icons,
        bridge,
        sandbox: sandbox.unwrap_or_default(),
    })
}

fn write_icons(staging: &Path, icons: &Icons) -> Result<Vec<IconFile>, SpkError> {
    let folder = staging.join(ICONS);
    fs::create_dir(&folder)
        .map_err(|error| SpkError::io("create the folder for the app's pictures", error))?;
    let write = |name: &str, bytes: &[u8]| {
        File::create_new(folder.join(name))
            .and_then(|mut file| file.write_all(bytes))
            .map_err(|error| SpkError::io(format!("write the app's picture \"{name}\""), error))
    };
    let mut written = Vec::new();
    let kinds = [
        (IconKind::AppGrid, &icons.app_grid),
        (IconKind::Grain, &icons.grain),
        (IconKind::Market, &icons.market),
        (IconKind::MarketBig, &icons.market_big),
    ];
    for (kind, icon) in kinds {
        let name = kind.name();
        let (single, extension, media_type, double) = match icon {
            None => continue,
            Some(Icon::Svg(text)) => (text, "svg", "image/svg+xml", None),
            Some(Icon::Png { single, double }) => (single, "png", "image/png", double.as_ref()),
        };
        let file = format!("{name}.{extension}");
        write(&file, single)?;
        let double_file = double.map(|_| format!("{name}@2x.png"));
        if let (Some(bytes), Some(double_file)) = (double, &double_file) {
            write(double_file, bytes)?;
        }
        written.push(IconFile {
            kind,
            file,
            media_type: media_type.to_owned(),
            double_file,
        });
    }
    Ok(written)
}

/// Waits until everything below `staging` is on the disk: once for the file system instead of once per file.
fn sync(staging: &Path) -> Result<(), SpkError> {
    let failed = |error: std::io::Error| SpkError::io("wait for the unpacked files to reach the disk", error);
    let folder = File::open(staging).map_err(failed)?;
    rustix::fs::syncfs(&folder).map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests;
