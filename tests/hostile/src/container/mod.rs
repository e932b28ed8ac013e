//! What a container tries: a file for each kind of attack.

mod calls;
mod devices;
mod disk;
mod exchange;
mod exhaust;
mod files;
mod ports;
mod quota;
mod terminal;
mod watch;

/// The file that ends an attack that goes on until it is told.
const OVER: &str = "/tmp/over";

/// Runs an attack by its name; false when there is none.
pub(crate) fn run(name: &str, arguments: &[String]) -> bool {
    match name {
        "calls" => calls::run(),
        "known-files" => files::known(),
        "files" => files::run(),
        "devices" => devices::run(),
        "disk" => disk::run(),
        "terminal" => terminal::run(),
        "exhaust" => exhaust::run(arguments),
        "small" => exhaust::small(),
        "exchange" => exchange::run(arguments),
        "ports" => ports::run(arguments),
        "quota" => quota::run(arguments),
        "watch" => watch::run(),
        "linger" => watch::linger(),
        "idle" => idle(),
        "over" => over(),
        _ => return false,
    }
    true
}

/// Says that it is there, and waits for its end.
fn idle() {
    println!("ready");
    loop {
        std::thread::park();
    }
}

/// Tells the attack that goes on beside this program that it is to end.
fn over() {
    if let Err(error) = std::fs::write(OVER, "") {
        println!("cannot tell: {error}");
    }
}
