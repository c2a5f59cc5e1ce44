@0xbb368e3a12c66692;

using ByteStream = import "util.capnp".ByteStream;
using PackageId = import "package.capnp".PackageId;

interface AppIndex @0xf8a1dc86a4fbd50c {
  upload @0 () -> (stream :UploadStream);
  interface UploadStream @0x92539be464d32fb5 extends(ByteStream) {
    getResult @0 () -> ();
  }
  interface Submission @0xf51278d0875bfcf3 {
    checkStatus @0 () -> (status :SubmissionStatus);
    setState @1 (state :SubmissionState) -> ();
  }
}
enum SubmissionState @0xe3ea7b807c4c34c1 {
  ignore @0;
  review @1;
  publish @2;
}
struct SubmissionRequest @0xeb3312cf8f466edc {
  packageId @0 :PackageId;
  appIndexWebkeyHash @3 :Data;
  union {
    checkStatus @1 :Void;
    setState :group {
      newState @2 :SubmissionState;
      sequenceNumber @4 :UInt64;
    }
  }
}
struct SubmissionStatus @0x9c3bec0d7de33b66 {
  requestState @0 :SubmissionState;
  publishDate @4 :Int64;
  nextSequenceNumber @6 :UInt64;
  union {
    pending @1 :Void;
    needsUpdate @2 :Text;
    approved @3 :Text;
    notUploaded @5 :Void;
  }
}
