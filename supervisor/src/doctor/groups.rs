//! Control groups: whether a server started from here could bound each app as a whole, and in what.

use percloud_sandbox::cgroup::{self, Survey, Version};
use percloud_sandbox::feature::{
    CGROUP, CONTROLLER, WITHOUT_CGROUP, WITHOUT_CPU, WITHOUT_CPUSET, WITHOUT_IO,
};

use super::check::{Check, Group, Subject};

const GROUPS: Subject = Subject::new(Group::ControlGroups, "control-groups", "Control groups");

pub fn checks() -> Vec<Check> {
    judge(&cgroup::survey(), cgroup::disk_time_is_shared())
}

fn judge(survey: &Survey, disk_is_shared: bool) -> Vec<Check> {
    let mut checks = vec![match &survey.groups {
        Ok((version, directories)) => {
            let version = match version {
                Version::Unified => "version 2, delegated",
                Version::Separate => "version 1, writable",
            };
            let mut names: Vec<_> = directories
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            names.dedup();
            GROUPS.good(format!(
                "{version}: groups for apps go below {}",
                names.join(" and ")
            ))
        }
        Err(why) => GROUPS.gap(format!("none can be made: {why}"), WITHOUT_CGROUP, CGROUP.remedy),
    }];
    checks.extend(
        survey
            .controllers
            .iter()
            .map(|(name, had)| controller(name, *had, survey.groups.is_ok(), disk_is_shared)),
    );
    checks
}

fn controller(name: &str, had: bool, groups: bool, disk_is_shared: bool) -> Check {
    let (id, title, without) = match name {
        "memory" => (
            "cgroup-memory",
            "Memory of an app",
            "memory is bounded for each process of an app, not for the app as a whole",
        ),
        "pids" => (
            "cgroup-pids",
            "Processes of an app",
            "processes are bounded by the sandbox's own limit alone (RLIMIT_NPROC)",
        ),
        "cpu" => ("cgroup-cpu", "Processor time of an app", WITHOUT_CPU),
        "cpuset" => ("cgroup-cpuset", "A processor no app keeps busy", WITHOUT_CPUSET),
        "io" => ("cgroup-io", "Disk time of an app", WITHOUT_IO),
        _ => (
            "cgroup-freezer",
            "Holding an app still",
            "an app is stopped, not held still, while its backup is made, and one that has nothing to do goes on taking processor time",
        ),
    };
    let subject = Subject::new(Group::ControlGroups, id, title);
    match (had, name) {
        (true, "io") if !disk_is_shared => subject.gap(
            "controller io is to be had, and no disk heeds the shares it sets",
            without,
            "choose the scheduler bfq for the disk with the data folder: echo bfq > /sys/block/DISK/queue/scheduler (and \
             a udev rule, to keep it)",
        ),
        (true, _) => subject.good(format!("controller {name} is to be had")),
        (false, _) if groups => subject.gap(format!("no controller {name}"), without, CONTROLLER.remedy),
        (false, _) => subject.gap(
            format!("no controller {name}"),
            without,
            "as for control groups as such",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status::*;
    use super::*;

    const ALL: [&str; 6] = ["memory", "pids", "cpu", "cpuset", "io", "freezer"];

    #[test]
    fn each_controller_that_is_lacking_is_a_gap_of_its_own() {
        let survey = Survey {
            groups: Ok((Version::Unified, vec!["/sys/fs/cgroup/x".into()])),
            controllers: ALL.map(|name| (name, name != "io")).to_vec(),
        };
        let checks = judge(&survey, true);
        let ids: Vec<_> = checks.iter().map(|check| (check.id, check.status)).collect();
        assert_eq!(
            ids,
            [
                ("control-groups", Good),
                ("cgroup-memory", Good),
                ("cgroup-pids", Good),
                ("cgroup-cpu", Good),
                ("cgroup-cpuset", Good),
                ("cgroup-io", Gap),
                ("cgroup-freezer", Good)
            ]
        );
    }

    #[test]
    fn shares_of_a_disk_that_no_scheduler_heeds_are_a_gap() {
        let survey = Survey {
            groups: Ok((Version::Separate, vec!["/sys/fs/cgroup/x".into()])),
            controllers: ALL.map(|name| (name, true)).to_vec(),
        };
        let checks = judge(&survey, false);
        let gaps: Vec<_> = checks.iter().filter(|check| check.status == Gap).collect();
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].id, "cgroup-io");
        assert!(gaps[0].remedy.as_ref().unwrap().contains("bfq"));
        assert!(judge(&survey, true).iter().all(|check| check.status == Good));
    }

    #[test]
    fn without_any_group_percloud_works_with_less_and_says_what() {
        let survey = Survey {
            groups: Err("no memory controller is delegated to the server".to_owned()),
            controllers: ALL.map(|name| (name, false)).to_vec(),
        };
        let checks = judge(&survey, true);
        assert!(checks.iter().all(|check| check.status == Gap));
        assert_eq!(checks[0].consequence.as_deref(), Some(WITHOUT_CGROUP));
        assert!(checks[0].remedy.as_ref().unwrap().contains("Delegate=yes"));
    }
}
