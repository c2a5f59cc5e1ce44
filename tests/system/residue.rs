//! Nothing is left of grains that came and went, however they and our own processes ended.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use percloud_tests::http::Request;
use percloud_tests::package::Recipe;
use percloud_tests::residue::{Dice, Part, Residue, parts};
use percloud_tests::{Owner, Server, wait};

const GRAINS: usize = 8;

/// How often something is started and ended; `PERCLOUD_RESIDUE_ROUNDS` says otherwise.
fn rounds(usual: u64) -> u64 {
    let wanted = std::env::var("PERCLOUD_RESIDUE_ROUNDS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

struct Churn {
    server: Server,
    owner: Owner,
    grains: Vec<String>,
    /// All process ids the server ever had.
    ever: BTreeSet<u32>,
}

impl Churn {
    fn new() -> Self {
        let (server, owner) = Server::owned();
        let app = owner.install(
            Recipe::of_program("Guestbook", "percloud-raw-app", &[])
                .pack()
                .path(),
        );
        let grains = (0..GRAINS).map(|_| owner.create(&app)).collect();
        let mut churn = Self {
            server,
            owner,
            grains,
            ever: BTreeSet::new(),
        };
        // Every grain has been used once: what is made at the first use is no residue.
        for grain in &churn.grains {
            assert_eq!(churn.owner.open(grain).get("/small").status, 200);
        }
        churn.remember();
        churn
    }

    /// Takes down which processes there are.
    fn remember(&mut self) {
        let now = self.server.processes();
        self.ever.extend(now.iter().map(|process| process.pid));
    }

    /// Puts everything to sleep and returns what there is, once it stays the same.
    fn at_rest(&mut self) -> Residue {
        for grain in &self.grains {
            let path = format!("/api/grains/{grain}");
            self.owner.expect("POST", &format!("{path}/trash"), None);
            self.owner.expect("POST", &format!("{path}/restore"), None);
        }
        self.remember();
        Residue::at_rest(&self.server, &self.ever)
    }

    /// Kills one process that has this part, if there is one; with the broker everything ends and begins anew.
    fn kill(&mut self, part: Part, dice: &mut Dice) {
        self.remember();
        if part == Part::Broker {
            self.server.kill_the_broker();
            self.remember();
            return;
        }
        let now = parts(&self.server);
        let fitting: Vec<_> = now.iter().filter(|(_, own)| **own == part).collect();
        if !fitting.is_empty() {
            let chosen = dice.below(fitting.len() as u64) as usize;
            fitting[chosen].0.kill();
        }
    }

    /// Waits until the server answers and a grain opens, whatever was killed.
    fn recover(&mut self) {
        self.server.wait_for_an_answer();
        for grain in &self.grains {
            let opened = wait::within(wait::DEADLINE, || {
                let visit = self.owner.attempt_visit(grain)?;
                let page = visit.try_send(Request::new("GET", "/small")).ok()?;
                (page.status == 200).then_some(())
            });
            opened.unwrap_or_else(|| {
                let log = self.server.log();
                let end = log.char_indices().nth_back(8000).map_or(0, |(start, _)| start);
                panic!(
                    "a grain does not open; the server's log ends with\n{}",
                    &log[end..]
                )
            });
        }
        self.remember();
    }

    /// One start and one end.
    fn round(&mut self, dice: &mut Dice) {
        let grain = self.grains[dice.below(GRAINS as u64) as usize].clone();
        let pause = Duration::from_micros(dice.below(8000));
        let part = match dice.below(200) {
            0 => Some(Part::Broker),
            1..=3 => Some(Part::Launcher),
            4..=6 => Some(Part::Edge),
            7..=8 => Some(Part::Egress),
            9..=60 => Some(Part::Host),
            61..=115 => Some(Part::App),
            116..=120 => Some(Part::Waiting),
            121..=122 => Some(Part::Background),
            _ => None,
        };
        // Opened by somebody who does not know what is about to happen; what they see of it may be an error.
        let owner = self.owner.clone();
        let opened = grain.clone();
        let visitor = thread::spawn(move || {
            let visit = owner.attempt_visit(&opened)?;
            visit.try_send(Request::new("GET", "/small")).ok()
        });
        thread::sleep(pause);
        match part {
            Some(part) => self.kill(part, dice),
            // As it should end: put to sleep while it is being used.
            None => {
                let path = format!("/api/grains/{grain}");
                let _ = self.owner.change("POST", &format!("{path}/trash"), None);
                let _ = self.owner.change("POST", &format!("{path}/restore"), None);
            }
        }
        let _ = visitor.join();
        if matches!(
            part,
            Some(Part::Broker | Part::Launcher | Part::Edge | Part::Egress)
        ) {
            self.recover();
        }
    }
}

#[test]
fn nothing_is_left_of_grains_however_they_ended() {
    let seed = 20_261_128;
    let mut dice = Dice::new(seed);
    let mut churn = Churn::new();
    churn.recover();
    let before = churn.at_rest();
    for _ in 0..rounds(300) {
        churn.round(&mut dice);
    }
    churn.recover();
    let after = churn.at_rest();
    let differences = after.differences(&before);
    assert!(differences.is_empty(), "seed {seed}: {differences:#?}");
}

#[test]
fn two_hundred_starts_at_once_leak_no_descriptor() {
    const AT_ONCE: usize = 200;
    let (server, owner) = Server::owned();
    let app = owner.install(
        Recipe::of_program("Guestbook", "percloud-raw-app", &[])
            .pack()
            .path(),
    );
    let grains: Vec<String> = (0..AT_ONCE).map(|_| owner.create(&app)).collect();
    let mut churn = Churn {
        server,
        owner,
        grains,
        ever: BTreeSet::new(),
    };
    // The first time everything grows to the size it needs.
    let mut seen = Vec::new();
    for _ in 0..2 {
        thread::scope(|scope| {
            for grain in &churn.grains {
                let owner = &churn.owner;
                scope.spawn(move || {
                    assert_eq!(owner.open(grain).get("/small").status, 200);
                });
            }
        });
        churn.remember();
        seen.push(churn.at_rest());
    }
    let differences = seen[1].differences(&seen[0]);
    assert!(differences.is_empty(), "{differences:#?}");
    let most = seen[1].descriptors.values().max().copied().unwrap_or(0);
    assert!(
        most < AT_ONCE,
        "none is kept for a grain that sleeps: {:?}",
        seen[1]
    );
}
