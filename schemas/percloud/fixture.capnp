@0xa37e1d5bc04f9962;
# Objects of the apps in `tests/fixtures`: each is one interface of Sandstorm's that can also be saved.

using AppPersistent = import "/sandstorm/grain.capnp".AppPersistent;
using Callback = import "/sandstorm/grain.capnp".ScheduledJob.Callback;

struct Name {
  # By what the app finds the object again.
  name @0 :Text;
}

interface SavedJob extends(Callback, AppPersistent(Name)) {}
# A scheduled job that outlives the process that scheduled it.
