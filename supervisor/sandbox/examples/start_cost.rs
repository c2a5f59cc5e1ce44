//! Placeholder until measured.
fn main() {
    let package = std::env::args().nth(1).unwrap();
    let var = std::env::args().nth(2).unwrap();
    let argv: Vec<String> = std::env::args().skip(3).collect();
    let mut spec = percloud_sandbox::SandboxSpec::new(package, var, argv);
    spec.policy = percloud_sandbox::Policy::Sandstorm;
    spec.loopback = true;
    percloud_sandbox::prepare();
    for _ in 0..5 {
        let t = std::time::Instant::now();
        match percloud_sandbox::start(&spec) {
            Ok(app) => {
                println!("{:?} {:?}", t.elapsed(), app.warnings);
                let log = std::fs::File::from(app.log);
                print!("{}", std::io::read_to_string(log).unwrap());
                rustix::event::poll(&mut [rustix::event::PollFd::new(&app.pidfd, rustix::event::PollFlags::IN)], None).unwrap();
                use std::os::fd::AsFd;
                println!("{:?}", percloud_sandbox::reap(app.pidfd.as_fd()));
                app.cgroup.map(|c| c.remove());
            }
            Err(e) => {
                println!("{e}: {:?}", std::error::Error::source(&e).map(|e| e.to_string()));
            }
        }
    }
}
