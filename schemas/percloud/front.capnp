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
}

interface UserSession {
  # One signed-in person. Held by the edge while one of their requests passes through.

  whoami @0 () -> (reply :Reply);
  signOut @1 () -> (reply :Reply);
  home @2 () -> (reply :Reply);
  # Apps, grains and trash.

  upload @3 (size :UInt64, uploadId :Text) -> (reply :Reply, upload :Upload);
  # Begins a package upload; `size` in bytes, 0 when unknown. `uploadId` names it in progress events.

  package @4 (packageId :Text) -> (reply :Reply, package :Package);
  grain @5 (grainId :Text) -> (reply :Reply, grain :GrainControl);
  createGrain @6 (json :Text) -> (reply :Reply);
  watch @7 (listener :Listener) -> (handle :import "/sandstorm/util.capnp".Handle);
  # Tells the listener what changes until the handle is dropped.
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
}

interface Listener {
  event @0 (json :Text) -> stream;
}
