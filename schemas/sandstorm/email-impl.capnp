@0x92829022d203a580;

using EmailVerifier = import "email.capnp".EmailVerifier;
using SystemPersistent = import "supervisor.capnp".SystemPersistent;
using VerifiedEmail = import "email.capnp".VerifiedEmail;

interface PersistentEmailVerifier @0xd76bb6182f0aece3 extends(EmailVerifier, SystemPersistent) {
  # An `EmailVerifier` as the platform sees it: one that apps can save.
}

interface PersistentVerifiedEmail @0xe536db3eed324f9b extends(VerifiedEmail, SystemPersistent) {
  # A `VerifiedEmail` as the platform sees it: one that apps can save.
}
