//! What an app's roles mean at the moment.
//!
//! A share stores a role and never the permissions the role had: when an update of the app redefines a role, shares that
//! were given before follow (sheet 6.3).

use serde::{Deserialize, Serialize};

use super::permission::PermissionSet;

/// Names one of an app's roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The role the app flags as its default one; access without any permission when it flags none.
    #[default]
    Default,
    /// Every permission the app has.
    All,
    /// The role at this place of the app's list.
    Index(u16),
}

/// What a share gives: a role, and where somebody wanted it finer, permissions more or less.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// The role.
    pub role: Role,
    /// Permissions beyond those of the role.
    #[serde(default, skip_serializing_if = "PermissionSet::is_empty")]
    pub add: PermissionSet,
    /// Permissions that are left out, even where `add` names them.
    #[serde(default, skip_serializing_if = "PermissionSet::is_empty")]
    pub remove: PermissionSet,
}

impl RoleAssignment {
    /// Everything the giver has.
    #[must_use]
    pub fn all() -> Self {
        Role::All.into()
    }

    /// Whether it limits nothing, whatever the app's roles mean.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.role == Role::All && self.remove.is_empty()
    }
}

impl From<Role> for RoleAssignment {
    fn from(role: Role) -> Self {
        Self {
            role,
            ..Self::default()
        }
    }
}

/// One of an app's roles, reduced to what the rules need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDef {
    /// What the role may do.
    pub permissions: PermissionSet,
    /// Whether it is given when nobody chose a role; of several, the first counts.
    pub is_default: bool,
}

/// What an app says of itself, reduced to what the rules need.
///
/// An app that has said nothing yet is `View::default()`: people have access, without permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// How many permissions the app defines; more than [`super::permission::PERMISSION_LIMIT`] count as that many.
    pub permissions: usize,
    /// The roles it defines.
    pub roles: Vec<RoleDef>,
}

impl View {
    /// Every permission the app defines: what its owner holds.
    #[must_use]
    pub fn all(&self) -> PermissionSet {
        PermissionSet::all(self.permissions)
    }

    /// The permissions `assignment` stands for.
    ///
    /// A role that is not there (any more) stands for nothing, and nothing can be added to it: the indices in `add` were
    /// chosen beside a list that is gone. Permissions the app does not define are never granted.
    #[must_use]
    pub fn grants(&self, assignment: &RoleAssignment) -> PermissionSet {
        let mut granted = match assignment.role {
            Role::All => self.all(),
            Role::Default => {
                let default = self.roles.iter().find(|role| role.is_default);
                default.map(|role| role.permissions.clone()).unwrap_or_default()
            }
            Role::Index(index) => match self.roles.get(usize::from(index)) {
                Some(role) => role.permissions.clone(),
                None => return PermissionSet::default(),
            },
        };
        granted.unite_with(&assignment.add);
        granted.give_up(&assignment.remove);
        granted.limit_to(&self.all());
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(bits: &str) -> PermissionSet {
        PermissionSet::from_bools(bits.chars().map(|bit| bit == '1')).unwrap()
    }

    fn view() -> View {
        let role = |bits, is_default| RoleDef {
            permissions: set(bits),
            is_default,
        };
        View {
            permissions: 4,
            roles: vec![
                role("1000", false),
                role("1100", true),
                role("0011", true),
                role("00001", false),
            ],
        }
    }

    #[test]
    fn roles_stand_for_what_the_app_says_now() {
        for (role, expected) in [
            (Role::Default, "11"),
            (Role::All, "1111"),
            (Role::Index(0), "1"),
            (Role::Index(2), "0011"),
            (Role::Index(3), ""),
            (Role::Index(4), ""),
            (Role::Index(u16::MAX), ""),
        ] {
            assert_eq!(view().grants(&role.into()), set(expected), "{role:?}");
        }
        assert_eq!(View::default().grants(&Role::All.into()), set(""));
        let no_default = View {
            roles: Vec::new(),
            ..view()
        };
        assert_eq!(no_default.grants(&Role::Default.into()), set(""));
    }

    #[test]
    fn additions_and_removals_refine_a_role() {
        let assignment = |role, add, remove| RoleAssignment {
            role,
            add: set(add),
            remove: set(remove),
        };
        for (assignment, expected) in [
            (assignment(Role::Index(0), "0010", ""), "101"),
            (assignment(Role::All, "", "01"), "1011"),
            (assignment(Role::Index(0), "01", "11"), ""),
            (assignment(Role::Index(0), "000011", ""), "1"),
            // A role that is gone is not a base to add to.
            (assignment(Role::Index(9), "1111", ""), ""),
        ] {
            assert_eq!(view().grants(&assignment), set(expected), "{assignment:?}");
        }
        let bare = View {
            permissions: 4,
            roles: Vec::new(),
        };
        assert_eq!(bare.grants(&assignment(Role::Default, "01", "")), set("01"));
    }

    #[test]
    fn only_everything_without_exception_is_unlimited() {
        assert!(RoleAssignment::all().is_unlimited());
        assert!(!RoleAssignment::default().is_unlimited());
        let less = RoleAssignment {
            remove: set("1"),
            ..RoleAssignment::all()
        };
        assert!(!less.is_unlimited());
    }
}
