@0xbb368e3a12c66692;
# Handing a package in to an app index, as `spk publish` does over HTTP.

using ByteStream = import "util.capnp".ByteStream;
using PackageId = import "package.capnp".PackageId;

interface AppIndex @0xf8a1dc86a4fbd50c {
  # An index towards authors. Over HTTP: POST `/upload` with the package, POST `/status` with a
  # `SubmissionRequest`.

  upload @0 () -> (stream :UploadStream);
  # Takes a package file.

  interface UploadStream @0x92539be464d32fb5 extends(ByteStream) {
    getResult @0 () -> ();
    # Returns when the package has been verified and kept; fails with what is wrong with it.
  }

  interface Submission @0xf51278d0875bfcf3 {
    # One package in the index, for its author.

    checkStatus @0 () -> (status :SubmissionStatus);
    setState @1 (state :SubmissionState) -> ();
  }
}

enum SubmissionState @0xe3ea7b807c4c34c1 {
  # What the author wants done with a package.

  ignore @0;
  # Not to be shown; withdraws it.

  review @1;
  # To be looked at, not shown yet.

  publish @2;
  # To be shown once approved.
}

struct SubmissionRequest @0xeb3312cf8f466edc {
  # Sent packed, followed by a detached Ed25519 signature of 64 bytes by the app's key.

  packageId @0 :PackageId;

  appIndexWebkeyHash @3 :Data;
  # BLAKE2b-128 of "endpoint#token" of the web key in use: binds the request to one index.

  union {
    checkStatus @1 :Void;

    setState :group {
      newState @2 :SubmissionState;

      sequenceNumber @4 :UInt64;
      # Rises from request to request, so that none can be replayed. `spk` uses seconds since the
      # Unix epoch.
    }
  }
}

struct SubmissionStatus @0x9c3bec0d7de33b66 {
  # The index's answer, packed; its first byte is 0, which tells it from an error in words.

  requestState @0 :SubmissionState;
  # What the author asked for last.

  publishDate @4 :Int64;
  # When it came, or will come, to be shown.

  nextSequenceNumber @6 :UInt64;
  # The least the next request may have.

  union {
    pending @1 :Void;
    # Not looked at yet.

    needsUpdate @2 :Text;
    # Refused for now, with the reason.

    approved @3 :Text;
    # Accepted, perhaps with a remark.

    notUploaded @5 :Void;
    # The index does not have this package: upload it, then ask again.
  }
}
