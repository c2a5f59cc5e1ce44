@0xb1a5f7d3c09e4471;
# The broker's face to the edge.
#
# The edge is the process most exposed to the world, so it is given as little as
# possible: `Front` lets anyone knock, and everything else hangs off capabilities
# that knocking correctly yields. Owning the edge yields the sessions passing
# through it, and nothing more (threat model P16).
#
# Views travel as JSON the broker composed and the edge passes on unread: one
# definition of each shape (in `supervisor/broker`), and no second parser.

struct Reply {
  # What the shell API answers: an HTTP status and a JSON document.
  # Errors are `{"error": {"code": …, "message": …}}`.
  status @0 :UInt16;
  json @1 :Text;
}

struct Client {
  # Who is knocking, as the edge sees it; used for throttling and the audit log only.
  address @0 :Text;
  userAgent @1 :Text;
}

interface Front {
  # Held by every edge thread. Grants nothing by itself.

  settings @0 () -> (reply :Reply);
  # What a stranger may know: is the server set up, its title, its version.

  setUp @1 (json :Text, client :Client) -> (reply :Reply, cookie :Data);
  # Trades the setup secret printed on the console for the owner's account.
  # `cookie` is null unless the reply is a success. The same holds for `signIn`.

  signIn @2 (json :Text, client :Client) -> (reply :Reply, cookie :Data);
  # Checks a password. Throttled per handle and per address; never says which part was wrong.

  resume @3 (cookie :Data) -> (session :UserSession);
  # The session a shell cookie stands for, or null.

  enter @4 (hostId :Text, secret :Data) -> (cookie :Data, path :Text);
  # Trades the one-time hand-over secret made by `GrainControl.open` for the cookie of that
  # session's own host. Null when the secret is unknown, used, expired or for another host.

  grainSession @5 (hostId :Text, cookie :Data) -> (access :GrainAccess);
  # Wakes the grain behind a session host and says how to reach it. Null when host and cookie
  # do not belong together; absent and not-yours are the same answer.

  join @6 (json :Text, client :Client) -> (reply :Reply, cookie :Data);
  # Trades an invitation for an account of one's own.

  lookAtLink @7 (json :Text, client :Client) -> (reply :Reply);
  # What somebody who holds a sharing link may know before they follow it. Throttled.

  openLink @8 (json :Text, client :Client) -> (reply :Reply);
  # Follows a sharing link without an account: a session host and its hand-over secret.

  apiAccess @9 (hostId :Text, token :Text, client :Client, remoteAddress :Text) -> (access :GrainAccess);
  # Wakes the grain behind an API token (43 characters) and says how to reach it. `hostId` is the
  # `api-…` host the request came to, or `api`. `remoteAddress` is empty unless the client asked for
  # the app to be told. Null when the token is unknown, revoked, expired, or for another host.

  apiHost @10 (hostId :Text, path :Text) -> (known :Bool, dav :List(Text), resource :ApiResource);
  # What a token-specific host tells those who bring no token: the DAV classes it registered for
  # `OPTIONS`, and the resource at `path` (null when there is none).

  keepApiToken @11 (token :Text, milliseconds :UInt32) -> (known :Bool);
  # Lets a token that expires when unused live on a while.

  publishedSite @12 (publicId :Text, path :Text) -> (file :PublishedFile);
  # A file below the `/var/www` of the grain with this public id; null when there is no such grain.
  # The app is not started.
}

struct ApiResource {
  mimeType @0 :Text;
  language @1 :Text;
  encoding @2 :Text;
  body @3 :Data;
}

struct PublishedFile {
  union {
    notFound @0 :Void;
    directory @1 :Void;
    # There is a directory at this path; the client wants a slash behind it.
    file :group {
      size @2 :UInt64;
      read @3 :import "/sandstorm/util.capnp".Blob;
    }
  }
}

struct GrainAccess {
  socketPath @0 :Text;
  # Where the grain host listens.
  nonce @1 :Data;
  # Good for one `GrainDoor.enter`, for a few seconds.
  relaxedPolicy @2 :Bool;
  # The owner allowed this app the older, looser page policy.
  union {
    ready @3 :Void;
    failed @4 :Text;
    # The grain cannot run; a sentence for the person in front of the page.
  }
  isApi @5 :Bool;
  # The session is for a program, not for a page.
}

interface UserSession {
  # One signed-in person. Held by the edge while one of their requests passes through.

  whoami @0 () -> (reply :Reply);
  signOut @1 () -> (reply :Reply);
  home @2 () -> (reply :Reply);
  # Apps, grains and trash: all there is, or the first page of each where that is much.

  upload @3 (size :UInt64, uploadId :Text) -> (reply :Reply, upload :Upload);
  # Begins a package upload; `size` in bytes, 0 when unknown. `uploadId` names it in progress events.

