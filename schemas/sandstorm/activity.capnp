@0xa4e001d4cbcf33fa;

using Handle = import "util.capnp".Handle;
using Identity = import "identity.capnp".Identity;
using LocalizedText = import "util.capnp".LocalizedText;

struct ActivityEvent @0xa7c0b6eaa98c6c4b {
  path @0 :Text;
  thread @4 :ThreadInfo;
  notification @1 :NotificationDisplayInfo;
  type @2 :UInt16;
  users @3 :List(User);
  struct ThreadInfo @0xf3902b5a86ffba44 {
    path @0 :Text;
    title @1 :LocalizedText;
  }
  struct User @0xbb4d119bbcd89677 {
    identity @0 :Identity;
    mentioned @1 :Bool;
    subscribed @3 :Bool;
    canView @2 :Bool;
  }
}
struct ActivityTypeDef @0xe638de0ad7c89a2b {
  name @0 :Text;
  verbPhrase @1 :LocalizedText;
  description @2 :LocalizedText;
  requiredPermission :union {
    everyone @3 :Void;
    permissionIndex @4 :UInt16;
    explicitList @5 :Void;
  }
  obsolete @6 :Bool;
  notifySubscribers @7 :Bool;
  autoSubscribeToThread @8 :Bool;
  autoSubscribeToGrain @9 :Bool;
  suppressUnread @10 :Bool;
}
struct NotificationDisplayInfo @0xd3b9f2ca42d4f783 {
  caption @0 :LocalizedText;
}
interface NotificationTarget @0xf0f87337d73020f0 {
  addOngoing @0 (displayInfo :NotificationDisplayInfo, notification :OngoingNotification) -> (handle :Handle);
}
interface OngoingNotification @0xfe851ddbb88940cd {
  cancel @0 () -> ();
}
