//! About the server itself.

use std::fs;

use coracle_engine::state::host::Hosts;
use coracle_platform::clock;
use docker_model::{
    records,
    system::{self, System},
};
use images::store::Store;

use super::Call;
use crate::{backend::Backend, error::ApiError};

/// `GET /_ping`, `HEAD /_ping`
pub fn ping(_api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let headers = [
        ("Builder-Version", "1"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
        ("Swarm", "inactive"),
    ];
    let text = match call.exchange.head().method.as_str() {
        "HEAD" => "",
        _ => "OK",
    };
    call.text(text, &headers)
}

/// `GET /version`
pub fn version(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    call.json(200, &system::version(&machine(api)))
}

/// `GET /info`
pub fn info(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let mut known = machine(api);
    let list = api.records.summaries()?;
    let lives = list.iter().map(|one| records::life(&one.state).status);
    known.containers = lives.collect();
    known.images = Store::open(api.store())
        .and_then(|store| store.list())
        .map_or(0, |list| list.len() as u64);
    if let Ok(settings) = api.engine.registries().settings(None) {
        let mirrors = settings.mirrors.get("docker.io");
        known.mirrors = mirrors.cloned().unwrap_or_default();
    }
    let hosts = Hosts::new(api.directories()).list()?;
    let names: Vec<String> = hosts.into_iter().map(|host| host.config.name).collect();
    let mut info = system::info(&known);
    // As containers say.
    info.logging_driver = "json-file";
    if !names.is_empty() {
        info.labels
            .push(format!("coracle.hosts={}", names.join(",")));
    }
    call.json(200, &info)
}

/// What is known of the program and the machine.
fn machine(api: &Backend) -> System {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = release.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| {
        let number = line.strip_prefix("MemTotal:")?.trim();
        number.strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let hostname = text(uname.nodename());
    System {
        version: env!("CARGO_PKG_VERSION").into(),
        kernel: text(uname.release()),
        machine: text(uname.machine()),
        operating_system: field("PRETTY_NAME"),
        os_version: field("VERSION_ID"),
        // One installation of one user on one machine.
        id: format!("coracle-{hostname}-{}", rustix::process::geteuid().as_raw()),
        hostname,
        cpus: std::thread::available_parallelism()
            .ok()
            .and_then(|count| u32::try_from(count.get()).ok())
            .unwrap_or(1),
        memory: memory.unwrap_or(0) * 1024,
        root: api.directories().data.display().to_string(),
        now: clock::wall(),
        ..System::default()
    }
}