  package @4 (packageId :Text) -> (reply :Reply, package :Package);
  grain @5 (grainId :Text) -> (reply :Reply, grain :GrainControl);
  createGrain @6 (json :Text) -> (reply :Reply);
  watch @7 (listener :Listener) -> (handle :import "/sandstorm/util.capnp".Handle);
  # Tells the listener what changes until the handle is dropped.

  acceptLink @8 (json :Text) -> (reply :Reply);
  # Makes what a sharing link gives the person's own.
  offer @9 (offerId :Text, accept :Bool) -> (reply :Reply);
  # Answers what somebody offered: a share or the ownership of a grain.
  people @10 () -> (reply :Reply);
  invitations @11 () -> (reply :Reply);
  invite @12 (json :Text) -> (reply :Reply);
  uninvite @13 (invitationId :Text) -> (reply :Reply);
  notifications @14 () -> (reply :Reply);
  answerNotification @15 (notificationId :Text, json :Text) -> (reply :Reply);
  powerbox @16 (requestId :Text) -> (reply :Reply, powerbox :Powerbox);
  # A request for something that waits for the person's choice.
  restoreBackup @17 (size :UInt64, uploadId :Text) -> (reply :Reply, upload :Upload);
  # Begins the upload of a grain's backup; `finish` makes a grain of it.
  history @18 () -> (reply :Reply);
  # The audit log, as far as it concerns the person's account and server.
  grains @19 (search :Text, after :Text, trashed :Bool, limit :UInt16) -> (reply :Reply);
  # A page of the person's grains, latest used first: those that have `search` in one of their names,
  # or all; after what another page ended with; at most `limit`, or as many as one gets at a time.
}

interface Powerbox {
  # One request of a grain, in front of the person it was made to.
  choices @0 () -> (reply :Reply);
  choose @1 (json :Text) -> (reply :Reply);
  cancel @2 () -> (reply :Reply);
}

interface Upload {
  # A package on its way to staging. Dropping it before `finish` forgets it.
  write @0 (data :Data) -> stream;
  finish @1 () -> (reply :Reply);
  # Verifies and unpacks; the reply names the package and what it wants.
}

interface Package {
  # An unpacked package the person uploaded or has installed.
  info @0 () -> (reply :Reply);
  install @1 () -> (reply :Reply);
  remove @2 () -> (reply :Reply);
  # Forgets an upload, or uninstalls when no grain uses it.
  icon @3 (name :Text) -> (mimeType :Text, data :Data);
}

interface GrainControl {
  # Everything the owner may do with a grain from outside it.
  info @0 () -> (reply :Reply);
  open @1 (json :Text) -> (reply :Reply);
  # Makes a session host and its hand-over secret.
  rename @2 (json :Text) -> (reply :Reply);
  trash @3 () -> (reply :Reply);
  restore @4 () -> (reply :Reply);
  delete @5 () -> (reply :Reply);
  restart @6 () -> (reply :Reply);
  log @7 (backlog :UInt64, stream :import "/sandstorm/util.capnp".ByteStream)
      -> (handle :import "/sandstorm/util.capnp".Handle);
  # Replays up to `backlog` bytes of the log, then follows it until the handle is dropped.
  configure @8 (json :Text) -> (reply :Reply);
  # Per-grain settings, such as the looser page policy.

  sharing @9 () -> (reply :Reply);
  # Everybody who can get in, how, and what one may hand on.
  share @10 (json :Text) -> (reply :Reply);
  changeShare @11 (shareId :Text, json :Text) -> (reply :Reply);
  revokeShare @12 (shareId :Text, json :Text) -> (reply :Reply);
  limitMyself @13 (json :Text) -> (reply :Reply);
  leave @14 () -> (reply :Reply);
  transfer @15 (json :Text) -> (reply :Reply);
  devices @16 () -> (reply :Reply);
  addDevice @17 (json :Text) -> (reply :Reply);
  removeDevice @18 (deviceId :Text) -> (reply :Reply);
  template @19 (json :Text) -> (reply :Reply);
  # An API token for a program the app explains how to connect (sheet 5.6, `renderTemplate`).
  request @20 (json :Text) -> (reply :Reply);
  # Opens a powerbox request a page of the grain made.
  history @21 () -> (reply :Reply);
  backup @22 (stream :import "/sandstorm/util.capnp".ByteStream) -> (reply :Reply, handle :import "/sandstorm/util.capnp".Handle);
  # Writes the grain's backup (sheet 6.7) to the stream; dropping the handle gives up.
  duplicate @23 () -> (reply :Reply);
  # A copy with its own id and no authority.
  jobs @24 () -> (reply :Reply);
  authority @25 () -> (reply :Reply);
  # What this grain holds of others, each revocable.
  dropAuthority @26 (tokenId :Text) -> (reply :Reply);
  prepare @27 () -> (reply :Reply);
  # The person is about to open it: start it, if there is room.
  limits @28 () -> (reply :Reply);
  # What the grain takes, what it may take, and which limit it met.
  changeLimits @29 (json :Text) -> (reply :Reply);
}

interface Listener {
  event @0 (json :Text) -> stream;
}
