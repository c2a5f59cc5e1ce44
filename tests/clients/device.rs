//! A device password, as the person copies it from Percloud into a program.

use percloud_tests::owner::text;
use percloud_tests::{Owner, Server};
use serde_json::json;

use crate::program::Room;

/// What a program is given.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its number in the list of devices.
    pub id: String,
    /// Whatever the person is told to type as the name.
    pub user: String,
    /// The password.
    pub password: String,
    /// Where to connect: ends with a slash.
    pub url: String,
}

impl Device {
    /// Makes a password that may do what its owner may.
    pub fn of(owner: &Owner, grain: &str, label: &str) -> Self {
        Device::with_role(owner, grain, label, json!({"all": true}))
    }

    /// Makes a password for a role.
    pub fn with_role(owner: &Owner, grain: &str, label: &str, role: serde_json::Value) -> Self {
        let made = owner.expect(
            "POST",
            &format!("/api/grains/{grain}/devices"),
            Some(json!({"label": label, "role": role})),
        );
        let url = text(&made["url"]);
        assert!(url.starts_with("http://api-") && url.ends_with('/'), "{url}");
        Device {
            id: text(&made["device"]["id"]),
            user: text(&made["user"]),
            password: text(&made["password"]),
            url,
        }
    }

    /// The same device with a password that nobody was given.
    pub fn guessing(&self) -> Self {
        let password = self.password.chars().rev().collect();
        Device {
            password,
            ..self.clone()
        }
    }

    /// The host of its address, with the port.
    pub fn host(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches('/')
    }

    /// An address with user and password in it, as git and other programs take it.
    pub fn url_with_password(&self) -> String {
        format!("http://{}:{}@{}/", self.user, self.password, self.host())
    }

    /// Takes the password back.
    pub fn revoke(&self, owner: &Owner, grain: &str) {
        owner.expect(
            "DELETE",
            &format!("/api/grains/{grain}/devices/{}", self.id),
            None,
        );
    }
}

/// A server with a grain of a sample, and a room for programs that knows the addresses of `labels`' devices.
pub fn grain_with_devices<const COUNT: usize>(
    sample: &str,
    labels: [&str; COUNT],
) -> (Server, Owner, String, [Device; COUNT], Room) {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&percloud_tests::built::sample(sample));
    let devices = labels.map(|label| Device::of(&owner, &grain, label));
    let room = Room::new(devices.iter().map(Device::host));
    (server, owner, grain, devices, room)
}
