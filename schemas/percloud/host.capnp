@0xd9c4b2ae6f108357;
# How the broker, the edge and a grain host speak. One grain host runs per running grain.

using ByteStream = import "/sandstorm/util.capnp".ByteStream;
using Handle = import "/sandstorm/util.capnp".Handle;
using UiView = import "/sandstorm/grain.capnp".UiView;
using UiSession = import "/sandstorm/grain.capnp".UiSession;
using UserInfo = import "/sandstorm/identity.capnp".UserInfo;
using WebSession = import "/sandstorm/web-session.capnp".WebSession;

interface GrainHost {
  # Bootstrap of a grain host towards the broker. Holding it is holding the grain.

  admit @0 (nonce :Data, session :Admission) -> ();
  # Expects somebody to present `nonce` at the door; once, and only for a few seconds.

  viewInfo @1 () -> (info :UiView.ViewInfo);
  # What the app says of itself; empty when it does not say.

  endSession @2 (sessionId :Data) -> ();
  # Breaks every capability made through the sessions with this id; returns when it is done.

  watchLog @3 (backlog :UInt64, stream :ByteStream) -> (handle :Handle);
  shutdown @4 () -> ();
  # Kills the app and ends the host. The connection breaks instead of a return.

  refusedSyscalls @5 () -> (calls :List(RefusedSyscall));
  # What the app asked the kernel for and did not get; filled when the grain was started to record it.

  keepAlive @6 () -> ();
}

struct RefusedSyscall {
  number @0 :UInt32;
  name @1 :Text;
  count @2 :UInt32;
}

struct Admission {
  sessionId @0 :Data;
  # 16 bytes, shared by all doors opened for one browser session.
  user @1 :UserInfo;
  tabId @2 :Data;
  # 16 bytes.
  isOwner @3 :Bool;
}

interface HostKeeper {
  # Bootstrap of the broker towards a grain host.

  reportSize @0 (bytes :UInt64) -> ();
  reportExit @1 (reason :Text, asked :Bool) -> ();
  # The app is gone: how it ended, and if that was asked for (shutdown, idle).
}

interface GrainDoor {
  # Bootstrap of the socket a grain host listens on. Grants nothing without a nonce.

  enter @0 (nonce :Data, params :WebSession.Params) -> (session :UiSession);
  # A session of the kind, person and permissions that the broker announced for `nonce`.
}
