@0xdd10df585a82c6d8;
# E-mail as data, and ports that take it.

using Handle = import "util.capnp".Handle;

struct EmailAddress @0xacaddcee86563ee1 {
  # A mailbox (RFC 5322 section 3.4).

  address @0 :Text;
  # "ada@example.com"

  name @1 :Text;
  # "Ada Lovelace"; empty if none. Not verified.
}

struct EmailAttachment @0xb309c51a9d28244f {
  # A part of a message that is neither of its two texts.

  contentType @0 :Text;

  contentDisposition @1 :Text;
  # The whole header value, file name included: `attachment; filename="plan.pdf"`.

  contentId @2 :Text;
  # What `html` calls it by, without angle brackets; empty if nothing does.

  content @3 :Data;
  # Decoded.
}

struct EmailMessage @0xcff459e769562d2f {
  # A message, parsed. What came in from the network is its sender's word throughout.

  date @0 :Int64;
  # In nanoseconds since the Unix epoch.

  from @1 :EmailAddress;
  # When sending: null lets the port fill in its own address, and addresses the port does not own
  # are refused.

  to @2 :List(EmailAddress);
  cc @3 :List(EmailAddress);

  bcc @4 :List(EmailAddress);
  # The recipients that are not told to the others.

  replyTo @5 :EmailAddress;

  messageId @6 :Text;
  # Ids, here and in the next two, are without angle brackets.

  references @7 :List(Text);
  # The messages of the thread so far, oldest first.

  inReplyTo @8 :List(Text);

  subject @9 :Text;

  text @10 :Text;
  # The plain body; empty if there is none.

  html @11 :Text;
  # The HTML body; empty if there is none. Hostile like any other foreign page.

  attachments @12 :List(EmailAttachment);
}

interface EmailSendPort @0xec831dbf4cc9bcca {
  # Somewhere mail can be put. Held by whoever sends; whether it is persistent depends on what it
  # comes with. Its holder can send, and neither read nor learn what became of it.

  send @0 (email :EmailMessage) -> ();
  # Returns when the message is accepted, which is not yet delivered. Fails beyond the port's limits
  # on recipients and rate, and for a sender it does not own.

  hintAddress @1 (address :EmailAddress) -> ();
  # Tells the sender's side under which address this port can be reached by others. Unimplemented in
  # shipped Sandstorm.

  struct PowerboxTag @0x90790c61fc899dd3 {
    # Asks for a port to send by, or offers one. Shipped Sandstorm has no provider for it.

    fromHint @0 :EmailAddress;
    # The address mail is expected from.

    listIdHint @1 :Text;
    # The mailing list it is for, as in `List-Id` (RFC 2919).
  }
}

interface VerifiedEmail @0xf88bf102464dfa5a {
  # Proof that a person receives mail at an address. Persistent. Obtained by an app in the powerbox,
  # and worth something only to an `EmailVerifier`: by itself it names nothing, and it cannot send.

  struct PowerboxTag @0x97469291ac5bb892 {
    # Asks a person to prove one of their addresses.

    verifierId @0 :Data;
    # For whom: what `EmailVerifier.getId` answers. Others cannot use the proof.

    address @1 :Text;
    # This address only; null for any.

    domain @2 :Text;
    # Addresses of this domain only; null for any.
  }
}

interface VerifiedEmailSendPort @0xa3cc885445aed8e9 extends(VerifiedEmail, EmailSendPort) {
  # Proof of an address together with the means of writing to it. Persistent as its halves are. It
  # does not tell the address.

  struct PowerboxTag @0x8f555bd4141fbb3b {
    # Both halves of the question.

    verification @0 :VerifiedEmail.PowerboxTag;
    port @1 :EmailSendPort.PowerboxTag;
  }
}

interface EmailVerifier @0xd458f7ca9d1ba9ff {
  # Checks proofs. Persistent. Obtained by an app in the powerbox; different verifiers have
  # different ids and services that they trust, and one cannot check another's proofs.

  getId @0 () -> (id :Data);
  # To be put in `VerifiedEmail.PowerboxTag`. May be shown to the world.

  verifyEmail @1 (tabId :Data, verification :VerifiedEmail) -> (address :Text);
  # The address, if the proof was made for this verifier and in the tab that `tabId` names; both
  # bind the proof so that it cannot be replayed elsewhere. Fails otherwise.
}

interface EmailAgent @0x8b6f158d70cbc773 {
  # A mail account. Its holder can send in its name and listen in; they cannot read what is older.
  # Shipped Sandstorm has none.

  send @0 (email :EmailMessage) -> ();
  # As `EmailSendPort.send`.

  addReceiver @1 (port :EmailSendPort) -> (handle :Handle);
  # Has all new mail put into `port` as well, until the handle is dropped.
}
