@0xa4e001d4cbcf33fa;
# News from grains: what happened, whom it concerns, and what to show them.

using Handle = import "util.capnp".Handle;
using Identity = import "identity.capnp".Identity;
using LocalizedText = import "util.capnp".LocalizedText;

struct ActivityEvent @0xa7c0b6eaa98c6c4b {
  # Something that happened in a grain. Reported through `SessionContext.activity` when a person did
  # it, and through `SandstormApi.backgroundActivity` when nobody did. Marks the grain unread for
  # others, and notifies those concerned.

  path @0 :Text;
  # Where in the grain to look: opened by whoever follows the news. No leading slash.

  thread @4 :ThreadInfo;
  # The topic it belongs to, for people to follow; null if none.

  notification @1 :NotificationDisplayInfo;
  # What those notified will read.

  type @2 :UInt16;
  # Position in `ViewInfo.eventTypes`.

  users @3 :List(User);
  # Those for whom the event has a particular meaning. Everybody else is treated as the type says.

  struct ThreadInfo @0xf3902b5a86ffba44 {
    path @0 :Text;
    # Names the thread, and leads to it. No leading slash.

    title @1 :LocalizedText;
  }

  struct User @0xbb4d119bbcd89677 {
    identity @0 :Identity;

    mentioned @1 :Bool;
    # It is about them: they are notified even if they follow nothing here.

    subscribed @3 :Bool;
    # They follow this by the app's own reckoning.

    canView @2 :Bool;
    # They may see it, where the type's `requiredPermission` is `explicitList`.
  }
}

struct ActivityTypeDef @0xe638de0ad7c89a2b {
  # A kind of event: a new comment, an edit. Part of an app's `ViewInfo`.

  name @0 :Text;
  # For programs; the same in all versions of the app.

  verbPhrase @1 :LocalizedText;
  # Completes a sentence about the one who acted: "edited the document".

  description @2 :LocalizedText;
  # What falls under it, for those who choose what to be told.

  requiredPermission :union {
    # Who may know that such a thing happened. Nobody is told of what they may not see.

    everyone @3 :Void;
    # All who can open the grain.

    permissionIndex @4 :UInt16;
    # Those with this permission, by its position in `ViewInfo.permissions`.

    explicitList @5 :Void;
    # Those whom the event lists with `canView`.
  }

  obsolete @6 :Bool;
  # No longer happens; stays here for the sake of the positions after it.

  notifySubscribers @7 :Bool;
  # Followers of the thread or grain are notified. Otherwise only those mentioned are.

  autoSubscribeToThread @8 :Bool;
  # Whoever does this follows the thread from then on.

  autoSubscribeToGrain @9 :Bool;
  # Whoever does this follows the grain from then on.

  suppressUnread @10 :Bool;
  # Too slight to mark the grain as unread.
}

struct NotificationDisplayInfo @0xd3b9f2ca42d4f783 {
  # A notification in words.

  caption @0 :LocalizedText;
  # One line, without the grain's title and the person's name: those the platform adds itself.
}

interface NotificationTarget @0xf0f87337d73020f0 {
  # Somebody who can be notified. Held by the platform, on a grain's behalf; apps come here by
  # `SandstormApi.stayAwake` only.

  addOngoing @0 (displayInfo :NotificationDisplayInfo, notification :OngoingNotification)
      -> (handle :Handle);
  # Shows that something is going on until `handle` is dropped or the person cancels.
}

interface OngoingNotification @0xfe851ddbb88940cd {
  # Implemented by whoever is busy, held by the platform while it shows that.

  cancel @0 () -> ();
  # The person wants it to end. The notification is gone already, and a grain's wake lock with it;
  # the app should stop what it was doing.
}
